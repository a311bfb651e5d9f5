//! Lowers a custom operation to the dispatches of both passes.

use super::{CustomOp, Read, Role, Stage};
use crate::Error;
use crate::graph::Mode;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::ops::grid;
use crate::graph::shape::{Matrix, u};
use crate::graph::view::{Order, View};

/// The operands of a node's values, as far as they have been created.
struct Operands {
    shapes: Vec<Vec<usize>>,
    values: Vec<Option<Operand>>,
    gradients: Vec<Option<Operand>>,
}

impl CustomOp {
    pub(in crate::graph) fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let mut operands = self.operands(lowering, id)?;
        for stage in self.stages(lowering, id, false) {
            let value = &self.declared.values[stage.value];
            let len = matrix(&operands.shapes[stage.value]).len();
            let target = match value.role {
                Role::Output(0) => lowering.define(id),
                Role::Output(number) => {
                    let part = lowering.scratch(&format!("{} of {}", value.name, lowering.name(id)), len);
                    let view = View::packed(part, &operands.shapes[stage.value], Order::Natural);
                    lowering.define_part(id, number - 1, view);
                    part
                }
                _ => lowering.scratch(&format!("{} of {}", value.name, lowering.name(id)), len),
            };
            // Saved in the order of the stages.
            lowering.save_as(id, target);
            operands.values[stage.value] = Some(target);
            self.emit(lowering, id, stage, &operands, target, false);
        }
        Ok(())
    }

    pub(in crate::graph) fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let mut operands = self.operands(lowering, id)?;
        for (number, stage) in self.stages(lowering, id, false).into_iter().enumerate() {
            operands.values[stage.value] = Some(lowering.saved_at(id, number));
        }
        for value in self.declared.outputs() {
            operands.gradients[value] = match self.declared.values[value].role {
                Role::Output(number) if number > 0 => lowering.part_gradient(id, number - 1),
                _ => lowering.gradient_if_any(id),
            };
        }
        self.check_differentiable(lowering, id)?;
        for stage in self.stages(lowering, id, true) {
            let value = &self.declared.values[stage.value];
            let (target, adds) = if value.role == Role::Backward {
                let label = format!("{} of {}", value.name, lowering.name(id));
                (lowering.scratch(&label, matrix(&operands.shapes[stage.value]).len()), false)
            } else {
                let Some(into) = lowering.gradient_into(id, stage.value) else { continue };
                into
            };
            if value.role == Role::Backward {
                operands.values[stage.value] = Some(target);
            }
            self.emit(lowering, id, stage, &operands, target, adds);
            // The next input may share memory with this one; it must then add.
            lowering.settle(id);
        }
        Ok(())
    }

    fn operands(&self, lowering: &mut Lowering, id: usize) -> Result<Operands, Error> {
        let inputs: Vec<Vec<usize>> =
            (0..self.declared.inputs()).map(|input| lowering.input_shape(id, input).to_vec()).collect();
        let of_inputs: Vec<&[usize]> = inputs.iter().map(|shape| &shape[..]).collect();
        let shapes = self.declared.shapes(&lowering.name(id), &of_inputs)?;
        let mut values = vec![None; shapes.len()];
        for (input, value) in values.iter_mut().enumerate().take(inputs.len()) {
            *value = Some(lowering.argument(id, input));
        }
        Ok(Operands { gradients: vec![None; shapes.len()], shapes, values })
    }

    /// The stages of a pass that are needed: those of outputs and of required gradients, and those of values that
    /// they read. Values used only by the backward pass are skipped if nothing is trained, and values used only by
    /// one gradient are skipped if that gradient is not needed.
    fn stages(&self, lowering: &Lowering, id: usize, backward: bool) -> Vec<&Stage> {
        let mut read = vec![false; self.declared.values.len()];
        let mut needed = Vec::new();
        for stage in self.declared.stages.iter().rev() {
            let is_needed = match self.declared.values[stage.value].role {
                Role::Output(_) => true,
                Role::Input | Role::Labels => {
                    lowering.mode == Mode::Train && lowering.trains_input(id, stage.value)
                }
                Role::Forward | Role::Backward => read[stage.value],
            };
            if is_needed {
                let values = stage.reads.iter().filter_map(|read| match *read {
                    Read::Value(value) => Some(value),
                    Read::Gradient(_) => None,
                });
                values.for_each(|value| read[value] = true);
                needed.push(stage);
            }
        }
        needed.retain(|stage| is_backward(stage) == backward);
        needed.reverse();
        needed
    }

    /// Refuses to differentiate with respect to an input that has no gradient function.
    fn check_differentiable(&self, lowering: &Lowering, id: usize) -> Result<(), Error> {
        for (input, value) in self.declared.values.iter().enumerate().take(self.declared.inputs()) {
            let has = self.declared.stages.iter().any(|stage| is_backward(stage) && stage.value == input);
            if value.role == Role::Input && !has && lowering.trains_input(id, input) {
                let what = format!("{}: {}", lowering.name(id), self.declared.what());
                let reason = format!(
                    "it has no `fn backward_{name}(i: u32) -> f32`, and what {name} is computed from is trained",
                    name = value.name
                );
                return Err(Error::Config { what, reason });
            }
        }
        Ok(())
    }

    fn emit(
        &self,
        lowering: &mut Lowering,
        id: usize,
        stage: &Stage,
        operands: &Operands,
        target: Operand,
        adds: bool,
    ) {
        let operand = |read: &Read| match *read {
            Read::Value(value) => operands.values[value],
            Read::Gradient(value) => operands.gradients[value],
        };
        let known: Vec<Read> = stage.reads.iter().copied().filter(|read| operand(read).is_some()).collect();
        let mut bound: Vec<Operand> = known.iter().filter_map(operand).collect();
        bound.push(target);
        let kernel = self.kernel(stage, &operands.shapes, &known);
        let quads = matrix(&operands.shapes[stage.value]).quads();
        let block = self.block(u(quads), adds);
        lowering.emit_block(&lowering.name(id), kernel, grid(quads), &bound, block);
    }
}

fn is_backward(stage: &Stage) -> bool {
    stage.function.starts_with("backward_")
}

fn matrix(shape: &[usize]) -> Matrix {
    Matrix::of(shape, Order::Natural)
}
