//! The tensors of a model: names, shapes and initial values, and stores created from them.

use std::collections::BTreeSet;

use super::{Graph, Init, Var, ops, shape};
use crate::Error;
use crate::gpu::Gpu;
use crate::layout::{GroupSpec, Layout, Limits};
use crate::params::ParamStore;

/// A tensor of the model, declared by a layer, by [`Graph::parameter`] or by [`Graph::buffer`].
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Linear;
///
/// let graph = Graph::new();
/// graph.input("x", [1, 784]).apply("fc", &Linear::new(10));
/// let weight = &graph.parameters()[0];
/// assert_eq!((&*weight.name, &*weight.shape), ("fc.weight", &[10, 784][..]));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// Its full name, such as `conv1.weight`.
    pub name: String,
    /// Its shape, as in torch.
    pub shape: Vec<usize>,
    /// Its initial values.
    pub init: Init,
    /// Whether it is trained.
    pub role: Role,
    /// Whether it is initially frozen in stores of this graph, see [`Graph::freeze`]. Afterwards
    /// [`ParamStore::freeze`] and [`ParamStore::thaw`] decide.
    pub frozen: bool,
}

/// Whether a tensor of a model is trained.
///
/// ```
/// use gradus::graph::{Graph, Init, Role};
///
/// let graph = Graph::new();
/// graph.buffer("table", [4], Init::Constant(1.0));
/// assert_eq!(graph.buffers()[0].role, Role::Buffer);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// It has a gradient and is updated by an optimizer: torch's `Parameter`.
    #[default]
    Trained,
    /// It is saved with the model but not trained, such as running statistics, which layers read and write: torch's
    /// `register_buffer`. Stored in [`ParamStore::buffers`].
    Buffer,
}

impl Parameter {
    /// Refuses a store that has it with another role or shape.
    pub(super) fn check_in(&self, params: &ParamStore) -> Result<(), Error> {
        let (_, have) = params.find(&self.name)?;
        let roles = match (self.role, params.is_buffer(&self.name)) {
            (Role::Trained, true) => Some(["trained", "a buffer"]),
            (Role::Buffer, false) => Some(["a buffer", "trained"]),
            _ => None,
        };
        if let Some([graph, store]) = roles {
            let name = &self.name;
            return Err(Error::Mismatch(format!(
                "{name}: it is {graph} in the graph and {store} in the store"
            )));
        }
        if have.shape != self.shape {
            let (layer, expected) = (self.name.clone(), format!("{:?}", self.shape));
            return Err(Error::Shape { layer, expected, got: have.shape.clone() });
        }
        Ok(())
    }
}

/// Buffers use other random streams than parameters, of which there are fewer than this.
const BUFFER_STREAMS: u64 = 1 << 32;

impl Graph {
    /// A trained tensor without a layer. Its name is nested in the open [`Graph::scope`].
    pub fn parameter(&self, name: &str, shape: impl Into<Vec<usize>>, init: Init) -> Var {
        let name = self.lock().names.nested(name);
        self.tensor(Role::Trained, &name, shape.into(), init)
    }

    /// A tensor that is saved with the model but not trained, like torch's `register_buffer`: for example a table of
    /// positions or a mask. Its shape does not change with the batch size. Its name is nested in the open
    /// [`Graph::scope`].
    pub fn buffer(&self, name: &str, shape: impl Into<Vec<usize>>, init: Init) -> Var {
        let name = self.lock().names.nested(name);
        self.tensor(Role::Buffer, &name, shape.into(), init)
    }

    /// A tensor of the model as a value, by its full name.
    pub(crate) fn tensor(&self, role: Role, name: &str, shape: Vec<usize>, init: Init) -> Var {
        let tensor = self.declare_as(role, name, shape.clone(), init);
        self.push(ops::Tensor, Some(name), &[], &[tensor], Some(shape))
    }

