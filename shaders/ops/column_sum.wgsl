// Sums of the columns of a matrix over runs of rows: the lanes of a line have four columns and one run. A second
// dispatch sums the runs.
struct Shape {
    rows: u32,
    // Length of a row in vec4, and number of columns of the output. The padding of the last vec4 is not written.
    vectors: u32,
    columns: u32,
    rows_per_part: u32,
    parts: u32,
    // Length of a row of the output in f32.
    out_pitch: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    let vector = team.line % shape.vectors;
    let part = team.line / shape.vectors;
    #for alone in 0..ALONE
    if part >= shape.parts {
        return;
    }
    #end
    var sum = vec4f();
    let end = min((part + 1u) * shape.rows_per_part, shape.rows);
    for (var row = part * shape.rows_per_part + team.member; row < end; row += TEAM) {
        sum += input[row * shape.vectors + vector];
    }
    sum = team_sum(team, sum);
    if team.member != 0u || part >= shape.parts {
        return;
    }
    #for c in 0..4
    if vector * 4u + $c < shape.columns {
        let at = part * shape.out_pitch + vector * 4u + $c;
        let old = output[at];
        output[at] = sum[$c] + select(0.0, old, shape.accumulate == 1u);
    }
    #end
}
