//! Trips of the kernels of matrix products, convolutions, poolings and column sums.

use super::graphs::Subject;
use super::sizes::Sizes;
use super::{Row, Trips};
use crate::nn::{AvgPool2d, Conv2d, Init, Linear, MaxPool2d};

pub(super) const ROWS: &[Row] = &[
    ("avg_pool2d", window),
    ("avg_pool2d_grad", windows),
    ("column_sum", |sizes| Trips::Exactly(super::lines::shared(sizes.get("rows_per_part"), sizes))),
    ("conv2d", |sizes| {
        let stores = sizes.get("ROWS") / sizes.get("FINISHED");
        if sizes.get("SPLIT") == 1 {
            return Trips::AtMost(sizes.get("rows_per_part") * sizes.get("pairs_per_part") + stores);
        }
        Trips::AtMost(tiled_window(sizes).most() + stores)
    }),
    ("conv2d_input_grad_plain", plain_window),
    ("conv2d_plain", plain_window),
    ("conv2d_plane", |sizes| Trips::Exactly(2 * sizes.get("tiles_each"))),
    ("conv2d_plane_pool", |sizes| Trips::Exactly(sizes.get("tiles_each"))),
    ("conv2d_pool", tiled_window),
    ("conv2d_weight_grad", |sizes| {
        let steps = sizes.get("columns_per_part").div_ceil(sizes.get("WINDOWS"));
        let sums = sizes.get("rows_per_part") * steps * (sizes.get("SCALE") / sizes.get("ROWS"));
        at_first(sizes, sums + sizes.get("KERNEL_ROWS") * sizes.get("KERNEL_WIDTH"))
    }),
    // Eight taps of four channels.
    ("conv2d_pack", |_| Trips::AtMost(8 * (1 + 4))),
    ("conv2d_weight_grad_finish", |sizes| Trips::AtMost(sizes.get("most_parts") - 1 + 4)),
    ("conv2d_weight_grad_plain", |sizes| pixels(sizes, 1)),
    ("matmul_lanes", |sizes| {
        Trips::Exactly(run(sizes).div_ceil(sizes.get("STEP_LANES") * sizes.get("WIDTH")))
    }),
    ("matmul_nn", |sizes| Trips::AtMost(run(sizes) + sizes.get("ROWS"))),
    ("matmul_nt", |sizes| Trips::AtMost(run(sizes) + sizes.get("ROWS"))),
    ("matmul_plain", |sizes| Trips::Exactly(run(sizes))),
    ("matmul_tile", |sizes| Trips::Exactly(run(sizes).div_ceil(sizes.get("TILE_STEPS")))),
    ("matmul_tn", |sizes| Trips::AtMost(run(sizes).div_ceil(4) + sizes.get("ROWS"))),
    ("max_pool2d", window),
    ("max_pool2d_grad", windows),
    ("max_pool2d_spread", |sizes| nested(sizes.get("KERNEL_HEIGHT"), sizes.get("KERNEL_WIDTH"))),
    ("sum_parts", |sizes| Trips::Exactly(sizes.get("parts") - 1)),
];

/// A loop over columns inside a loop over rows.
fn nested(rows: usize, columns: usize) -> Trips {
    Trips::Exactly(rows * (1 + columns))
}

/// The share of the first part of a dispatch in an inner dimension. Only the last part can be shorter.
fn run(sizes: &Sizes<'_>) -> usize {
    let run = sizes.get("run");
    run.min(sizes.get("steps") - sizes.get("first_part") * run)
}

/// Rows of the kernel and pairs of channels.
fn tiled_window(sizes: &Sizes<'_>) -> Trips {
    let pairs = if sizes.get("CHANNELS") == 1 { 1 } else { sizes.get("used_pairs") };
    Trips::Exactly(sizes.get("kernel_height") * pairs)
}

/// Rows, columns and channels of the kernel; less for a window that hangs over the edge.
fn plain_window(sizes: &Sizes<'_>) -> Trips {
    let [rows, columns, quads] =
        ["rows_per_part", "columns_per_part", "quads_per_part"].map(|name| sizes.get(name));
    Trips::AtMost(rows * (1 + columns * (1 + quads)))
}

/// Rows of the output and steps per row; the last parts can have fewer.
pub(super) fn pixels(sizes: &Sizes<'_>, step: usize) -> Trips {
    at_first(sizes, sizes.get("rows_per_part") * (1 + sizes.get("columns_per_part").div_ceil(step)))
}

