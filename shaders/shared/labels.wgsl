// Labels and class `weights`, for kernels whose `shape` has `ignores` and `ignored`; and the layout of the losses of
// `rows` rows: a matrix with `columns` losses per row, padded to `pitch`.

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
