//! Lowers a graph to a flat list of dispatches. Ops request operands and append steps.

pub(crate) mod autocast;
pub(super) mod chain;
pub(super) mod elementwise;
mod emit;
pub(super) mod finish;
pub(super) mod gradient;
pub(super) mod joint;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use self::chain::Chains;
use self::gradient::Gradients;
use self::joint::Joint;
use super::fuse::Relu;
use super::ops::Reads;
use super::shape::Matrix;
use super::view::{Order, View};
use super::{Mode, Node, Parameter};
use crate::gpu::{Capabilities, Work};

pub(crate) use self::emit::{Step, source, source_of};
pub(crate) use self::values::{Keep, Operand, Value};

/// A graph while it is lowered. Ops request operands from it and append steps to it.
#[derive(Debug)]
pub(crate) struct Lowering {
    pub(super) nodes: Vec<Node>,
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) relus: Vec<Relu>,
    pub(super) pools: Vec<Option<usize>>,
    pub(super) orders: Vec<Order>,
    /// For each node, whether it and its gradient are stored as f16.
    pub(super) half: Vec<bool>,
    pub(super) chains: Chains,
    pub(super) forward: Vec<Option<View>>,
    /// For each node that is a view with distinct elements, the viewed node.
    pub(super) view_of: Vec<Option<usize>>,
    /// Nodes with memory of their own in a custom order of axes, given by their views.
    pub(super) laid: BTreeSet<usize>,
    /// Copies of results in another order of axes.
    pub(super) copies: BTreeMap<(usize, Order), Operand>,
    pub(super) saved: Vec<Vec<Operand>>,
    /// Further results of nodes, by node and number.
    pub(super) parts: BTreeMap<(usize, usize), View>,
    pub(super) gradients: Gradients,
    /// The parameters and buffers, by index.
    pub(super) declared: Vec<Parameter>,
    /// For each parameter, whether it is trained: neither a buffer nor frozen.
    pub(super) trained: Vec<bool>,
    /// For each parameter, whether the root depends on it, frozen or not.
    pub(super) reached: Vec<bool>,
    pub(super) outputs: Vec<(String, usize)>,
    /// Nodes whose gradients are outputs of the plan, with the names of these.
    pub(super) wanted_gradients: Vec<(String, usize)>,
    /// Number of steps of the forward pass, which come first.
    pub(super) forward_steps: usize,
    pub(super) random: Option<usize>,
    /// The root and its gradient, if that is known before the forward pass.
    pub(super) seed: Option<(usize, Operand)>,
    /// For some nodes, the gradient of their first input, computed by their forward kernel.
    pub(super) made_early: BTreeMap<usize, Operand>,
    /// Jobs that run in joint dispatches.
    pub(super) joints: Vec<Joint>,
    pub(crate) mode: Mode,
    /// Whether running statistics become means over all batches.
    pub(crate) cumulative: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// What is known of the cost of the next dispatch.
    pub(super) work: Work,
}

impl Lowering {
    /// Words of a [`Keep::Random`].
    pub(super) const RANDOM_WORDS: usize = 4;

    /// The layer's name.
    pub(crate) fn name(&self, id: usize) -> String {
        self.nodes[id].name.clone()
    }

    pub(crate) fn shape(&self, id: usize) -> &[usize] {
        &self.shapes[id]
    }

    /// Number of inputs of a node.
    pub(crate) fn inputs(&self, id: usize) -> usize {
        self.nodes[id].inputs.len()
    }

    /// The shape of an input.
    pub(crate) fn input_shape(&self, id: usize, input: usize) -> &[usize] {
        &self.shapes[self.nodes[id].inputs[input]]
    }

    /// The order of axes of a node's own memory.
    pub(crate) fn order(&self, id: usize) -> Order {
        self.orders[id]
    }

    /// The order of axes in which a node reads an input.
    pub(crate) fn input_order(&self, id: usize, input: usize) -> Order {
        match self.nodes[id].op.reads(input) {
            Reads::Natural => Order::Natural,
            Reads::ChannelsLast => Order::ChannelsLast,
            Reads::AsMade => self.orders[id],
            Reads::AsIs | Reads::Strided => self.orders[self.nodes[id].inputs[input]],
        }
    }

    /// The memory layout of a node's own value.
    pub(crate) fn matrix(&self, id: usize) -> Matrix {
        Matrix::of(&self.shapes[id], self.orders[id])
    }

    /// The memory layout in which a node reads an input.
    pub(crate) fn input_matrix(&self, id: usize, input: usize) -> Matrix {
        Matrix::of(self.input_shape(id, input), self.input_order(id, input))
    }

    pub(crate) fn parameters(&self, id: usize) -> &[usize] {
        &self.nodes[id].parameters
    }

    /// Whether a parameter is trained in this plan.
    pub(crate) fn is_trained(&self, parameter: usize) -> bool {
        self.trained[parameter]
    }

    /// Whether another node uses one of this node's parameters too.
    pub(crate) fn shares_parameter(&self, id: usize, place: usize) -> bool {
        let parameter = self.nodes[id].parameters[place];
        let mut nodes = self.nodes.iter().enumerate();
        nodes.any(|(other, node)| other != id && node.parameters.contains(&parameter))
    }

    /// Whether the ReLU before a node is fused to the start of the node's kernel.
    pub(crate) fn relu_before(&self, id: usize) -> bool {
        self.relus[self.nodes[id].inputs[0]] == Relu::InConsumer
    }

    /// The max pooling that is fused to the end of a node's kernel, after the ReLU before it.
    pub(crate) fn pool_after(&self, id: usize) -> Option<usize> {
        self.pools[id]
    }

    /// The number of nodes of the same kind before this one in the graph, whether or not the plan uses them.
    pub(crate) fn number_of_kind(&self, id: usize) -> usize {
        let kind = self.nodes[id].op.kind();
        self.nodes[..id].iter().filter(|node| node.op.kind() == kind).count()
    }

    /// Records the number of classes that the labels of an input can have.
    pub(crate) fn limit_labels(&mut self, id: usize, input: usize, most: usize) {
        if let Operand::Value(value) = self.argument(id, input)
            && let Keep::Input { classes, .. } = &mut self.values[value].keep
        {
            *classes = Some(classes.map_or(most, |c| c.min(most)));
        }
    }

    /// Records the label that a loss ignores; it need not be a valid class.
    pub(crate) fn ignore_label(&mut self, id: usize, input: usize, label: Option<u32>) {
        if let Operand::Value(value) = self.argument(id, input)
            && let Keep::Input { ignored, .. } = &mut self.values[value].keep
        {
            ignored.push(label);
        }
    }

    /// Where a node writes the gradient of its parameter, and whether it adds: if another node of this plan has
    /// already written it, or the plan accumulates. `None` for a buffer or a frozen parameter, for which no gradient
    /// is computed.
    pub(crate) fn parameter_gradient(&mut self, parameter: usize) -> Option<(Operand, bool)> {
        if !self.trained[parameter] {
            return None;
        }
        let written = std::mem::replace(&mut self.gradients.parameter_written[parameter], true);
        if written {
            // What is pending for this gradient must be emitted before something adds to it.
            self.emit_finishing_joints(|tensors| tensors.contains(&Operand::Gradient(parameter)));
        }
        Some((Operand::Gradient(parameter), written))
    }
}
