// Stores the moments of a part at index `i`.
fn leave(i: u32, line: u32, moments: Moments) {
    if JOINED != 0u {
        left[i] = vec4f(moments.count.x, moments.shift.x, moments.delta.x, moments.squares.x);
    } else {
        left[4u * i] = moments.count;
        left[4u * i + 1u] = moments.shift;
        left[4u * i + 2u] = moments.delta;
        left[4u * i + 3u] = moments.squares;
    }
}
