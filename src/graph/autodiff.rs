//! Lowers a graph in two passes over its nodes: forward, then backward from the root.

use std::collections::{BTreeMap, BTreeSet};

use super::fuse::{self, Relu};
use super::lowering::autocast;
use super::lowering::chain::Chains;
use super::lowering::gradient::Gradients;
use super::lowering::{Keep, Lowering, Operand};
use super::shape;
use super::view::{self, View};
use super::{Dtype, Graph, Mode, Node, Parameter, PlanOptions, Role, Var, ops};
use crate::Error;
use crate::gpu::{Capabilities, Work};

/// Lowers `graph` for a batch size and a mode, with the parameters frozen that the graph declares as frozen.
pub(crate) fn lower(
    graph: &Graph,
    options: &PlanOptions,
    capabilities: &Capabilities,
) -> Result<Lowering, Error> {
    lower_frozen(graph, options, capabilities, |parameter| parameter.frozen)
}

/// Like [`lower`], with other parameters frozen.
pub(crate) fn lower_frozen(
    graph: &Graph,
    options: &PlanOptions,
    capabilities: &Capabilities,
    is_frozen: impl Fn(&Parameter) -> bool,
) -> Result<Lowering, Error> {
    graph.check()?;
    if let Some(dtype) = options.autocast {
        dtype.check(capabilities)?;
    }
    let nodes = graph.node_list();
    let outputs = requested_outputs(graph, options)?;
    let wanted_gradients = requested_gradients(graph, options, &nodes)?;
    let needed = ancestors(&nodes, outputs.iter().chain(&wanted_gradients).map(|(_, id)| *id));
    let shapes = shapes_at(&nodes, &needed, options.batch)?;
    let wanted = |id| wanted_gradients.iter().any(|(_, of)| *of == id);
    let is_output = |id| wanted(id) || outputs.iter().any(|(_, output)| *output == id);
    let relus = fuse::relus(&nodes, is_output);
    let pools = fuse::pools(&nodes, &shapes, &relus, capabilities, is_output);
    let declared = graph.declared();
    let trained: Vec<bool> =
        declared.iter().map(|parameter| parameter.role == Role::Trained && !is_frozen(parameter)).collect();
    let trains = trains(&nodes, &trained, wanted);
    // A plan that accumulates adds to gradients that count as written.
    let written = vec![options.accumulate; declared.len()];
    let reached = reached(&nodes, options, declared.len());
    let mut lowering = Lowering {
        relus,
        pools,
        chains: Chains::default(),
        orders: view::orders(&nodes, &shapes),
        half: match options.autocast {
            Some(Dtype::F16) if options.casts_all => vec![true; nodes.len()],
            Some(Dtype::F16) => autocast::half_nodes(&nodes),
            None => vec![false; nodes.len()],
        },
        forward: vec![None; nodes.len()],
        view_of: vec![None; nodes.len()],
        laid: BTreeSet::new(),
        copies: BTreeMap::new(),
        saved: vec![Vec::new(); nodes.len()],
        parts: BTreeMap::new(),
        gradients: Gradients::new(trains, written),
        trained,
        reached,
        declared,
        outputs,
        wanted_gradients,
        forward_steps: 0,
        random: None,
        seed: None,
        made_early: BTreeMap::new(),
        joints: Vec::new(),
        mode: options.mode,
        cumulative: options.cumulative,
        capabilities: *capabilities,
        values: Vec::new(),
        steps: Vec::new(),
        work: Work::default(),
        nodes,
        shapes,
    };
    lowering.run(options)?;
    Ok(lowering)
}

/// The requested outputs by name, and the loss.
fn requested_outputs(graph: &Graph, options: &PlanOptions) -> Result<Vec<(String, usize)>, Error> {
    let root = options.root.iter().map(|root| ("loss".to_owned(), root));
    let outputs = options.outputs.iter().map(|(name, var)| (name.clone(), var));
    let id = |(name, var): (String, &Var)| graph.check_owner(&name, var).map(|()| (name, var.id()));
    outputs.chain(root).map(id).collect()
}

