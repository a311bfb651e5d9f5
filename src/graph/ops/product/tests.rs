//! Each kernel of products is given the same matrices, whichever a device would choose, and leaves the same bits.

use super::{BatchAxis, CANDIDATES, Product, RepeatAxis, Way};
use crate::gpu::{Buffer, Checks, Gpu, GpuOptions, KernelKind, Recorder};
use crate::graph::finish::Draft;
use crate::graph::lower::source_of;
use crate::graph::ops::split::Parts;
use crate::graph::ops::tile::{LARGE, MEDIUM, SMALL, TALL, Tile, WIDE};

/// A device that runs kernels of this kind; none, visibly, where there is no adapter and that is allowed.
fn device() -> Option<Gpu> {
    match Gpu::of_each_kind(&GpuOptions::default()) {
        Ok(mut gpus) => gpus.pop(),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

/// How the matrices of a factor lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    /// Neighbours along the inner dimension, in rows of whole vec4s.
    Inner,
    /// Neighbours along the edge, in rows of whole vec4s.
    Edge,
    /// Neighbours along the inner dimension, in rows of an odd length.
    OddInner,
    /// Neighbours along the edge, in rows of an odd length.
    OddEdge,
}

const ALL: [Lies; 4] = [Lies::Inner, Lies::Edge, Lies::OddInner, Lies::OddEdge];

impl Lies {
    /// Distances along the edge and along the inner dimension, and elements of a matrix.
    fn strides(self, [edge, inner]: [u32; 2]) -> ([u32; 2], u32) {
        let pitch = |len: u32| match self {
            Self::Inner | Self::Edge => len.next_multiple_of(4),
            Self::OddInner | Self::OddEdge => len | 1,
        };
        match self {
            Self::Inner | Self::OddInner => ([pitch(inner), 1], edge * pitch(inner)),
            Self::Edge | Self::OddEdge => ([1, pitch(edge)], inner * pitch(edge)),
        }
    }
}

/// What a kernel is asked for.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Rows, columns and the inner dimension.
    sizes: [u32; 3],
    lies: [Lies; 2],
    /// Matrices, and products that are added for each.
    batch: u32,
    repeats: u32,
    has_bias: bool,
    accumulate: bool,
    /// Elements behind each row of the output; `None` for rows of just the columns.
    gap: Option<u32>,
    /// Steps of a part; `None` for all.
    run: Option<u32>,
}

impl Case {
    const fn plain(sizes: [u32; 3], lies: [Lies; 2]) -> Self {
        let flags = (false, false);
        Self {
            sizes,
            lies,
            batch: 1,
            repeats: 1,
            has_bias: flags.0,
            accumulate: flags.1,
            gap: Some(0),
            run: None,
        }
    }

    fn product(&self) -> Product {
        let [rows, columns, inner] = self.sizes;
        let (left, left_len) = self.lies[0].strides([rows, inner]);
        let ([right_column, right_inner], right_len) = self.lies[1].strides([columns, inner]);
        let out_width = if self.gap.is_none() { columns } else { columns.next_multiple_of(4) };
        let out_row = out_width + self.gap.unwrap_or(0);
        let right = [right_inner, right_column];
        let has_bias = self.has_bias;
        let mut product =
            Product { rows, columns, inner, left, right, out_row, out_width, has_bias, ..Product::default() };
        if self.batch > 1 {
            let strides = [left_len * self.repeats, right_len * self.repeats, rows * out_row];
            product.batch.push(BatchAxis { extent: self.batch, strides });
        }
        if self.repeats > 1 {
            product.repeats.push(RepeatAxis { extent: self.repeats, strides: [left_len, right_len] });
        }
        product
    }

    fn parts(&self) -> Parts {
        let [_, _, inner] = self.sizes;
        let steps = inner * self.repeats;
        let run = self.run.unwrap_or(steps);
        Parts { run, count: steps.div_ceil(run) }
    }
}

