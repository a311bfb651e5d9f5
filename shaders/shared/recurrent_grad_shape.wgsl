// One step back of a recurrent layer. Rows of gates, results and states belong to a step and a sample.
struct Shape {
    // Samples.
    batch: u32,
    // The row of the first sample in this step, and the distance to the next sample's.
    row: u32,
    row_stride: u32,
    // The same of the step after this one, whose gates read the state that this one made.
    after_row: u32,
    has_after: u32,
    // Whether a gradient comes to the state of this step from outside of the steps, and where it lies.
    has_upstream: u32,
    upstream_row: u32,
    upstream_stride: u32,
    // The first rows of the cells before this step and after it; samples follow each other.
    cell_row: u32,
    next_cell_row: u32,
    // Whether the gradient of the first state adds to what is there.
    accumulate: u32,
    row_tiles: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [rows, PITCH].
@group(0) @binding(2) var<storage, read> upstream: array<vec4f>;
// [rows, GATES_PITCH]: the gradients of the products of the states.
@group(0) @binding(3) var<storage, read_write> gate_grads: array<f32>;

fn upstream_of(sample: u32, quad: u32) -> vec4f {
    if shape.has_upstream == 0u {
        return vec4f();
    }
    return upstream[(shape.upstream_row + sample * shape.upstream_stride) * (PITCH / 4u) + quad];
}

// Zeros in place of what stands past the last unit.
fn inside(quad: u32, value: vec4f) -> vec4f {
    return select(vec4f(), value, vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(HIDDEN));
}

// The place of a gate of four units. PADDING elements stand behind all gates of a row.
fn gate_at(sample: u32, quad: u32, gate: u32) -> u32 {
    return (shape.row + sample * shape.row_stride) * GATES_PITCH + gate * HIDDEN + quad * 4u;
}

fn store_gate(sample: u32, quad: u32, gate: u32, value: vec4f) {
    let at = gate_at(sample, quad, gate);
    #for j in 0..4
    if HIDDEN % 4u == 0u || quad * 4u + $j < HIDDEN {
        gate_grads[at + $j] = value[$j];
    }
    #end
    if quad + gate == 0u {
        #for j in 0..PADDING
        gate_grads[at + GATES * HIDDEN + $j] = 0.0;
        #end
    }
}