/// Trips of a dispatch that starts with the first part; the last parts can have fewer.
fn at_first(sizes: &Sizes<'_>, trips: usize) -> Trips {
    if sizes.get("first_part") == 0 { Trips::Exactly(trips) } else { Trips::AtMost(trips) }
}

/// The tile of a dispatch.
fn tile(sizes: &Sizes<'_>) -> [usize; 2] {
    ["row", "column"].map(|axis| sizes.get(&format!("end_{axis}")) - sizes.get(&format!("first_{axis}")))
}

/// The elements of a window; a tile can extend past the edge.
fn window(sizes: &Sizes<'_>) -> Trips {
    if sizes.get("TILED") == 1 {
        let [rows, columns] = tile(sizes);
        return Trips::AtMost(rows * (1 + columns));
    }
    nested(sizes.get("KERNEL_HEIGHT"), sizes.get("KERNEL_WIDTH"))
}

/// The windows that contain an element.
fn windows(sizes: &Sizes<'_>) -> Trips {
    if sizes.get("TILED") == 1 {
        let [rows, columns] = tile(sizes);
        return nested(rows, columns);
    }
    let along = |kernel: &str, dilation: &str, stride: &str| {
        ((sizes.get(kernel) - 1) * sizes.get(dilation) + sizes.get(stride)) / sizes.get(stride)
    };
    nested(along("KERNEL_HEIGHT", "DILATION_Y", "STRIDE_Y"), along("KERNEL_WIDTH", "DILATION_X", "STRIDE_X"))
}

/// The maximum number of elements of a tensor.
const MOST: usize = 1 << 29;

fn linear((rows, features, out): (usize, usize, usize)) -> Subject {
    Subject::train(format!("linear of [{rows}, {features}] to {out}"), |graph| {
        graph.input("x", [rows, features]).bias().linear(Linear::new(out)).relu()
    })
}

/// The product of two trained values.
fn matmul((x, other): (&[usize], &[usize])) -> Subject {
    Subject::train(format!("matmul of {x:?} and {other:?}"), |graph| {
        let factor = |name: &str, shape: &[usize]| match shape {
            [_] => graph.parameter(name, shape, Init::Constant(0.0)),
            _ => graph.input(name, shape).bias(),
        };
        factor("x", x).matmul(&factor("other", other))
    })
}

fn conv((shape, layer, name): ([usize; 4], Conv2d, &str)) -> Subject {
    Subject::train(format!("conv2d of {shape:?}, {name}"), |graph| {
        graph.input("x", shape).bias().conv2d(layer).relu()
    })
}

/// Convolutions of a single input channel in the host's layout, with and without pooling.
fn planes([height, width]: [usize; 2]) -> [Subject; 2] {
    [false, true].map(|pools| {
        Subject::train(format!("conv2d of one channel of {height}x{width}, pooled {pools}"), |graph| {
            let y = graph.input("x", [1, 1, height, width]).conv2d(Conv2d::new(16, 3).padding(1));
            if pools { y.max_pool2d(2) } else { y.relu() }
        })
    })
}

/// A convolution fused with a max pooling, unless it is split.
fn pooled(channels: usize) -> Subject {
    Subject::train(format!("conv2d of {channels} channels and a pooling"), |graph| {
        graph.input("x", [2, channels, 8, 8]).bias().conv2d(Conv2d::new(16, 3)).relu().max_pool2d(2)
    })
}

/// Sizes of a pooling: input, kernel, stride, padding.
type Pool = ([usize; 4], [usize; 2], [usize; 2], [usize; 2]);

/// Max and average pooling.
fn pools((shape, kernel, stride, padding): Pool) -> [Subject; 2] {
    [false, true].map(|mean| {
        let name = format!("pooling of {shape:?}, {kernel:?}, {stride:?}, {padding:?}, mean {mean}");
        Subject::train(name, |graph| {
            let x = graph.input("x", shape).bias();
            if mean {
                return x.avg_pool2d(AvgPool2d::new(kernel).stride(stride).padding(padding));
            }
            x.relu().max_pool2d(MaxPool2d::new(kernel).stride(stride).padding(padding))
        })
    })
}

fn bias(shape: [usize; 2]) -> Subject {
    Subject::train(format!("bias of {shape:?}"), |graph| graph.input("x", shape).bias())
}

