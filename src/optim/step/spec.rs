use std::ops::Range;

use super::counters::{StepCounter, StepEffect};
use super::segments::Segment;
use crate::grad::NormSpec;
use crate::layout::{Layout, Span};
use crate::optim::factored::ranges::StatisticRanges;
use crate::optim::windows::cut_at_windows;

/// One step: what it covers, its dispatches and the uniforms that they read. It is kept for its memory.
#[derive(Debug, Default)]
pub(crate) struct StepSpec {
    /// Its number in the device's history.
    pub(crate) number: u64,
    /// Steps attempted before it.
    pub(crate) attempted: u64,
    /// Whether the device may skip it.
    pub(crate) may_skip: bool,
    /// What it does to the counters of a tensor, by group.
    pub(crate) effects: Vec<StepEffect>,
    /// The tensors that are not frozen.
    pub(crate) segments: Vec<Segment>,
    /// Where transforms look at all gradients first.
    pub(crate) norms: NormSpec,
    /// Where the constants of a step that may turn out to be another one are picked, if there are any.
    pub(crate) pick: Option<Pick>,
    /// First values of slots that begin anew, written before the dispatches.
    pub(crate) resets: Vec<ResetDispatch>,
    pub(crate) dispatches: Vec<Dispatch>,
    /// Averages of buffers, behind the dispatches.
    pub(crate) buffers: Vec<BuffersDispatch>,
    /// The first byte of each segment's constants.
    pub(crate) hypers: Vec<u32>,
    /// The uniforms of all of these.
    pub(crate) bytes: Vec<u8>,
}

/// A dispatch over a window of buffers, with the first bytes of its blocks.
#[derive(Debug)]
pub(crate) struct BuffersDispatch {
    pub(crate) window: usize,
    /// Elements.
    pub(crate) len: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
}

/// One dispatch of a stage, with the first bytes of its blocks: in the step's uniforms, the constants perhaps in
/// what was picked, the gate's in the gate.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) stage: usize,
    /// Which of the stage's bind groups: one for each window, or the only one.
    pub(crate) bind_group: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
    /// Whether it is for tensors of other shapes than most have.
    pub(crate) general: bool,
    /// Its segment, by number.
    pub(crate) segment: usize,
}

/// The dispatch that picks constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) call: u32,
    pub(crate) segments: usize,
    pub(crate) words: usize,
}

/// A dispatch over the values of a slot, with the first bytes of its blocks: in the step's uniforms, the constants perhaps
/// in what was picked.
#[derive(Debug)]
pub(crate) struct ResetDispatch {
    pub(crate) slot: usize,
    /// Which of the slot's bind groups.
    pub(crate) bind_group: usize,
    /// Values that are written.
    pub(crate) len: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
}

impl StepSpec {
    /// Bytes of its uniforms.
    pub(crate) fn uniform_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Elements that a dispatch covers, padding included: of one window, or of all.
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

    /// Puts the counters of its tensors back to where they stood before it.
    pub(crate) fn undo(&self, counters: &mut [StepCounter]) {
        for segment in &self.segments {
            counters[segment.tensors.clone()].fill(segment.before);
        }
    }

    /// Where a tensor of it stood before it.
    pub(crate) fn before(&self, span: &Span) -> Option<StepCounter> {
        self.segments.iter().find(|segment| segment.range.contains(&span.first)).map(|segment| segment.before)
    }
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}
