//! Values: what a lowered graph keeps in memory, and how ops name and define it.

use super::Lowering;
use super::finish::Finish;
use crate::graph::ops;
use crate::graph::shape::Matrix;
use crate::graph::view::{Order, View};

/// What one binding of a dispatch is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operand {
    /// An activation, a gradient of one, or scratch.
    Value(usize),
    /// So many elements of a value, from one on that lies on 256 bytes.
    Part { value: usize, first: usize, len: usize },
    /// A parameter or a buffer, by its number. Only buffers are written.
    Parameter(usize),
    /// The gradient of a parameter.
    Gradient(usize),
}

/// Where the contents of a value come from and how long they are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Keep {
    /// As long as a step needs them.
    Pooled,
    /// Written by the host before a run, under this name.
    Input { name: String, labels: bool, shape: Vec<usize>, classes: Option<usize>, ignored: Vec<Option<u32>> },
    /// Written once, when the plan is made.
    Constant(Vec<f32>),
    /// The seed and the step of random numbers, two words each: 0 until the host writes them.
    Random,
    /// The factor of the loss, copied from the gate before each run.
    LossScale,
    /// Until the plan runs again, to be read under these names.
    Output(Vec<(String, Vec<usize>, Order)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) label: String,
    pub(crate) len: usize,
    pub(crate) keep: Keep,
    /// Whether it is stored as f16.
    pub(crate) half: bool,
}

impl Value {
    /// Words of 32 bits.
    pub(crate) fn words(&self) -> usize {
        if self.half { self.len.div_ceil(2) } else { self.len }
    }
}

impl Lowering {
    /// A value of `len` elements that lives as long as the steps that touch it.
    pub(crate) fn value(&mut self, label: &str, len: usize) -> usize {
        self.value_kept(label.into(), len, Keep::Pooled)
    }

    /// A value that is kept in another way.
    pub(crate) fn value_kept(&mut self, label: String, len: usize, keep: Keep) -> usize {
        self.values.push(Value { label, len, keep, half: false });
        self.values.len() - 1
    }

    /// What a node computed, in its own order of axes.
    pub(crate) fn result(&self, id: usize) -> Operand {
        let view = self.forward[id].as_ref().expect("nodes are lowered in order");
        assert!(view.is_packed(self.orders[id]), "{}: a view is no result", self.nodes[id].name);
        view.of
    }

    /// What an input of a node computed, as packed memory in the order in which the node reads it: a copy is made, once
    /// for all who need it, if it does not lie so.
    pub(crate) fn argument(&mut self, id: usize, input: usize) -> Operand {
        self.argument_copy(id, input, self.input_order(id, input)).of
    }

    /// As [`Lowering::argument`], in an order of axes that the node names.
    pub(crate) fn argument_copy(&mut self, id: usize, input: usize, order: Order) -> View {
        let node = self.nodes[id].inputs[input];
        let view = self.forward[node].clone().expect("nodes are lowered in order");
        let packed = |of| View::packed(of, &view.shape, order);
        if view.is_packed(order) {
            return packed(view.of);
        }
        if let Some(&copy) = self.copies.get(&(node, order)) {
            return packed(copy);
        }
        let label = self.name(node);
        let copy = self.value_as(node, &label, Matrix::of(&view.shape, order).len());
        ops::rearrange(self, &label, &view, &packed(copy), false);
        self.copies.insert((node, order), copy);
        packed(copy)
    }

    /// What an input of a node computed, wherever it lies.
    pub(crate) fn argument_view(&self, id: usize, input: usize) -> View {
        self.forward[self.nodes[id].inputs[input]].clone().expect("nodes are lowered in order")
    }

    /// Makes the value of a node, to be written by its forward kernel.
    pub(crate) fn define(&mut self, id: usize) -> Operand {
        // Where a chain runs in its kernel, a node makes the value of the chain's last.
        let id = self.chains.made_by(id);
        let label = self.name(id);
        let value = self.value_as(id, &label, self.matrix(id).len());
        self.define_as(id, value);
        value
    }

