// Packs an OIHW weight as [ky][kx][inner][outer], padded with zeros, and a row of bias behind it. With GROUPED, inner
// counts from the first channel of the band of each vec4 of outer. With PHASED, the taps stand in the order of phases.wgsl.
struct Shape {
    out_channels: u32,
    in_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    group_inputs: u32,
    group_outputs: u32,
    // 0: inner = input channels, for the forward pass. 1: inner = output channels, for the input gradient.
    transposed: u32,
    // Both kernel axes.
    flipped: u32,
    has_bias: u32,
    // With PHASED: classes of taps.
    classes_y: u32,
    classes_x: u32,
    // Padded.
    inner: u32,
    outer_vectors: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> packed: array<vec4f>;

fn weight_at(ky: u32, kx: u32, inner: u32, outer: u32) -> f32 {
    let swap = shape.transposed == 1u;
    let flip = shape.flipped == 1u;
    var summed = inner;
    if GROUPED == 1u {
        let outer_each = select(shape.group_outputs, shape.group_inputs, swap);
        let inner_each = select(shape.group_inputs, shape.group_outputs, swap);
        summed += outer / 4u * 4u / outer_each * inner_each / 4u * 4u;
    }
    let o = select(outer, summed, swap);
    let c = select(summed, outer, swap);
    let y = select(ky, shape.kernel_height - 1u - ky, flip);
    let x = select(kx, shape.kernel_width - 1u - kx, flip);
    var inside = o < shape.out_channels && c < shape.in_channels;
    var row = o * shape.in_channels + c;
    if GROUPED == 1u {
        inside = inside && o / shape.group_outputs == c / shape.group_inputs;
        row = o * shape.group_inputs + c % shape.group_inputs;
    }
    let at = (row * shape.kernel_height + y) * shape.kernel_width + x;
    return select(0.0, weight[select(0u, at, inside)], inside);
}

fn bias_at(channel: u32) -> f32 {
    let channels = select(shape.out_channels, shape.in_channels, shape.transposed == 1u);
    let inside = shape.has_bias == 1u && channel < channels;
    return select(0.0, bias[select(0u, channel, inside)], inside);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    let row = index / shape.outer_vectors;
    let outer = index % shape.outer_vectors * 4u;
    let rows = shape.kernel_height * shape.kernel_width * shape.inner;
    if row < rows {
        let inner = row % shape.inner;
        var kx = row / shape.inner % shape.kernel_width;
        var ky = row / (shape.inner * shape.kernel_width);
        if PHASED == 1u {
            let size = vec2u(shape.kernel_height, shape.kernel_width);
            let tap = tap_at(row / shape.inner, size, vec2u(shape.classes_y, shape.classes_x));
            ky = tap.x;
            kx = tap.y;
        }
        packed[index] = vec4f(
            weight_at(ky, kx, inner, outer),
            weight_at(ky, kx, inner, outer + 1u),
            weight_at(ky, kx, inner, outer + 2u),
            weight_at(ky, kx, inner, outer + 3u),
        );
    } else if row == rows {
        packed[index] = vec4f(bias_at(outer), bias_at(outer + 1u), bias_at(outer + 2u), bias_at(outer + 3u));
    }
}
