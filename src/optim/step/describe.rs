use std::ops::Range;

use super::counters::MOST_MARKS;
use super::resets;
use super::segments::{self, Segment};
use super::spec::{Dispatch, Inputs, Pick, StepUniforms, count};
use crate::Error;
use crate::gpu::UniformRing;
use crate::optim::device::kernels::{Call, MAXIMIZE, PickCall};
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::{AnyRule, used_slots};
use crate::optim::rule::{Slot, f32_of};
use crate::optim::windows::cut_at_windows;
use crate::params::Gate;

impl StepUniforms {
    /// Appends to `bytes` what the next step over the tensors that are not frozen needs; `rules` are those of
    /// the groups.
    pub(crate) fn compute<'r, R: AnyRule + 'r>(
        &mut self,
        inputs: &Inputs<'_>,
        rules: impl Fn(usize) -> &'r R,
    ) -> Result<(), Error> {
        let Self { segments, dispatches, resets, hypers, bytes, pick } = self;
        let Inputs { layout, fused, .. } = inputs;
        segments::collect(layout, inputs.counters, inputs.frozen, &fused.tensors, segments);
        dispatches.clear();
        resets.clear();
        hypers.clear();
        let mut dropped: Vec<u32> = Vec::new();
        let mut table: Vec<u32> = Vec::new();
        let mut words = 0;
        for (number, segment) in segments.iter().enumerate() {
            let rule = rules(segment.group);
            let first = UniformRing::align(bytes);
            let mut may_drop = 0;
            for step in segment.before.rows() {
                let row = bytes.len();
                may_drop |= step.dropped;
                rule.hyper_bytes(&step, bytes);
                check_finite(rule, &bytes[row..])
                    .map_err(|error| error.in_group_of(layout.groups(), segment.group))?;
                words = (bytes.len() - row) / 4;
            }
            dropped.push(may_drop & used_slots(rule));
            table.extend([segment.before.counted(), first / 4]);
            table.extend(segment.before.marks().chain(std::iter::repeat(0)).take(MOST_MARKS));
            hypers.push(if inputs.may_skip { count(number * UniformRing::ALIGN) } else { first });
        }
        for ((segment, hyper), dropped) in
            segments.iter().zip(&*hypers).zip(dropped).filter(|(_, slots)| *slots != 0)
        {
            resets::dispatches(rules(segment.group), inputs, segment, (dropped, *hyper), bytes, resets);
        }
        for (stage, kind) in Stage::of(inputs.family).iter().enumerate() {
            for (number, (segment, hyper)) in segments.iter().zip(&*hypers).enumerate() {
                let rule = rules(segment.group);
                let gate = count(segment.group * Gate::STRIDE);
                if kind.is_of_matrices(inputs.family) && !has_direction(rule, inputs, segment)? {
                    continue;
                }
                for (bindings, range, general) in parts(*kind, inputs, segment) {
                    let workgroups = range.len().div_ceil(kind.in_a_workgroup(inputs.family));
                    let call = UniformRing::align(bytes);
                    bytes.extend_from_slice(bytemuck::bytes_of(&call_of(
                        rule, inputs, segment, bindings, &range,
                    )));
                    let (hyper, segment) = (*hyper, number);
                    dispatches.push(Dispatch {
                        stage,
                        bindings,
                        workgroups,
                        call,
                        hyper,
                        gate,
                        general,
                        segment,
                    });
                }
            }
        }
        *pick = inputs.may_skip.then(|| {
            let start = UniformRing::align(bytes);
            bytes.extend_from_slice(bytemuck::cast_slice(&table));
            let call = UniformRing::align(bytes);
            let block = PickCall { segments: count(segments.len()), words: count(words), table: start / 4 };
            bytes.extend_from_slice(bytemuck::bytes_of(&block));
            Pick { call, segments: segments.len(), words }
        });
        Ok(())
    }
}

/// What a stage works on of a run, in its own units, for each of its bind groups, and whether with kernels for any shape.
fn parts(stage: Stage, inputs: &Inputs<'_>, segment: &Segment) -> Vec<(usize, Range<usize>, bool)> {
    let rows = |firsts: &[usize]| firsts[segment.tensors.start]..firsts[segment.tensors.end];
    let all = |range: Range<usize>| if range.is_empty() { Vec::new() } else { vec![(0, range, false)] };
    let of_any = |(window, range)| (window, range, false);
    let (tensors, Inputs { reduction_tiles, statistics, .. }) = (segment.tensors.clone(), inputs);
    match stage {
        Stage::Statistics => {
            statistics.map_or(Vec::new(), |statistics| statistics.gather_of.of(tensors).collect())
        }
        Stage::Finish => statistics.map_or(Vec::new(), |statistics| all(rows(&statistics.finish_of))),
        Stage::Means => statistics.map_or(Vec::new(), |statistics| all(rows(&statistics.means_of))),
        Stage::Measure | Stage::Update if statistics.is_some() => {
            statistics.map_or(Vec::new(), |statistics| statistics.tiles_of.of(tensors).collect())
        }
        Stage::Measure => reduction_tiles
            .map_or(Vec::new(), |reduction_tiles| reduction_tiles.of(tensors).map(of_any).collect()),
        Stage::Ratio => all(tensors),
        Stage::Direction | Stage::Update => cut_at_windows(inputs.layout, segment.range.clone())
            .map(|(window, range)| (window, range.start / 4..range.end / 4, false))
            .collect(),
    }
}

/// Whether the tensors of a segment have a direction to make orthogonal.
fn has_direction(rule: &impl AnyRule, inputs: &Inputs<'_>, segment: &Segment) -> Result<bool, Error> {
    let mut spans = inputs.layout.spans()[segment.tensors.clone()].iter();
    spans.try_fold(false, |any, span| Ok(any || rule.newton_schulz(&span.shape)?.is_some()))
}

fn call_of(
    rule: &impl AnyRule,
    inputs: &Inputs<'_>,
    segment: &Segment,
    window: usize,
    range: &Range<usize>,
) -> Call {
    let Inputs { layout, fused, .. } = inputs;
    let halves = |number: u64| {
        let bytes = number.to_le_bytes();
        let (low, high) = (&bytes[..4], &bytes[4..]);
        (bytemuck::pod_read_unaligned(low), bytemuck::pod_read_unaligned(high))
    };
    let ((seed_low, seed_high), (step_low, step_high)) = (halves(fused.seed), halves(inputs.attempted));
    Call {
        first: count(range.start),
        len: count(range.len()),
        lr: f32_of(rule.lr()),
        flags: if rule.maximize() { MAXIMIZE } else { 0 },
        scale: fused.scale,
        clip_value: fused.clip_value,
        l1: segment.penalty.l1,
        l2: segment.penalty.l2,
        noise: inputs.noise,
        // It may wrap: then it is still another one for each vector of a window.
        element: u32::try_from(window * layout.window_len() / 4 % (1 << 32)).expect("less than 2^32"),
        seed_low,
        seed_high,
        step_low,
        step_high,
    }
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
