// One step of a recurrent layer. Rows of gates and outputs are indexed by step and sample; the rows of states hold
// the state before each step.
struct Shape {
    // Number of samples.
    batch: u32,
    // The row of the first sample at this step, and the distance to the next sample's.
    row: u32,
    row_stride: u32,
    // The same for the states before and after this step.
    state_row: u32,
    next_state_row: u32,
    state_stride: u32,
    // Whether another step follows, which reads the state.
    has_next: u32,
    // The first rows of the cell states before and after this step. Samples are contiguous.
    cell_row: u32,
    next_cell_row: u32,
    row_tiles: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [rows, GATES_PITCH]: the input products, with their bias.
@group(0) @binding(1) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
// Both [rows, PITCH].
@group(0) @binding(4) var<storage, read_write> states: array<f32>;
@group(0) @binding(5) var<storage, read_write> results: array<f32>;

// The input products of the gates of a unit; a cell has up to four gates.
fn input_of(sample: u32, unit: u32) -> vec4f {
    let at = (shape.row + sample * shape.row_stride) * GATES_PITCH + min(unit, HIDDEN - 1u);
    var input = vec4f();
    #for g in 0..GATES
    input[$g] = gates[at + $g * HIDDEN];
    #end
    return input;
}

fn bias_of(unit: u32) -> vec4f {
    var sum = vec4f();
    if HAS_BIAS == 1u {
        let at = min(unit, HIDDEN - 1u);
        #for g in 0..GATES
        sum[$g] = bias[at + $g * HIDDEN];
        #end
    }
    return sum;
}

fn state_before(sample: u32, unit: u32) -> f32 {
    return states[(shape.state_row + sample * shape.state_stride) * PITCH + unit];
}

// Units past the last one are padding.
fn store_state(sample: u32, unit: u32, state: f32) {
    let value = select(0.0, state, unit < HIDDEN);
    results[(shape.row + sample * shape.row_stride) * PITCH + unit] = value;
    if shape.has_next == 1u {
        states[(shape.next_state_row + sample * shape.state_stride) * PITCH + unit] = value;
    }
}

// The index at which a unit's values for the backward step are saved.
fn saved_at(sample: u32, unit: u32) -> u32 {
    return (shape.row + sample * shape.row_stride) * PITCH + unit;
}
