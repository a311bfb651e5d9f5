// Sorts blocks of `BLOCK` indices: each position counts those that precede it, and is stored with its index.
// Positions whose gradient is dropped come last.
struct Shape {
    places: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> sorted: array<vec2u>;

fn key_of(place: u32) -> u32 {
    let index = indices[place];
    return select(index, NO_ROW, index >= NO_ROW || index == PADDING);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.places {
        return;
    }
    let own = key_of(i);
    let first = i / BLOCK * BLOCK;
    var rank = 0u;
    for (var k = first; k < min(first + BLOCK, shape.places); k++) {
        let key = key_of(k);
        rank += select(0u, 1u, key < own || (key == own && k < i));
    }
    sorted[first + rank] = vec2u(own, i);
}
