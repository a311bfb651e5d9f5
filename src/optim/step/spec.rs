use std::ops::Range;

use super::counters::{StepCounter, StepEffect};
use super::segments::Segment;
use crate::grad::NormSpec;
use crate::layout::{Layout, Span};
use crate::optim::factored::ranges::StatisticRanges;
use crate::optim::windows::cut_at_windows;

/// The description of a step: its tensors, its dispatches and their uniforms. It is reused to save allocations.
#[derive(Debug, Default)]
pub(crate) struct StepSpec {
    /// The step's number in the device's history.
    pub(crate) number: u64,
    /// Number of steps attempted before it.
    pub(crate) attempted: u64,
    /// Whether the device may skip it.
    pub(crate) may_skip: bool,
    /// Whether its norms are reported.
    pub(crate) reports_norms: bool,
    /// Its effect on the counters of a tensor, by group.
    pub(crate) effects: Vec<StepEffect>,
    /// The tensors that are not frozen.
    pub(crate) segments: Vec<Segment>,
    /// The gradient-norm reduction before the rule.
    pub(crate) norms: NormSpec,
    /// The dispatch that selects constants if the counts of applied steps are not known yet, if needed.
    pub(crate) pick: Option<Pick>,
    /// Initial values of slots that are reset, written before the dispatches.
    pub(crate) resets: Vec<ResetDispatch>,
    pub(crate) dispatches: Vec<Dispatch>,
    /// Dispatches for averages of buffers, after the others.
    pub(crate) buffers: Vec<BuffersDispatch>,
    /// Offset of each segment's constants in bytes.
    pub(crate) hypers: Vec<u32>,
    /// The uniforms of all dispatches.
    pub(crate) bytes: Vec<u8>,
}

/// A dispatch over a window of buffers, with the offsets of its uniform blocks.
#[derive(Debug)]
pub(crate) struct BuffersDispatch {
    pub(crate) window: usize,
    /// Number of elements.
    pub(crate) len: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
}

/// A dispatch of a stage, with the byte offsets of its blocks: in the step's uniforms, for constants possibly in the
/// picked ones, and in the gate.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) stage: usize,
    /// Index of the stage's bind group: one for each window, or only one.
    pub(crate) bind_group: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
    /// Whether it is for general tensors, which the kernels of plain tensors do not cover.
    pub(crate) general: bool,
    /// Index of its segment.
    pub(crate) segment: usize,
}

/// The dispatch that selects constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) call: u32,
    pub(crate) segments: usize,
    pub(crate) words: usize,
}

/// A dispatch that writes the values of a slot, with the byte offsets of its blocks: in the step's uniforms, for
/// constants possibly in the picked ones.
#[derive(Debug)]
pub(crate) struct ResetDispatch {
    pub(crate) slot: usize,
    /// Index of the slot's bind group.
    pub(crate) bind_group: usize,
    /// Number of values written.
    pub(crate) len: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
}

impl StepSpec {
    /// Size of its uniforms in bytes.
    pub(crate) fn uniform_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of elements that a dispatch covers, including padding: of one window, or of all.
    pub(crate) fn elements(
        &self,
        layout: &Layout,
        dispatch: &Dispatch,
        (by_windows, statistics): (bool, Option<&StatisticRanges>),
    ) -> usize {
        let segment = &self.segments[dispatch.segment];
        if !by_windows {
            return segment.range.len();
        }
        let in_window = |range: Range<usize>| {
            let parts = cut_at_windows(layout, range).filter(|(window, _)| *window == dispatch.bind_group);
            parts.map(|(_, part)| part.len()).sum::<usize>()
        };
        let Some(statistics) = statistics else { return in_window(segment.range.clone()) };
        let own = segment.tensors.clone().filter(|tensor| statistics.general[*tensor] == dispatch.general);
        let spans = own.map(|tensor| &layout.spans()[tensor]);
        spans.map(|span| in_window(span.first..span.first + span.padded_len())).sum()
    }

    /// Restores the counters of its tensors.
    pub(crate) fn undo(&self, counters: &mut [StepCounter]) {
        for segment in &self.segments {
            counters[segment.tensors.clone()].fill(segment.before);
        }
    }

    /// The counters of one of its tensors before the step.
    pub(crate) fn before(&self, span: &Span) -> Option<StepCounter> {
        self.segments.iter().find(|segment| segment.range.contains(&span.first)).map(|segment| segment.before)
    }
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}
