// The quotient of two scalars.
struct Shape {
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> numerator: array<vec4f>;
@group(0) @binding(2) var<storage, read> denominator: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> quotient: array<vec4f>;

@compute @workgroup_size(1)
fn main() {
    // Padding is not divided, because 0 / 0 is NaN.
    var value = vec4f(numerator[0].x / denominator[0].x, 0.0, 0.0, 0.0);
    if shape.accumulate != 0u {
        value += quotient[0];
    }
    quotient[0] = value;
}
