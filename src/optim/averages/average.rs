use std::ops::Range;
use std::sync::Arc;

use super::buffers::AveragedBuffers;
use super::options::Averages;
use super::text::{Averaging, constants};
use crate::Error;
use crate::gpu::Recorder;
use crate::layout::Layout;
use crate::params::{Flat, ParamStore};

/// Which average, and what it has counted.
#[derive(Clone, Debug)]
pub(crate) struct AverageCounts {
    pub(crate) options: Averages,
    /// By how much the updates of each tensor that the average knows of are more than its steps.
    pub(crate) offsets: Vec<i64>,
}

/// What an optimizer keeps of an average of the weights.
#[derive(Debug)]
pub(crate) struct Average {
    pub(crate) counts: AverageCounts,
    pub(crate) params: Flat,
    /// Where buffers are averaged too, and there are some.
    pub(crate) buffers: Option<AveragedBuffers>,
    /// While the weights have changed places with the averages.
    pub(crate) swapped: Option<Swapped>,
}

/// What has changed places.
#[derive(Debug)]
pub(crate) struct Swapped {
    /// Elements of the tensors that have an average.
    pub(crate) ranges: Vec<Range<usize>>,
    /// The buffers of the weights, to come back to.
    pub(crate) buffers: Option<Flat>,
}

impl Average {
    /// One that knows of no update of tensors that have taken so many steps.
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

    /// The same over a layout that has more tensors behind its own; a copy is recorded.
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

    /// The averages of parameters, and of buffers where these are averaged.
    pub(crate) fn flats(&self) -> impl Iterator<Item = &Flat> {
        [&self.params].into_iter().chain(self.buffers.as_ref().map(|buffers| &*buffers.flat))
    }

    /// Refuses while the weights have changed places with the averages.
    pub(crate) fn check_places(&self) -> Result<(), Error> {
        if self.swapped.is_none() {
            return Ok(());
        }
        let reason =
            "the weights have changed places with them: only evaluate, predict and read until they are back";
        Err(Error::Config { what: "averages".into(), reason: reason.into() })
    }
}

impl AverageCounts {
    /// The updates of a tensor that the average knows of, once it has taken so many steps.
    pub(crate) fn updates(&self, tensor: usize, steps: u64) -> u64 {
        updates(self.offsets[tensor], steps)
    }

    /// Whether one of these counts of updates says that an update has entered: until then buffers have no average.
    pub(crate) fn has_entered<'u>(&self, mut updates: impl Iterator<Item = &'u u64>) -> bool {
        updates.any(|&updates| self.options.counted(updates) > 0)
    }

    /// As if a tensor that has taken so many steps had had these updates.
    pub(crate) fn set_updates(&mut self, tensor: usize, steps: u64, updates: u64) {
        self.offsets[tensor] = signed(updates) - signed(steps);
    }

    /// The constants of step `step` of tensors with this offset.
    pub(crate) fn constants(&self, offset: i64, step: u64) -> Averaging {
        constants(&self.options, updates(offset, step))
    }
}

fn updates(offset: i64, steps: u64) -> u64 {
    steps.saturating_add_signed(offset)
}

/// Counts are held to what can be counted on where they come from a file.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
