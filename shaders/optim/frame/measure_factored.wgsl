// The first view of each chunk's tensor.
@group(0) @binding(7) var<storage, read> marks: array<u32>;
@group(0) @binding(8) var<storage, read> views: array<View>;
@group(0) @binding(9) var<storage, read> values: array<f32>;

fn begin_chunk(chunk: u32) {
    begin(marks[chunk]);
}

fn measured(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32) -> Measured {
    return measure(p, g, factors(at));
}
