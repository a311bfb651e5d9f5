// Number of elements of each tensor.
@group(0) @binding(6) var<storage, read> lens: array<f32>;

fn ratio_of(tensor: u32, norms: vec2f) -> f32 {
    return ratio(norms / sqrt(lens[tensor]));
}