/// A case with its factors, its bias and what the output holds before.
struct Data {
    case: Case,
    product: Product,
    buffers: [Vec<f32>; 4],
}

/// A number in `[-1, 1)` that depends on both.
fn noise(stream: u32, at: usize) -> f32 {
    let mixed = (at as u32).wrapping_mul(0x9e37_79b9) ^ stream.wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    (mixed >> 8) as f32 / 8_388_608.0 - 1.0
}

impl Data {
    /// Numbers in the matrices, and between and behind them what no kernel may make use of.
    fn of(case: Case) -> Self {
        let product = case.product();
        let [rows, columns, inner] = case.sizes;
        let last = |edge: u32, strides: [u32; 2]| (edge - 1) * strides[0] + (inner - 1) * strides[1];
        let mut lens = [last(rows, product.left), last(columns, [product.right[1], product.right[0]])];
        for (len, which) in lens.iter_mut().zip(0..) {
            *len += product.batch.first().map_or(0, |axis| (axis.extent - 1) * axis.strides[which]);
            *len += product.repeats.first().map_or(0, |axis| (axis.extent - 1) * axis.strides[which]);
        }
        let [mut left, mut right] = lens.map(|last| vec![f32::NAN; (last + 1).next_multiple_of(4) as usize]);
        visit(&case, &product, |[i, j], _| {
            left[i] = noise(1, i);
            right[j] = noise(2, j);
        });
        let bias = (0..columns as usize).map(|at| noise(3, at)).collect();
        let out = product.part_len().max(case.batch * rows * product.out_row) * case.parts().count;
        let output = (0..out as usize).map(|at| noise(4, at)).collect();
        Self { case, product, buffers: [left, right, bias, output] }
    }

    /// What the output should hold, in f64, for a sum of one part.
    fn expected(&self) -> Vec<f64> {
        let [left, right, bias, output] = &self.buffers;
        let mut expected: Vec<f64> = output.iter().map(|x| f64::from(*x)).collect();
        let Product { rows, columns, out_row, out_width, .. } = self.product;
        for (row, column) in (0..self.case.batch * rows).flat_map(|row| (0..out_width).map(move |c| (row, c)))
        {
            let at = (row * out_row + column) as usize;
            let inside = column < columns;
            let before = if self.case.accumulate && inside { expected[at] } else { 0.0 };
            let bias = if self.case.has_bias && inside { f64::from(bias[column as usize]) } else { 0.0 };
            expected[at] = before + bias;
        }
        visit(&self.case, &self.product, |[i, j], at| {
            expected[at] += f64::from(left[i]) * f64::from(right[j]);
        });
        expected
    }

    /// What a kernel leaves in the output.
    fn run(&self, gpu: &Gpu, way: &Way, checks: Checks) -> Vec<f32> {
        let Self { case, product, buffers } = self;
        let launch = way.kernel.launch(product, case.parts(), 0, case.accumulate);
        let (name, text) = (launch.template.name.to_owned(), launch.template.expand());
        let mut draft = Draft { name, text, storage: way.storage.to_vec(), operands: Vec::new() };
        draft.finish(None, 4);
        let source = source_of(draft.name, draft.text, launch.block.bytes, &draft.storage);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform = Buffer::<u8>::with_usage(gpu, "uniform", launch.uniform.len(), usage).unwrap();
        uniform.write(gpu, 0, &launch.uniform).unwrap();
        let buffers = buffers.each_ref().map(|data| {
            let buffer = Buffer::<f32>::storage(gpu, "buffer", data.len()).unwrap();
            buffer.write(gpu, 0, data).unwrap();
            buffer
        });
        let mut regions = vec![uniform.region()];
        regions.extend(buffers.iter().map(Buffer::region));
        let kernel = gpu.kernel_with(&source, checks).unwrap();
        let group = gpu.bind_group(&kernel, &regions).unwrap();
        let mut encoder = gpu.encoder("product");
        let [x, y] = launch.groups;
        Recorder::new(gpu, &mut encoder).dispatch(&kernel, &group, &[], [x, y, case.parts().count]);
        gpu.submit(encoder).unwrap();
        buffers[3].read(gpu, 0, buffers[3].len()).unwrap()
    }
}

