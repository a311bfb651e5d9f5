//! Normalisations: over each sample, over groups of channels, or of each channel over the batch.
//!
//! All use one family of kernels over *lines* (the elements normalised together), see [`Geometry`]. The kernel that
//! writes the result can end with a fused chain.

mod backward;
mod forward;
mod geometry;
mod launch;
mod parts;

use self::geometry::Geometry;
use self::launch::Run;
use super::{Anchor, Cast, Made, Op, Reads};
use crate::Error;
use crate::error::{at_least, closed};
use crate::graph::Mode;
use crate::graph::lowering::Lowering;

/// The elements that are normalised together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Over {
    /// The last axes, with these extents.
    Last(Vec<usize>),
    /// The last axes, with these extents; the mean is not subtracted.
    LastSquares(Vec<usize>),
    /// This number of groups of the channels of each sample.
    Groups(usize),
    /// Each channel over the batch.
    Batch(Batch),
}

/// Options of batch normalisation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Allowed ranks of the input.
    pub(crate) ranks: &'static [usize],
    /// Weight of the new statistics in the running ones; `None` for the mean over all batches.
    pub(crate) momentum: Option<f64>,
    /// Whether training plans use the batch statistics.
    pub(crate) training: bool,
}

/// A normalisation, `(x - mean) / sqrt(variance + eps) * weight + bias`.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub(crate) over: Over,
    pub(crate) eps: f64,
    /// Number of channels for which a weight or running statistics were declared.
    pub(crate) channels: usize,
    pub(crate) tensors: Tensors,
}

/// Indices of its tensors among the parameters of its node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tensors {
    pub(crate) weight: Option<usize>,
    pub(crate) bias: Option<usize>,
    /// The running mean, followed by the variance and `num_batches_tracked`.
    pub(crate) running: Option<usize>,
    pub(crate) num_batches_tracked: Option<usize>,
}

impl Norm {
    fn geometry(&self, lowering: &Lowering, id: usize) -> Geometry {
        let (shape, matrix) = (lowering.shape(id), lowering.matrix(id));
        let geometry = match &self.over {
            Over::Last(extents) | Over::LastSquares(extents) => {
                let rows = extents[..extents.len() - 1].iter().product();
                Geometry::lines(matrix, rows, 1, true)
            }
            Over::Groups(groups) => Geometry::lines(matrix, matrix.rows / shape[0], *groups, false),
            Over::Batch(_) => Geometry::columns(matrix),
        };
        geometry.on(lowering.capabilities)
    }

    /// Whether it normalises with running statistics.
    fn uses_running(&self, mode: Mode) -> bool {
        match &self.over {
            Over::Batch(batch) => {
                self.tensors.running.is_some() && (mode == Mode::Evaluate || !batch.training)
            }
            _ => false,
        }
    }

    /// Whether it updates running statistics.
    fn tracks(&self, mode: Mode) -> bool {
        mode == Mode::Train && !self.uses_running(mode) && self.tensors.running.is_some()
    }

    /// Whether another node reads or updates the same running statistics, so that the order of nodes matters.
    fn shares_running(&self, lowering: &Lowering, id: usize) -> bool {
        let Tensors { running, num_batches_tracked, .. } = self.tensors;
        let statistics = running.map(|mean| [mean, mean + 1]).into_iter().flatten();
        let mut places = statistics.chain(num_batches_tracked);
        places.any(|place| lowering.shares_parameter(id, place))
    }

    /// Number of storage buffers of the kernel that writes the result.
    fn buffers(&self, geometry: &Geometry, mode: Mode) -> usize {
        let affine = [self.tensors.weight, self.tensors.bias].iter().flatten().count();
        let statistic = match (self.uses_running(mode), geometry.is_whole() && self.tracks(mode)) {
            // The running mean and variance.
            (true, _) => 2,
            // The running statistics and the batch count, which this kernel updates, and the statistics saved for the
            // backward pass.
            (false, true) => 4,
            (false, false) => 1,
        };
        // Plus the input and the result.
        affine + statistic + 2
    }

