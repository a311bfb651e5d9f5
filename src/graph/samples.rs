//! The position of the samples of a batch in a value: along an axis, joined to one, or mixed.

use super::ops::Joins;
use super::{Graph, Node};

/// How a value depends on the samples of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Samples {
    /// It does not.
    Absent,
    /// It has separate elements for each sample.
    Along(Place),
    /// It is a sum or a mean over samples; each batch contributes a part.
    Joined(Joins),
    /// In any other way, such as the maximum over samples.
    Mixed,
}

/// The elements of each sample: along an axis whose positions are indexed `[outer, sample, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) axis: usize,
    pub(crate) inner: usize,
}

/// The inputs for deriving the samples of a node.
#[derive(Debug)]
pub(crate) struct SamplesOf<'a> {
    /// The samples of each input, and its shape.
    pub(crate) inputs: Vec<(Samples, &'a [usize])>,
    /// The node's shape.
    pub(crate) shape: &'a [usize],
    /// Number of samples in a batch.
    pub(crate) batch: usize,
}

impl SamplesOf<'_> {
    /// For an op that processes samples separately and leaves them on their axis.
    pub(crate) fn kept(&self) -> Samples {
        let rank = self.shape.len();
        let along = self.inputs.iter().filter_map(|(samples, shape)| match samples {
            Samples::Along(place) => Some((shape.len(), *place)),
            _ => None,
        });
        // If inputs have different ranks, those with fewer axes are broadcast.
        let is_broadcast = self.inputs.iter().any(|(_, shape)| shape.len() == rank);
        match along.max_by_key(|(own, place)| (*own, std::cmp::Reverse(place.axis))) {
            Some((own, place)) if own < rank && is_broadcast => {
                Samples::Along(Place { axis: place.axis + rank - own, ..place })
            }
            Some((_, place)) => {
                Samples::Along(Place { axis: place.axis.min(rank.saturating_sub(1)), ..place })
            }
            None if self.inputs.iter().all(|(samples, _)| *samples == Samples::Absent) => Samples::Absent,
            None => Samples::Mixed,
        }
    }

    /// For an op that moves the elements of its only input: `to` maps a position along the axes.
    pub(crate) fn moved(&self, to: impl Fn(Place) -> Option<Place>) -> Samples {
        match self.inputs[0].0 {
            Samples::Along(place) => to(place).map_or(Samples::Mixed, Samples::Along),
            other => other,
        }
    }

    /// For an op that changes the shape.
    pub(crate) fn reshaped(&self) -> Samples {
        let from = self.inputs[0].1;
        self.moved(|Place { axis, inner }| {
            let stride = inner * from[axis + 1..].iter().product::<usize>();
            let places = (0..self.shape.len()).filter_map(|axis| {
                let within: usize = self.shape[axis + 1..].iter().product();
                let inner = stride / within;
                let fits = stride.is_multiple_of(within)
                    && inner > 0
                    && self.shape[axis].is_multiple_of(inner * self.batch);
                fits.then_some(Place { axis, inner })
            });
            // A batch of one matches many axes. The most likely is a separate axis, then an axis that starts with it.
            places.min_by_key(|place| {
                let outer = self.shape[place.axis] / (place.inner * self.batch);
                (outer > 1, place.inner > 1, place.axis)
            })
        })
    }
}