    /// The parameters in the order of their layers. Tied parameters appear once, where the first of them does.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.in_role(Role::Trained)
    }

    /// The buffers in the order of their layers: tensors that are saved but not trained.
    pub fn buffers(&self) -> Vec<Parameter> {
        self.in_role(Role::Buffer)
    }

    fn in_role(&self, role: Role) -> Vec<Parameter> {
        let nodes = self.lock();
        let own = nodes.parameters.iter().enumerate().filter(|(index, _)| !nodes.ties.contains_key(index));
        own.filter(|(_, parameter)| parameter.role == role).map(|(_, parameter)| parameter.clone()).collect()
    }

    /// Makes parameter `name` the same tensor as `to`, such as the weights of an embedding and of the output layer.
    /// Their gradients are summed, and one update changes both. The store has both names.
    ///
    /// Refused by [`Graph::check`] and on compiling unless both exist, have the same shape, and are both trained or
    /// both buffers.
    pub fn tie(&self, name: &str, to: &str) {
        let mut nodes = self.lock();
        let find = |wanted: &str| {
            let known = || nodes.parameters.iter().map(|parameter| &parameter.name[..]);
            let place = known().position(|known| known == wanted);
            place.ok_or_else(|| Error::unknown("parameter", wanted, known()))
        };
        let (tied, to) = match find(name).and_then(|tied| Ok((tied, find(to)?))) {
            Ok(found) => found,
            Err(error) => return nodes.refuse(error),
        };
        let to = nodes.ties.get(&to).copied().unwrap_or(to);
        let (got, wanted) = (nodes.parameters[tied].shape.clone(), &nodes.parameters[to]);
        if got != wanted.shape {
            let expected = format!("{:?} to be tied to {}", wanted.shape, wanted.name);
            return nodes.refuse(Error::Shape { layer: name.into(), expected, got });
        }
        if nodes.parameters[tied].role != nodes.parameters[to].role {
            let reason = format!(
                "{name}: cannot be tied to {}, because one is a buffer and the other a parameter",
                wanted.name
            );
            return nodes.refuse(Error::Mismatch(reason));
        }
        if tied != to {
            nodes.ties.insert(tied, to);
            nodes
                .ties
                .values_mut()
                .filter(|canonical| **canonical == tied)
                .for_each(|canonical| *canonical = to);
        }
    }

    /// Freezes a parameter, or all current parameters of a layer, in stores created from this graph, like torch's
    /// `requires_grad_(False)`. No plan computes their gradients, and the backward pass ends at the lowest trained
    /// layer. [`ParamStore::thaw`] makes them trained again.
    ///
    /// `name` is the name of a parameter, or the part before a dot: `conv1` means `conv1.weight` and `conv1.bias`.
    /// The name of no parameter, or of a buffer, is refused by [`Graph::check`] and on compiling.
    ///
    /// ```
    /// use gradus::graph::Graph;
    /// use gradus::nn::Linear;
    ///
    /// let graph = Graph::new();
    /// let features = graph.input("x", [8, 4]).linear(Linear::new(16).name("body")).relu();
    /// let logits = features.linear(Linear::new(3).name("head"));
    /// graph.freeze("body");
    /// let frozen: Vec<bool> = graph.parameters().iter().map(|parameter| parameter.frozen).collect();
    /// assert_eq!(frozen, [true, true, false, false]);
    /// graph.check()?;
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.requires_grad_>.
    pub fn freeze(&self, name: &str) {
        self.set_frozen(name, true);
    }

    /// Undoes [`Graph::freeze`] for stores created from now on.
    pub fn thaw(&self, name: &str) {
        self.set_frozen(name, false);
    }

    fn set_frozen(&self, name: &str, frozen: bool) {
        let mut nodes = self.lock();
        let find = |known: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let all = nodes.parameters.iter().enumerate();
            all.filter(|(_, parameter)| known(&parameter.name)).map(|(index, _)| index).collect()
        };
        let mut found = find(&|known| known == name);
        if let [only] = found[..]
            && nodes.parameters[only].role == Role::Buffer
        {
            return nodes.refuse(Error::Mismatch(format!(
                "{name}: expected a parameter, got a buffer, which is not trained"
            )));
        }
        if found.is_empty() {
            found = find(&|known| known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
            found.retain(|&index| nodes.parameters[index].role == Role::Trained);
        }
        if found.is_empty() {
            let known = nodes.parameters.iter().map(|parameter| &parameter.name[..]);
            let error = Error::unknown("parameter", name, known);
            return nodes.refuse(error);
        }
        for index in found {
            let own = nodes.ties.get(&index).copied().unwrap_or(index);
            nodes.parameters[own].frozen = frozen;
        }
    }

    /// All parameters declared by layers, including tied ones.
    pub(crate) fn declared(&self) -> Vec<Parameter> {
        self.lock().parameters.clone()
    }

    pub(crate) fn is_tied(&self, name: &str) -> bool {
        let nodes = self.lock();
        nodes.ties.keys().any(|&index| nodes.parameters[index].name == name)
    }

    /// Refuses a store that lacks one of the needed tensors, or has it with another shape or role. `needed` are
    /// indices, none of which is tied to another.
    pub(crate) fn check_store(&self, params: &ParamStore, needed: &BTreeSet<usize>) -> Result<(), Error> {
        let declared = self.declared();
        needed.iter().try_for_each(|&place| declared[place].check_in(params))
    }

    /// A store with all parameters in one group named `default`, and the buffers, initialised from `seed`.
    ///
    /// # Errors
    /// As [`Graph::check`]; the errors of building a store.
    pub fn store(&self, gpu: &Gpu, seed: u64) -> Result<ParamStore, Error> {
        self.store_in_groups(gpu, seed, |_| "default".into())
    }

    /// A store with all parameters, each in the group that `group` returns for it, and the buffers.
    ///
    /// Initial values depend on `seed` and the index of the parameter, not on groups or buffers.
    ///
    /// # Errors
    /// As [`Graph::check`]; the errors of building a store; [`Error::Limit`] for a parameter of a layer that the
    /// device cannot bind, before any values are drawn.
    pub fn store_in_groups(
        &self,
        gpu: &Gpu,
        seed: u64,
        group: impl Fn(&Parameter) -> String,
    ) -> Result<ParamStore, Error> {
        self.store_of(gpu, group, |parameter, stream| parameter.init.values(&parameter.shape, seed, stream))
    }

    /// A store with one group, filled with zeros.
    pub(crate) fn zeroed_store(&self, gpu: &Gpu) -> Result<ParamStore, Error> {
        self.store_of(gpu, |_| "default".into(), |parameter, _| vec![0.0; parameter.shape.iter().product()])
    }

    /// A store whose values are given by `first`, for each parameter and its stream number.
    fn store_of(
        &self,
        gpu: &Gpu,
        group: impl Fn(&Parameter) -> String,
        first: impl Fn(&Parameter, u64) -> Vec<f32>,
    ) -> Result<ParamStore, Error> {
        self.check()?;
        let parameters = self.parameters();
        let names: Vec<String> = parameters.iter().map(group).collect();
        self.check_sizes(gpu)?;
        let buffers = self.buffers();
        let values = |tensors: &[Parameter], number: u64| -> Vec<Vec<f32>> {
            (number..).zip(tensors).map(|(stream, parameter)| first(parameter, stream)).collect()
        };
        let (values, of_buffers) = (values(&parameters, 0), values(&buffers, BUFFER_STREAMS));
        let mut builder = ParamStore::builder();
        for (first, name) in names.iter().enumerate() {
            if names[..first].contains(name) {
                continue;
            }
            builder = builder.group(name.clone(), |mut group| {
                for member in (first..names.len()).filter(|&member| names[member] == *name) {
                    let parameter = &parameters[member];
                    group = group.tensor(parameter.name.clone(), parameter.shape.clone(), &values[member]);
                }
                group
            });
        }
        for (buffer, values) in buffers.iter().zip(&of_buffers) {
            builder = builder.buffer(buffer.name.clone(), buffer.shape.clone(), values);
        }
        let nodes = self.lock();
        for (tied, to) in &nodes.ties {
            builder = builder.tie(nodes.parameters[*tied].name.clone(), nodes.parameters[*to].name.clone());
        }
        drop(nodes);
        let mut store = builder.build(gpu)?;
        parameters.iter().filter(|p| p.frozen).try_for_each(|p| store.freeze(&p.name))?;
        Ok(store)
    }

    /// Refuses parameters that no plan could bind, before their initial values are drawn.
    fn check_sizes(&self, gpu: &Gpu) -> Result<(), Error> {
        gpu.check()?;
        let nodes = self.lock();
        // Groups and positions do not matter, because a tensor that fits a binding is never split.
        let limits = Limits::of(gpu);
        for index in nodes.list.iter().flat_map(|node| &node.parameters) {
            let Parameter { name, shape, .. } = &nodes.parameters[*index];
            let layout = Layout::new(&[GroupSpec::new("all").tensor(name, &shape[..])], limits)?;
            layout.whole(&layout.spans()[0])?;
        }
        Ok(())
    }

    pub(crate) fn declare(&self, name: &str, shape: Vec<usize>, init: Init) -> usize {
        self.declare_as(Role::Trained, name, shape, init)
    }

    /// Declares a tensor of a layer. For every role, kernels bind it as `Operand::Parameter`; they can write only
    /// buffers. A dispatch binds buffers either only for reading or only for writing, because they share one
    /// `wgpu::Buffer`.
    pub(crate) fn declare_as(&self, role: Role, name: &str, shape: Vec<usize>, init: Init) -> usize {
        let mut nodes = self.lock();
        // A step counter is a scalar, as in torch.
        let scalar = role == Role::Buffer && shape.is_empty();
        let checked = if scalar { Ok(()) } else { shape::check(name, &shape) };
        if let Err(error) = checked.and_then(|()| init.check(name, &shape)) {
            nodes.refuse(error);
        }
        if nodes.parameters.iter().any(|p| p.name == name) {
            nodes.refuse(Error::Duplicate { kind: "parameter", name: name.into() });
        }
        nodes.parameters.push(Parameter { name: name.into(), shape, init, role, frozen: false });
        nodes.parameters.len() - 1
    }
}

#[cfg(test)]
mod tests;
