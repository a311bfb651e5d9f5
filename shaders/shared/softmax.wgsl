// The softmax of a row of `logits`, for kernels whose `shape` has `classes` and `row_quads`.

fn is_class(quad: u32) -> vec4<bool> {
    return vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(shape.classes);
}

fn largest_of(team: Team, row: u32) -> f32 {
    // The first class is never padding.
    var largest = vec4f(logits[row * shape.row_quads].x);
    for (var quad = team.member; quad < shape.row_quads; quad += TEAM) {
        largest = select(largest, larger(largest, logits[row * shape.row_quads + quad]), is_class(quad));
    }
    return largest_lane(team_largest(team, largest)).x;
}

// Sums in runs, because a long chain of additions loses precision.
fn sum_of_exponentials(team: Team, row: u32, largest: f32) -> f32 {
    var sum = vec4f(0.0);
    for (var start = team.member; start < shape.row_quads; start += RUN * TEAM) {
        var run = vec4f(0.0);
        for (var quad = start; quad < min(start + RUN * TEAM, shape.row_quads); quad += TEAM) {
            let value = exp_of_negative(logits[row * shape.row_quads + quad] - vec4f(largest));
            run += select(vec4f(0.0), value, is_class(quad));
        }
        sum += run;
    }
    sum = team_sum(team, sum);
    return sum.x + sum.y + sum.z + sum.w;
}

// The sum of minus the log-softmax times the class weights.
fn weighted_sum(team: Team, row: u32, largest: f32, log_sum: f32) -> f32 {
    var sum = vec4f(0.0);
    for (var start = team.member; start < shape.row_quads; start += RUN * TEAM) {
        var run = vec4f(0.0);
        for (var quad = start; quad < min(start + RUN * TEAM, shape.row_quads); quad += TEAM) {
            run += weights[quad] * (log_sum + (largest - logits[row * shape.row_quads + quad]));
        }
        sum += run;
    }
    sum = team_sum(team, sum);
    return sum.x + sum.y + sum.z + sum.w;
}
