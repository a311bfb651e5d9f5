// 1 for each row whose first maximum is at its label, 0 for all other rows.
struct Shape {
    rows: u32,
    classes: u32,
    row_quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<Quad>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> hits: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    let i = team.line;
    // The grid includes the padding of the results, which must be zero.
    let is_place = i < (shape.rows + 3u) / 4u * 4u;
    #for alone in 0..ALONE
    if !is_place {
        return;
    }
    if i >= shape.rows {
        hits[i] = 0.0;
        return;
    }
    #end
    let row = min(i, shape.rows - 1u);
    let best = best_class(team, row);
    let is_hit = i < shape.rows && best == labels[row];
    if team.member == 0u && is_place {
        hits[i] = select(0.0, 1.0, is_hit);
    }
}
