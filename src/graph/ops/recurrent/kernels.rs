//! The kernels of a recurrent layer. Each combines a frame, which sums the products of states or of gate gradients,
//! with the ending of a cell type.

use std::sync::Arc;

use super::{Cell, Recurrent};
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{Candidate, KernelKind, KernelSource, Work, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::{pitch, u};
use crate::graph::team::{SUM, Team};
use crate::graph::template::{expand, fold};

uniform! {
    /// See `shaders/shared/recurrent_shape.wgsl`.
    pub(super) struct Shape {
        pub(super) batch: u32,
        pub(super) row: u32,
        pub(super) row_stride: u32,
        pub(super) state_row: u32,
        pub(super) next_state_row: u32,
        pub(super) state_stride: u32,
        pub(super) has_next: u32,
        pub(super) cell_row: u32,
        pub(super) next_cell_row: u32,
        pub(super) row_tiles: u32,
        pub(super) tiles: u32,
        pub(super) grid_width: u32,
    }
}

uniform! {
    /// See `shaders/shared/recurrent_grad_shape.wgsl`.
    pub(super) struct GradShape {
        pub(super) batch: u32,
        pub(super) row: u32,
        pub(super) row_stride: u32,
        pub(super) after_row: u32,
        pub(super) has_after: u32,
        pub(super) has_upstream: u32,
        pub(super) upstream_row: u32,
        pub(super) upstream_stride: u32,
        pub(super) cell_row: u32,
        pub(super) next_cell_row: u32,
        pub(super) accumulate: u32,
        pub(super) row_tiles: u32,
        pub(super) tiles: u32,
        pub(super) grid_width: u32,
    }
}

/// The sizes of one layer in one plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) cell: Cell,
    pub(super) hidden: u32,
    pub(super) steps: u32,
    pub(super) batch: u32,
    /// Distance in rows between the steps of a sample, and between the samples of a step.
    pub(super) step_stride: u32,
    pub(super) row_stride: u32,
}

impl Sizes {
    pub(super) fn of(op: &Recurrent, lowering: &Lowering, id: usize) -> Self {
        let [first, second] = [0, 1].map(|axis| u(lowering.shape(id)[axis]));
        let (cell, hidden) = (op.cell, u(op.hidden));
        if op.batch_first {
            Self { cell, hidden, steps: second, batch: first, step_stride: 1, row_stride: second }
        } else {
            Self { cell, hidden, steps: first, batch: second, step_stride: second, row_stride: 1 }
        }
    }

    /// Number of elements in a row of states, and in a row of gates.
    pub(super) fn pitch(&self) -> u32 {
        pitch(self.hidden)
    }

    pub(super) fn gates(&self) -> u32 {
        self.cell.gates() * self.hidden
    }

    pub(super) fn rows(&self) -> u32 {
        self.steps * self.batch
    }

    /// Number of elements of one state of the whole batch.
    pub(super) fn state_len(&self) -> usize {
        self.batch as usize * self.pitch() as usize
    }

    /// Number of elements of the states of all steps.
    pub(super) fn states_len(&self) -> usize {
        self.rows() as usize * self.pitch() as usize
    }

    /// Number of elements of the gates of all steps.
    pub(super) fn gates_len(&self) -> usize {
        self.rows() as usize * pitch(self.gates()) as usize
    }

    /// The cost of one step's dispatch, with or without a product of states (or of gate gradients) and the weight. It
    /// touches one row of operands with a row per step.
    pub(super) fn work(&self, lowering: &Lowering, operands: &[Operand], has_product: bool) -> Work {
        let row = |operand: &Operand| match *operand {
            Operand::Value(value) => {
                let len = lowering.values[value].len;
                Some(len.div_ceil(self.steps as usize).max(self.state_len()))
            }
            Operand::Part { .. } | Operand::Parameter(_) | Operand::Gradient(_) => None,
        };
        let product = [self.batch, self.gates(), self.hidden].map(u64::from).iter().product::<u64>();
        Work::of_flops(2 * u64::from(has_product) * product).touching(operands.iter().map(row))
    }

    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("GATES", self.cell.gates()),
            ("HIDDEN", self.hidden),
            ("PITCH", self.pitch()),
            ("GATES_PITCH", pitch(self.gates())),
            ("PADDING", pitch(self.gates()) - self.gates()),
            ("RELU", u32::from(self.cell == Cell::Relu)),
        ]
    }
}

