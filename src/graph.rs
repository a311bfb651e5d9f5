//! A static computation graph: built once by symbolic calls, differentiated and compiled to a flat list of
//! dispatches, and replayed in each step.
//!
//! ```
//! use gradus::graph::Graph;
//! use gradus::nn::{Conv2d, Linear};
//!
//! let graph = Graph::new();
//! let (x, y) = (graph.input("x", [64, 1, 28, 28]), graph.labels("y", 64));
//! let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
//! let loss = h.flatten().linear(Linear::new(10)).cross_entropy(&y);
//! assert_eq!(loss.shape(), [1]);
//! graph.check()?;
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! Shapes are torch's: images are `[N, C, H, W]`, features `[N, F]`. The first dimension of every input is the batch.
//! One graph compiles to plans for several batch sizes.

pub(crate) mod autodiff;
mod axes;
mod buffers;
mod custom;
mod fold;
mod fuse;
mod gather;
mod init;
mod input;
pub(crate) mod lowering;
pub(crate) mod ops;
mod options;
mod parameters;
mod plan;
pub(crate) mod resident;
mod samples;
mod scope;
mod shape;
mod team;
mod template;
pub(crate) mod tune;
mod view;
mod whole;
mod workspace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use custom::{CustomOp, CustomOpBuilder};
pub use init::{Fan, Init, Nonlinearity, Spread};
pub(crate) use input::samples as samples_of;
pub use input::{HostData, InputData, LabelShape};
pub use lowering::autocast::Dtype;
pub use ops::SplitSizes;
pub use options::{Mode, PlanOptions};
pub use parameters::{Parameter, Role};
pub use plan::Plan;
pub use resident::{Resident, Rows};
pub(crate) use scope::{shown, within};
pub(crate) use whole::Whole;
pub use workspace::Workspace;

use self::ops::Op;
use crate::Error;

/// The nodes and parameters of one network. Cloning shares them.
///
/// ```
/// use gradus::graph::Graph;
///
/// let graph = Graph::new();
/// let (x, y) = (graph.input("x", [32, 784]), graph.labels("y", 32));
/// let loss = x.linear(128).relu().linear(10).cross_entropy(&y);
/// assert_eq!(loss.shape(), [1]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Arc<Mutex<Nodes>>,
}

/// The value of a node. Symbolic calls are methods of a `Var` and return a `Var`.
///
/// An invalid call, for example with a shape that does not match, does not fail by itself. The graph records the
/// first such error, with the layer and the shapes; [`Graph::check`] and everything that compiles return it. So calls
/// can be chained.
///
/// ```
/// use gradus::graph::Graph;
///
/// let x = Graph::new().input("x", [8, 3]);
/// let y = (&x * 2.0 + 1.0).tanh().sum_dim(&[1], false);
/// assert_eq!(y.shape(), [8]);
/// ```
#[derive(Clone, Debug)]
pub struct Var {
    graph: Graph,
    id: usize,
}

#[derive(Debug, Default)]
struct Nodes {
    list: Vec<Node>,
    parameters: Vec<Parameter>,
    /// For each tied parameter, the one whose tensor it shares.
    ties: BTreeMap<usize, usize>,
    names: scope::Names,
    refused: Option<Error>,
}

