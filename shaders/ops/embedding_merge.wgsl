// Merges up to `WAYS` sorted runs of `RUN` entries each: each entry counts the entries of the other runs that precede
// it.
struct Shape {
    places: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> merged: array<vec2u>;

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
    let own = sorted[i];
    let first = i / (WAYS * RUN) * (WAYS * RUN);
    var rank = i % RUN;
    for (var start = first; start < min(first + WAYS * RUN, shape.places); start += RUN) {
        // Equal indices keep the order of their runs, and so of their positions.
        let limit = own.x + select(0u, 1u, start < i);
        var low = start;
        var high = min(start + RUN, shape.places);
        if start == i / RUN * RUN {
            high = low;
        }
        while low < high {
            let middle = (low + high) / 2u;
            if sorted[middle].x < limit {
                low = middle + 1u;
            } else {
                high = middle;
            }
        }
        rank += low - start;
    }
    merged[first + rank] = own;
}
