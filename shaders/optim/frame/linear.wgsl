// The vector of an invocation: one after the other.
fn place(number: u32, lane: u32) -> u32 {
    let index = number * 256u + lane;
    return select(NOWHERE, call.first + index, index < call.len);
}
