use super::kernels::{GradShape, Sizes, Spread};
use super::{
    CELLS, Cell, FIRST_CELL, FIRST_STATE, LAST_CELL, LAST_STATE, Recurrent, SAVED, STATES, begin, state_view,
};
use crate::graph::lowering::elementwise::{Program, Target};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::ops::product::Factor;
use crate::graph::ops::{linear, rearrange};
use crate::graph::view::{Order, View};

/// The backward pass of a recurrent layer.
pub(super) struct Backward {
    id: usize,
    layer: String,
    sizes: Sizes,
    /// Gradients of the input products and of the state products. Both are the same value, except for a GRU.
    input_grads: Operand,
    gate_grads: Operand,
    /// If the former were computed elsewhere: where they are copied, and whether they are added.
    sent: Option<(Operand, bool)>,
    /// The part of the gradient of a state, or cell state, that bypasses the gates.
    carry: Option<Operand>,
}

impl Backward {
    pub(super) fn new(op: &Recurrent, lowering: &mut Lowering, id: usize) -> Self {
        let (layer, sizes) = (lowering.name(id), Sizes::of(op, lowering, id));
        let into = lowering.gradient_into(id, 0);
        let (input_grads, sent) = match into {
            Some((into, false)) => (into, None),
            other => (lowering.scratch("gradients of gates", sizes.gates_len()), other),
        };
        let gate_grads = match op.cell {
            Cell::Gru => lowering.scratch("gradients of gates", sizes.gates_len()),
            _ => input_grads,
        };
        let carries = matches!(op.cell, Cell::Lstm | Cell::Gru);
        let carry = carries.then(|| lowering.scratch("gradient past the gates", sizes.state_len()));
        Self { id, layer, sizes, input_grads, gate_grads, sent, carry }
    }

    pub(super) fn emit(&self, lowering: &mut Lowering) {
        self.steps(lowering);
        self.first(lowering);
        let (id, sizes) = (self.id, self.sizes);
        if let Some((into, adds)) = self.sent {
            let view = |of| View::packed(of, lowering.input_shape(id, 0), Order::Natural);
            let (from, to) = (view(self.input_grads), view(into));
            rearrange(lowering, &self.layer, &from, &to, adds);
        }
        let parameters = lowering.parameters(id).to_vec();
        let states = lowering.saved_at(id, STATES);
        let weight = [sizes.gates() as usize, sizes.hidden as usize];
        let rows = sizes.rows();
        let matrix = |of, columns| Factor::of(&View::packed(of, &[rows as usize, columns], Order::Natural));
        let factors = [&matrix(self.gate_grads, weight[0]), &matrix(states, weight[1])];
        let bias = parameters.get(1).map(|&bias| (bias, self.gate_grads));
        linear::weight_grad(lowering, &self.layer, factors, (parameters[0], weight), bias);
    }

    /// The operands of all backward kernels. A missing upstream gradient is not read.
    fn operands(&self, lowering: &Lowering, upstream: Option<Operand>) -> Vec<Operand> {
        let missing = lowering.saved_at(self.id, STATES);
        let weight = Operand::Parameter(lowering.parameters(self.id)[0]);
        vec![weight, upstream.unwrap_or(missing), self.gate_grads]
    }

    /// The upstream gradient of the last step: that of its output, that of the last state, or their sum.
    fn last_upstream(&self, lowering: &mut Lowering) -> Option<(Operand, u32, u32)> {
        let sizes = self.sizes;
        let row = (sizes.steps - 1) * sizes.step_stride;
        let of_result = lowering.gradient_if_any(self.id);
        let of_state = lowering.part_gradient(self.id, LAST_STATE);
        let (Some(of_result), Some(of_state)) = (of_result, of_state) else {
            let of_result = of_result.map(|of| (of, row, sizes.row_stride));
            return of_result.or(of_state.map(|of| (of, 0, 1)));
        };
        let both = lowering.scratch("gradient of the last state", sizes.state_len());
        let sum = Program { name: "sum".into(), results: vec!["x0 + x1".into()], ..Program::default() };
        let terms =
            [state_view(&sizes, of_result, row, sizes.row_stride), state_view(&sizes, of_state, 0, 1)];
        let target = Target { view: state_view(&sizes, both, 0, 1), adds: false };
        lowering.emit_elementwise(&self.layer, &sum, &terms, &[target]);
        Some((both, 0, 1))
    }

