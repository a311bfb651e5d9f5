// For each part of long rows of logits, the first largest and its class, in four lanes.
struct Shape {
    parts: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4u>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.parts {
        return;
    }
    let first = first_of(i);
    let length = length_of(i);
    var best = Best(vec4u(0u), vec4u(0u));
    for (var k = 0u; k < length; k++) {
        let at = first + k * STEP;
        best = better(best, best_of_quad(logits[at], at % COUNT, shape.classes));
    }
    parts[2u * i] = best.rank;
    parts[2u * i + 1u] = best.place;
}
