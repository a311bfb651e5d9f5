// The sum of the gradients of sorted entries. Sums in runs, because a long chain of additions loses precision.
fn sum_of(first: u32, end: u32, quad: u32) -> vec4f {
    var sum = vec4f();
    for (var start = first; start < end; start += RUN) {
        var run = vec4f();
        for (var k = start; k < min(start + RUN, end); k++) {
            run += dy[sorted[k].y * QUADS + quad];
        }
        sum += run;
    }
    return sum;
}