    fn steps(&self, lowering: &mut Lowering) {
        let Self { id, sizes, .. } = *self;
        if let Some(carry) = self.carry {
            let of_cell = (sizes.cell == Cell::Lstm).then(|| lowering.part_gradient(id, LAST_CELL)).flatten();
            let view = |of| state_view(&sizes, of, 0, 1);
            begin(lowering, &self.layer, of_cell.map(view), view(carry));
        }
        let mut own = match sizes.cell {
            Cell::Tanh | Cell::Relu => vec![lowering.result(id)],
            Cell::Lstm => [SAVED, CELLS].map(|number| lowering.saved_at(id, number)).to_vec(),
            Cell::Gru => [SAVED, STATES].map(|number| lowering.saved_at(id, number)).to_vec(),
        };
        own.extend(self.carry);
        own.extend((sizes.cell == Cell::Gru).then_some(self.input_grads));
        let spread = sizes.backward(lowering);
        let of_result = lowering.gradient_if_any(id);
        let of_last = self.last_upstream(lowering);
        for step in (0..sizes.steps).rev() {
            let has_after = step + 1 < sizes.steps;
            let row = step * sizes.step_stride;
            let upstream = if has_after { of_result.map(|of| (of, row, sizes.row_stride)) } else { of_last };
            let (_, upstream_row, upstream_stride) = upstream.unwrap_or((self.gate_grads, 0, 0));
            let shape = GradShape {
                row,
                after_row: if has_after { row + sizes.step_stride } else { 0 },
                has_after: u32::from(has_after),
                has_upstream: u32::from(upstream.is_some()),
                upstream_row,
                upstream_stride,
                cell_row: step * sizes.batch,
                next_cell_row: (step + 1) * sizes.batch,
                ..self.shape(&spread)
            };
            let operands = [self.operands(lowering, upstream.map(|(of, ..)| of)), own.clone()].concat();
            lowering.next_does(sizes.work(lowering, &operands, has_after));
            lowering.emit(&self.layer, spread.kernel.clone(), spread.grid, &operands, shape);
        }
    }

    fn shape(&self, spread: &Spread) -> GradShape {
        let &Spread { row_tiles, tiles, grid_width, .. } = spread;
        let Sizes { batch, row_stride, .. } = self.sizes;
        GradShape { batch, row_stride, row_tiles, tiles, grid_width, ..GradShape::default() }
    }

    /// The gradients of the initial hidden state and the initial cell state.
    fn first(&self, lowering: &mut Lowering) {
        let Self { id, sizes, .. } = *self;
        if lowering.inputs(id) <= FIRST_STATE {
            return;
        }
        if let Some((into, adds)) = lowering.gradient_into(id, FIRST_STATE) {
            let mut operands = self.operands(lowering, None);
            let carry = self.carry.unwrap_or_else(|| lowering.saved_at(id, STATES));
            operands.extend([carry, into]);
            let spread = sizes.first(lowering);
            let shape = GradShape { has_after: 1, accumulate: u32::from(adds), ..self.shape(&spread) };
            lowering.next_does(sizes.work(lowering, &operands, true));
            lowering.emit(&self.layer, spread.kernel, spread.grid, &operands, shape);
            // The initial cell state can share memory with the initial hidden state; it must then add.
            lowering.settle(id);
        }
        if let (Cell::Lstm, Some(carry)) = (sizes.cell, self.carry)
            && let Some((into, adds)) = lowering.gradient_view_into(id, FIRST_CELL)
        {
            rearrange(lowering, &self.layer, &state_view(&sizes, carry, 0, 1), &into, adds);
        }
    }
}
