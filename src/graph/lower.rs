use super::fuse::Relu;
use super::shape::Matrix;
use super::template::Launch;
use super::{Mode, Node};
use crate::gpu::{Binding, Block, KernelClass, KernelSource, Uniform};

/// What one binding of a dispatch is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// An activation, a gradient of one, or scratch.
    Value(usize),
    /// A parameter, by its number.
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
    Output(Vec<(String, Vec<usize>)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) label: String,
    pub(crate) len: usize,
    pub(crate) keep: Keep,
}

/// One dispatch that is not bound to buffers yet.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) label: String,
    pub(crate) kernel: KernelSource,
    pub(crate) operands: Vec<Operand>,
    pub(crate) uniform: Vec<u8>,
    pub(crate) block: Block,
    pub(crate) grid: [u32; 3],
}

/// A graph on its way to a list of dispatches. Ops ask it for operands and give it steps.
#[derive(Debug)]
pub(crate) struct Lowering {
    pub(super) nodes: Vec<Node>,
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) relus: Vec<Relu>,
    pub(super) pools: Vec<Option<usize>>,
    pub(super) trains: Vec<bool>,
    pub(super) forward: Vec<Option<usize>>,
    pub(super) gradient: Vec<Option<usize>>,
    pub(super) saved: Vec<Option<usize>>,
    pub(super) parameter_written: Vec<bool>,
    pub(super) outputs: Vec<(String, usize)>,
    /// Nodes whose gradients are kept, by the names of these.
    pub(super) gradients: Vec<(String, usize)>,
    /// Steps of the forward pass, which come first.
    pub(super) forward_steps: usize,
    pub(super) random: Option<usize>,
    pub(crate) mode: Mode,
    pub(crate) class: KernelClass,
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
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

    /// The shape of an input.
    pub(crate) fn input_shape(&self, id: usize, input: usize) -> &[usize] {
        &self.shapes[self.nodes[id].inputs[input]]
    }

    pub(crate) fn parameters(&self, id: usize) -> &[usize] {
        &self.nodes[id].parameters
    }

    /// Whether the relu that follows a node runs as the last thing of the node's kernel.
    pub(crate) fn relu_after(&self, id: usize) -> bool {
        self.nodes.iter().zip(&self.relus).any(|(n, r)| *r == Relu::InProducer && n.inputs[0] == id)
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
        self.values.push(Value { label, len, keep });
        self.values.len() - 1
    }

    /// What a node computed.
    pub(crate) fn result(&self, id: usize) -> Operand {
        Operand::Value(self.forward[id].expect("nodes are lowered in order"))
    }

    /// What an input of a node computed.
    pub(crate) fn argument(&self, id: usize, input: usize) -> Operand {
        self.result(self.nodes[id].inputs[input])
    }

    /// Makes the value of a node, to be written by its forward kernel.
    pub(crate) fn define(&mut self, id: usize) -> Operand {
        let len = Matrix::of(&self.shapes[id]).len();
        let label = self.name(id);
        let value = self.value(&label, len);
        self.forward[id] = Some(value);
        Operand::Value(value)
    }

    /// Makes a value that only this node's own kernels see.
    pub(crate) fn scratch(&mut self, label: &str, len: usize) -> Operand {
        Operand::Value(self.value(label, len))
    }

    /// Makes a value that the forward pass of a node leaves for its backward pass.
    pub(crate) fn save(&mut self, id: usize, label: &str, len: usize) -> Operand {
        let label = format!("{label} of {}", self.nodes[id].name);
        let value = self.value(&label, len);
        self.saved[id] = Some(value);
        Operand::Value(value)
    }

    /// Lets what the forward pass of a node leaves be a value that exists already.
    pub(crate) fn save_as(&mut self, id: usize, value: Operand) {
        let Operand::Value(value) = value else { unreachable!("nodes leave values") };
        self.saved[id] = Some(value);
    }

    /// What the forward pass of a node left.
    pub(crate) fn saved(&self, id: usize) -> Operand {
        Operand::Value(self.saved[id].expect("the forward pass saves before the backward pass asks"))
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

    /// Lets the value of a node be one that exists already.
    pub(crate) fn define_as(&mut self, id: usize, value: Operand) {
        let Operand::Value(value) = value else { unreachable!("nodes have values") };
        self.forward[id] = Some(value);
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

    /// The gradient that has arrived at a node.
    pub(crate) fn gradient(&self, id: usize) -> Operand {
        Operand::Value(self.gradient[id].expect("backward runs where a gradient arrived"))
    }

    /// Where a node writes the gradient of its input, and whether it adds to what is there; `None` if
    /// nothing above that input is trained.
    ///
    /// A relu that runs in the node itself is passed over.
    pub(crate) fn gradient_into(&mut self, id: usize, input: usize) -> Option<(Operand, bool)> {
        let mut target = self.nodes[id].inputs[input];
        if self.relus[target] == Relu::InConsumer {
            target = self.nodes[target].inputs[0];
        }
        if !self.trains[target] {
            return None;
        }
        if let Some(value) = self.gradient[target] {
            return Some((Operand::Value(value), true));
        }
        let len = Matrix::of(&self.shapes[target]).len();
        let value = self.value(&format!("gradient of {}", self.nodes[target].name), len);
        self.gradient[target] = Some(value);
        Some((Operand::Value(value), false))
    }

    /// Lets the gradient of an input be the node's own, if it is the only one; otherwise the op must add.
    pub(crate) fn share_gradient(&mut self, id: usize, input: usize) -> bool {
        let target = self.nodes[id].inputs[input];
        let free = self.gradient[target].is_none() && self.relus[target] != Relu::InConsumer;
        let single =
            self.nodes.iter().map(|n| n.inputs.iter().filter(|&&i| i == target).count()).sum::<usize>();
        if free && single == 1 && self.trains[target] {
            self.gradient[target] = self.gradient[id];
        }
        free && single == 1
    }

    /// Where a node writes the gradient of its parameter, and whether it adds to what is there: if another
    /// node of this plan has written it, or the plan adds to the gradients of earlier runs.
    pub(crate) fn parameter_gradient(&mut self, parameter: usize) -> (Operand, bool) {
        let written = std::mem::replace(&mut self.parameter_written[parameter], true);
        (Operand::Gradient(parameter), written)
    }

    /// Appends a dispatch of an expanded template.
    pub(crate) fn launch<S: Uniform>(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: Launch<S>,
    ) {
        self.launch_parts(layer, storage, operands, launch, 1);
    }

    /// As [`Lowering::launch`], for each of `parts` workgroups along z.
    pub(crate) fn launch_parts<S: Uniform>(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: Launch<S>,
        parts: u32,
    ) {
        let Launch { template, groups: [x, y], shape } = launch;
        let kernel = source::<S>(template.name, template.expand(), storage);
        self.emit(layer, kernel, [x, y, parts], operands, shape);
    }

    /// Appends a dispatch; `shape` is its uniform block, `operands` are bindings 1, 2, …
    pub(crate) fn emit<S: Uniform>(
        &mut self,
        layer: &str,
        kernel: KernelSource,
        grid: [u32; 3],
        operands: &[Operand],
        shape: S,
    ) {
        assert_eq!(kernel.bindings.len(), operands.len() + 1, "{}: operands", kernel.name);
        let aliased = operands.iter().enumerate().any(|(i, a)| {
            operands[..i].iter().enumerate().any(|(j, b)| {
                a == b
                    && (kernel.bindings[i + 1] == Binding::ReadWrite
                        || kernel.bindings[j + 1] == Binding::ReadWrite)
            })
        });
        assert!(!aliased, "{}: one buffer is both read and written", kernel.name);
        let (uniform, block) = (bytemuck::bytes_of(&shape).to_vec(), Block::of::<S>("Shape"));
        let label = format!("{layer}: {}", kernel.name);
        self.steps.push(Step { label, kernel, operands: operands.to_vec(), uniform, block, grid });
    }
}

/// The source of an op's kernel: uniform block first, then storage.
pub(crate) fn source<S: Uniform>(
    name: impl Into<String>,
    wgsl: impl Into<std::borrow::Cow<'static, str>>,
    storage: &[Binding],
) -> KernelSource {
    let bytes = u32::try_from(size_of::<S>()).expect("uniform blocks are small");
    let mut bindings = vec![Binding::Uniform { bytes, dynamic: false }];
    bindings.extend_from_slice(storage);
    KernelSource { name: name.into(), wgsl: wgsl.into(), bindings }
}
