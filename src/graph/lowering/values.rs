//! Values: the memory of a lowered graph, and how ops allocate and refer to it.

use super::Lowering;
use super::finish::Finish;
use crate::graph::ops;
use crate::graph::shape::Matrix;
use crate::graph::view::{Order, View};

/// The resource for one binding of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operand {
    /// An activation, the gradient of one, or scratch memory.
    Value(usize),
    /// A range of elements of a value. It starts at a multiple of 256 bytes.
    Part { value: usize, first: usize, len: usize },
    /// A parameter or a buffer, by index. Only buffers are written.
    Parameter(usize),
    /// The gradient of a parameter, by index.
    Gradient(usize),
}

/// Where the contents of a value come from, and how long they are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Keep {
    /// Kept only while steps use it; the memory is then reused.
    Pooled,
    /// Written by the host before a run, under this name.
    Input { name: String, labels: bool, shape: Vec<usize>, classes: Option<usize>, ignored: Vec<Option<u32>> },
    /// Written once, when the plan is created.
    Constant(Vec<f32>),
    /// Seed and step for random numbers, two words each. 0 until the host writes them.
    Random,
    /// The loss scale, copied from the gate before each run.
    LossScale,
    /// Kept until the next run, to be read under these names.
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
    /// Size in 32-bit words.
    pub(crate) fn words(&self) -> usize {
        if self.half { self.len.div_ceil(2) } else { self.len }
    }
}

impl Lowering {
    /// Allocates a value of `len` elements that lives as long as steps use it.
    pub(crate) fn value(&mut self, label: &str, len: usize) -> usize {
        self.value_kept(label.into(), len, Keep::Pooled)
    }

    /// Allocates a value with another lifetime.
    pub(crate) fn value_kept(&mut self, label: String, len: usize, keep: Keep) -> usize {
        self.values.push(Value { label, len, keep, half: false });
        self.values.len() - 1
    }

    /// The value of a node, packed in the node's own order of axes.
    pub(crate) fn result(&self, id: usize) -> Operand {
        let view = self.forward[id].as_ref().expect("nodes are lowered in order");
        assert!(view.is_packed(self.orders[id]), "{}: a view is no result", self.nodes[id].name);
        view.of
    }

    /// An input of a node, packed in the order of axes in which the node reads it. If necessary, emits a copy, which
    /// later readers share.
    pub(crate) fn argument(&mut self, id: usize, input: usize) -> Operand {
        self.argument_copy(id, input, self.input_order(id, input)).of
    }

    /// Like [`Lowering::argument`], in a given order of axes.
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

    /// An input of a node, with any layout.
    pub(crate) fn argument_view(&self, id: usize, input: usize) -> View {
        self.forward[self.nodes[id].inputs[input]].clone().expect("nodes are lowered in order")
    }

    /// Allocates the output of a node, for its forward kernel to write.
    pub(crate) fn define(&mut self, id: usize) -> Operand {
        // If a chain is fused to its kernel, the node writes the output of the chain.
        let id = self.chains.made_by(id);
        let label = self.name(id);
        let value = self.value_as(id, &label, self.matrix(id).len());
        self.define_as(id, value);
        value
    }

    /// The chain fused to the end of a node's kernel. The kernel then writes the output of the chain.
    pub(crate) fn finish(&mut self, id: usize) -> Option<Finish> {
        self.chains.ending_in(id).map(|chain| self.finish_with(&chain))
    }

    /// Uses an existing value, in the node's own order of axes, as the output of a node.
    pub(crate) fn define_as(&mut self, id: usize, value: Operand) {
        self.forward[id] = Some(View::packed(value, &self.shapes[id], self.orders[id]));
    }

    /// Allocates the output of a node with the layout of `view`, which its gradient shares. For an order of axes that
    /// suits its readers.
    pub(crate) fn define_laid(&mut self, id: usize, view: View) {
        assert_eq!(view.shape, self.shapes[id], "{}: the shape of its view", self.nodes[id].name);
        self.laid.insert(id);
        self.forward[id] = Some(view);
    }

    /// Makes the output of a node a view of its first input, with distinct elements. Its gradient is `gradient`, the
    /// same view of the input's gradient, whose layout can differ from the input's ([`Lowering::gradient_layout`]).
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

    /// Makes the output of a node a view in which elements can be repeated. Its gradient has memory of its own.
    pub(crate) fn define_spread(&mut self, id: usize, view: View) {
        assert_eq!(view.shape, self.shapes[id], "{}: the shape of its view", self.nodes[id].name);
        self.forward[id] = Some(view);
    }

    /// Allocates scratch memory that only this node's kernels use.
    pub(crate) fn scratch(&mut self, label: &str, len: usize) -> Operand {
        Operand::Value(self.value(label, len))
    }

    /// Allocates a value that the forward pass saves for the backward pass.
    pub(crate) fn save(&mut self, id: usize, label: &str, len: usize) -> Operand {
        let label = format!("{label} of {}", self.nodes[id].name);
        let value = Operand::Value(self.value(&label, len));
        self.save_as(id, value);
        value
    }

    /// Saves an existing value for the backward pass.
    pub(crate) fn save_as(&mut self, id: usize, value: Operand) {
        self.saved[id].push(value);
    }

    /// The first value saved for the backward pass.
    pub(crate) fn saved(&self, id: usize) -> Operand {
        self.saved_at(id, 0)
    }

    /// The value saved for the backward pass as number `number`.
    pub(crate) fn saved_at(&self, id: usize, number: usize) -> Operand {
        self.saved[id][number]
    }

    /// Sets the view of a further result of a node, as declared by [`Op::parts`](super::ops::Op::parts).
    pub(crate) fn define_part(&mut self, id: usize, number: usize, view: View) {
        self.parts.insert((id, number), view);
    }

    /// A further result of the op that is the node's input.
    pub(crate) fn further_result(&self, id: usize, number: usize) -> View {
        let made = self.parts.get(&(self.nodes[id].inputs[0], number));
        made.expect("an op makes all results that it declares").clone()
    }

    /// Seed and step, shared by all random ops of a plan.
    pub(crate) fn random(&mut self) -> Operand {
        let value = match self.random {
            Some(value) => value,
            None => self.value_kept("random".into(), Self::RANDOM_WORDS, Keep::Random),
        };
        self.random = Some(value);
        Operand::Value(value)
    }
}
