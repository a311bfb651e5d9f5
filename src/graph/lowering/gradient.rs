//! Memory of gradients. A gradient has the layout of its value; the gradient of a view is the same view of the viewed
//! value's gradient.

use super::joint::Joint;
use super::{Lowering, Operand};
use crate::graph::fuse::Relu;
use crate::graph::ops;
use crate::graph::shape::Matrix;
use crate::graph::view::View;

/// State of the gradients during the backward pass.
#[derive(Debug)]
pub(crate) struct Gradients {
    /// For each node, whether the node or anything it depends on is trained.
    pub(in crate::graph) trains: Vec<bool>,
    /// The gradient of each node that has memory of its own.
    pub(in crate::graph) of: Vec<Option<View>>,
    /// For each node that is a view, its view of the gradient of the viewed node.
    pub(in crate::graph) views: Vec<Option<View>>,
    /// The same for a view whose gradient is an output of the plan: that gradient has memory of its own, and is added
    /// to the gradient of the viewed node when complete.
    pub(in crate::graph) apart: Vec<Option<View>>,
    /// Which part of each gradient has been written.
    pub(in crate::graph) coverage: Vec<Coverage>,
    pub(in crate::graph) parameter_written: Vec<bool>,
    /// Gradients that an op wrote in the order in which it reads, with their final destinations.
    pub(in crate::graph) pending: Vec<(View, View, bool)>,
    /// Buffers to be filled with zeros before a step, with their numbers of quads.
    pub(in crate::graph) fills: Vec<(usize, String, Operand, usize)>,
}

/// Which part of a gradient has been written.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::graph) enum Coverage {
    Nothing,
    /// The quads that have been written; the first write is step `first`.
    Part {
        quads: Vec<bool>,
        first: usize,
    },
    Everything,
}

impl Gradients {
    pub(in crate::graph) fn new(trains: Vec<bool>, parameter_written: Vec<bool>) -> Self {
        let nodes = trains.len();
        Self {
            trains,
            of: vec![None; nodes],
            views: vec![None; nodes],
            apart: vec![None; nodes],
            coverage: vec![Coverage::Nothing; nodes],
            parameter_written,
            pending: Vec::new(),
            fills: Vec::new(),
        }
    }
}

/// A step that is emitted late but runs early.
enum Early {
    Zeros { layer: String, of: Operand, quads: usize },
    Arena(Joint),
}

impl Lowering {
    /// The upstream gradient of a node, packed in the node's own order of axes.
    pub(crate) fn gradient(&self, id: usize) -> Operand {
        self.gradient_if_any(id).expect("backward runs where a gradient arrived")
    }

    /// The upstream gradient of a node, with any layout.
    pub(crate) fn gradient_view(&self, id: usize) -> View {
        self.gradients.of[id].clone().expect("backward runs where a gradient arrived")
    }

    /// If another node's kernel computes this pooling, leaves its gradient to that node. Returns whether it does.
    pub(crate) fn leave_to_pooled(&mut self, pool: usize) -> bool {
        let Some(producer) = self.pools.iter().position(|after| *after == Some(pool)) else { return false };
        self.gradients.of[producer] = self.gradients.of[pool].clone();
        self.gradients.coverage[producer] = Coverage::Everything;
        true
    }

    /// The gradient of every element of a node, if it is the same for all and known in the forward pass: a factor
    /// times the first element of an operand. This holds for losses whose sum or mean is the root of the plan.
    pub(crate) fn even_upstream(&self, id: usize) -> Option<(Operand, f32)> {
        let (root, seed) = self.seed?;
        let mut readers = self.nodes.iter().enumerate().filter(|(_, node)| node.inputs.contains(&id));
        let is_only = readers.next()?.0 == root && readers.next().is_none();
        let is_wanted = self.wanted_gradients.iter().any(|(_, wanted)| *wanted == id || *wanted == root);
        let trains = self.trains_input(id, 0) && self.gradients.trains[root];
        let scale = self.nodes[root].op.spreads_evenly(self, root)?;
        (is_only && !is_wanted && trains).then_some((seed, scale))
    }

    /// Allocates the gradient of a node's first input, for the node's forward kernel to write.
    pub(crate) fn make_gradient_early(&mut self, id: usize) -> Operand {
        let label = format!("gradient of an input of {}", self.nodes[id].name);
        let made = self.scratch(&label, self.input_matrix(id, 0).len());
        self.made_early.insert(id, made);
        made
    }

