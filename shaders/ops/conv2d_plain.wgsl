// Convolution of NHWC activations that assumes nothing: one invocation, one pixel and four output channels.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    out_height: u32,
    out_width: u32,
    out_vectors: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: i32,
    pad_x: i32,
    dilation_y: u32,
    dilation_x: u32,
    len: u32,
    grid_width: u32,
    relu: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if index >= shape.len {
        return;
    }
    let channel = index % shape.out_vectors;
    let pixel = index / shape.out_vectors;
    let out_x = pixel % shape.out_width;
    let out_y = pixel / shape.out_width % shape.out_height;
    let image = pixel / (shape.out_width * shape.out_height);

    let inner = shape.channel_vectors * 4u;
    var sum = weight[shape.kernel_height * shape.kernel_width * inner * shape.out_vectors + channel];
    for (var ky = 0u; ky < shape.kernel_height; ky++) {
        let y = i32(out_y * shape.stride_y + ky * shape.dilation_y) - shape.pad_y;
        for (var kx = 0u; kx < shape.kernel_width; kx++) {
            let x = i32(out_x * shape.stride_x + kx * shape.dilation_x) - shape.pad_x;
            if y >= 0 && y < i32(shape.height) && x >= 0 && x < i32(shape.width) {
                let input_at = ((image * shape.height + u32(y)) * shape.width + u32(x)) * shape.channel_vectors;
                let weight_at = (ky * shape.kernel_width + kx) * inner * shape.out_vectors + channel;
                for (var quad = 0u; quad < shape.channel_vectors; quad++) {
                    let values = input[input_at + quad];
                    #for c in 0..4
                    sum = fma(vec4f(values[$c]), weight[weight_at + (quad * 4u + $c) * shape.out_vectors], sum);
                    #end
                }
            }
        }
    }
    if shape.accumulate == 1u {
        sum += output[index];
    }
    // Keeps NaN, unlike `max`.
    let rectified = select(sum, vec4f(), sum < vec4f());
    output[index] = select(sum, rectified, shape.relu == 1u);
}
