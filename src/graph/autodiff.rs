//! The two passes over the nodes: forward, then backward from the root.

use super::fuse::{self, Relu};
use super::lower::{Keep, Lowering, Operand};
use super::shape::{self, Matrix};
use super::{Graph, Mode, Node, PlanOptions, Var, ops};
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
    let mut gradients = Vec::new();
    for (name, var) in &options.gradients {
        graph.check_owner(name, var)?;
        if nodes[var.id()].op.is_labels() {
            return Err(Error::Mismatch(format!("gradient {name}: {} are labels", var.name())));
        }
        gradients.push((name.clone(), var.id()));
    }
    let wanted = |id| gradients.iter().any(|(_, of)| *of == id);
    let is_output = |id| wanted(id) || outputs.iter().any(|(_, output)| *output == id);
    let relus = fuse::relus(&nodes, is_output);
    let pools = fuse::pools(&nodes, &relus, class, is_output);
    let mut trains = vec![false; nodes.len()];
    for (id, node) in nodes.iter().enumerate() {
        trains[id] =
            wanted(id) || !node.parameters.is_empty() || node.inputs.iter().any(|&input| trains[input]);
    }
    let mut lowering = Lowering {
        relus,
        pools,
        trains,
        forward: vec![None; nodes.len()],
        gradient: vec![None; nodes.len()],
        saved: vec![None; nodes.len()],
        // A plan that adds finds every gradient written.
        parameter_written: vec![options.accumulate; graph.declared().len()],
        outputs,
        gradients,
        forward_steps: 0,
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
        self.keep_outputs()?;
        self.forward_steps = self.steps.len();
        if let (Mode::Train, Some(root)) = (options.mode, options.root.as_ref().map(Var::id)) {
            self.seed(root, options)?;
            for id in (0..=root).rev() {
                if self.gradient[id].is_some() && self.relus[id] != Relu::InConsumer {
                    let op = self.nodes[id].op.clone();
                    op.backward(self, id)?;
                }
            }
        }
        self.keep_gradients()
    }

    fn keep_outputs(&mut self) -> Result<(), Error> {
        for (name, id) in self.outputs.clone() {
            let value = self.forward[id].expect("outputs are their own ancestors");
            if let Keep::Input { labels: true, .. } = self.values[value].keep {
                return Err(Error::Mismatch(format!("output {name}: it is labels, which the host has")));
            }
            self.forward[id] = Some(self.keep_as(&name, id, value));
        }
        Ok(())
    }

    fn keep_gradients(&mut self) -> Result<(), Error> {
        for (name, id) in self.gradients.clone() {
            let Some(value) = self.gradient[id] else {
                let what = format!("gradient {name} of {}", self.nodes[id].name);
                let reason = "no backward pass of this plan reaches it".into();
                return Err(Error::Config { what, reason });
            };
            self.keep_as(&name, id, value);
        }
        Ok(())
    }

    /// Keeps a value of the shape of a node under a name: itself, or a copy of what the host writes or is constant.
    fn keep_as(&mut self, name: &str, id: usize, value: usize) -> usize {
        let shape = self.shapes[id].clone();
        let mut kept = value;
        if !matches!(self.values[value].keep, Keep::Pooled | Keep::Output(_)) {
            // Some inputs are read where the host wrote them; others were unpacked to a value already.
            let matrix = Matrix::of(&shape);
            kept = self.value(name, matrix.len());
            let from_and_to = [Operand::Value(value), Operand::Value(kept)];
            ops::copy(self, name, matrix.quads(), from_and_to, false);
        }
        match &mut self.values[kept].keep {
            Keep::Output(names) => names.push((name.into(), shape)),
            keep => *keep = Keep::Output(vec![(name.into(), shape)]),
        }
        kept
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
            Some(upstream) => ops::receive(self, upstream, shape, false),
            None if shape.iter().product::<usize>() == 1 => {
                let len = Matrix::of(&shape).len();
                let mut one = vec![0.0; len];
                one[0] = 1.0;
                let keep = if options.scaled { Keep::LossScale } else { Keep::Constant(one) };
                self.value_kept(format!("gradient of {name}"), len, keep)
            }
            None => {
                let expected = "a scalar to differentiate, or an upstream gradient".into();
                return Err(Error::Shape { layer: name, expected, got: shape });
            }
        };
        self.gradient[root] = Some(seed);
        Ok(())
    }
}