/// How each node depends on the samples.
pub(super) fn samples(graph: &Graph, nodes: &[Node]) -> Vec<Samples> {
    let batch = graph.batch().unwrap_or(1);
    let mut samples: Vec<Samples> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let is_input = node.inputs.is_empty() && node.parameters.is_empty();
        if is_input {
            samples.push(Samples::Along(Place { axis: 0, inner: 1 }));
            continue;
        }
        // A further result depends on the inputs of the node that computes it.
        let maker = if node.op.part().is_some() { &nodes[node.inputs[0]] } else { node };
        let inputs = maker.inputs.iter().map(|&input| (samples[input], &nodes[input].shape[..])).collect();
        let of = SamplesOf { inputs, shape: &node.shape, batch };
        samples.push(match node.op.part() {
            Some(number) => maker.op.samples_of_part(number, &of),
            None => node.op.samples(&of),
        });
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_followed_through_shapes() {
        let of = |from: &[usize], place, shape: &[usize]| {
            SamplesOf { inputs: vec![(Samples::Along(place), from)], shape, batch: 4 }.reshaped()
        };
        let along = |axis, inner| Samples::Along(Place { axis, inner });
        let first = Place { axis: 0, inner: 1 };
        assert_eq!(of(&[4, 3, 5], first, &[12, 5]), along(0, 3));
        assert_eq!(of(&[12, 5], Place { axis: 0, inner: 3 }, &[4, 15]), along(0, 1));
        assert_eq!(of(&[3, 4, 5], Place { axis: 1, inner: 1 }, &[12, 5]), along(0, 1));
        assert_eq!(of(&[12, 5], Place { axis: 0, inner: 1 }, &[3, 4, 5]), along(1, 1));
        assert_eq!(of(&[4, 6], first, &[2, 2, 6]), Samples::Mixed);
        let one = SamplesOf { inputs: vec![(along(1, 1), &[4, 1])], shape: &[2, 2, 1], batch: 1 };
        assert_eq!(one.reshaped(), along(2, 1));
        let graph = Graph::new();
        let x = graph.input("x", [4, 3, 8]);
        let seen = |var: &super::super::Var| samples(&graph, &graph.node_list())[var.id()];
        let swapped = x.transpose(0, 1);
        assert_eq!(seen(&swapped), along(1, 1));
        assert_eq!(seen(&swapped.linear(2).select(0, 1)), along(0, 1));
        assert_eq!(seen(&swapped.mean_dim(&[0], true)), along(1, 1));
        assert_eq!(seen(&swapped.mean_dim(&[1], false)), Samples::Joined(Joins::Mean));
        assert_eq!(seen(&x.sum_dim(&[0], false).sum()), Samples::Joined(Joins::Sum));
        assert_eq!(seen(&x.amax(&[0], false).sum()), Samples::Mixed);
        assert_eq!(seen(&x.slice(0, 1, 3, 1)), Samples::Mixed);
        assert_eq!(seen(&x.concat(&[&x], 2)), along(0, 1));
        let (_, (state, cell)) = swapped.lstm(5, None);
        assert_eq!((seen(&state), seen(&cell)), (along(1, 1), along(1, 1)));
        assert_eq!(seen(&state.select(0, -1)), along(0, 1));
        // Here they are time steps.
        assert_eq!(seen(&x.gru(5, None).1), Samples::Mixed);
        assert_eq!(seen(&x.unsqueeze(0).expand(&[2, -1, -1, -1])), along(1, 1));
        assert_eq!(seen(&x.flatten_dims(0, 1)), along(0, 3));
        assert_eq!(seen(&swapped.flatten_dims(0, 1)), along(0, 1));
        assert_eq!(seen(&swapped.flatten_dims(1, -1)), along(1, 8));
        assert_eq!(seen(&x.flatten_dims(1, 2).unflatten(1, &[2, -1])), along(0, 1));
        assert_eq!(seen(&swapped.unflatten(0, &[3, 1])), along(2, 1));
        assert_eq!(seen(&x.unflatten(0, &[-1, 1])), along(0, 1));
        assert_eq!(seen(&x.unflatten(0, &[2, 2])), Samples::Mixed);
        assert_eq!(seen(&graph.parameter("w", [4], crate::graph::Init::Constant(0.0))), Samples::Absent);
        // With a batch of one, many axes have that extent.
        let graph = Graph::new();
        let x = graph.input("x", [1, 1, 8]);
        let seen = |var: &super::super::Var| samples(&graph, &graph.node_list())[var.id()];
        assert_eq!(seen(&x.unsqueeze(0)), along(1, 1));
        assert_eq!(seen(&x.unsqueeze(1)), along(0, 1));
        assert_eq!(seen(&x.unsqueeze(0).squeeze(0)), along(0, 1));
        assert_eq!(seen(&x.unsqueeze(0).squeeze(1)), Samples::Mixed);
        assert_eq!(seen(&x.unsqueeze(0).flatten_dims(1, 2)), along(1, 1));
        assert_eq!(seen(&x.stack(&[&x], 0)), along(1, 1));
    }
}
