//! Names of layers: what is given, nested in scopes, and numbers for the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::Graph;

/// The names that are taken, and where the next one is made.
#[derive(Debug, Default)]
pub(super) struct Names {
    layers: BTreeSet<String>,
    /// Data is given by these: a layer may have the same.
    inputs: BTreeSet<String>,
    numbers: BTreeMap<(String, &'static str), usize>,
    /// The scopes that are open, each with those around it: `block1`, `block1.attn`.
    scopes: Vec<String>,
}

impl Names {
    /// The innermost scope, empty outside of all.
    fn scope(&self) -> &str {
        self.scopes.last().map_or("", |scope| scope)
    }

    /// A name within the scope.
    pub(super) fn nested(&self, name: &str) -> String {
        within(self.scope(), name)
    }

    /// The next name of this kind that is free.
    fn numbered(&mut self, kind: &'static str) -> String {
        let mark = if kind.contains(|c: char| c.is_ascii_digit()) { "_" } else { "" };
        let number = self.numbers.entry((self.scope().to_owned(), kind)).or_default();
        // Numbers of one kind and scope only grow, so that the search as a whole is short.
        for next in *number + 1.. {
            let name = within(self.scopes.last().map_or("", |scope| scope), &format!("{kind}{mark}{next}"));
            if !self.layers.contains(&name) {
                *number = next;
                return name;
            }
        }
        unreachable!("there are more numbers than names")
    }

    /// Takes the name of a layer; `false` if it was taken.
    pub(super) fn take_layer(&mut self, name: &str) -> bool {
        self.layers.insert(name.to_owned())
    }

    /// Takes the name of an input; `false` if it was taken.
    pub(super) fn take_input(&mut self, name: &str) -> bool {
        self.inputs.insert(name.to_owned())
    }
}

/// A name within that of a layer or scope; what is named empty adds nothing.
pub(crate) fn within(scope: &str, name: &str) -> String {
    match (scope, name) {
        ("", name) => name.to_owned(),
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope}.{name}"),
    }
}

/// What a refusal calls a layer: its name, or its kind where it has none.
pub(crate) fn shown<'n>(kind: &'n str, name: &'n str) -> &'n str {
    if name.is_empty() { kind } else { name }
}

impl Graph {
    /// Builds layers whose names are nested under `name`: all that `build` makes on this graph, by names given or numbered,
    /// and its parameters, is called `name.<its own>`. Scopes nest, and an empty name adds nothing. Inputs keep their
    /// names, because data is given by them.
    ///
    /// [`Var::apply`](crate::graph::Var::apply) does this for a [`Module`](crate::nn::Module) of one input. The scope is
    /// the graph's own: only one thread at a time should build.
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

    /// The full name of a layer: the one given within the scope, or its kind with the next number that is free there.
    pub(crate) fn layer_name(&self, kind: &'static str, given: Option<&str>) -> String {
        let mut nodes = self.lock();
        match given {
            Some(name) => nodes.names.nested(name),
            None => nodes.names.numbered(kind),
        }
    }

    /// The name of a node: the full one given, or its kind with a number.
    pub(super) fn node_name(&self, kind: &'static str, full: Option<&str>) -> String {
        match full {
            None | Some("") => self.layer_name(kind, None),
            Some(full) => full.to_owned(),
        }
    }
}

/// Closes a scope, also where building panics.
struct Open<'a>(&'a Graph);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.lock().names.scopes.pop();
    }
}
