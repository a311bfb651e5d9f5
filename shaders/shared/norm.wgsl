// Shared by the kernels of normalisations. A matrix has rows of `ROW_QUADS` quads with `COLUMNS` columns; every
// `ROWS` rows are one image. A line is the elements that are normalised together: the `GROUP_COLUMNS` columns of a
// group in all rows of one image (`JOINED`), or four columns, each by itself. It is processed as rows of `WIDTH`
// quads.
struct Shape {
    work: u32,
    lines: u32,
    // Number of quads of a line (or of parts of one), and how many an invocation processes.
    count: u32,
    length: u32,
    quads: u32,
    // The reciprocal of the number of elements normalised together.
    scale: f32,
    eps: f32,
    momentum: f32,
    // Ratio of the number of elements to that number minus one.
    unbias: f32,
    adds: u32,
    adds_weight: u32,
    adds_bias: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The mean, in two parts because the second is small, and the factor.
struct Statistic {
    shift: vec4f,
    delta: vec4f,
    rstd: vec4f,
}

fn first_of_line(line: u32) -> u32 {
    return line / GROUPS * (ROWS * ROW_QUADS) + line % GROUPS * GROUP_COLUMNS / 4u;
}

// Quad `k` of a line that starts at `first`.
fn quad_of(first: u32, k: u32) -> u32 {
    if WIDTH == ROW_QUADS {
        return first + k;
    }
    return first + k / WIDTH * ROW_QUADS + k % WIDTH;
}

// Whether each element of quad `i` belongs to a line. A group can start and end inside a quad.
fn is_inside(line: u32, i: u32) -> vec4<bool> {
    if MASKED == 0u {
        return vec4<bool>(true);
    }
    let column = vec4u(i % ROW_QUADS * 4u) + vec4u(0u, 1u, 2u, 3u);
    // Columns before the first wrap around.
    return column - vec4u(line % GROUPS * GROUP_COLUMNS) < vec4u(GROUP_COLUMNS);
}

// Whether each element of quad `i` is not padding.
fn is_element(i: u32) -> vec4<bool> {
    if COLUMNS == ROW_QUADS * 4u {
        return vec4<bool>(true);
    }
    return vec4u(i % ROW_QUADS * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(COLUMNS);
}

struct Sums {
    plain: vec4f,
    product: vec4f,
}

fn lane_sum(lanes: vec4f) -> f32 {
    return lanes.x + lanes.y + lanes.z + lanes.w;
}

// Two sums over the lanes that share a line, and over the elements of their quads if those are normalised together.
fn joined(team: Team, sums: Sums) -> Sums {
    if JOINED == 0u {
        return Sums(team_sum(team, sums.plain), team_sum(team, sums.product));
    }
    let both = team_sum(team, vec4f(lane_sum(sums.plain), lane_sum(sums.product), 0.0, 0.0));
    return Sums(vec4f(both.x), vec4f(both.y));
}

fn normalized(value: vec4f, statistic: Statistic) -> vec4f {
    return ((value - statistic.shift) - statistic.delta) * statistic.rstd;
}
