// All lanes of one workgroup together.
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    STAGE(lane);
}
