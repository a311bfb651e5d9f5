// For each row of the table, and for the end, the first sorted entry with this index or a larger one.
struct Shape {
    rows: u32,
    places: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> starts: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i > shape.rows {
        return;
    }
    var low = 0u;
    var high = shape.places;
    while low < high {
        let middle = (low + high) / 2u;
        if sorted[middle].x < i {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    starts[i] = low;
}
