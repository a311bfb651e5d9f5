use super::{attention, convolutions, embedding, lines, norms, products, sequences};
use crate::graph::{Graph, PlanOptions, Var};

/// A graph and what is asked of it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) graph: Graph,
    pub(super) options: PlanOptions,
}

impl Subject {
    /// One that trains the value that `build` makes, whatever its shape.
    pub(super) fn train(name: impl Into<String>, build: impl FnOnce(&Graph) -> Var) -> Self {
        let graph = Graph::new();
        let root = build(&graph);
        Self { name: name.into(), options: PlanOptions::train(&root).upstream("upstream"), graph }
    }

    /// One that computes the value that `build` makes.
    pub(super) fn evaluate(name: impl Into<String>, build: impl FnOnce(&Graph) -> Var) -> Self {
        let graph = Graph::new();
        let root = build(&graph);
        Self { name: name.into(), options: PlanOptions::evaluate().output("output", &root), graph }
    }
}

/// Graphs with the largest sizes that a tensor can have, along each dimension of each operation. They are only lowered.
pub(super) fn extreme() -> Vec<Subject> {
    let all = [
        lines::extreme(),
        norms::extreme(),
        products::extreme(),
        convolutions::extreme(),
        embedding::extreme(),
        attention::extreme(),
        sequences::extreme(),
    ];
    all.into_iter().flatten().collect()
}

/// Graphs that run in a moment, on both sides of each size at which an operation takes another way.
pub(super) fn ordinary() -> Vec<Subject> {
    let all = [
        lines::ordinary(),
        norms::ordinary(),
        products::ordinary(),
        convolutions::ordinary(),
        embedding::ordinary(),
        attention::ordinary(),
        sequences::ordinary(),
    ];
    all.into_iter().flatten().collect()
}