    /// If the forward kernel of the node before a root has already computed its input's gradient, makes that node the
    /// next in the backward pass.
    pub(crate) fn leave_to_made_gradient(&mut self, root: usize) -> bool {
        let input = self.nodes[root].inputs[0];
        let Some(&made) = self.made_early.get(&input) else { return false };
        self.gradients.of[input] = Some(self.own_layout(input, made));
        self.gradients.coverage[input] = Coverage::Everything;
        true
    }

    /// Passes on the gradient that a node's forward kernel computed for its first input. Returns whether there is
    /// one.
    pub(crate) fn send_made_gradient(&mut self, id: usize) -> bool {
        let Some(&made) = self.made_early.get(&id) else { return false };
        let own = View::packed(made, self.input_shape(id, 0), self.input_order(id, 0));
        if !self.share(&own, self.nodes[id].inputs[0])
            && let Some((region, adds)) = self.gradient_view_into(id, 0)
        {
            let layer = self.name(id);
            ops::rearrange(self, &layer, &own, &region, adds);
        }
        true
    }

    /// Whether an input of a node, or anything it depends on, is trained.
    pub(crate) fn trains_input(&self, id: usize, input: usize) -> bool {
        self.gradients.trains[self.nodes[id].inputs[input]]
    }

    /// Whether the gradients of two inputs of a node share memory.
    pub(crate) fn share_memory(&self, id: usize, inputs: [usize; 2]) -> bool {
        let [a, b] = inputs.map(|input| self.nodes[id].inputs[input]);
        let [in_a, in_b] = inputs.map(|input| self.gradient_layout(id, input).in_buffer(Operand::Value(0)));
        self.gradient_memory(a) == self.gradient_memory(b) && in_a.overlaps(&in_b)
    }

    /// The upstream gradient of a node; `None` if only its further results have one.
    pub(crate) fn gradient_if_any(&self, id: usize) -> Option<Operand> {
        self.gradients.of[id].as_ref().map(|view| view.of)
    }

    /// The upstream gradient of a further result of a node.
    pub(crate) fn part_gradient(&self, id: usize, number: usize) -> Option<Operand> {
        let mut nodes = self.nodes.iter().enumerate().skip(id);
        let is_part = |node: &crate::graph::Node| node.op.part() == Some(number) && node.inputs[0] == id;
        nodes.find_map(|(part, node)| is_part(node).then(|| self.gradient_if_any(part)).flatten())
    }

    /// Whether a node or one of its further results has an upstream gradient.
    pub(in crate::graph) fn has_gradient(&self, id: usize) -> bool {
        let part_of = |node: &crate::graph::Node| node.op.part().is_some() && node.inputs[0] == id;
        let mut parts = self.nodes.iter().enumerate().skip(id).filter(|(_, node)| part_of(node));
        self.gradients.of[id].is_some() || parts.any(|(part, _)| self.gradients.of[part].is_some())
    }

    /// Where a node writes the gradient of its input, and whether it adds; `None` if the input needs no gradient. The
    /// memory is packed in the order in which the node reads that input.
    ///
    /// A ReLU that is fused into the node is skipped.
    pub(crate) fn gradient_into(&mut self, id: usize, input: usize) -> Option<(Operand, bool)> {
        let (region, adds) = self.gradient_view_into(id, input)?;
        let order = self.input_order(id, input);
        if region.is_packed(order) {
            return Some((region.of, adds));
        }
        let label = format!("gradient of an input of {}", self.nodes[id].name);
        let scratch = self.value_as_input(id, input, &label, Matrix::of(&region.shape, order).len());
        let from = View::packed(scratch, &region.shape, order);
        self.gradients.pending.push((from, region, adds));
        Some((scratch, false))
    }

    /// Like [`Lowering::gradient_into`], for kernels that can write the gradient with any layout.
    pub(crate) fn gradient_view_into(&mut self, id: usize, input: usize) -> Option<(View, bool)> {
        let mut target = self.nodes[id].inputs[input];
        if self.relus[target] == Relu::InConsumer {
            target = self.nodes[target].inputs[0];
        }
        self.gradients.trains[target].then(|| self.claim(target))
    }

