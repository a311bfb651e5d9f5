//! The two passes over the nodes: forward, then backward from the root.

use std::collections::BTreeMap;

use super::fuse::{self, Relu};
use super::gradient::Gradients;
use super::lower::{Keep, Lowering, Operand};
use super::shape;
use super::view::{self, View};
use super::{Graph, Mode, Node, PlanOptions, Role, Var, ops};
use crate::Error;
use crate::gpu::KernelClass;

/// Lowers `graph` for a batch size and a mode.
pub(crate) fn lower(graph: &Graph, options: &PlanOptions, class: KernelClass) -> Result<Lowering, Error> {
    graph.check()?;
    let nodes = graph.node_list();
    let shapes = shapes_at(&nodes, options.batch)?;
    let root = options.root.iter().map(|root| ("loss".to_owned(), root));
    let mut outputs = Vec::new();
    for (name, var) in options.outputs.iter().map(|(name, var)| (name.clone(), var)).chain(root) {
        graph.check_owner(&name, var)?;
        outputs.push((name, var.id()));
    }
    let is_output = |id| outputs.iter().any(|(_, output)| *output == id);
    let relus = fuse::relus(&nodes, is_output);
    let pools = fuse::pools(&nodes, &relus, class, is_output);
    let declared = graph.declared();
    let is_trained = |parameter: &usize| declared[*parameter].role == Role::Trained;
    let mut trains = vec![false; nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        trains[id] = node.parameters.iter().any(is_trained) || node.inputs.iter().any(|&input| trains[input]);
    }
    // A plan that adds finds every gradient written.
    let written = vec![options.accumulate; declared.len()];
    let mut lowering = Lowering {
        relus,
        pools,
        orders: view::orders(&nodes, &shapes),
        forward: vec![None; nodes.len()],
        view_of: vec![None; nodes.len()],
        copies: BTreeMap::new(),
        saved: vec![Vec::new(); nodes.len()],
        parts: BTreeMap::new(),
        gradients: Gradients::new(trains, written),
        roles: declared.iter().map(|parameter| parameter.role).collect(),
        outputs,
        random: None,
        mode: options.mode,
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
                self.forward[id] = self.forward[self.nodes[id].inputs[0]].clone();
            }
        }
        if let (Mode::Train, Some(root)) = (options.mode, options.root.as_ref().map(Var::id)) {
            self.seed(root, options)?;
            for id in (0..=root).rev() {
                if self.has_gradient(id) && self.relus[id] != Relu::InConsumer {
                    self.complete(id);
                    let op = self.nodes[id].op.clone();
                    op.backward(self, id)?;
                    self.settle(id);
                }
            }
            self.insert_fills();
        }
        for (name, id) in self.outputs.clone() {
            let value = self.output_value(&name, id)?;
            let (shape, order) = (self.shapes[id].clone(), self.orders[id]);
            match &mut self.values[value].keep {
                Keep::Output(names) => names.push((name, shape, order)),
                keep => *keep = Keep::Output(vec![(name, shape, order)]),
            }
        }
        Ok(())
    }

    /// The value that holds an output alone, packed: a copy for what lies elsewhere.
    fn output_value(&mut self, name: &str, id: usize) -> Result<usize, Error> {
        let view = self.forward[id].clone().expect("outputs are their own ancestors");
        if let Operand::Value(value) = view.of {
            match self.values[value].keep {
                Keep::Input { labels: true, .. } => {
                    return Err(Error::Mismatch(format!("output {name}: it is labels, which the host has")));
                }
                // Some inputs are read where the host wrote them; others were unpacked to a value already.
                Keep::Pooled | Keep::Output(_) if view.is_packed(self.orders[id]) => return Ok(value),
                _ => {}
            }
        }
        let copied = self.value(name, self.matrix(id).len());
        let to = View::packed(Operand::Value(copied), &self.shapes[id], self.orders[id]);
        ops::rearrange(self, name, &view, &to, false);
        self.forward[id] = Some(to);
        Ok(copied)
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
    fn seed(&mut self, root: usize, options: &PlanOptions) -> Result<(), Error> {
        let name = self.nodes[root].name.clone();
        let shape = self.shapes[root].clone();
        let seed = match options.upstream.as_deref() {
            Some(_) if options.scaled => {
                let reason = "an upstream gradient brings its own factor".into();
                return Err(Error::Config { what: format!("scaled plan of {name}"), reason });
            }
            Some(upstream) => ops::receive(self, upstream, shape, self.orders[root], false),
            None if shape.iter().product::<usize>() == 1 => {
                let len = self.matrix(root).len();
                let mut one = vec![0.0; len];
                one[0] = 1.0;
                let keep = if options.scaled { Keep::LossScale } else { Keep::Constant(one) };
                Operand::Value(self.value_kept(format!("gradient of {name}"), len, keep))
            }
            None => {
                let expected = "a scalar to differentiate, or an upstream gradient".into();
                return Err(Error::Shape { layer: name, expected, got: shape });
            }
        };
        self.seed_gradient(root, seed);
        Ok(())
    }
}
