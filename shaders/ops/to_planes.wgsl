// Converts padded rows to dense images; the inverse of to_rows. Writes zeros between the end of an image and the
// next.
struct Shape {
    images: u32,
    channel_stride: u32,
    pixel_stride: u32,
    image_pitch: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> rows: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dense: array<f32>;

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
    let value = rows[i];
    #for k in 0..4
    if i % QUADS * 4u + $k < CHANNELS {
        let at = first + (i % QUADS * 4u + $k) * shape.channel_stride;
        if ACCUMULATE != 0u {
            dense[at] += value[$k];
        } else {
            dense[at] = value[$k];
        }
    }
    #end
    if i % (PIXELS * QUADS) == 0u {
        for (var rest = CHANNELS * PIXELS; rest < shape.image_pitch; rest++) {
            dense[image * shape.image_pitch + rest] = 0.0;
        }
    }
}
