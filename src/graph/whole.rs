//! Scalars over a data set that a plan processes batch by batch.

use std::sync::Arc;

use super::ops::Op;
use super::samples::{Place, Samples, samples};
use super::{Graph, Var};
use crate::Error;

/// How an operation joins the samples of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// By their sum.
    Sum,
    /// By their mean.
    Mean,
}

/// Derives scalars over all samples from the results of each batch. Sums and means over samples are combined from the
/// parts of all batches; values computed from these are computed on the host at the end.
#[derive(Debug)]
pub(crate) struct Whole {
    /// What the plan computes for each batch.
    parts: Vec<(Var, Joins)>,
    /// In the order of the graph.
    values: Vec<Value>,
    /// The index of each scalar among the values.
    scalars: Vec<usize>,
    /// The first scalar that has one row per sample, so that it is a scalar only in batches of 1.
    in_rows: Option<String>,
}

#[derive(Debug)]
enum Value {
    Part(usize),
    Of(Arc<dyn Op>, Vec<usize>),
}

impl Var {
    /// Whether it has one row per sample. The shape alone cannot tell, for example in a graph for one sample.
    pub(crate) fn is_in_rows(&self) -> bool {
        let samples = samples(self.graph(), &self.graph().node_list())[self.id()];
        matches!(samples, Samples::Along(Place { axis: 0, .. }))
    }
}

impl Whole {
    /// For scalars of `graph`.
    ///
    /// # Errors
    /// As [`Graph::check`]; [`Error::Mismatch`] for a scalar of another graph.
    pub(crate) fn of(graph: &Graph, scalars: &[(String, Var)]) -> Result<Self, Error> {
        graph.check()?;
        scalars.iter().try_for_each(|(name, scalar)| graph.check_owner(name, scalar))?;
        let nodes = graph.node_list();
        let samples = samples(graph, &nodes);
        let in_rows = |id: usize| matches!(samples[id], Samples::Along(_));
        let of_scalars = |id: usize| {
            let node = &nodes[id];
            let are_scalars = node.inputs.iter().all(|&input| !in_rows(input) && nodes[input].shape == [1]);
            are_scalars && node.op.of_scalars(&vec![1.0; node.inputs.len()]).is_some()
        };
        let mut needed = vec![false; nodes.len()];
        scalars.iter().for_each(|(_, scalar)| needed[scalar.id()] = true);
        for id in (0..nodes.len()).rev().filter(|&id| of_scalars(id)) {
            if needed[id] {
                nodes[id].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        let (mut parts, mut values, mut place) = (Vec::new(), Vec::new(), vec![0; nodes.len()]);
        for id in (0..nodes.len()).filter(|&id| needed[id]) {
            let node = &nodes[id];
            place[id] = values.len();
            if of_scalars(id) {
                let inputs = node.inputs.iter().map(|&input| place[input]).collect();
                values.push(Value::Of(node.op.clone(), inputs));
                continue;
            }
            // A value that does not depend on the batch is its own mean.
            let joins = match samples[id] {
                Samples::Joined(joins) => joins,
                _ => Joins::Mean,
            };
            values.push(Value::Part(parts.len()));
            parts.push((Var { graph: graph.clone(), id }, joins));
        }
        let first = scalars.iter().find(|(_, scalar)| in_rows(scalar.id()));
        let in_rows = first.map(|(name, _)| name.clone());
        let scalars = scalars.iter().map(|(_, scalar)| place[scalar.id()]).collect();
        Ok(Self { parts, values, scalars, in_rows })
    }

    /// Refuses batches of `batch` samples if a scalar is one only for the single sample that the graph was declared
    /// with.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub(crate) fn check_batch(&self, batch: usize) -> Result<(), Error> {
        match &self.in_rows {
            Some(name) if batch != 1 => {
                let expected = "a scalar of shape [1] at every batch size, such as a mean or a sum".into();
                Err(Error::Shape { layer: name.clone(), expected, got: vec![batch] })
            }
            _ => Ok(()),
        }
    }

    /// What a plan must compute for each batch.
    pub(crate) fn parts(&self) -> impl ExactSizeIterator<Item = &Var> {
        self.parts.iter().map(|(part, _)| part)
    }

    /// Adds the results of a batch of `samples` samples to `sums`, which are initially 0.
    pub(crate) fn add(&self, sums: &mut [f64], batch: impl Iterator<Item = f32>, samples: u64) {
        for ((sum, value), (_, joins)) in sums.iter_mut().zip(batch).zip(&self.parts) {
            *sum += match joins {
                Joins::Sum => f64::from(value),
                Joins::Mean => f64::from(value) * samples as f64,
            };
        }
    }

    /// The scalars over all `samples` samples.
    pub(crate) fn scalars(&self, sums: &[f64], samples: usize) -> Vec<f64> {
        let mut known: Vec<f64> = Vec::with_capacity(self.values.len());
        for value in &self.values {
            known.push(match value {
                Value::Part(part) => match self.parts[*part].1 {
                    Joins::Sum => sums[*part],
                    Joins::Mean => sums[*part] / samples as f64,
                },
                Value::Of(op, inputs) => {
                    let inputs: Vec<f64> = inputs.iter().map(|&input| known[input]).collect();
                    op.of_scalars(&inputs).expect("it was asked before")
                }
            });
        }
        self.scalars.iter().map(|&place| known[place]).collect()
    }
}
