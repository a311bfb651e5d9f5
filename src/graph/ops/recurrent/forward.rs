use super::kernels::{Shape, Sizes, Spread};
use super::{Cell, FIRST_CELL, FIRST_STATE, LAST_CELL, LAST_STATE, Recurrent, begin, state_view};
use crate::graph::Mode;
use crate::graph::lowering::{Lowering, Operand};

/// The forward pass of a recurrent layer.
///
/// If there is a backward pass, the state before each step is stored in the row of that step, because the gradient of
/// the weight is a product with all of them. Otherwise two rows alternate. The same holds for cell states, except for
/// the order of their rows.
pub(super) struct Forward {
    id: usize,
    layer: String,
    sizes: Sizes,
    keeps: bool,
    states: Operand,
    cells: Option<Operand>,
    saved: Option<Operand>,
}

impl Forward {
    pub(super) fn new(op: &Recurrent, lowering: &mut Lowering, id: usize) -> Self {
        let (layer, sizes) = (lowering.name(id), Sizes::of(op, lowering, id));
        let keeps = lowering.mode == Mode::Train;
        let (cell, state_len) = (op.cell, sizes.state_len());
        let len = if keeps { sizes.states_len() } else { 2 * state_len };
        let states = lowering.save(id, "states", len);
        // A kernel that saves nothing still needs a buffer for this binding.
        let saved_len = if keeps { 4 * sizes.states_len() } else { 4 };
        let saved = matches!(cell, Cell::Lstm | Cell::Gru).then(|| lowering.save(id, "gates", saved_len));
        let cells_len = if keeps { sizes.states_len() + state_len } else { 2 * state_len };
        let cells = (cell == Cell::Lstm).then(|| lowering.save(id, "cells", cells_len));
        Self { id, layer, sizes, keeps, states, cells, saved }
    }

    /// The row of the first sample's state before a step, and the distance to the next sample's.
    fn state_row(&self, step: u32) -> (u32, u32) {
        match self.keeps {
            true => (step * self.sizes.step_stride, self.sizes.row_stride),
            false => (step % 2 * self.sizes.batch, 1),
        }
    }

    /// The same for the cell states. Of two alternating rows, the last state is in the second.
    fn cell_row(&self, step: u32) -> u32 {
        let number = if self.keeps { step } else { (step + self.sizes.steps + 1) % 2 };
        number * self.sizes.batch
    }

    pub(super) fn emit(&self, lowering: &mut Lowering) {
        let Self { id, sizes, .. } = *self;
        let first = |lowering: &Lowering, input: usize| {
            let given = lowering.inputs(id) > input;
            given.then(|| lowering.argument_view(id, input))
        };
        let gates = lowering.argument(id, 0);
        let (row, stride) = self.state_row(0);
        let from = first(lowering, FIRST_STATE);
        begin(lowering, &self.layer, from, state_view(&sizes, self.states, row, stride));
        if let Some(cells) = self.cells {
            let from = first(lowering, FIRST_CELL);
            begin(lowering, &self.layer, from, state_view(&sizes, cells, self.cell_row(0), 1));
        }
        let results = lowering.define(id);
        let parameters = lowering.parameters(id).to_vec();
        let weight = Operand::Parameter(parameters[0]);
        // A binding needs a buffer, even if there is no bias to read.
        let bias = parameters.get(1).map_or(weight, |&bias| Operand::Parameter(bias));
        let mut operands = vec![gates, weight, bias, self.states, results];
        operands.extend(self.cells.into_iter().chain(self.saved));
        let Spread { kernel, grid, row_tiles, tiles, grid_width } =
            sizes.forward(lowering, parameters.len() > 1, self.keeps);
        for step in 0..sizes.steps {
            let has_next = step + 1 < sizes.steps;
            let (state_row, state_stride) = self.state_row(step);
            let shape = Shape {
                batch: sizes.batch,
                row: step * sizes.step_stride,
                row_stride: sizes.row_stride,
                state_row,
                next_state_row: if has_next { self.state_row(step + 1).0 } else { 0 },
                state_stride,
                has_next: u32::from(has_next),
                cell_row: self.cell_row(step),
                next_cell_row: self.cell_row(step + 1),
                row_tiles,
                tiles,
                grid_width,
            };
            lowering.next_does(sizes.work(lowering, &operands, true));
            lowering.emit(&self.layer, kernel.clone(), grid, &operands, shape);
        }
        let last = (sizes.steps - 1) * sizes.step_stride;
        lowering.define_part(id, LAST_STATE, state_view(&sizes, results, last, sizes.row_stride));
        if let Some(cells) = self.cells {
            let last = self.cell_row(sizes.steps);
            lowering.define_part(id, LAST_CELL, state_view(&sizes, cells, last, 1));
        }
    }
}