    /// Sets the gradient of the root.
    pub(in crate::graph) fn seed_gradient(&mut self, root: usize, seed: Operand) {
        let seed = View::packed(seed, &self.shapes[root], self.orders[root]);
        if self.view_of[root].is_none() && !self.is_parameter(root) {
            self.gradients.of[root] = Some(seed);
            self.gradients.coverage[root] = Coverage::Everything;
        } else if self.gradients.trains[root] {
            let (region, adds) = self.claim(root);
            ops::rearrange(self, &self.name(root), &seed, &region, adds);
        }
    }

    /// Where the gradient of a node is, and whether the next writer must add.
    pub(in crate::graph) fn claim(&mut self, target: usize) -> (View, bool) {
        let view = self.gradients.views[target].clone();
        self.claim_region(target, view.as_ref())
    }

    /// Like [`Lowering::claim`], for the region `view` of the gradient of which `target` is a part; `None` means all
    /// of it.
    pub(in crate::graph) fn claim_region(&mut self, target: usize, view: Option<&View>) -> (View, bool) {
        let owner = self.owner(target);
        if self.gradients.of[owner].is_none() {
            self.make_gradient(owner);
        }
        let whole = self.gradients.of[owner].clone().expect("it was made");
        let region = match view {
            Some(view) => view.in_buffer(whole.of),
            None => whole,
        };
        let adds = self.cover(owner, &region);
        (region, adds)
    }

    /// The layout of an input's gradient, in an unspecified buffer: that of the input, unless elements of the input
    /// are repeated.
    pub(crate) fn gradient_layout(&self, id: usize, input: usize) -> View {
        let target = self.nodes[id].inputs[input];
        let own = || self.own_layout(target, Operand::Value(0));
        self.gradients.views[target].clone().unwrap_or_else(own)
    }

    /// The axis along which the quads of a node's gradient lie.
    pub(in crate::graph) fn gradient_lanes(&self, id: usize) -> usize {
        match (&self.gradients.views[id], &self.gradients.of[id]) {
            (Some(view), _) | (None, Some(view)) => view.lanes,
            (None, None) => self.own_layout(id, Operand::Value(0)).lanes,
        }
    }

    /// Identifies the memory of a node's gradient, whether or not it is allocated: a parameter, or the node that owns
    /// it.
    pub(in crate::graph) fn gradient_memory(&self, id: usize) -> Operand {
        let owner = self.owner(id);
        if self.is_parameter(owner) {
            return Operand::Gradient(self.nodes[owner].parameters[0]);
        }
        Operand::Value(owner)
    }

    /// The layout of the gradient of a node that has memory of its own.
    fn own_layout(&self, id: usize, of: Operand) -> View {
        match &self.forward[id] {
            Some(view) if self.laid.contains(&id) => view.in_buffer(of),
            _ => View::packed(of, &self.shapes[id], self.orders[id]),
        }
    }

    /// The node that owns the memory of a node's value.
    fn owner(&self, mut id: usize) -> usize {
        while let Some(base) = self.view_of[id] {
            id = base;
        }
        id
    }

    /// Whether a node is a parameter that kernels read directly from the store.
    pub(in crate::graph) fn is_parameter(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        let is_source = node.inputs.is_empty() && !node.parameters.is_empty();
        is_source && self.forward[id].as_ref().is_some_and(|view| matches!(view.of, Operand::Parameter(_)))
    }

    /// Allocates a gradient. If the node is a parameter, this is the parameter's gradient in the store.
    fn make_gradient(&mut self, id: usize) {
        let of = if self.is_parameter(id) {
            let made = self.parameter_gradient(self.nodes[id].parameters[0]);
            let (gradient, adds) = made.expect("nothing asks for the gradient of what is not trained");
            if adds {
                self.gradients.coverage[id] = Coverage::Everything;
            }
            gradient
        } else {
            let label = format!("gradient of {}", self.nodes[id].name);
            self.value_as(id, &label, self.matrix(id).len())
        };
        self.gradients.of[id] = Some(self.own_layout(id, of));
    }

