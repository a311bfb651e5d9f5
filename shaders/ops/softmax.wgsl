// The softmax along one dimension, or its logarithm. An invocation walks `COUNT` quads that are `STRIDE` apart: four
// lines side by side, or one line of columns if they are what is summed (`ALONG_COLUMNS`).
// As in torch, a line whose largest number is not finite is NaN.
struct Shape {
    lines: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

// Keeps NaN, unlike `max`.
fn larger(a: vec4f, b: vec4f) -> vec4f {
    return select(a, b, (b > a) | is_nan(b));
}

fn largest_of(first: u32) -> vec4f {
    var largest = x[first];
    if ALONG_COLUMNS != 0u {
        // The first column is no padding.
        largest = vec4f(largest.x);
    }
    for (var k = 0u; k < COUNT; k++) {
        let at = first + k * STRIDE;
        largest = select(largest, larger(largest, x[at]), is_column(at));
    }
    if ALONG_COLUMNS != 0u {
        largest = larger(largest, largest.yxwz);
        largest = larger(largest, largest.zwxy);
    }
    return largest;
}

fn sum_of_exponentials(first: u32, largest: vec4f) -> vec4f {
    var sum = vec4f(0.0);
    for (var k = 0u; k < COUNT; k++) {
        let at = first + k * STRIDE;
        sum += select(vec4f(0.0), exp_of_negative(x[at] - largest), is_column(at));
    }
    if ALONG_COLUMNS != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.lines {
        return;
    }
    let first = i / STRIDE * (COUNT * STRIDE) + i % STRIDE;
    let largest = largest_of(first);
    let sum = sum_of_exponentials(first, largest);
    let bits = bitcast<vec4u>(largest);
    let is_finite = (bits & vec4u(0x7fffffffu)) < vec4u(0x7f800000u);
    let nan = bitcast<vec4f>(bits | vec4u(0x7fc00000u));
    for (var k = 0u; k < COUNT; k++) {
        let at = first + k * STRIDE;
        var value = x[at] - largest;
        if LOG != 0u {
            value -= log(sum);
        } else {
            value = exp_of_negative(value) / sum;
        }
        y[at] = select(vec4f(0.0), select(nan, value, is_finite), is_column(at));
    }
}
