use std::ops::Range;
use std::sync::Arc;

use super::buffers::AveragedBuffers;
use super::options::Averages;
use super::text::{Averaging, constants};
use crate::Error;
use crate::gpu::Recorder;
use crate::layout::Layout;
use crate::params::{Flat, ParamStore};

/// The options of an average and its counts of updates.
#[derive(Clone, Debug)]
pub(crate) struct AverageCounts {
    pub(crate) options: Averages,
    /// For each tensor, the updates counted by the average minus the steps of the tensor.
    pub(crate) offsets: Vec<i64>,
}

/// The state of an average of the weights.
#[derive(Debug)]
pub(crate) struct Average {
    pub(crate) counts: AverageCounts,
    pub(crate) params: Flat,
    /// The averages of buffers, if they are averaged and the store has any.
    pub(crate) buffers: Option<AveragedBuffers>,
    /// Set while the weights and the averages are swapped.
    pub(crate) swapped: Option<Swapped>,
}

/// What was swapped.
#[derive(Debug)]
pub(crate) struct Swapped {
    /// Element ranges of the tensors that have an average.
    pub(crate) ranges: Vec<Range<usize>>,
    /// The weights' buffers, to be restored.
    pub(crate) buffers: Option<Flat>,
}

impl Average {
    /// An average without updates so far, of tensors that have taken this many steps.
    pub(crate) fn new(
        options: Averages,
        params: &ParamStore,
        steps: impl Iterator<Item = u64>,
    ) -> Result<Self, Error> {
        let gpu = params.gpu();
        let buffers = params.buffers().filter(|_| options.uses_buffers());
        Ok(Self {
            params: Flat::zeroed(gpu, "averages", params.layout())?,
            buffers: buffers.map(|buffers| AveragedBuffers::new(gpu, buffers.layout())).transpose()?,
            swapped: None,
            counts: AverageCounts { offsets: steps.map(|steps| -signed(steps)).collect(), options },
        })
    }

    /// A copy for a layout with more tensors at the end; records the copying.
    pub(crate) fn grown(&self, recorder: &mut Recorder<'_>, layout: &Arc<Layout>) -> Result<Self, Error> {
        let mut counts = self.counts.clone();
        counts.offsets.resize(layout.spans().len(), 0);
        Ok(Self {
            counts,
            params: self.params.grown(recorder, "averages", layout)?,
            buffers: self.buffers.as_ref().map(AveragedBuffers::shared),
            swapped: None,
        })
    }

    /// The averages of parameters, and of buffers if they are averaged.
    pub(crate) fn flats(&self) -> impl Iterator<Item = &Flat> {
        [&self.params].into_iter().chain(self.buffers.as_ref().map(|buffers| &*buffers.flat))
    }

    /// Refuses while the weights and the averages are swapped.
    pub(crate) fn check_places(&self) -> Result<(), Error> {
        if self.swapped.is_none() {
            return Ok(());
        }
        let reason =
            "they are swapped with the weights: until with_averages ends, only evaluate, predict and read";
        Err(Error::Config { what: "averages".into(), reason: reason.into() })
    }
}

impl AverageCounts {
    /// Number of updates counted for a tensor once it has taken this many steps.
    pub(crate) fn updates(&self, tensor: usize, steps: u64) -> u64 {
        updates(self.offsets[tensor], steps)
    }

    /// Whether any of these tensors has an update that entered the average. Until then, buffers have no average.
    pub(crate) fn has_entered<'u>(&self, mut updates: impl Iterator<Item = &'u u64>) -> bool {
        updates.any(|&updates| self.options.counted(updates) > 0)
    }

    /// Sets the number of updates of a tensor that has taken this many steps.
    pub(crate) fn set_updates(&mut self, tensor: usize, steps: u64, updates: u64) {
        self.offsets[tensor] = signed(updates) - signed(steps);
    }

    /// The constants of step `step` for tensors with this offset.
    pub(crate) fn constants(&self, offset: i64, step: u64) -> Averaging {
        constants(&self.options, updates(offset, step))
    }
}

fn updates(offset: i64, steps: u64) -> u64 {
    steps.saturating_add_signed(offset)
}

/// Counts from a file are clamped to what fits.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