/// Calls `with` for each product that is added: the places of both factors, and of the sum.
fn visit(case: &Case, product: &Product, mut with: impl FnMut([usize; 2], usize)) {
    let [rows, columns, inner] = case.sizes;
    let at = |batch: u32, repeat: u32, which: usize| {
        let batch = product.batch.first().map_or(0, |axis| batch * axis.strides[which]);
        batch + product.repeats.first().filter(|_| which < 2).map_or(0, |axis| repeat * axis.strides[which])
    };
    for (batch, repeat) in (0..case.batch).flat_map(|batch| (0..case.repeats).map(move |r| (batch, r))) {
        let [left, right, out] = [0, 1, 2].map(|which| at(batch, repeat, which));
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            for k in 0..inner {
                let i = left + row * product.left[0] + k * product.left[1];
                let j = right + k * product.right[0] + column * product.right[1];
                with([i as usize, j as usize], (out + row * product.out_row + column) as usize);
            }
        }
    }
}

fn plain() -> &'static Way {
    let plain = CANDIDATES.iter().find(|candidate| candidate.kind == KernelKind::Plain);
    &plain.expect("there is a plain way").way
}

/// Holds what a kernel left to f64, for a sum of one part.
fn close(data: &Data, got: &[f32], what: &str) {
    let Case { sizes: [.., inner], repeats, .. } = data.case;
    // Rounding of that many products of numbers below 1, and of their sum.
    let tolerance = f64::from(f32::EPSILON) * f64::from(4 + 2 * inner * repeats);
    for (at, (got, want)) in got.iter().zip(data.expected()).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= tolerance, "{:?}, {what}, element {at}: {got}, expected {want}", data.case);
    }
}

/// Holds tiles to the bits of the plain kernel, and that one to f64.
fn check(gpu: &Gpu, tiles: &[Tile], checks: Checks, case: Case) {
    let data = Data::of(case);
    let want = data.run(gpu, plain(), Checks::All);
    if case.run.is_none() {
        close(&data, &want, "plain");
    }
    for tile in tiles {
        let got = data.run(gpu, &Way::tiled(*tile), checks);
        let differing = got.iter().zip(&want).position(|(got, want)| got.to_bits() != want.to_bits());
        if let Some(at) = differing {
            panic!("{case:?}, {tile:?}, element {at}: {} is not {}", got[at], want[at]);
        }
    }
}

/// Cases of everything but sizes: batches, repeats, and what is done to the sums.
fn variants(sizes: [u32; 3], lies: [Lies; 2]) -> Vec<Case> {
    let plain = Case::plain(sizes, lies);
    vec![
        Case { has_bias: true, ..plain },
        Case { accumulate: true, gap: Some(8), ..plain },
        Case { has_bias: true, accumulate: true, gap: None, ..plain },
        Case { gap: Some(3), has_bias: true, ..plain },
        Case { batch: 3, accumulate: true, ..plain },
        Case { repeats: 3, ..plain },
        Case { batch: 2, repeats: 2, has_bias: true, gap: Some(4), ..plain },
    ]
}

