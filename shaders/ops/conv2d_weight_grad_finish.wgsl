// Adds the partial sums of a weight gradient in order, and writes it as OIHW together with the bias gradient. With GROUPED,
// the rows of partial sums are channels of the band of each vec4 of output channels. LANES are those of a workgroup.
struct Shape {
    out_channels: u32,
    in_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    group_inputs: u32,
    group_outputs: u32,
    // Padded, as in the partial sums.
    inner: u32,
    outer_vectors: u32,
    parts: u32,
    has_bias: u32,
    accumulate: u32,
    accumulate_bias: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> weight_grad: array<f32>;
@group(0) @binding(3) var<storage, read_write> bias_grad: array<f32>;

const NOWHERE: u32 = 0xffffffffu;

// The row of the weight of an output channel (the `lane` of a vec4 from `channel` on) and an input channel.
fn row_of(channel: u32, lane: u32, inner: u32) -> u32 {
    if GROUPED == 0u {
        return (channel + lane) * shape.in_channels + inner;
    }
    let band_first = channel / shape.group_outputs * shape.group_inputs / 4u * 4u;
    // Channels of groups before wrap to huge numbers.
    let in_group = band_first + inner - (channel + lane) / shape.group_outputs * shape.group_inputs;
    return select(NOWHERE, (channel + lane) * shape.group_inputs + in_group, in_group < shape.group_inputs);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * LANES + id.x;
    let taps = shape.kernel_height * shape.kernel_width;
    let row = index / shape.outer_vectors;
    let channel = index % shape.outer_vectors * 4u;
    let tap = row / shape.inner;
    let inner = row % shape.inner;
    let is_weight = tap < taps && (inner < shape.in_channels || GROUPED == 1u);
    let is_bias = row == taps * shape.inner && shape.has_bias == 1u;
    if !(is_weight || is_bias) {
        return;
    }
    let part_len = (taps * shape.inner + 1u) * shape.outer_vectors;
    var sum = partials[index];
    for (var part = 1u; part < shape.parts; part++) {
        sum += partials[part * part_len + index];
    }
    #for o in 0..4
    if channel + $o < shape.out_channels {
        if is_bias {
            let old = bias_grad[channel + $o];
            bias_grad[channel + $o] = sum[$o] + select(0.0, old, shape.accumulate_bias == 1u);
        } else {
            let row = row_of(channel, $o, inner);
            if row != NOWHERE {
                let at = row * taps + tap;
                let old = weight_grad[at];
                weight_grad[at] = sum[$o] + select(0.0, old, shape.accumulate == 1u);
            }
        }
    }
    #end
}
