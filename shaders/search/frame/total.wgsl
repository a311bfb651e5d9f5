// One workgroup: the sum of `STAGE_term` over `STAGE_count()` items goes to `STAGE`.
var<workgroup> parts: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2f();
    let count = STAGE_count();
    for (var item = lane; item < count; item += 64u) {
        sum += STAGE_term(item);
    }
    parts[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        for (var other = 1u; other < 64u; other++) {
            sum += parts[other];
        }
        STAGE(sum);
    }
}