    /// The chain that runs at the end of a node's kernel; the node's value is that of its last then.
    pub(crate) fn finish(&mut self, id: usize) -> Option<Finish> {
        self.chains.ending_in(id).map(|chain| self.finish_with(&chain))
    }

    /// Lets the value of a node be one that exists already, in the node's own order of axes.
    pub(crate) fn define_as(&mut self, id: usize, value: Operand) {
        self.forward[id] = Some(View::packed(value, &self.shapes[id], self.orders[id]));
    }

    /// Lets the value of a node be memory of its own that lies as a view says, and so will its gradient: for an order of
    /// axes in which those who read it want it.
    pub(crate) fn define_laid(&mut self, id: usize, view: View) {
        assert_eq!(view.shape, self.shapes[id], "{}: the shape of its view", self.nodes[id].name);
        self.laid.insert(id);
        self.forward[id] = Some(view);
    }

    /// Lets the value of a node be a view of its first input, of which each element is at most one of its own: its
    /// gradient is then `gradient`, the same view of the input's, which may lie otherwise than the input
    /// ([`Lowering::gradient_layout`]).
    pub(crate) fn define_views(&mut self, id: usize, view: View, gradient: View) {
        for view in [&view, &gradient] {
            assert_eq!(view.shape, self.shapes[id], "{}: the shape of its view", self.nodes[id].name);
        }
        self.forward[id] = Some(view);
        if self.wanted_gradients.iter().any(|(_, wanted)| *wanted == id) {
            self.gradients.apart[id] = Some(gradient);
            return;
        }
        self.view_of[id] = Some(self.nodes[id].inputs[0]);
        self.gradients.views[id] = Some(gradient);
    }

    /// Lets the value of a node be a view in which an element may stand several times; its gradient is its own.
    pub(crate) fn define_spread(&mut self, id: usize, view: View) {
        assert_eq!(view.shape, self.shapes[id], "{}: the shape of its view", self.nodes[id].name);
        self.forward[id] = Some(view);
    }

    /// Makes a value that only this node's own kernels see.
    pub(crate) fn scratch(&mut self, label: &str, len: usize) -> Operand {
        Operand::Value(self.value(label, len))
    }

    /// Makes one more value that the forward pass of a node leaves for its backward pass.
    pub(crate) fn save(&mut self, id: usize, label: &str, len: usize) -> Operand {
        let label = format!("{label} of {}", self.nodes[id].name);
        let value = Operand::Value(self.value(&label, len));
        self.save_as(id, value);
        value
    }

    /// Lets one more of what the forward pass of a node leaves be a value that exists already.
    pub(crate) fn save_as(&mut self, id: usize, value: Operand) {
        self.saved[id].push(value);
    }

    /// The first value that the forward pass of a node left.
    pub(crate) fn saved(&self, id: usize) -> Operand {
        self.saved_at(id, 0)
    }

    /// What the forward pass of a node left, in the order in which it did.
    pub(crate) fn saved_at(&self, id: usize, number: usize) -> Operand {
        self.saved[id][number]
    }

    /// Notes where a further result of a node lies, which [`Op::parts`](super::ops::Op::parts) has declared.
    pub(crate) fn define_part(&mut self, id: usize, number: usize, view: View) {
        self.parts.insert((id, number), view);
    }

    /// What the op of a node's input has made as its further result.
    pub(crate) fn further_result(&self, id: usize, number: usize) -> View {
        let made = self.parts.get(&(self.nodes[id].inputs[0], number));
        made.expect("an op makes all results that it declares").clone()
    }

    /// The seed and the step, which all random ops of a plan share.
    pub(crate) fn random(&mut self) -> Operand {
        let value = match self.random {
            Some(value) => value,
            None => self.value_kept("random".into(), Self::RANDOM_WORDS, Keep::Random),
        };
        self.random = Some(value);
        Operand::Value(value)
    }
}
