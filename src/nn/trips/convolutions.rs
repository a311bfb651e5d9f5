//! Trips of the kernels of grouped and transposed convolutions and of resizing.

use super::graphs::Subject;
use super::products::pixels;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::nn::{Conv1d, Conv2d, ConvTranspose2d, Padding};

pub(super) const ROWS: &[Row] = &[
    ("adaptive_avg_pool2d", area),
    ("adaptive_avg_pool2d_grad", area),
    ("conv2d_depthwise", |sizes| {
        let columns = sizes.get("COLUMNS");
        let [rows, per_part] = ["rows_per_part", "columns_per_part"].map(|name| sizes.get(name));
        Trips::AtMost(rows * (1 + per_part.div_ceil(columns)))
    }),
    ("conv2d_depthwise_input_grad", area),
    ("conv2d_depthwise_weight_grad", |sizes| pixels(sizes, sizes.get("PIXELS"))),
    ("conv2d_gather", |sizes| Trips::AtMost(sizes.get("run"))),
    ("conv2d_tile", |sizes| Trips::AtMost(sizes.get("run").div_ceil(sizes.get("TILE_STEPS")))),
    ("conv2d_weight_grad_gather", |sizes| Trips::AtMost(sizes.get("run").div_ceil(4))),
    ("conv2d_weight_grad_tile", |sizes| {
        let run = sizes.get("run");
        Trips::AtMost(run.div_ceil(sizes.get("TILE_STEPS")) + run.div_ceil(sizes.get("BIAS_CHAINS")))
    }),
    ("upsample_nearest_grad", area),
];

/// Rows and columns of a part; fewer at an edge.
fn area(sizes: &Sizes<'_>) -> Trips {
    let [rows, columns] = ["rows_per_part", "columns_per_part"].map(|name| sizes.get(name));
    Trips::AtMost(rows * (1 + columns))
}

fn conv((shape, layer, name): ([usize; 4], Conv2d, &str)) -> Subject {
    Subject::train(format!("conv2d of {shape:?}, {name}"), |graph| {
        graph.input("x", shape).bias().conv2d(layer).relu()
    })
}

fn transposed((shape, layer): ([usize; 4], ConvTranspose2d)) -> Subject {
    Subject::train(format!("conv_transpose2d of {shape:?}, {layer:?}"), |graph| {
        graph.input("x", shape).bias().conv_transpose2d(layer)
    })
}

fn adaptive((shape, output): ([usize; 4], [usize; 2])) -> Subject {
    Subject::train(format!("adaptive_avg_pool2d of {shape:?} to {output:?}"), |graph| {
        graph.input("x", shape).bias().adaptive_avg_pool2d(output)
    })
}

fn upsampled((shape, scale): ([usize; 4], [f64; 2])) -> Subject {
    Subject::train(format!("upsample of {shape:?} by {scale:?}"), |graph| {
        graph.input("x", shape).bias().upsample(scale)
    })
}

