// One backward step of a recurrent layer. Rows of gates, outputs and states are indexed by step and sample.
struct Shape {
    // Number of samples.
    batch: u32,
    // The row of the first sample at this step, and the distance to the next sample's.
    row: u32,
    row_stride: u32,
    // The same for the next step, whose gates read the state of this step.
    after_row: u32,
    has_after: u32,
    // Whether the state of this step has an upstream gradient from outside, and where.
    has_upstream: u32,
    upstream_row: u32,
    upstream_stride: u32,
    // The first rows of the cell states before and after this step. Samples are contiguous.
    cell_row: u32,
    next_cell_row: u32,
    // Whether the gradient of the initial state is added to its destination.
    accumulate: u32,
    row_tiles: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [rows, PITCH].
@group(0) @binding(2) var<storage, read> upstream: array<vec4f>;
// [rows, GATES_PITCH]: the gradients of the state products.
@group(0) @binding(3) var<storage, read_write> gate_grads: array<f32>;

fn upstream_of(sample: u32, quad: u32) -> vec4f {
    if shape.has_upstream == 0u {
        return vec4f();
    }
    return upstream[(shape.upstream_row + sample * shape.upstream_stride) * (PITCH / 4u) + quad];
}

// The value with zeros past the last unit.
fn inside(quad: u32, value: vec4f) -> vec4f {
    return select(vec4f(), value, vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(HIDDEN));
}

// The index of a gate of four units. PADDING elements follow the gates of a row.
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