/// Samples per tile of the forward and backward kernels: as many as a batch has, limited so that there is work for
/// others.
const ROWS: u32 = 32;
const GRAD_ROWS: u32 = 16;

/// A kernel and its grid: tiles of samples and units, or one invocation for each item of `work`.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub(super) kernel: Arc<KernelSource>,
    pub(super) grid: [u32; 3],
    pub(super) row_tiles: u32,
    pub(super) tiles: u32,
    pub(super) grid_width: u32,
}

/// How a frame distributes work: tiles of samples and units; lanes that share each item; or one invocation per item.
#[derive(Clone, Copy, Debug)]
enum Frame {
    Tiles,
    Shared,
    Plain,
}

/// Number of units per lane if lanes share a sum over all units, and maximum number of lanes per sum.
const EACH: u32 = 8;
const MOST_LANES: u32 = 32;

/// Invocations in a workgroup whose lanes share sums.
const WORKGROUP: u32 = 256;

/// Lanes share sums over the units. With `side` 1, adjacent units are adjacent in memory; otherwise `side` sums are
/// computed side by side.
fn shared(hidden: u32, side: u32) -> Team {
    let side = side.next_power_of_two().min(16);
    let lanes = hidden.div_ceil(EACH).next_power_of_two().clamp(2, MOST_LANES.min(WORKGROUP / side));
    Team::of(lanes, WORKGROUP / lanes, side > 1)
}

/// The frames, fastest first. Tiles load the unpadded weight as `vec4`s.
const FRAMES: &[Candidate<Sizes, Frame>] = &[
    Candidate {
        kind: KernelKind::CpuSubgroup,
        fits: |sizes, _| sizes.hidden.is_multiple_of(4),
        way: Frame::Tiles,
    },
    // With one invocation per unit, each lane would read weights from another row, and most of a GPU would be idle.
    Candidate { kind: KernelKind::Gpu, fits: |sizes, _| sizes.hidden > EACH, way: Frame::Shared },
    Candidate { kind: KernelKind::Plain, fits: |_, _| true, way: Frame::Plain },
];

/// The parts of a kernel's WGSL.
struct Text {
    /// The frame's name. The tiled frame has no suffix.
    stem: &'static str,
    shape: &'static str,
    tiled: &'static str,
    plain: &'static str,
    ending: &'static str,
    /// In the plain WGSL: number of sums whose weights are adjacent across lanes; 1 if the weights of one sum are
    /// adjacent.
    side: u32,
}