    /// Records that a region of a gradient is about to be written. Returns whether the writer must add.
    fn cover(&mut self, owner: usize, region: &View) -> bool {
        let is_whole = region.shape.iter().product::<usize>() == self.shapes[owner].iter().product::<usize>();
        let quads = self.matrix(owner).quads();
        let first = self.steps.len();
        let coverage = &mut self.gradients.coverage[owner];
        match coverage {
            Coverage::Everything => true,
            Coverage::Nothing if is_whole => {
                *coverage = Coverage::Everything;
                false
            }
            Coverage::Nothing => {
                let mut written = vec![false; quads];
                region.quads().for_each(|quad| written[quad] = true);
                *coverage = Coverage::Part { quads: written, first };
                false
            }
            Coverage::Part { quads: written, .. } => {
                let known = region.quads().filter(|&quad| written[quad]).count();
                if known == 0 {
                    region.quads().for_each(|quad| written[quad] = true);
                    if written.iter().all(|written| *written) {
                        *coverage = Coverage::Everything;
                    }
                    return false;
                }
                if known < region.quads().count() {
                    self.complete(owner);
                }
                true
            }
        }
    }

    /// Fills the unwritten parts of a partially written gradient with zeros.
    pub(in crate::graph) fn complete(&mut self, owner: usize) {
        if let Coverage::Part { first, .. } = self.gradients.coverage[owner] {
            let of = self.gradients.of[owner].as_ref().expect("parts of it were written").of;
            let fill = (first, self.name(owner), of, self.matrix(owner).quads());
            self.gradients.fills.push(fill);
            self.gradients.coverage[owner] = Coverage::Everything;
        }
    }

    /// Moves gradients that were written in another order of axes to their destinations.
    pub(in crate::graph) fn settle(&mut self, id: usize) {
        for (from, to, adds) in std::mem::take(&mut self.gradients.pending) {
            let layer = self.name(id);
            ops::rearrange(self, &layer, &from, &to, adds);
        }
    }

    /// Inserts steps that write zeros or fill arenas before the steps that need them.
    pub(in crate::graph) fn insert_early_steps(&mut self) {
        let fills = std::mem::take(&mut self.gradients.fills).into_iter();
        let fills = fills.map(|(first, layer, of, quads)| (first, Early::Zeros { layer, of, quads }));
        let joints = self.filling_joints().into_iter().map(|(first, joint)| (first, Early::Arena(joint)));
        let mut early: Vec<(usize, Early)> = fills.chain(joints).collect();
        early.sort_by_key(|(first, _)| *first);
        let forward = self.forward_steps;
        for (first, early) in early.into_iter().rev() {
            let later = self.steps.split_off(first);
            match early {
                Early::Zeros { layer, of, quads } => ops::fill(self, &layer, of, quads),
                Early::Arena(joint) => self.emit_joint(&joint),
            }
            self.forward_steps += if first < forward { self.steps.len() - first } else { 0 };
            self.steps.extend(later);
        }
    }

    /// Whether exactly one node contributes to the gradient of a node with memory of its own, nothing has been
    /// written yet, and the gradient is not an output of the plan.
    pub(in crate::graph) fn gets_one_gradient(&self, target: usize) -> bool {
        let uses = |node: &crate::graph::Node| node.inputs.iter().filter(|&&i| i == target).count();
        let send = self.nodes.iter().filter(|node| !node.op.stops_gradient());
        self.gradients.of[target].is_none()
            && self.gradients.trains[target]
            && self.view_of[target].is_none()
            && !self.wanted_gradients.iter().any(|(_, wanted)| *wanted == target)
            && send.map(uses).sum::<usize>() == 1
    }

    /// Reuses an existing gradient for a node, if nothing else contributes to it. Returns whether it does.
    pub(in crate::graph) fn share(&mut self, own: &View, target: usize) -> bool {
        let free = self.gradients.of[target].is_none()
            && self.relus[target] != Relu::InConsumer
            && self.view_of[target].is_none()
            && own.is_packed(self.orders[target])
            && self.shapes[target] == own.shape
            && !self.is_parameter(target);
        let uses = |node: &crate::graph::Node| node.inputs.iter().filter(|&&i| i == target).count();
        let send = self.nodes.iter().filter(|node| !node.op.stops_gradient());
        let single = send.map(uses).sum::<usize>() == 1;
        if free && single && self.gradients.trains[target] {
            self.gradients.of[target] = Some(own.clone());
            self.gradients.coverage[target] = Coverage::Everything;
        }
        free && single
    }
}