fn extreme_convs() -> impl Iterator<Item = Subject> {
    // Kernels up to the maximum size of a packed weight.
    let kernels =
        [[2_048, 2_048], [65_535, 64], [64, 65_535], [65_535, 32], [1, 65_535], [65_535, 1], [300, 300]];
    let kernels =
        kernels.map(|kernel| ([1, 1, kernel[0] + 1, kernel[1]], Conv2d::new(1, kernel), "all of it"));
    let rows = [
        // Channels.
        ([1, 1 << 24, 1, 1], Conv2d::new(1, 1), "1x1"),
        ([2, 1 << 20, 3, 3], Conv2d::new(1, 3), "3x3"),
        ([1, 1, 1, 1], Conv2d::new(1 << 27, 1), "1x1 to many"),
        ([1, 3, 3, 3], Conv2d::new(1 << 22, 3).stride(2), "3x3 to many"),
        ([1, 4096, 9, 9], Conv2d::new(1024, [7, 8]), "7x8"),
        ([1, 512, 1 << 10, 1 << 10], Conv2d::new(500, 3).padding(1), "3x3"),
        // Pixels: in one image, in many images, in one row and in one column.
        ([1, 1, 1 << 12, 1 << 13], Conv2d::new(1, 3).padding(1), "3x3"),
        ([1, 4, 1 << 12, 1 << 13], Conv2d::new(3, 1), "1x1"),
        ([1 << 24, 1, 2, 2], Conv2d::new(4, 2), "2x2"),
        ([1, 1, 1, 1 << 25], Conv2d::new(1, [1, 3]), "1x3"),
        ([1, 1, 1 << 25, 1], Conv2d::new(1, [3, 1]).stride(2), "3x1, stride 2"),
        ([1, 1, 2, 1 << 24], Conv2d::new(1, [2, 65_535]), "2x65535"),
        ([5, 3, 5_000, 5_001], Conv2d::new(2, [3, 5]).dilation([2, 700]).stride([1, 3]), "3x5 with gaps"),
        ([1, 1, 1_000, 1_000], Conv2d::new(1, [48, 32]), "48x32"),
    ];
    kernels.into_iter().chain(rows).map(conv)
}

pub(super) fn extreme() -> Vec<Subject> {
    let products = [
        (70_000, 4, 4),
        (5_000_000, 4, 3),
        (5_000_000, 5, 1),
        (MOST / 4, 4, 4),
        (MOST, 1, 1),
        (1, 70_001, 2),
        (2, 1_000_000, 3),
        (1, 1_000_001, 1),
        (1, MOST, 1),
        (1, MOST - 1, 1),
        (3, 4, 70_001),
        (1, 1, MOST),
        (1 << 12, 1 << 17, 1 << 12),
        (1 << 17, 1 << 12, 1 << 12),
        (1 << 12, 1 << 12, 1 << 17),
        (20_000, 25_000, 20_001),
    ];
    let batches: [(&[usize], &[usize]); 10] = [
        (&[MOST / 64, 4, 16], &[MOST / 64, 16, 4]),
        (&[MOST / 4, 1, 1], &[1, 1]),
        (&[2, 1, 1 << 27], &[1, 1 << 27, 1]),
        (&[2, 1, 1 << 27], &[1 << 27]),
        (&[1 << 27], &[2, 1 << 27, 1]),
        (&[MOST / 16, 4, 4], &[4, 3]),
        (&[1 << 20, 1, 3, 5], &[2, 5, 7]),
        (&[1, 5, 3], &[1 << 20, 3, 5]),
        (&[1 << 9, 1, 1 << 9, 8], &[1, 1 << 9, 8, 4]),
        (&[3, 1 << 12, 1 << 14], &[3, 1 << 14, 1 << 12]),
    ];
    let biases = [[5_000_000, 1], [MOST, 1], [MOST / 4, 4], [1 << 16, 1 << 13], [1 << 18, 1 << 11]];
    let global =
        [[255, 256], [1_000, 1_000], [1, 65_535], [65_535, 1], [300, 300], [2_048, 5_001], [127, 128]];
    let global = global.map(|kernel| ([2, 5, kernel[0], kernel[1]], kernel, kernel, [0, 0]));
    let windows = [
        ([1, 1, 2_000, 2_000], [1_000, 1_000], [1, 1], [0, 0]),
        ([1, 1, 3_000, 3_001], [300, 300], [2, 7], [150, 0]),
        ([1, 1, 1, MOST], [1, 65_535], [1, 1], [0, 32_767]),
        ([1, 1, MOST / 2, 2], [65_535, 2], [1, 2], [0, 0]),
        ([1, 1, 1, 1], [65_535, 65_535], [1, 1], [32_767, 32_767]),
        ([1, 1, MOST / 64, 64], [3, 3], [2, 2], [1, 1]),
        ([3, 1, 1 << 13, 1 << 14], [2, 2], [2, 2], [0, 0]),
        ([1, 1, 1 << 14, 1 << 15], [128, 128], [128, 128], [0, 0]),
        ([1, 1, 127 << 7, 1 << 15], [127, 128], [127, 128], [0, 0]),
    ];
    let convs = extreme_convs().chain([7_280, 7_282].map(pooled));
    let convs = convs.chain([[1 << 14, 1 << 11], [1 << 20, 4], [2, 1 << 24]].into_iter().flat_map(planes));
    let subjects = convs.chain(products.map(linear)).chain(batches.map(matmul)).chain(biases.map(bias));
    subjects.chain(global.into_iter().chain(windows).flat_map(pools)).collect()
}

