use super::fuse::{self, Relu};
use super::shape::{self, Matrix, Planes};
use super::template::Launch;
use super::{Graph, Mode, Node, PlanOptions, Var};
use crate::Error;
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
    Input { name: String, labels: bool, shape: Vec<usize>, classes: Option<usize> },
    /// Written once, when the plan is made.
    Constant(Vec<f32>),
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
    nodes: Vec<Node>,
    shapes: Vec<Vec<usize>>,
    relus: Vec<Relu>,
    pools: Vec<Option<usize>>,
    trains: Vec<bool>,
    forward: Vec<Option<usize>>,
    gradient: Vec<Option<usize>>,
    saved: Vec<Option<usize>>,
    parameter_written: Vec<bool>,
    outputs: Vec<(String, usize)>,
    pub(crate) class: KernelClass,
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
}

/// Lowers `graph` for a batch size and a mode.
pub(crate) fn lower(graph: &Graph, options: &PlanOptions, class: KernelClass) -> Result<Lowering, Error> {
    graph.check()?;
    let nodes = graph.node_list();
    let shapes = shapes_at(&nodes, options.batch)?;
    let root = options.root.iter().map(|root| ("loss".to_owned(), root));
    let mut outputs = Vec::new();
    for (name, var) in options.outputs.iter().map(|(name, var)| (name.clone(), var)).chain(root) {
        if !graph.owns(var) {
            return Err(Error::Mismatch(format!("output {name}: it belongs to another graph")));
        }
        outputs.push((name, var.id()));
    }
    let is_output = |id| outputs.iter().any(|(_, output)| *output == id);
    let relus = fuse::relus(&nodes, is_output);
    let pools = fuse::pools(&nodes, &relus, class, is_output);
    let mut trains = vec![false; nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        trains[id] = !node.parameters.is_empty() || node.inputs.iter().any(|&input| trains[input]);
    }
    let mut lowering = Lowering {
        relus,
        pools,
        trains,
        forward: vec![None; nodes.len()],
        gradient: vec![None; nodes.len()],
        saved: vec![None; nodes.len()],
        // A plan that adds finds every gradient written.
        parameter_written: vec![options.accumulate; graph.parameters().len()],
        outputs,
        class,
        values: Vec::new(),
        steps: Vec::new(),
        nodes,
        shapes,
    };
    lowering.run(options)?;
    Ok(lowering)
}

/// The shape of every node when the inputs' first dimension is `batch`.
fn shapes_at(nodes: &[Node], batch: Option<usize>) -> Result<Vec<Vec<usize>>, Error> {
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let shape = if node.inputs.is_empty() {
            let mut shape = node.shape.clone();
            if let (Some(batch), true) = (batch, node.parameters.is_empty()) {
                shape[0] = batch;
            }
            shape
        } else {
            let inputs: Vec<&[usize]> = node.inputs.iter().map(|&i| &shapes[i][..]).collect();
            node.op.infer(&node.name, &inputs)?
        };
        shape::check(&node.name, &shape)?;
        shapes.push(shape);
    }
    Ok(shapes)
}

impl Lowering {
    fn run(&mut self, options: &PlanOptions) -> Result<(), Error> {
        let needed = self.ancestors();
        for id in (0..self.nodes.len()).filter(|&id| needed[id]) {
            let op = self.nodes[id].op.clone();
            if self.pools.contains(&Some(id)) {
                // Its producer's kernel has made its value.
            } else if self.relus[id] == Relu::Alone || !op.is_relu() {
                op.forward(self, id)?;
            } else {
                self.forward[id] = self.forward[self.nodes[id].inputs[0]];
            }
        }
        if let (Mode::Train, Some(root)) = (options.mode, options.root.as_ref().map(Var::id)) {
            self.seed(root, options.upstream.as_deref())?;
            for id in (0..=root).rev() {
                if self.gradient[id].is_some() && self.relus[id] != Relu::InConsumer {
                    let op = self.nodes[id].op.clone();
                    op.backward(self, id)?;
                }
            }
        }
        for (name, id) in self.outputs.clone() {
            let shape = self.shapes[id].clone();
            let mut value = self.forward[id].expect("outputs are their own ancestors");
            if let Keep::Input { labels, .. } = self.values[value].keep {
                if labels {
                    return Err(Error::Mismatch(format!("output {name}: it is labels, which the host has")));
                }
                // Some inputs are read where the host wrote them; others were unpacked to a value already.
                let matrix = Matrix::of(&shape);
                let copied = self.value(&name, matrix.len());
                let from_and_to = [Operand::Value(value), Operand::Value(copied)];
                super::ops::copy(self, &name, matrix.quads(), from_and_to, false);
                self.forward[id] = Some(copied);
                value = copied;
            }
            match &mut self.values[value].keep {
                Keep::Output(names) => names.push((name, shape)),
                keep => *keep = Keep::Output(vec![(name, shape)]),
            }
        }
        Ok(())
    }

    fn ancestors(&self) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        for (_, id) in &self.outputs {
            needed[*id] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if needed[id] {
                for &input in &self.nodes[id].inputs {
                    needed[input] = true;
                }
            }
        }
        needed
    }

    /// Gives the root its gradient: 1 for a scalar, or what the host writes under a name.
    fn seed(&mut self, root: usize, upstream: Option<&str>) -> Result<(), Error> {
        let name = self.nodes[root].name.clone();
        let shape = self.shapes[root].clone();
        let seed = match upstream {
            Some(upstream) => self.input(upstream, shape, false)?,
            None if shape.iter().product::<usize>() == 1 => {
                let len = Matrix::of(&shape).len();
                let mut one = vec![0.0; len];
                one[0] = 1.0;
                self.value_kept(format!("gradient of {name}"), len, Keep::Constant(one))
            }
            None => {
                let expected = "a scalar to differentiate, or an upstream gradient".into();
                return Err(Error::Shape { layer: name, expected, got: shape });
            }
        };
        self.gradient[root] = Some(seed);
        Ok(())
    }

    /// A value that the host writes in torch's order, as the matrix that kernels read.
    pub(crate) fn input(&mut self, name: &str, shape: Vec<usize>, labels: bool) -> Result<usize, Error> {
        let (matrix, planes) = (Matrix::of(&shape), Planes::of(&shape));
        let len: usize = shape.iter().product();
        let keep = Keep::Input { name: name.into(), labels, shape, classes: None };
        let raw = self.value_kept(name.into(), len, keep);
        if labels || (planes.is_flat() && planes.channels.is_multiple_of(4)) {
            return Ok(raw);
        }
        let rows = self.value(name, matrix.len());
        let (raw, to) = (Operand::Value(raw), Operand::Value(rows));
        super::ops::layout::to_rows(self, name, planes, len / planes.images, raw, to, false);
        Ok(rows)
    }

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

    fn value_kept(&mut self, label: String, len: usize, keep: Keep) -> usize {
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

    /// What the forward pass of a node left.
    pub(crate) fn saved(&self, id: usize) -> Operand {
        Operand::Value(self.saved[id].expect("the forward pass saves before the backward pass asks"))
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
        let Launch { template, groups: [x, y], shape } = launch;
        let kernel = source::<S>(template.name, template.expand(), storage);
        self.emit(layer, kernel, [x, y, 1], operands, shape);
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
