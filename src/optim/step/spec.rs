use std::ops::Range;

use super::counters::StepCounter;
use super::segments::Segment;
use crate::grad::FusedTransforms;
use crate::layout::{Layout, Span};
use crate::optim::factored::tables::Statistics;
use crate::optim::layerwise::tiles::ReductionTiles;
use crate::optim::rule::Family;
use crate::optim::windows::cut_at_windows;

/// The dispatches of one step and the uniforms that they read, kept so that later steps need no memory.
#[derive(Debug, Default)]
pub(crate) struct StepUniforms {
    pub(crate) segments: Vec<Segment>,
    pub(crate) dispatches: Vec<Dispatch>,
    /// First values of slots that begin anew, written before the dispatches.
    pub(crate) resets: Vec<ResetDispatch>,
    /// The first byte of each run's constants.
    pub(crate) hypers: Vec<u32>,
    pub(crate) bytes: Vec<u8>,
    /// Where the constants of a step that may turn out to be another one are picked, if there are any.
    pub(crate) pick: Option<Pick>,
}

/// One dispatch of a stage, with the first bytes of its blocks: in the step's uniforms, the constants perhaps in
/// what was picked, the gate's in the gate.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) stage: usize,
    /// Which of the stage's bind groups: one for each window, or the only one.
    pub(crate) bindings: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
    /// Whether it is for tensors of other shapes than most have.
    pub(crate) general: bool,
    /// Its run, by number.
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
    pub(crate) bindings: usize,
    /// Values that are written.
    pub(crate) len: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
}

/// What a step is computed from.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) family: Family,
    /// Of a rule that knows its tensor.
    pub(crate) reduction_tiles: Option<&'a ReductionTiles>,
    /// Of a rule that keeps values in place of elements.
    pub(crate) statistics: Option<&'a Statistics>,
    pub(crate) counters: &'a [StepCounter],
    pub(crate) frozen: &'a [bool],
    pub(crate) fused: &'a FusedTransforms,
    /// Deviation of the noise.
    pub(crate) noise: f32,
    /// Steps attempted before this one.
    pub(crate) attempted: u64,
    pub(crate) may_skip: bool,
}

impl StepUniforms {
    /// Elements that a dispatch covers, padding included: of one window, or of all.
    pub(crate) fn elements(
        &self,
        layout: &Layout,
        dispatch: &Dispatch,
        (by_windows, statistics): (bool, Option<&Statistics>),
    ) -> usize {
        let segment = &self.segments[dispatch.segment];
        if !by_windows {
            return segment.range.len();
        }
        let in_window = |range: Range<usize>| {
            let parts = cut_at_windows(layout, range).filter(|(window, _)| *window == dispatch.bindings);
            parts.map(|(_, part)| part.len()).sum::<usize>()
        };
        let Some(statistics) = statistics else { return in_window(segment.range.clone()) };
        let own = segment.tensors.clone().filter(|tensor| statistics.general[*tensor] == dispatch.general);
        let spans = own.map(|tensor| &layout.spans()[tensor]);
        spans.map(|span| in_window(span.first..span.first + span.padded_len())).sum()
    }

    /// Puts the tensors of the computed step back to where they stood before it.
    pub(crate) fn undo(&self, layout: &Layout, counter: &mut [StepCounter]) {
        for (span, counter) in layout.spans().iter().zip(counter) {
            if let Some(before) = self.before(span) {
                *counter = before;
            }
        }
    }

    /// Where a tensor of the computed step stood before it.
    pub(crate) fn before(&self, span: &Span) -> Option<StepCounter> {
        self.segments.iter().find(|segment| segment.range.contains(&span.first)).map(|segment| segment.before)
    }
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}