/// The nodes whose gradients are outputs of the plan, by name.
fn requested_gradients(
    graph: &Graph,
    options: &PlanOptions,
    nodes: &[Node],
) -> Result<Vec<(String, usize)>, Error> {
    let mut gradients = Vec::new();
    for (name, var) in &options.gradients {
        graph.check_owner(name, var)?;
        let node = &nodes[var.id()];
        if node.op.is_labels() {
            return Err(Error::Mismatch(format!("gradient {name}: {} are labels", var.name())));
        }
        if node.inputs.is_empty() && !node.parameters.is_empty() {
            let what = format!("gradient {name} of {}", node.name);
            let reason = "it is a parameter: its gradient is in the store".into();
            return Err(Error::Config { what, reason });
        }
        gradients.push((name.clone(), var.id()));
    }
    Ok(gradients)
}

/// For each node, whether it needs a gradient: it or something it depends on is trained, or its gradient is `wanted`.
fn trains(nodes: &[Node], trained: &[bool], wanted: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut trains = vec![false; nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        let trains_inputs = node.parameters.iter().any(|&parameter| trained[parameter])
            || node.inputs.iter().any(|&input| trains[input]);
        trains[id] = wanted(id) || !node.op.stops_gradient() && trains_inputs;
    }
    trains
}

/// For each parameter, whether the root of a training plan depends on it through differentiable operations.
fn reached(nodes: &[Node], options: &PlanOptions, parameters: usize) -> Vec<bool> {
    let (mut needed, mut reached) = (vec![false; nodes.len()], vec![false; parameters]);
    let root = options.root.as_ref().filter(|_| options.mode == Mode::Train).map(Var::id);
    root.into_iter().for_each(|root| needed[root] = true);
    for (id, node) in nodes.iter().enumerate().rev().filter(|(_, node)| !node.op.stops_gradient()) {
        if needed[id] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
            node.parameters.iter().for_each(|&parameter| reached[parameter] = true);
        }
    }
    reached
}