const TILES: [Tile; 5] = [LARGE, MEDIUM, SMALL, TALL, WIDE];

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_however_matrices_lie() {
    let Some(gpu) = device() else { return };
    for (at, left) in ALL.into_iter().enumerate() {
        for (other, right) in ALL.into_iter().enumerate() {
            // Each way of each factor in each tile, and all pairs in one.
            let case = Case::plain([37, 70, 41], [left, right]);
            if (at + other) % 4 == 1 {
                check(&gpu, &TILES, Checks::None, case);
                check(&gpu, &TILES, Checks::All, case);
            } else {
                check(&gpu, &[SMALL], Checks::None, case);
            }
        }
    }
}

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_around_their_borders() {
    let Some(gpu) = device() else { return };
    let lies = [Lies::Inner, Lies::Edge];
    for sizes in [
        [1, 1, 1],
        [3, 5, 2],
        [4, 4, 4],
        [31, 33, 7],
        [33, 31, 9],
        [63, 65, 15],
        [65, 1, 17],
        [1, 65, 31],
        [127, 129, 33],
        [129, 127, 3],
        [255, 31, 1],
        [257, 33, 10],
        [33, 257, 12],
        [130, 70, 200],
    ] {
        check(&gpu, &TILES, Checks::None, Case::plain(sizes, lies));
    }
    for tile in TILES {
        let Tile { rows, columns, steps, .. } = tile;
        // Whole tiles, one and several, along all dimensions or all but one.
        for sizes in [[rows, columns, steps], [2 * rows, columns, 3 * steps], [rows, 2 * columns, steps + 1]]
        {
            check(&gpu, &[tile], Checks::None, Case::plain(sizes, lies));
        }
        check(&gpu, &[tile], Checks::None, Case::plain([rows + 1, columns, 2 * steps], lies));
    }
}

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_in_batches_and_with_what_is_added() {
    let Some(gpu) = device() else { return };
    for lies in [[Lies::Inner, Lies::Inner], [Lies::OddInner, Lies::OddEdge]] {
        for case in variants([33, 38, 20], lies) {
            check(&gpu, &[SMALL], Checks::None, case);
        }
    }
    for case in variants([70, 66, 24], [Lies::Inner, Lies::Edge]) {
        check(&gpu, &[LARGE, MEDIUM], Checks::None, case);
    }
    // An inner dimension of an odd length that repeats.
    for case in variants([35, 18, 21], [Lies::Inner, Lies::Inner]).into_iter().filter(|case| case.repeats > 1)
    {
        check(&gpu, &[SMALL], Checks::None, case);
    }
}

#[test]
fn parts_of_a_sum_have_the_bits_of_the_plain_kernel() {
    let Some(gpu) = device() else { return };
    for lies in [[Lies::Inner, Lies::Inner], [Lies::Edge, Lies::OddEdge]] {
        let case = Case { run: Some(256), has_bias: true, ..Case::plain([33, 40, 700], lies) };
        check(&gpu, &TILES, Checks::None, case);
        check(&gpu, &[SMALL], Checks::None, Case { repeats: 2, ..case });
    }
}

#[test]
fn lanes_that_share_the_steps_are_close_to_f64_and_repeat_their_bits() {
    let Some(gpu) = device() else { return };
    let sizes =
        [[1, 1, 1_000], [1, 37, 300], [3, 5, 70], [37, 2, 130], [4, 130, 33], [9, 12, 1_030], [1, 3, 32]];
    for (at, left) in ALL.into_iter().enumerate() {
        for right in ALL {
            for sizes in if left == right { &sizes[..] } else { &sizes[at..=at] } {
                let data = Data::of(Case::plain(*sizes, [left, right]));
                let got = data.run(&gpu, &Way::LANES, Checks::None);
                close(&data, &got, "lanes");
                let again = data.run(&gpu, &Way::LANES, Checks::All);
                assert!(got.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "{sizes:?}");
            }
        }
    }
    let all = [
        ([3, 38, 40], [Lies::Inner, Lies::Inner]),
        ([3, 39, 40], [Lies::Edge, Lies::Edge]),
        ([38, 3, 41], [Lies::OddInner, Lies::OddEdge]),
    ];
    for (sizes, lies) in all {
        for case in variants(sizes, lies) {
            let data = Data::of(case);
            close(&data, &data.run(&gpu, &Way::LANES, Checks::None), "lanes");
        }
    }
}
