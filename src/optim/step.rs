use std::ops::Range;

use super::any::used_slots;
use super::chunks::Chunks;
use super::factors::Factors;
use super::progress::{MOST_MARKS, Progress};
use super::reset::{self, ResetDispatch};
use super::rule::f32_of;
use super::runs::{self, Run};
use super::shader::{Call, MAXIMIZE, PickCall};
use super::stage::Stage;
use super::{AnyRule, Family, Slot};
use crate::Error;
use crate::gpu::UniformRing;
use crate::grad::Riders;
use crate::layout::{Layout, Span};
use crate::params::Gate;

/// The dispatches of one step and the uniforms that they read, kept so that later steps need no memory.
#[derive(Debug, Default)]
pub(super) struct StepUniforms {
    runs: Vec<Run>,
    pub(super) dispatches: Vec<Dispatch>,
    /// First values of slots that begin anew, written before the dispatches.
    pub(super) resets: Vec<ResetDispatch>,
    /// The first byte of each run's constants.
    hypers: Vec<u32>,
    pub(super) bytes: Vec<u8>,
    /// Where the constants of a step that may turn out to be another one are picked, if there are any.
    pub(super) pick: Option<Pick>,
}

/// One dispatch of a stage, with the first bytes of its blocks: in the step's uniforms, the constants perhaps in
/// what was picked, the gate's in the gate.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) stage: usize,
    /// Which of the stage's bind groups: one for each window, or the only one.
    pub(super) bound: usize,
    pub(super) workgroups: usize,
    pub(super) call: u32,
    pub(super) hyper: u32,
    pub(super) gate: u32,
    /// Whether it is for tensors of other shapes than most have.
    pub(super) general: bool,
    /// Its run, by number.
    run: usize,
}

/// The dispatch that picks constants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    pub(super) call: u32,
    pub(super) runs: usize,
    pub(super) words: usize,
}

/// What a step is computed from.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) layout: &'a Layout,
    pub(super) family: Family,
    /// Of a rule that knows its tensor.
    pub(super) chunks: Option<&'a Chunks>,
    /// Of a rule that keeps values in place of elements.
    pub(super) factors: Option<&'a Factors>,
    pub(super) progress: &'a [Progress],
    pub(super) frozen: &'a [bool],
    pub(super) riders: &'a Riders,
    /// Deviation of the noise.
    pub(super) noise: f32,
    /// Steps attempted before this one.
    pub(super) attempted: u64,
    pub(super) may_skip: bool,
}

impl StepUniforms {
    /// Appends to `bytes` what the next step over the tensors that are not frozen needs; `rules` are those of
    /// the groups.
    pub(super) fn compute<'r, R: AnyRule + 'r>(
        &mut self,
        inputs: &Inputs<'_>,
        rules: impl Fn(usize) -> &'r R,
    ) -> Result<(), Error> {
        let Self { runs, dispatches, resets, hypers, bytes, pick } = self;
        let Inputs { layout, riders, .. } = inputs;
        runs::collect(layout, inputs.progress, inputs.frozen, &riders.tensors, runs);
        dispatches.clear();
        resets.clear();
        hypers.clear();
        let mut dropped: Vec<u32> = Vec::new();
        let mut table: Vec<u32> = Vec::new();
        let mut words = 0;
        for (number, run) in runs.iter().enumerate() {
            let rule = rules(run.group);
            let first = UniformRing::align(bytes);
            let mut may_drop = 0;
            for step in run.before.rows() {
                let row = bytes.len();
                may_drop |= step.dropped;
                rule.hyper_bytes(&step, bytes);
                check_finite(rule, &bytes[row..])
                    .map_err(|error| error.in_group_of(layout.groups(), run.group))?;
                words = (bytes.len() - row) / 4;
            }
            dropped.push(may_drop & used_slots(rule));
            table.extend([run.before.counted(), first / 4]);
            table.extend(run.before.marks().chain(std::iter::repeat(0)).take(MOST_MARKS));
            hypers.push(if inputs.may_skip { count(number * UniformRing::ALIGN) } else { first });
        }
        for ((run, hyper), dropped) in runs.iter().zip(&*hypers).zip(dropped).filter(|(_, slots)| *slots != 0)
        {
            reset::dispatches(rules(run.group), inputs, run, (dropped, *hyper), bytes, resets);
        }
        for (stage, kind) in Stage::of(inputs.family).iter().enumerate() {
            for (number, (run, hyper)) in runs.iter().zip(&*hypers).enumerate() {
                let rule = rules(run.group);
                let gate = count(run.group * Gate::STRIDE);
                if kind.is_of_matrices(inputs.family) && !has_direction(rule, inputs, run)? {
                    continue;
                }
                for (bound, range, general) in parts(*kind, inputs, run) {
                    let workgroups = range.len().div_ceil(kind.in_a_workgroup(inputs.family));
                    let call = UniformRing::align(bytes);
                    bytes.extend_from_slice(bytemuck::bytes_of(&call_of(rule, inputs, run, bound, &range)));
                    let (hyper, run) = (*hyper, number);
                    dispatches.push(Dispatch { stage, bound, workgroups, call, hyper, gate, general, run });
                }
            }
        }
        *pick = inputs.may_skip.then(|| {
            let start = UniformRing::align(bytes);
            bytes.extend_from_slice(bytemuck::cast_slice(&table));
            let call = UniformRing::align(bytes);
            let block = PickCall { runs: count(runs.len()), words: count(words), table: start / 4 };
            bytes.extend_from_slice(bytemuck::bytes_of(&block));
            Pick { call, runs: runs.len(), words }
        });
        Ok(())
    }

