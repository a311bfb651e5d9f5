use super::counters::StepCounter;
use crate::grad::FusedTransforms;
use crate::layout::Layout;
use crate::optim::averages::average::AverageCounts;
use crate::optim::device::blocks::BlockRanges;
use crate::optim::factored::ranges::StatisticRanges;
use crate::optim::layerwise::tiles::RowRanges;
use crate::optim::rule::StatePrecision;

/// What a step is described from. It holds nothing of a device.
#[derive(Debug)]
pub(crate) struct Inputs<'a, R> {
    pub(crate) layout: &'a Layout,
    /// Those of the groups.
    pub(crate) rules: &'a [&'a R],
    /// Of a rule that knows its tensor.
    /// What each slot is stored as.
    pub(crate) state: &'a [StatePrecision],
    /// Where one of them is in codes.
    pub(crate) blocks: Option<&'a BlockRanges>,
    pub(crate) reduction_tiles: Option<&'a RowRanges>,
    /// Of a rule that keeps row and column statistics.
    pub(crate) statistics: Option<&'a StatisticRanges>,
    /// One for each tensor.
    pub(crate) counters: &'a [StepCounter],
    /// One for each tensor.
    pub(crate) frozen: &'a [bool],
    pub(crate) fused: &'a FusedTransforms,
    /// Of an average of the weights, if one is kept.
    pub(crate) average: Option<&'a AverageCounts>,
    /// The buffers that are averaged too.
    pub(crate) buffers: Option<&'a Layout>,
    /// Deviation of the noise.
    pub(crate) noise: f32,
    /// Its number in the device's history.
    pub(crate) number: u64,
    /// Steps attempted before it.
    pub(crate) attempted: u64,
    pub(crate) may_skip: bool,
}
