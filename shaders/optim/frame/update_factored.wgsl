// The first view of each block of 64 elements.
@group(0) @binding(5) var<storage, read> blocks: array<u32>;
@group(0) @binding(6) var<storage, read> views: array<View>;
@group(0) @binding(7) var<storage, read> values: array<f32>;