    /// Elements that a dispatch covers, padding included: of one window, or of all.
    pub(super) fn elements(
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
    pub(super) fn undo(&self, layout: &Layout, progress: &mut [Progress]) {
        for (span, progress) in layout.spans().iter().zip(progress) {
            if let Some(before) = self.before(span) {
                *progress = before;
            }
        }
    }

    /// Where a tensor of the computed step stood before it.
    pub(super) fn before(&self, span: &Span) -> Option<Progress> {
        self.runs.iter().find(|run| run.range.contains(&span.first)).map(|run| run.before)
    }
}

/// What a stage works on of a run, in its own units, for each of its bind groups, and whether with kernels for any shape.
fn parts(stage: Stage, inputs: &Inputs<'_>, run: &Run) -> Vec<(usize, Range<usize>, bool)> {
    let rows = |firsts: &[usize]| firsts[run.tensors.start]..firsts[run.tensors.end];
    let all = |range: Range<usize>| if range.is_empty() { Vec::new() } else { vec![(0, range, false)] };
    let of_any = |(window, range)| (window, range, false);
    let (tensors, Inputs { chunks, factors, .. }) = (run.tensors.clone(), inputs);
    match stage {
        Stage::Statistics => {
            factors.map_or(Vec::new(), |factors| factors.statistics_of.of(tensors).collect())
        }
        Stage::Finish => factors.map_or(Vec::new(), |factors| all(rows(&factors.finish_of))),
        Stage::Means => factors.map_or(Vec::new(), |factors| all(rows(&factors.means_of))),
        Stage::Measure | Stage::Update if factors.is_some() => {
            factors.map_or(Vec::new(), |factors| factors.tiles_of.of(tensors).collect())
        }
        Stage::Measure => chunks.map_or(Vec::new(), |chunks| chunks.of(tensors).map(of_any).collect()),
        Stage::Ratio => all(tensors),
        Stage::Direction | Stage::Update => runs::cut(inputs.layout, run.range.clone())
            .map(|(window, range)| (window, range.start / 4..range.end / 4, false))
            .collect(),
    }
}

/// Whether the tensors of a run have a direction to make orthogonal.
fn has_direction(rule: &impl AnyRule, inputs: &Inputs<'_>, run: &Run) -> Result<bool, Error> {
    let mut spans = inputs.layout.spans()[run.tensors.clone()].iter();
    spans.try_fold(false, |any, span| Ok(any || rule.newton_schulz(&span.shape)?.is_some()))
}

fn call_of(rule: &impl AnyRule, inputs: &Inputs<'_>, run: &Run, window: usize, range: &Range<usize>) -> Call {
    let Inputs { layout, riders, .. } = inputs;
    let halves = |number: u64| {
        let bytes = number.to_le_bytes();
        let (low, high) = (&bytes[..4], &bytes[4..]);
        (bytemuck::pod_read_unaligned(low), bytemuck::pod_read_unaligned(high))
    };
    let ((seed_low, seed_high), (step_low, step_high)) = (halves(riders.seed), halves(inputs.attempted));
    Call {
        first: count(range.start),
        len: count(range.len()),
        lr: f32_of(rule.lr()),
        flags: if rule.maximize() { MAXIMIZE } else { 0 },
        scale: riders.scale,
        clip_value: riders.clip_value,
        l1: run.rider.l1,
        l2: run.rider.l2,
        noise: inputs.noise,
        // It may wrap: then it is still another one for each vector of a window.
        element: u32::try_from(window * layout.window_len() / 4 % (1 << 32)).expect("less than 2^32"),
        seed_low,
        seed_high,
        step_low,
        step_high,
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("what a step covers is counted in 32 bits")
}

/// Refuses constants that 32 bits cannot hold: they would make padding NaN.
fn check_finite(rule: &impl AnyRule, hyper: &[u8]) -> Result<(), Error> {
    let refuse = |name: &str, value: f32| Err(Error::constant(name, "finite in 32 bits", value));
    let lr = f32_of(rule.lr());
    if !lr.is_finite() {
        return Err(Error::constant("lr", "finite in 32 bits", rule.lr()));
    }
    for field in rule.hyper_block().1.iter().filter(|field| field.kind == "f32") {
        let value: f32 = bytemuck::pod_read_unaligned(&hyper[field.offset..field.offset + 4]);
        if !value.is_finite() {
            return refuse(&format!("{}, which follows from the options,", field.name), value);
        }
    }
    for (slot, Slot { name, .. }) in rule.slots().iter().enumerate() {
        let value = f32_of(rule.initial(slot));
        if !value.is_finite() {
            let name = format!("the first value of {name}");
            return Err(Error::constant(name, "finite in 32 bits", rule.initial(slot)));
        }
    }
    Ok(())
}
