// Like gather.wgsl, for samples of bytes: each byte is an index into the table of its channel.
struct Shape {
    rows: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read_write> batch: array<vec4f>;
@group(0) @binding(4) var<storage, read> table: array<f32>;

fn number(row: u32, place: u32) -> f32 {
    let at = row * SAMPLE + place;
    let byte = (samples[at / 4u] >> (at % 4u * 8u)) & 0xffu;
    return table[place / PIXELS * 256u + byte];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i * 4u >= shape.rows * SAMPLE {
        return;
    }
    var numbers = vec4f();
    #for k in 0..4
    if i * 4u + $k < shape.rows * SAMPLE {
        numbers[$k] = number(indices[(i * 4u + $k) / SAMPLE], (i * 4u + $k) % SAMPLE);
    }
    #end
    batch[i] = numbers;
}
