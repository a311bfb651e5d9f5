// Each element times `scale` where its uniform number is at least `p`, times 0 elsewhere; the backward pass takes the
// same way, and draws the same numbers.
struct Shape {
    quads: u32,
    stream: u32,
    p: f32,
    scale: f32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// Seed and step, the low word of each first.
@group(0) @binding(1) var<storage, read> random: array<vec4u>;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.quads {
        return;
    }
    let words = random_words(vec4u(i, shape.stream, random[0].zw), random[0].xy);
    let kept = random_uniform(words) >= vec4f(shape.p);
    var value = x[i] * select(vec4f(0.0), vec4f(shape.scale), kept);
    if shape.accumulate != 0u {
        value += y[i];
    }
    y[i] = value;
}