pub(super) fn ordinary() -> Vec<Subject> {
    let products = [
        (3, 8, 5),
        (70, 7, 33),
        (33_000, 4, 2),
        (16_385, 3, 2),
        (1, 65_540, 3),
        (2, 16_385, 3),
        (2, 4, 65_537),
        (1, 3, 70_001),
        (1, 1_200_000, 1),
    ];
    let batches: [(&[usize], &[usize]); 9] = [
        (&[3, 2, 5, 7], &[3, 2, 7, 9]),
        (&[3, 1, 5, 7], &[2, 7, 3]),
        (&[2, 33, 40], &[40, 36]),
        (&[9], &[9]),
        (&[4, 9], &[9]),
        (&[9], &[3, 9, 5]),
        (&[2, 1, 65_540], &[1, 65_540, 3]),
        (&[70_001, 1, 2], &[2, 3]),
        (&[1, 5, 3], &[9_000, 3, 5]),
    ];
    let convs = [
        ([2, 3, 8, 8], Conv2d::new(16, 3).padding(1), "3x3"),
        ([1, 1, 9, 7], Conv2d::new(3, [2, 3]).stride([2, 1]), "2x3, stride 2"),
        ([1, 5, 9, 9], Conv2d::new(40, 3).dilation(2), "3x3 with gaps"),
        ([1, 17, 5, 40], Conv2d::new(8, 1), "1x1"),
        ([1, 70_001, 1, 1], Conv2d::new(2, 1), "1x1"),
        ([1, 2, 1, 1], Conv2d::new(70_001, 1), "1x1 to many"),
        ([1, 40, 2, 1_000], Conv2d::new(1, [2, 1_000]), "2x1000"),
        ([1, 1, 2, 1_000], Conv2d::new(40, [2, 1_000]), "2x1000 to many"),
        ([1, 40, 800, 3], Conv2d::new(1, [800, 3]), "800x3"),
        ([1, 1, 800, 3], Conv2d::new(40, [800, 3]), "800x3 to many"),
        ([1, 1, 1, 300_001], Conv2d::new(1, [1, 3]), "1x3"),
        ([1, 2, 300, 301], Conv2d::new(1, 1), "1x1"),
    ];
    let biases = [[3, 5], [257, 3], [4_097, 33], [70_001, 1], [600, 2_049]];
    let windows = [
        ([2, 3, 6, 6], [2, 2], [2, 2], [0, 0]),
        ([1, 5, 7, 9], [3, 2], [1, 2], [1, 1]),
        ([1, 1, 127, 128], [127, 128], [127, 128], [0, 0]),
        ([1, 1, 128, 128], [128, 128], [128, 128], [0, 0]),
        ([1, 1, 300, 300], [300, 300], [300, 300], [0, 0]),
        ([1, 1, 1, 20_000], [1, 20_000], [1, 20_000], [0, 0]),
        ([1, 2, 1, 8], [1, 16_400], [1, 1], [0, 8_200]),
        ([1, 1, 3, 2], [300, 301], [1, 1], [150, 150]),
    ];
    let products = products.into_iter().map(linear).chain(batches.into_iter().map(matmul));
    let subjects = products.chain(convs.into_iter().map(conv)).chain([pooled(3)]).chain(planes([37, 40]));
    subjects.chain(biases.map(bias)).chain(windows.into_iter().flat_map(pools)).collect()
}