impl Sizes {
    fn spread<S: crate::gpu::Uniform>(
        &self,
        lowering: &Lowering,
        text: &Text,
        (most_rows, units, work): (u32, u32, usize),
        (mut constants, storage): (Vec<(&'static str, u32)>, &[Binding]),
        variant: &str,
    ) -> Spread {
        let shared = concat!(
            include_str!("../../../../shaders/shared/gate_functions.wgsl"),
            include_str!("../../../../shaders/pointwise/tanh.wgsl"),
            include_str!("../../../../shaders/shared/math.wgsl")
        );
        let rows = self.batch.next_power_of_two().min(most_rows);
        let frame = *Candidate::choose(FRAMES, self, &lowering.capabilities);
        let team = match frame {
            Frame::Shared => self::shared(self.hidden, text.side),
            Frame::Tiles | Frame::Plain => Team::alone(64),
        };
        let (kernel, suffix, row_tiles, tiles) = match frame {
            Frame::Tiles => {
                let lanes = lowering.capabilities.lanes();
                constants.extend([("LANES", lanes), ("ROWS", rows), ("GROUPS", rows.div_ceil(lanes))]);
                let row_tiles = self.batch.div_ceil(rows);
                (text.tiled.to_owned(), "", row_tiles, row_tiles * units.div_ceil(lanes))
            }
            Frame::Shared | Frame::Plain => {
                constants.extend(team.constants());
                ([text.plain, &team.text(&[SUM])].concat(), "_plain", 0, 0)
            }
        };
        let [width, height] = fold(tiles);
        let grid = if tiles > 0 { [width, height, 1] } else { team.grid(work) };
        let wgsl = expand(&[text.shape, &kernel, text.ending, shared].concat(), &constants, &[]);
        let kernel = source::<S>(format!("{}{suffix}[{variant}]", text.stem), wgsl, storage);
        Spread { kernel: Arc::new(kernel), grid, row_tiles, tiles, grid_width: width }
    }

    /// One step. Bindings: gates, weight, bias (or the weight again), states, outputs; then, depending on the cell,
    /// the cell states of an LSTM and the saved values per unit (or any buffer).
    pub(super) fn forward(&self, lowering: &Lowering, has_bias: bool, save: bool) -> Spread {
        let (ending, own) = match self.cell {
            Cell::Tanh | Cell::Relu => (include_str!("../../../../shaders/shared/recurrent_rnn.wgsl"), 0),
            Cell::Lstm => (include_str!("../../../../shaders/shared/recurrent_lstm.wgsl"), 2),
            Cell::Gru => (include_str!("../../../../shaders/shared/recurrent_gru.wgsl"), 1),
        };
        let text = Text {
            stem: "recurrent",
            shape: include_str!("../../../../shaders/shared/recurrent_shape.wgsl"),
            tiled: include_str!("../../../../shaders/ops/recurrent.wgsl"),
            plain: include_str!("../../../../shaders/ops/recurrent_plain.wgsl"),
            ending,
            side: 1,
        };
        let mut constants = self.constants();
        constants.extend([("HAS_BIAS", u32::from(has_bias)), ("SAVE", u32::from(save))]);
        let storage =
            [&[Read, Read, Read, ReadWrite, ReadWrite][..], &[ReadWrite, ReadWrite][..own]].concat();
        let work = (ROWS, self.hidden, self.state_len());
        self.spread::<Shape>(lowering, &text, work, (constants, &storage), self.cell.name())
    }

    /// One step backward. Bindings: weight, upstream gradient, gate gradients; then, depending on the cell: outputs
    /// of a plain layer; saved values, cell states and carry of an LSTM; saved values, states, carry and
    /// input-product gradients of a GRU.
    pub(super) fn backward(&self, lowering: &Lowering) -> Spread {
        let (ending, own): (_, &[Binding]) = match self.cell {
            Cell::Tanh | Cell::Relu => {
                (include_str!("../../../../shaders/shared/recurrent_rnn_grad.wgsl"), &[Read])
            }
            Cell::Lstm => (
                include_str!("../../../../shaders/shared/recurrent_lstm_grad.wgsl"),
                &[Read, Read, ReadWrite],
            ),
            Cell::Gru => {
                let ending = include_str!("../../../../shaders/shared/recurrent_gru_grad.wgsl");
                (ending, &[Read, Read, ReadWrite, ReadWrite])
            }
        };
        self.back(lowering, ending, own, self.cell.name())
    }

    /// The gradient of the initial state. Bindings: as for [`Sizes::backward`], then the carry of a GRU (or any
    /// buffer), and the gradient.
    pub(super) fn first(&self, lowering: &Lowering) -> Spread {
        let ending = include_str!("../../../../shaders/shared/recurrent_first_grad.wgsl");
        self.back(lowering, ending, &[Read, ReadWrite], "first")
    }

    fn back(&self, lowering: &Lowering, ending: &'static str, own: &[Binding], variant: &str) -> Spread {
        let text = Text {
            stem: "recurrent_grad",
            shape: include_str!("../../../../shaders/shared/recurrent_grad_shape.wgsl"),
            tiled: include_str!("../../../../shaders/ops/recurrent_grad.wgsl"),
            plain: include_str!("../../../../shaders/ops/recurrent_grad_plain.wgsl"),
            ending,
            side: self.pitch() / 4,
        };
        let mut constants = self.constants();
        constants.push(("HAS_CARRY", u32::from(self.cell == Cell::Gru)));
        let storage = [&[Read, Read, ReadWrite][..], own].concat();
        let quads = self.pitch() / 4;
        let work = (GRAD_ROWS, quads, self.state_len() / 4);
        self.spread::<GradShape>(lowering, &text, work, (constants, &storage), variant)
    }
}
