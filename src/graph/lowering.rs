//! From a graph to a flat list of dispatches: what ops ask for operands and give steps to.

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

/// A graph on its way to a list of dispatches. Ops ask it for operands and give it steps.
#[derive(Debug)]
pub(crate) struct Lowering {
    pub(super) nodes: Vec<Node>,
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) relus: Vec<Relu>,
    pub(super) pools: Vec<Option<usize>>,
    pub(super) orders: Vec<Order>,
    /// Nodes that are stored as f16, and so are their gradients.
    pub(super) half: Vec<bool>,
    pub(super) chains: Chains,
    pub(super) forward: Vec<Option<View>>,
    /// For a node that is a view whose elements are each one of another node's, that node.
    pub(super) view_of: Vec<Option<usize>>,
    /// Nodes whose own memory lies in another order of axes than is packed: as their views say.
    pub(super) laid: BTreeSet<usize>,
    /// Copies of results in another order of axes.
    pub(super) copies: BTreeMap<(usize, Order), Operand>,
    pub(super) saved: Vec<Vec<Operand>>,
    /// Further results of nodes, by their number.
    pub(super) parts: BTreeMap<(usize, usize), View>,
    pub(super) gradients: Gradients,
    /// The parameters and buffers by their numbers.
    pub(super) declared: Vec<Parameter>,
    /// Whether a parameter is neither a buffer nor frozen.
    pub(super) trained: Vec<bool>,
    /// Whether the root depends on a parameter, frozen or not.
    pub(super) reached: Vec<bool>,
    pub(super) outputs: Vec<(String, usize)>,
    /// Nodes whose gradients are kept, by the names of these.
    pub(super) wanted_gradients: Vec<(String, usize)>,
    /// Steps of the forward pass, which come first.
    pub(super) forward_steps: usize,
    pub(super) random: Option<usize>,
    /// What a plan differentiates and the gradient of it, if that is known before the forward pass.
    pub(super) seed: Option<(usize, Operand)>,
    /// Gradients of first inputs that forward kernels have made, by the nodes of these.
    pub(super) made_early: BTreeMap<usize, Operand>,
    /// Jobs that run together.
    pub(super) joints: Vec<Joint>,
    pub(crate) mode: Mode,
    /// Whether running statistics become means over all batches.
    pub(crate) cumulative: bool,
    pub(crate) capabilities: Capabilities,
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// What is known of the next dispatch.
    pub(super) work: Work,
}

impl Lowering {
    /// Words of [`Keep::Random`].
    pub(super) const RANDOM_WORDS: usize = 4;

    /// The layer's name.
    pub(crate) fn name(&self, id: usize) -> String {
        self.nodes[id].name.clone()
    }

    pub(crate) fn shape(&self, id: usize) -> &[usize] {
        &self.shapes[id]
    }

    /// How many inputs a node has.
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

    /// How a node's own memory lies.
    pub(crate) fn matrix(&self, id: usize) -> Matrix {
        Matrix::of(&self.shapes[id], self.orders[id])
    }

    /// How an input lies as a node reads it.
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

    /// Whether another node has one of a node's parameters too.
    pub(crate) fn shares_parameter(&self, id: usize, place: usize) -> bool {
        let parameter = self.nodes[id].parameters[place];
        let mut nodes = self.nodes.iter().enumerate();
        nodes.any(|(other, node)| other != id && node.parameters.contains(&parameter))
    }

    /// Whether the relu before a node runs as the first thing of the node's kernel.
    pub(crate) fn relu_before(&self, id: usize) -> bool {
        self.relus[self.nodes[id].inputs[0]] == Relu::InConsumer
    }

    /// The max pooling that runs as the last thing of a node's kernel, after the relu before it.
    pub(crate) fn pool_after(&self, id: usize) -> Option<usize> {
        self.pools[id]
    }

    /// How many nodes of its kind stand before a node in its graph, whatever the plan uses of them.
    pub(crate) fn number_of_kind(&self, id: usize) -> usize {
        let kind = self.nodes[id].op.kind();
        self.nodes[..id].iter().filter(|node| node.op.kind() == kind).count()
    }

    /// Notes how many classes the labels of an input of a node can name.
    pub(crate) fn limit_labels(&mut self, id: usize, input: usize, most: usize) {
        if let Operand::Value(value) = self.argument(id, input)
            && let Keep::Input { classes, .. } = &mut self.values[value].keep
        {
            *classes = Some(classes.map_or(most, |c| c.min(most)));
        }
    }

    /// Notes the label that a loss ignores, which then need not name a class.
    pub(crate) fn ignore_label(&mut self, id: usize, input: usize, label: Option<u32>) {
        if let Operand::Value(value) = self.argument(id, input)
            && let Keep::Input { ignored, .. } = &mut self.values[value].keep
        {
            ignored.push(label);
        }
    }

    /// Where a node writes the gradient of its parameter, and whether it adds to what is there: if another
    /// node of this plan has written it, or the plan adds to the gradients of earlier runs. `None` for a buffer and
    /// for what is frozen: then nothing is computed for it.
    pub(crate) fn parameter_gradient(&mut self, parameter: usize) -> Option<(Operand, bool)> {
        if !self.trained[parameter] {
            return None;
        }
        let written = std::mem::replace(&mut self.gradients.parameter_written[parameter], true);
        if written {
            // What adds to it comes later.
            self.emit_finishing_joints(|tensors| tensors.contains(&Operand::Gradient(parameter)));
        }
        Some((Operand::Gradient(parameter), written))
    }
}
