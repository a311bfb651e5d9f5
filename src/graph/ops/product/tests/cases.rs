//! Products of given matrices, as numbers in buffers, and what kernels and f64 make of them.

use crate::gpu::{Buffer, Checks, Gpu, Recorder};
use crate::graph::lowering::finish::Draft;
use crate::graph::lowering::source_of;
use crate::graph::ops::product::{BatchAxis, Product, RepeatAxis, Way};
use crate::graph::ops::split::Parts;

/// How the matrices of a factor lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// Neighbours along the inner dimension, in rows of whole vec4s.
    Inner,
    /// Neighbours along the edge, in rows of whole vec4s.
    Edge,
    /// Neighbours along the inner dimension, in rows of an odd length.
    OddInner,
    /// Neighbours along the edge, in rows of an odd length.
    OddEdge,
}

pub(super) const ALL: [Lies; 4] = [Lies::Inner, Lies::Edge, Lies::OddInner, Lies::OddEdge];

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
pub(super) struct Case {
    /// Rows, columns and the inner dimension.
    pub(super) sizes: [u32; 3],
    pub(super) lies: [Lies; 2],
    /// Matrices, and products that are added for each.
    pub(super) batch: u32,
    pub(super) repeats: u32,
    pub(super) has_bias: bool,
    pub(super) accumulate: bool,
    /// Elements behind each row of the output; `None` for rows of just the columns.
    pub(super) gap: Option<u32>,
    /// Steps of a part; `None` for all.
    pub(super) run: Option<u32>,
}

impl Case {
    pub(super) const fn plain(sizes: [u32; 3], lies: [Lies; 2]) -> Self {
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

    pub(super) fn product(&self) -> Product {
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
pub(super) struct Data {
    pub(super) case: Case,
    product: Product,
    buffers: [Vec<f32>; 4],
}

/// A number in `[-1, 1)` that depends on both.
fn noise(stream: u32, at: usize) -> f32 {
    let at = u32::try_from(at).expect("buffers are small");
    let mixed = at.wrapping_mul(0x9e37_79b9) ^ stream.wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    (mixed >> 8) as f32 / 8_388_608.0 - 1.0
}

impl Data {
    /// Numbers in the matrices, and between and behind them what no kernel may make use of.
    pub(super) fn of(case: Case) -> Self {
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
    pub(super) fn expected(&self) -> Vec<f64> {
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
    pub(super) fn run(&self, gpu: &Gpu, way: &Way, checks: Checks) -> Vec<f32> {
        let Self { case, product, buffers } = self;
        let launch = way.kernel.launch(product, gpu.capabilities(), case.parts(), (0, case.accumulate));
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