pub(super) fn extreme() -> Vec<Subject> {
    let convs = [
        ([1, 2, 2_048, 2_048], Conv2d::new(2, 2_048).groups(2), "depthwise, all of it"),
        ([1, 2, 1, 65_535], Conv2d::new(2, [1, 65_535]).groups(2), "depthwise row"),
        ([1, 2, 65_535, 1], Conv2d::new(2, [65_535, 1]).groups(2).stride(2), "depthwise column"),
        ([1, 2, 65_535, 7], Conv2d::new(2, [65_535, 7]).groups(2), "depthwise of 7 columns"),
        ([1, 2, 3_000, 3_000], Conv2d::new(2, 300).groups(2).stride(3), "depthwise, strided"),
        (
            [1, 2, 300, 300],
            Conv2d::new(2, 300).groups(2).dilation(3).padding(Padding::SAME),
            "depthwise with gaps",
        ),
        ([1, 2, 1, 1 << 24], Conv2d::new(2, [1, 3]).groups(2), "depthwise, a long row"),
        ([1, 3, 1 << 24, 1], Conv2d::new(3, [3, 1]).groups(3), "depthwise, a long column"),
        ([1 << 24, 2, 3, 3], Conv2d::new(2, 3).groups(2), "depthwise, many images"),
        ([1, 1 << 22, 8, 8], Conv2d::new(1 << 22, 3).groups(1 << 22), "depthwise, many channels"),
        ([1, 1 << 22, 3, 3], Conv2d::new(16, [1, 3]).groups(2), "two groups of many channels"),
        ([1, 1 << 20, 3, 3], Conv2d::new(3 << 20, 1).groups(1 << 20), "many groups"),
        ([1, 4, 1_024, 1_024], Conv2d::new(6, 700).groups(2), "two groups, large kernels"),
        ([1, 6, 1 << 12, 1 << 12], Conv2d::new(4, 3).groups(2), "two groups, many pixels"),
        ([1, 40, 1 << 11, 1 << 11], Conv2d::new(36, 3).groups(2).stride(2), "even groups, many pixels"),
        ([1, 1 << 16, 7, 7], Conv2d::new(1 << 9, 3).stride(2), "many channels, strided"),
        ([1, 1 << 9, 7, 7], Conv2d::new(1 << 16, 3).padding(1), "3x3 to many channels"),
        ([1, 9, 300, 300], Conv2d::new(9, 250).stride(2), "large kernels"),
    ];
    let transposes = [
        ([1, 1, 2, 2], ConvTranspose2d::new(1, [2_048, 2_047])),
        ([1, 2, 3, 3], ConvTranspose2d::new(2, [1_000, 999]).stride(3).groups(2)),
        ([1, 1 << 22, 3, 3], ConvTranspose2d::new(3, 3).stride(2)),
        ([1, 3, 3, 3], ConvTranspose2d::new(1 << 22, 2)),
        ([1, 2, 1 << 12, 1 << 12], ConvTranspose2d::new(3, 2).stride(2)),
    ];
    let adaptives = [
        ([1, 1, 1 << 14, 1 << 15], [1, 1]),
        ([1, 1, 1, 1], [1 << 14, 1 << 14]),
        ([1, 1, 1, 1 << 28], [1, 2]),
        ([1, 1, 1 << 28, 1], [3, 1]),
        ([1, 1, 60_000, 5], [59_999, 1]),
        ([1, 1, 1, 1], [1, 1 << 28]),
        ([1 << 20, 3, 7, 7], [1, 1]),
    ];
    let upsamples = [
        ([1, 1, 1, 1], [16_384.0, 16_000.0]),
        ([1, 1, 2, 2], [10_000.3, 9_999.7]),
        ([1, 1, 1, 1], [1.0, 1e7]),
        ([1, 1, 1, 3], [2e6 + 0.5, 1.0]),
        ([1, 1, 5_000, 5_000], [0.37, 2.5]),
    ];
    let subjects = convs.into_iter().map(conv).chain(transposes.into_iter().map(transposed));
    subjects.chain(adaptives.into_iter().map(adaptive)).chain(upsamples.into_iter().map(upsampled)).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    let convs = [
        ([2, 6, 9, 8], Conv2d::new(9, 3).padding(1).groups(3), "three groups"),
        ([1, 8, 9, 8], Conv2d::new(8, 3).groups(2).stride(2), "two groups"),
        ([2, 5, 9, 8], Conv2d::new(5, 3).padding(1).groups(5), "depthwise"),
        ([1, 5, 9, 8], Conv2d::new(5, [3, 9]).padding(4).stride(2).groups(5), "depthwise, wide"),
        ([1, 3, 131, 133], Conv2d::new(3, [130, 131]).groups(3), "depthwise, large"),
        ([1, 3, 131, 133], Conv2d::new(3, [130, 131]).stride(2).groups(3), "depthwise, large, strided"),
        ([1, 4, 91, 97], Conv2d::new(4, [90, 95]).groups(2), "two groups, large kernels"),
        ([1, 2, 1, 300_001], Conv2d::new(2, [1, 3]).groups(2), "depthwise, a long row"),
        ([1, 2, 300, 301], Conv2d::new(2, 3).groups(2), "depthwise, many pixels"),
        ([1, 6, 150, 301], Conv2d::new(4, 1).groups(2), "two groups, many pixels"),
        ([2, 24, 9, 8], Conv2d::new(40, 3).groups(2).stride(2), "two even groups, strided"),
        ([1, 9, 300, 301], Conv2d::new(10, 1), "many pixels"),
        ([2, 12, 13, 14], Conv2d::new(20, 3).dilation(2), "with gaps"),
        ([1, 9, 13, 14], Conv2d::new(11, [3, 4]).stride([2, 3]), "strided"),
        ([1, 2_000, 3, 3], Conv2d::new(9, 3), "many channels"),
    ];
    let transposes = [
        ([2, 3, 5, 6], ConvTranspose2d::new(4, 3).stride(2).padding(1).output_padding(1)),
        ([2, 6, 5, 6], ConvTranspose2d::new(4, 3).groups(2)),
        ([1, 3, 5, 6], ConvTranspose2d::new(3, 3).stride(2).groups(3)),
        ([1, 4, 2, 3], ConvTranspose2d::new(4, [90, 95]).stride(2)),
    ];
    let adaptives = [
        ([2, 3, 5, 7], [1, 1]),
        ([2, 3, 5, 7], [2, 3]),
        ([2, 5, 3, 2], [7, 5]),
        ([1, 2, 131, 133], [1, 1]),
        ([1, 2, 1, 1], [131, 133]),
        ([1, 2, 1, 40_000], [1, 2]),
    ];
    let upsamples = [
        ([2, 3, 4, 5], [2.0, 3.0]),
        ([2, 3, 4, 5], [1.5, 0.7]),
        ([1, 2, 1, 1], [131.0, 133.0]),
        ([1, 2, 1, 3], [1.0, 20_000.5]),
    ];
    let row = Subject::train("conv1d", |graph| {
        graph.input("x", [2, 3, 40]).bias().conv1d(Conv1d::new(6, 4).padding(Padding::SAME).groups(3))
    });
    let subjects = convs.into_iter().map(conv).chain(transposes.into_iter().map(transposed)).chain([row]);
    subjects.chain(adaptives.into_iter().map(adaptive)).chain(upsamples.into_iter().map(upsampled)).collect()
}