    fn is_centred(&self) -> bool {
        !matches!(self.over, Over::LastSquares(_))
    }

    fn check_shape(&self, layer: &str, shape: &[usize]) -> Result<(), Error> {
        let refuse =
            |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
        match &self.over {
            Over::Last(extents) | Over::LastSquares(extents) => {
                if extents.is_empty() {
                    return refuse("a normalized_shape of one axis or more, not []".into());
                }
                if !shape.ends_with(extents) {
                    let inner = extents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    return refuse(format!("[.., {inner}] for a normalized_shape of {extents:?}"));
                }
            }
            Over::Groups(_) if shape.len() < 2 => return refuse("[N, C, ..]".into()),
            Over::Groups(groups) => {
                if *groups == 0 || !shape[1].is_multiple_of(*groups) {
                    let allowed = format!("a divisor of the {} channels of {shape:?}", shape[1]);
                    return Err(Error::constant(format!("{layer}: num_groups"), allowed, groups));
                }
            }
            Over::Batch(Batch { ranks, .. }) => {
                if !ranks.contains(&shape.len()) {
                    let form = |rank: &usize| ["[N, C]", "[N, C, L]", "[N, C, H, W]"][rank - 2];
                    return refuse(ranks.iter().map(form).collect::<Vec<_>>().join(" or "));
                }
            }
        }
        let of_channels = matches!(self.over, Over::Groups(_) | Over::Batch(_));
        if of_channels && shape[1] != self.channels {
            return refuse(format!("{} channels", self.channels));
        }
        Ok(())
    }
}

impl Op for Norm {
    fn kind(&self) -> &'static str {
        match &self.over {
            Over::Last(_) => "layer_norm",
            Over::LastSquares(_) => "rms_norm",
            Over::Groups(_) => "group_norm",
            Over::Batch(Batch { ranks: [4], .. }) => "batch_norm2d",
            Over::Batch(_) => "batch_norm1d",
        }
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn tracks_statistics(&self) -> bool {
        self.tracks(Mode::Train)
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        at_least(&format!("{layer}: eps"), self.eps, 0.0)?;
        if let Over::Batch(Batch { momentum: Some(momentum), .. }) = self.over {
            closed(&format!("{layer}: momentum"), momentum, 0.0, 1.0)?;
        }
        self.check_shape(layer, inputs[0])?;
        Ok(inputs[0].to_vec())
    }

    fn reads(&self, _: usize) -> Reads {
        match self.over {
            Over::Last(_) | Over::LastSquares(_) => Reads::Natural,
            Over::Groups(_) | Over::Batch(_) => Reads::ChannelsLast,
        }
    }

    fn makes(&self) -> Made {
        match self.over {
            Over::Last(_) | Over::LastSquares(_) => Made::Natural,
            Over::Groups(_) | Over::Batch(_) => Made::ChannelsLast,
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let of_batch = matches!(self.over, Over::Batch(_)) && !self.uses_running(lowering.mode);
        if of_batch && lowering.matrix(id).rows == 1 {
            let (layer, got) = (lowering.name(id), lowering.shape(id).to_vec());
            let expected = "more than one value per channel, to compute batch statistics".into();
            return Err(Error::Shape { layer, expected, got });
        }
        Run::new(self, lowering, id).forward();
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        Run::new(self, lowering, id).backward();
        Ok(())
    }

    fn anchor(&self, lowering: &Lowering, id: usize) -> Option<Anchor> {
        // At the end of a chain it would run later, in place of the chain's last node.
        if lowering.mode == Mode::Train && self.shares_running(lowering, id) {
            return None;
        }
        Some(Anchor { buffers: self.buffers(&self.geometry(lowering, id), lowering.mode), lanes: 4 })
    }
}
