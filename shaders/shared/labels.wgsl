// Labels and the `weights` of classes, for kernels whose `shape` has `ignores` and `ignored`.

fn is_ignored(label: u32) -> bool {
    return shape.ignores == 1u && label == shape.ignored;
}

fn weight_of(label: u32) -> f32 {
    return weights[label / 4u][label % 4u];
}
