use super::{attention, convolutions, embedding, lines, norms, products, sequences};
use crate::graph::{Graph, PlanOptions, Var};

/// A graph with the options to compile it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) graph: Graph,
    pub(super) options: PlanOptions,
}

impl Subject {
    /// Trains the value that `build` returns, of any shape.
    pub(super) fn train(name: impl Into<String>, build: impl FnOnce(&Graph) -> Var) -> Self {
        let graph = Graph::new();
        let root = build(&graph);
        Self { name: name.into(), options: PlanOptions::train(&root).upstream("upstream"), graph }
    }

    /// Evaluates the value that `build` returns.
    pub(super) fn evaluate(name: impl Into<String>, build: impl FnOnce(&Graph) -> Var) -> Self {
        let graph = Graph::new();
        let root = build(&graph);
        Self { name: name.into(), options: PlanOptions::evaluate().output("output", &root), graph }
    }
}

/// Graphs with the maximum tensor size along each dimension of each operation. They are only lowered, not run.
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

/// Small graphs on both sides of each size at which an operation switches its algorithm.
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
