// Labels and the `weights` of classes, for kernels whose `shape` has `ignores` and `ignored`; and where the losses of
// `rows` lie: in a matrix whose rows of `columns` losses are padded to `pitch`.

fn is_ignored(label: u32) -> bool {
    return shape.ignores == 1u && label == shape.ignored;
}

fn weight_of(label: u32) -> f32 {
    return weights[label / 4u][label % 4u];
}

fn places() -> u32 {
    return shape.rows / shape.columns * shape.pitch;
}

fn is_padding(place: u32) -> bool {
    return place % shape.pitch >= shape.columns;
}

fn row_at(place: u32) -> u32 {
    return place / shape.pitch * shape.columns + place % shape.pitch;
}

fn place_of(row: u32) -> u32 {
    return row / shape.columns * shape.pitch + row % shape.columns;
}
