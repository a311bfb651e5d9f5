use std::ops::Range;

use super::counters::Progress;
use super::runs::{self, Run};
use crate::grad::Riders;
use crate::layout::{Layout, Span};
use crate::optim::factored::tables::Factors;
use crate::optim::layerwise::tiles::Chunks;
use crate::optim::rule::Family;

/// The dispatches of one step and the uniforms that they read, kept so that later steps need no memory.
#[derive(Debug, Default)]
pub(crate) struct StepUniforms {
    pub(crate) runs: Vec<Run>,
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
    pub(crate) bound: usize,
    pub(crate) workgroups: usize,
    pub(crate) call: u32,
    pub(crate) hyper: u32,
    pub(crate) gate: u32,
    /// Whether it is for tensors of other shapes than most have.
    pub(crate) general: bool,
    /// Its run, by number.
    pub(crate) run: usize,
}

/// The dispatch that picks constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) call: u32,
    pub(crate) runs: usize,
    pub(crate) words: usize,
}

/// A dispatch over the values of a slot, with the first bytes of its blocks: in the step's uniforms, the constants perhaps
/// in what was picked.
#[derive(Debug)]
pub(crate) struct ResetDispatch {
    pub(crate) slot: usize,
    /// Which of the slot's bind groups.
    pub(crate) bound: usize,
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
    pub(crate) chunks: Option<&'a Chunks>,
    /// Of a rule that keeps values in place of elements.
    pub(crate) factors: Option<&'a Factors>,
    pub(crate) progress: &'a [Progress],
    pub(crate) frozen: &'a [bool],
    pub(crate) riders: &'a Riders,
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
        (by_windows, factors): (bool, Option<&Factors>),
    ) -> usize {
        let run = &self.runs[dispatch.run];
        if !by_windows {
            return run.range.len();
        }
        let in_window = |range: Range<usize>| {
            let parts = runs::cut(layout, range).filter(|(window, _)| *window == dispatch.bound);
            parts.map(|(_, part)| part.len()).sum::<usize>()
        };
        let Some(factors) = factors else { return in_window(run.range.clone()) };
        let own = run.tensors.clone().filter(|tensor| factors.general[*tensor] == dispatch.general);
        let spans = own.map(|tensor| &layout.spans()[tensor]);
        spans.map(|span| in_window(span.first..span.first + span.padded_len())).sum()
    }

    /// Puts the tensors of the computed step back to where they stood before it.
    pub(crate) fn undo(&self, layout: &Layout, progress: &mut [Progress]) {
        for (span, progress) in layout.spans().iter().zip(progress) {
            if let Some(before) = self.before(span) {
                *progress = before;
            }
        }
    }

    /// Where a tensor of the computed step stood before it.
    pub(crate) fn before(&self, span: &Span) -> Option<Progress> {
        self.runs.iter().find(|run| run.range.contains(&span.first)).map(|run| run.before)
    }
}

pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}
