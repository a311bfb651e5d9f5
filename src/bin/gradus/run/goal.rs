//! What a model is to predict: classes or numbers.

use gradus::graph::{Graph, Var};
use gradus::train::data::Target;

/// The type of targets, and what it makes of a graph.
pub(super) trait Goal: Target {
    const METRICS: &'static [&'static str];

    /// The input of a batch of targets of a shape.
    fn input(graph: &Graph, batch: usize, shape: &[usize]) -> Var;

    /// The outputs of a model, in the shape that the loss takes; or what shape they should have.
    fn fitted(outputs: &Var, batch: usize, count: usize, shape: &[usize]) -> Result<Var, String>;

    fn metric(outputs: &Var, target: &Var) -> Option<Var>;
}

impl Goal for u32 {
    const METRICS: &'static [&'static str] = &["accuracy"];

    fn input(graph: &Graph, batch: usize, _: &[usize]) -> Var {
        graph.labels("y", batch)
    }

    fn fitted(outputs: &Var, batch: usize, count: usize, _: &[usize]) -> Result<Var, String> {
        match outputs.shape()[..] {
            [rows, classes] if rows == batch && classes >= count => Ok(outputs.clone()),
            _ => Err(format!("[{batch}, {count}], a number for each class")),
        }
    }

    fn metric(outputs: &Var, target: &Var) -> Option<Var> {
        Some(outputs.accuracy(target))
    }
}

impl Goal for f32 {
    const METRICS: &'static [&'static str] = &[];

    fn input(graph: &Graph, batch: usize, shape: &[usize]) -> Var {
        graph.input("y", [&[batch], shape].concat())
    }

    fn fitted(outputs: &Var, batch: usize, _: usize, shape: &[usize]) -> Result<Var, String> {
        let expected = [&[batch], shape].concat();
        match outputs.shape() {
            got if got == expected => Ok(outputs.clone()),
            got if shape.is_empty() && got == [batch, 1] => Ok(outputs.select(1, 0)),
            _ => Err(format!("{expected:?}, that of the targets")),
        }
    }

    fn metric(_: &Var, _: &Var) -> Option<Var> {
        None
    }
}
