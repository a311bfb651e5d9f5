//! Names of layers: explicit names, nested in scopes, and numbers for the others.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;

/// The names in use, and the open scopes.
#[derive(Debug, Default)]
pub(super) struct Names {
    layers: BTreeSet<String>,
    /// Names of inputs, which are separate: a layer can have the same name.
    inputs: BTreeSet<String>,
    numbers: BTreeMap<(String, &'static str), usize>,
    /// The full names of the open scopes: `block1`, `block1.attn`.
    scopes: Vec<String>,
}

impl Names {
    /// The innermost scope; empty outside of all scopes.
    fn scope(&self) -> &str {
        self.scopes.last().map_or("", |scope| scope)
    }

    /// A name within the innermost scope.
    pub(super) fn nested(&self, name: &str) -> String {
        within(self.scope(), name)
    }

    /// The next free numbered name for this kind.
    fn numbered(&mut self, kind: &'static str) -> String {
        let mark = if kind.contains(|c: char| c.is_ascii_digit()) { "_" } else { "" };
        let number = self.numbers.entry((self.scope().to_owned(), kind)).or_default();
        // Numbers for a kind and scope only increase, so the searches are short in total.
        for next in *number + 1.. {
            let name = within(self.scopes.last().map_or("", |scope| scope), &format!("{kind}{mark}{next}"));
            if !self.layers.contains(&name) {
                *number = next;
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }

    /// Reserves the name of a layer; `false` if it is in use.
    pub(super) fn take_layer(&mut self, name: &str) -> bool {
        self.layers.insert(name.to_owned())
    }

    /// Reserves the name of an input; `false` if it is in use.
    pub(super) fn take_input(&mut self, name: &str) -> bool {
        self.inputs.insert(name.to_owned())
    }
}

/// A name nested in that of a layer or scope. Empty names add nothing.
pub(crate) fn within(scope: &str, name: &str) -> String {
    match (scope, name) {
        ("", name) => name.to_owned(),
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope}.{name}"),
    }
}

/// The name of a layer for error messages, or its kind if it has none.
pub(crate) fn shown<'n>(kind: &'n str, name: &'n str) -> &'n str {
    if name.is_empty() { kind } else { name }
}

impl Graph {
    /// Nests the names of all layers and parameters that `build` creates on this graph under `name`: they are called
    /// `name.<own name>`. Scopes nest. An empty name adds nothing. Inputs keep their names, because data is given by
    /// these.
    ///
    /// [`Var::apply`](crate::graph::Var::apply) does this for a [`Module`](crate::nn::Module) with one input. The
    /// scope is state of the graph, so only one thread at a time should build it.
    ///
    /// ```
    /// use gradus::graph::Graph;
    /// use gradus::nn::Linear;
    ///
    /// let graph = Graph::new();
    /// let (x, z) = (graph.input("x", [8, 4]), graph.input("z", [8, 2]));
    /// let joined = graph.scope("fuse", || {
    ///     &x.linear(Linear::new(16).name("of_x")) + &z.linear(Linear::new(16).name("of_z"))
    /// });
    /// assert_eq!(joined.name(), "fuse.add1");
    /// assert_eq!(graph.parameters()[2].name, "fuse.of_z.weight");
    /// ```
    pub fn scope<T>(&self, name: &str, build: impl FnOnce() -> T) -> T {
        let mut nodes = self.lock();
        let scope = nodes.names.nested(name);
        nodes.names.scopes.push(scope);
        drop(nodes);
        let _open = Open(self);
        build()
    }

    /// The full name of a layer: the given name within the scope, or its kind with the next free number.
    pub(crate) fn layer_name(&self, kind: &'static str, given: Option<&str>) -> String {
        let mut nodes = self.lock();
        match given {
            Some(name) => nodes.names.nested(name),
            None => nodes.names.numbered(kind),
        }
    }

    /// The name of a node: the given full name, or its kind with a number.
    pub(super) fn node_name(&self, kind: &'static str, full: Option<&str>) -> String {
        match full {
            None | Some("") => self.layer_name(kind, None),
            Some(full) => full.to_owned(),
        }
    }
}

/// Closes a scope, also if building panics.
struct Open<'a>(&'a Graph);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().names.scopes.pop();
    }
}
