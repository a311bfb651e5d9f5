// 1 for each row whose first largest logit is at its label, 0 for all others.
struct Shape {
    rows: u32,
    classes: u32,
    row_quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<Quad>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> hits: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    // The padding of the row of hits is part of the grid, and zero.
    if i >= (shape.rows + 3u) / 4u * 4u {
        return;
    }
    if i >= shape.rows {
        hits[i] = 0.0;
        return;
    }
    hits[i] = select(0.0, 1.0, best_class(i) == labels[i]);
}