/// For each node, whether a node in `of` is or depends on it.
pub(super) fn ancestors(nodes: &[Node], of: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut needed = vec![false; nodes.len()];
    of.for_each(|id| needed[id] = true);
    for (id, node) in nodes.iter().enumerate().rev() {
        if needed[id] {
            node.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    needed
}

/// The parameters of the needed nodes, by index. Tied parameters are replaced by the one whose tensor they share.
fn parameters_of(nodes: &[Node], needed: &[bool]) -> BTreeSet<usize> {
    let needed = nodes.iter().zip(needed).filter(|(_, needed)| **needed);
    needed.flat_map(|(node, _)| node.parameters.iter().copied()).collect()
}

/// The shape of every node if the first dimension of the inputs is `batch`. Nodes that are not needed keep their
/// declared shape, because they might not support this batch size.
fn shapes_at(nodes: &[Node], needed: &[bool], batch: Option<usize>) -> Result<Vec<Vec<usize>>, Error> {
    let mut shapes: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for (node, needed) in nodes.iter().zip(needed) {
        if !needed {
            shapes.push(node.shape.clone());
            continue;
        }
        let shape = if node.inputs.is_empty() {
            let mut shape = node.shape.clone();
            if let (Some(batch), true) = (batch, node.parameters.is_empty()) {
                shape[0] = batch;
            }
            shape
        } else {
            let inputs = |of: &Node| of.inputs.iter().map(|&i| &shapes[i][..]).collect::<Vec<_>>();
            match node.op.part() {
                Some(number) => {
                    let whole = &nodes[node.inputs[0]];
                    whole.op.parts(&inputs(whole))[number].clone()
                }
                None => node.op.infer(&node.name, &inputs(node))?,
            }
        };
        shape::check(&node.name, &shape)?;
        shapes.push(shape);
    }
    Ok(shapes)
}

impl Graph {
    /// The shape of a value if the first dimension of the inputs is `batch`.
    pub(crate) fn shape_at(&self, var: &Var, batch: usize) -> Result<Vec<usize>, Error> {
        let nodes = self.node_list();
        let needed = ancestors(&nodes, [var.id()].into_iter());
        Ok(shapes_at(&nodes, &needed, Some(batch))?.swap_remove(var.id()))
    }

    /// Names and initial values of the running statistics that a training plan updates when it computes `of`.
    pub(crate) fn running_statistics(&self, of: &Var) -> Vec<(String, Vec<f32>)> {
        let (nodes, declared) = (self.node_list(), self.declared());
        let needed = ancestors(&nodes, [of.id()].into_iter());
        let tracking =
            nodes.iter().zip(needed).filter(|(node, needed)| *needed && node.op.tracks_statistics());
        let places: BTreeSet<usize> =
            tracking.flat_map(|(node, _)| node.parameters.iter().copied()).collect();
        let buffers = places.into_iter().map(|place| &declared[place]);
        let buffers = buffers.filter(|parameter| parameter.role == Role::Buffer);
        buffers.map(|buffer| (buffer.name.clone(), buffer.init.values(&buffer.shape, 0, 0))).collect()
    }

    /// The parameters and buffers that the variables depend on, by index.
    pub(crate) fn parameters_of<'v>(&self, vars: impl Iterator<Item = &'v Var>) -> BTreeSet<usize> {
        let nodes = self.node_list();
        parameters_of(&nodes, &ancestors(&nodes, vars.map(Var::id)))
    }
}

impl Lowering {
    fn run(&mut self, options: &PlanOptions) -> Result<(), Error> {
        let needed = self.ancestors();
        self.find_chains(&needed);
        self.seed_early(options);
        for id in (0..self.nodes.len()).filter(|&id| needed[id]) {
            let op = self.nodes[id].op.clone();
            if self.pools.contains(&Some(id)) || self.chains.is_inside(id) {
                // The kernel of another node computes its value, if it is needed.
            } else if self.relus[id] == Relu::Alone || !op.is_relu() {
                match self.chains.ending_at(id) {
                    Some(chain) => self.chain_forward(&chain)?,
                    None => op.forward(self, id)?,
                }
            } else {
                self.forward[id] = self.forward[self.nodes[id].inputs[0]].clone();
            }
        }
        self.keep_outputs()?;
        self.forward_steps = self.steps.len();
        if let (Mode::Train, Some(root)) = (options.mode, options.root.as_ref().map(Var::id)) {
            self.seed(root, options)?;
            for id in (0..=root).rev() {
                // A root that depends on no trained parameter has no backward pass.
                let trains = self.gradients.trains[id];
                if trains && self.has_gradient(id) && self.relus[id] != Relu::InConsumer {
                    self.complete(id);
                    match (self.gradients.apart[id].clone(), self.chains.ending_at(id)) {
                        (Some(view), _) => self.join_view(id, view),
                        (None, Some(chain)) => self.chain_backward(&chain),
                        (None, None) => self.nodes[id].op.clone().backward(self, id)?,
                    }
                    self.settle(id);
                }
            }
            self.emit_finishing_joints(|_| true);
        }
        self.insert_early_steps();
        self.keep_gradients()?;
        if options.autocast.is_some() {
            self.store_half();
        }
        Ok(())
    }

    fn keep_outputs(&mut self) -> Result<(), Error> {
        let mut copies = BTreeMap::new();
        for (name, id) in self.outputs.clone() {
            let view = self.forward[id].clone().expect("outputs are their own ancestors");
            if let Operand::Value(value) = view.of
                && let Keep::Input { labels: true, .. } = self.values[value].keep
            {
                return Err(Error::Mismatch(format!("output {name}: expected a computed value, got labels")));
            }
            // Some inputs are read in the host's layout; others have been unpacked to a value.
            let value = match copies.get(&id) {
                Some(copy) => *copy,
                None => self.kept_value(&name, id, &view),
            };
            copies.insert(id, value);
            self.keep_as(name, id, value);
        }
        Ok(())
    }

    fn keep_gradients(&mut self) -> Result<(), Error> {
        for (name, id) in self.wanted_gradients.clone() {
            let Some(view) = self.gradients.of[id].clone() else {
                let what = format!("gradient {name} of {}", self.nodes[id].name);
                let reason = "no backward pass of this plan reaches it".into();
                return Err(Error::Config { what, reason });
            };
            let value = self.kept_value(&name, id, &view);
            self.keep_as(name, id, value);
        }
        Ok(())
    }

    /// A packed value that holds a node or its gradient. Copies if `view` is not packed.
    fn kept_value(&mut self, name: &str, id: usize, view: &View) -> usize {
        if let Operand::Value(value) = view.of
            && matches!(self.values[value].keep, Keep::Pooled | Keep::Output(_))
            && view.is_packed(self.orders[id])
            && self.values[value].len == self.matrix(id).len()
        {
            return value;
        }
        let copied = self.value(name, self.matrix(id).len());
        let to = View::packed(Operand::Value(copied), &self.shapes[id], self.orders[id]);
        ops::rearrange(self, name, view, &to, false);
        copied
    }

    fn keep_as(&mut self, name: String, id: usize, value: usize) {
        let (shape, order) = (self.shapes[id].clone(), self.orders[id]);
        match &mut self.values[value].keep {
            Keep::Output(names) => names.push((name, shape, order)),
            keep => *keep = Keep::Output(vec![(name, shape, order)]),
        }
    }

    /// Adds the gradient of a view that is kept as an output to the gradient of the viewed node, at `view`.
    fn join_view(&mut self, id: usize, view: View) {
        let base = self.nodes[id].inputs[0];
        if !self.gradients.trains[base] {
            return;
        }
        let own = self.gradients.of[id].clone().expect("backward runs where a gradient arrived");
        let (region, adds) = self.claim_region(base, Some(&view));
        let layer = self.name(id);
        ops::rearrange(self, &layer, &own, &region, adds);
    }

    fn ancestors(&self) -> Vec<bool> {
        ancestors(&self.nodes, self.outputs.iter().map(|(_, id)| *id))
    }

    /// The parameters and buffers that the outputs depend on, by index.
    pub(super) fn parameters_read(&self) -> BTreeSet<usize> {
        parameters_of(&self.nodes, &self.ancestors())
    }

    /// Creates the gradient of a scalar root (1 or the loss scale) before the forward pass, unless the host writes it
    /// between the passes.
    fn seed_early(&mut self, options: &PlanOptions) {
        let (Mode::Train, Some(root), None) = (options.mode, options.root.as_ref(), &options.upstream) else {
            return;
        };
        let root = root.id();
        if self.shapes[root].iter().product::<usize>() == 1 {
            let len = self.matrix(root).len();
            let mut one = vec![0.0; len];
            one[0] = 1.0;
            let keep = if options.scaled { Keep::LossScale } else { Keep::Constant(one) };
            let label = format!("gradient of {}", self.nodes[root].name);
            self.seed = Some((root, Operand::Value(self.value_kept(label, len, keep))));
        }
    }

    /// Sets the gradient of the root: 1 for a scalar, or the input that the host writes under a name.
    fn seed(&mut self, root: usize, options: &PlanOptions) -> Result<(), Error> {
        let name = self.nodes[root].name.clone();
        let shape = self.shapes[root].clone();
        let seed = match options.upstream.as_deref() {
            Some(_) if options.scaled => {
                let reason = "an upstream gradient is never scaled: apply the loss scale to it yourself and \
                              leave out `scaled`"
                    .into();
                return Err(Error::Config { what: format!("scaled plan of {name}"), reason });
            }
            Some(upstream) => ops::receive(self, upstream, shape, self.orders[root], false),
            None => {
                if let Some((_, seed)) = self.seed {
                    self.seed_gradient(root, seed);
                    return Ok(());
                }
                let expected = "a scalar to differentiate, or an upstream gradient".into();
                return Err(Error::Shape { layer: name, expected, got: shape });
            }
        };
        self.seed_gradient(root, seed);
        Ok(())
    }
}
