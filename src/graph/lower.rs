use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::chain::Chains;
use super::finish::{Draft, Finish};
use super::fuse::Relu;
use super::gradient::Gradients;
use super::joint::Joint;
use super::ops::{self, Reads};
use super::shape::Matrix;
use super::template::AnyLaunch;
use super::view::{Order, View};
use super::{Mode, Node, Parameter};
use crate::gpu::{Binding, Block, Capabilities, Checks, Field, KernelSource, Uniform, Work};

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

/// One dispatch that is not bound to buffers yet.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) label: String,
    /// Steps of one kernel may share it.
    pub(crate) kernel: Arc<KernelSource>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) uniform: Vec<u8>,
    pub(crate) block: Block,
    pub(crate) grid: [u32; 3],
    pub(crate) checks: Checks,
    /// What is known of its bytes and FLOP.
    pub(crate) work: Work,
}

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

    /// Notes what is known of the bytes and the FLOP of the dispatch that comes next, where its text and the regions that
    /// it binds do not tell.
    pub(crate) fn next_does(&mut self, work: Work) {
        self.work = work;
    }

    /// Appends a dispatch of an expanded template.
    pub(crate) fn launch(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: impl Into<AnyLaunch>,
    ) {
        self.launch_parts(layer, storage, operands, launch, 1);
    }

    /// As [`Lowering::launch`], for each of `parts` workgroups along z.
    pub(crate) fn launch_parts(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: impl Into<AnyLaunch>,
        parts: u32,
    ) {
        self.launch_finishing(layer, (storage, operands), launch.into(), parts, None);
    }

    /// As [`Lowering::launch_parts`], of a kernel that does something more to what it stores.
    pub(crate) fn launch_finishing(
        &mut self,
        layer: &str,
        (storage, operands): (&[Binding], &[Operand]),
        launch: AnyLaunch,
        parts: u32,
        finish: Option<&Finish>,
    ) {
        let AnyLaunch { template, uniform, block, groups: [x, y], finishes, checks } = launch;
        let (name, text) = (template.name.to_owned(), template.expand());
        let own = storage.len();
        let mut draft = Draft { name, text, storage: storage.to_vec(), operands: operands.to_vec() };
        match finishes {
            Some(lanes) => draft.finish(finish, lanes),
            None => assert!(finish.is_none(), "{}: it has no place for a chain", draft.name),
        }
        let Draft { name, text, storage, operands } = draft;
        if let (Some(finish), Some(lanes)) = (finish, finishes) {
            let elements: usize = finish.output.shape.iter().product();
            self.work.finishes = elements.div_ceil(lanes) as u64;
        }
        let kernel = source_of(name, text, block.bytes, &storage);
        let are_own = operands.len() == own;
        self.emit_block(layer, kernel, [x, y, parts], &operands, (uniform, block));
        if are_own && let Some(step) = self.steps.last_mut() {
            step.checks = checks;
        }
    }

    /// Appends a dispatch; `shape` is its uniform block, `operands` are bindings 1, 2, …
    pub(crate) fn emit<S: Uniform>(
        &mut self,
        layer: &str,
        kernel: impl Into<Arc<KernelSource>>,
        grid: [u32; 3],
        operands: &[Operand],
        shape: S,
    ) {
        let block = (bytemuck::bytes_of(&shape).to_vec(), Block::of::<S>("Shape"));
        self.emit_block(layer, kernel, grid, operands, block);
    }

    /// As [`Lowering::emit`], with a uniform block whose fields are known when it runs.
    pub(crate) fn emit_block(
        &mut self,
        layer: &str,
        kernel: impl Into<Arc<KernelSource>>,
        grid: [u32; 3],
        operands: &[Operand],
        (uniform, block): (Vec<u8>, Block),
    ) {
        let kernel = kernel.into();
        let mut work = std::mem::take(&mut self.work);
        work.overwrites = overwrites(&uniform, &block);
        assert_eq!(kernel.bindings.len(), operands.len() + 1, "{}: operands", kernel.name);
        let operands = self.apart(layer, &kernel, operands);
        let aliased = operands.iter().enumerate().any(|(i, a)| {
            operands[..i].iter().enumerate().any(|(j, b)| {
                a == b
                    && (kernel.bindings[i + 1] == Binding::ReadWrite
                        || kernel.bindings[j + 1] == Binding::ReadWrite)
            })
        });
        assert!(!aliased, "{}: one buffer is both read and written", kernel.name);
        let label = format!("{layer}: {}", kernel.name);
        self.steps.push(Step { label, kernel, operands, uniform, block, grid, checks: Checks::All, work });
    }
}

/// Whether a kernel that can add to what is there is told not to.
fn overwrites(uniform: &[u8], block: &Block) -> bool {
    let tells = |field: &&Field| ["accumulate", "adds"].iter().any(|stem| field.name.starts_with(stem));
    let mut flags = block.fields.iter().filter(tells).peekable();
    flags.peek().is_some() && flags.all(|flag| uniform[flag.offset..flag.offset + 4] == [0; 4])
}

/// The source of an op's kernel: uniform block first, then storage.
pub(crate) fn source<S: Uniform>(
    name: impl Into<String>,
    wgsl: impl Into<Cow<'static, str>>,
    storage: &[Binding],
) -> KernelSource {
    source_of(name, wgsl, size_of::<S>(), storage)
}

pub(crate) fn source_of(
    name: impl Into<String>,
    wgsl: impl Into<Cow<'static, str>>,
    uniform_bytes: usize,
    storage: &[Binding],
) -> KernelSource {
    let bytes = u32::try_from(uniform_bytes).expect("uniform blocks are small");
    let mut bindings = vec![Binding::Uniform { bytes, dynamic: false }];
    bindings.extend_from_slice(storage);
    KernelSource { name: name.into(), wgsl: wgsl.into(), bindings }
}
