// Converts dense images to padded rows: one row per pixel, channels in quads, zeros after the last channel.
struct Shape {
    images: u32,
    channel_stride: u32,
    pixel_stride: u32,
    image_pitch: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> dense: array<f32>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.images * PIXELS * QUADS {
        return;
    }
    let image = i / (PIXELS * QUADS);
    let first = image * shape.image_pitch + i / QUADS % PIXELS * shape.pixel_stride;
    var value = vec4f(0.0);
    #for k in 0..4
    if i % QUADS * 4u + $k < CHANNELS {
        value[$k] = dense[first + (i % QUADS * 4u + $k) * shape.channel_stride];
    }
    #end
    if ACCUMULATE != 0u {
        value += rows[i];
    }
    rows[i] = value;
}