/// One operation of the graph. Nodes are in the order in which they were created, so inputs come first.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) op: Arc<dyn Op>,
    pub(crate) name: String,
    pub(crate) inputs: Vec<usize>,
    pub(crate) parameters: Vec<usize>,
    pub(crate) shape: Vec<usize>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input of `f32`, provided at each step. The first dimension is the batch.
    pub fn input(&self, name: &str, shape: impl Into<Vec<usize>>) -> Var {
        self.push(ops::Input { labels: false }, Some(name), &[], &[], Some(shape.into()))
    }

    /// An input of class labels or indices (`u32`), provided at each step. `shape` is the batch size, for one label
    /// per sample, or any shape whose first dimension is the batch.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let graph = Graph::new();
    /// assert_eq!(graph.labels("classes", 64).shape(), [64]);
    /// assert_eq!(graph.labels("tokens", [64, 10]).shape(), [64, 10]);
    /// ```
    pub fn labels(&self, name: &str, shape: impl Into<LabelShape>) -> Var {
        self.push(ops::Input { labels: true }, Some(name), &[], &[], Some(shape.into().0))
    }

    /// Refuses if any call on this graph was invalid.
    ///
    /// # Errors
    /// The first recorded error, usually [`Error::Shape`] with the layer, the expected and the given shape.
    pub fn check(&self) -> Result<(), Error> {
        self.lock().refused.clone().map_or(Ok(()), Err)
    }

    /// The batch size with which the first input was declared.
    pub fn batch(&self) -> Option<usize> {
        let nodes = self.lock();
        nodes.list.iter().find(|n| n.inputs.is_empty() && n.parameters.is_empty())?.shape.first().copied()
    }

    /// Names and shapes of the inputs that the variables depend on.
    pub(crate) fn inputs_of<'v>(&self, vars: impl Iterator<Item = &'v Var>) -> Vec<(String, Vec<usize>)> {
        let nodes = self.node_list();
        let needed = autodiff::ancestors(&nodes, vars.map(Var::id));
        let is_input = |node: &Node| node.inputs.is_empty() && node.parameters.is_empty();
        let inputs = nodes.into_iter().zip(needed).filter(|(node, needed)| *needed && is_input(node));
        inputs.map(|(node, _)| (node.name, node.shape)).collect()
    }

    pub(crate) fn refuse(&self, error: Error) {
        self.lock().refuse(error);
    }

    /// Appends a node. `shape` is given for nodes without inputs and inferred for all others. `name` is the full name
    /// from [`Graph::layer_name`]; without one the node gets a number.
    pub(crate) fn push(
        &self,
        op: impl Op + 'static,
        name: Option<&str>,
        inputs: &[&Var],
        parameters: &[usize],
        shape: Option<Vec<usize>>,
    ) -> Var {
        let name = self.node_name(op.kind(), name);
        if inputs.iter().any(|input| !self.owns(input)) {
            self.refuse(Error::Mismatch(format!("{name}: its inputs belong to different graphs")));
        }
        let mut nodes = self.lock();
        // Layers can share parameters; inputs have none.
        let (kind, is_new) = if inputs.is_empty() && parameters.is_empty() {
            ("input", nodes.names.take_input(&name))
        } else {
            ("layer", nodes.names.take_layer(&name))
        };
        if !is_new {
            nodes.refuse(Error::Duplicate { kind, name: name.clone() });
        }
        let inputs: Vec<usize> = inputs.iter().map(|v| v.id).collect();
        let shape = match shape {
            Some(shape) => Ok(shape),
            // After an error nothing is inferred, so that the first error is the one reported.
            None if nodes.refused.is_some() => Err(None),
            None => nodes.infer(&op, &name, &inputs).map_err(Some),
        };
        let shape = shape.and_then(|shape| shape::check(&name, &shape).map(|()| shape).map_err(Some));
        let shape = shape.unwrap_or_else(|error| {
            error.into_iter().for_each(|error| nodes.refuse(error));
            Vec::new()
        });
        nodes.list.push(Node { op: Arc::new(op), name, inputs, parameters: parameters.to_vec(), shape });
        Var { graph: self.clone(), id: nodes.list.len() - 1 }
    }

    pub(crate) fn node_list(&self) -> Vec<Node> {
        let nodes = self.lock();
        let mut list = nodes.list.clone();
        for parameter in list.iter_mut().flat_map(|node| &mut node.parameters) {
            *parameter = nodes.ties.get(parameter).copied().unwrap_or(*parameter);
        }
        list
    }

    pub(crate) fn owns(&self, var: &Var) -> bool {
        Arc::ptr_eq(&self.nodes, &var.graph.nodes)
    }

    /// Refuses a variable of another graph, because its index has no meaning in this one.
    pub(crate) fn check_owner(&self, name: &str, var: &Var) -> Result<(), Error> {
        if self.owns(var) {
            return Ok(());
        }
        Err(Error::Mismatch(format!("output {name}: it belongs to another graph")))
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    /// The shape of a node to be created, if the kinds and shapes of its inputs are valid.
    fn infer(&self, op: &dyn Op, name: &str, inputs: &[usize]) -> Result<Vec<usize>, Error> {
        for (at, &input) in inputs.iter().enumerate() {
            let given = &self.list[input];
            match (op.takes_labels(at), given.op.is_labels()) {
                (true, false) => {
                    return Err(Error::Mismatch(format!(
                        "{name}: expected labels, {} are numbers",
                        given.name
                    )));
                }
                (false, true) => {
                    return Err(Error::Mismatch(format!(
                        "{name}: expected numbers, {} are labels",
                        given.name
                    )));
                }
                _ => {}
            }
        }
        let shapes = |inputs: &[usize]| inputs.iter().map(|&i| &self.list[i].shape[..]).collect::<Vec<_>>();
        match op.part() {
            Some(number) => {
                let whole = &self.list[inputs[0]];
                Ok(whole.op.parts(&shapes(&whole.inputs))[number].clone())
            }
            None => op.infer(name, &shapes(inputs)),
        }
    }
}

impl Var {
    /// Its shape at the batch size with which the inputs were declared; empty after an error.
    pub fn shape(&self) -> Vec<usize> {
        self.graph.lock().list[self.id].shape.clone()
    }

    /// The name of the layer that computes it.
    pub fn name(&self) -> String {
        self.graph.lock().list[self.id].name.clone()
    }

    /// The graph that it belongs to.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Whether it holds labels instead of f32 numbers.
    pub(crate) fn is_labels(&self) -> bool {
        self.graph.lock().list[self.id].op.is_labels()
    }

    pub(crate) fn unary(&self, op: impl Op + 'static) -> Var {
        self.graph.push(op, None, &[self], &[], None)
    }
}
