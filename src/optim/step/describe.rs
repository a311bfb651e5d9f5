use std::ops::Range;

use super::counters::{MOST_MARKS, StepEffect};
use super::inputs::Inputs;
use super::segments::{self, Segment};
use super::spec::{Dispatch, Pick, StepSpec, count};
use super::{buffers, resets};
use crate::Error;
use crate::gpu::UniformRing;
use crate::optim::device::kernels::{Call, MAXIMIZE};
use crate::optim::device::pick::PickCall;
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::fields::used_slots;
use crate::optim::rule::{Slot, f32_of};
use crate::optim::windows::cut_at_windows;
use crate::params::Gate;

/// The second phase of a step: what it covers, its constants and its dispatches. It is a pure function of its inputs and
/// overwrites `spec`, but for the bytes and dispatches of the gradient-norm reduction, which come first.
///
/// # Errors
/// [`Error::Constant`] for constants that are not finite in 32 bits, with the group.
pub(crate) fn describe<R: AnyRule>(inputs: &Inputs<'_, R>, spec: &mut StepSpec) -> Result<(), Error> {
    let Inputs { layout, rules, .. } = inputs;
    (spec.number, spec.attempted, spec.may_skip) = (inputs.number, inputs.attempted, inputs.may_skip);
    spec.effects.clear();
    spec.effects.extend(rules.iter().map(|rule| StepEffect::of(*rule)));
    spec.resets.clear();
    spec.dispatches.clear();
    let offsets = inputs.average.map(|average| &average.offsets[..]);
    let penalties = &inputs.fused.tensors;
    segments::collect(layout, inputs.counters, inputs.frozen, penalties, offsets, &mut spec.segments);
    let constants = describe_constants(inputs, spec)?;
    let StepSpec { segments, hypers, bytes, resets, .. } = spec;
    for ((segment, hyper), dropped) in segments.iter().zip(&*hypers).zip(&constants.dropped) {
        if *dropped != 0 {
            resets::dispatches(inputs, segment, (*dropped, *hyper), bytes, resets);
        }
    }
    describe_dispatches(inputs, spec)?;
    buffers::dispatches(inputs, spec);
    spec.pick = inputs.may_skip.then(|| {
        let bytes = &mut spec.bytes;
        let start = UniformRing::align(bytes);
        bytes.extend_from_slice(bytemuck::cast_slice(&constants.table));
        let call = UniformRing::align(bytes);
        let (segments, words) = (spec.segments.len(), constants.words);
        let block = PickCall { segments: count(segments), words: count(words), table: start / 4 };
        bytes.extend_from_slice(bytemuck::bytes_of(&block));
        Pick { call, segments, words }
    });
    Ok(())
}

/// What is known of the constants of all segments.
struct Constants {
    /// Of each segment, slots in use that some of its rows find dropped.
    dropped: Vec<u32>,
    /// Of each segment, what tells its rows apart.
    table: Vec<u32>,
    /// Words of a row.
    words: usize,
}

/// Appends the constants of each segment: a row for each point at which its tensors may stand.
fn describe_constants<R: AnyRule>(inputs: &Inputs<'_, R>, spec: &mut StepSpec) -> Result<Constants, Error> {
    let StepSpec { segments, hypers, bytes, .. } = spec;
    let mut constants = Constants { dropped: Vec::new(), table: Vec::new(), words: 0 };
    hypers.clear();
    for (number, segment) in segments.iter().enumerate() {
        let rule = inputs.rules[segment.group];
        let first = UniformRing::align(bytes);
        let mut may_drop = 0;
        for step in segment.before.rows() {
            let row = bytes.len();
            may_drop |= step.dropped;
            rule.hyper_bytes(&step, bytes);
            check_finite(rule, &bytes[row..])
                .map_err(|error| error.in_group_of(inputs.layout.groups(), segment.group))?;
            if let Some(average) = inputs.average {
                bytes.extend_from_slice(bytemuck::bytes_of(&average.constants(segment.offset, step.step)));
            }
            constants.words = (bytes.len() - row) / 4;
        }
        constants.dropped.push(may_drop & used_slots(rule));
        constants.table.extend([segment.before.counted(), first / 4]);
        constants.table.extend(segment.before.marks().chain(std::iter::repeat(0)).take(MOST_MARKS));
        hypers.push(if inputs.may_skip { count(number * UniformRing::ALIGN) } else { first });
    }
    Ok(constants)
}

/// Appends the dispatches of each stage, in order.
fn describe_dispatches<R: AnyRule>(inputs: &Inputs<'_, R>, spec: &mut StepSpec) -> Result<(), Error> {
    let StepSpec { segments, hypers, bytes, dispatches, .. } = spec;
    let family = inputs.rules[0].family();
    for (stage, kind) in Stage::of(family).iter().enumerate() {
        for (number, (segment, hyper)) in segments.iter().zip(&*hypers).enumerate() {
            let gate = count(segment.group * Gate::STRIDE);
            if kind.is_of_matrices(family) && !has_direction(inputs, segment)? {
                continue;
            }
            for (bind_group, range, general) in parts(*kind, inputs, segment) {
                let blocks = inputs.blocks.filter(|_| *kind == Stage::Update);
                let of_each =
                    blocks.map_or_else(|| kind.in_a_workgroup(family), |blocks| blocks.in_a_workgroup);
                let workgroups = range.len().div_ceil(of_each);
                let call = UniformRing::align(bytes);
                bytes.extend_from_slice(bytemuck::bytes_of(&call_of(inputs, segment, bind_group, &range)));
                let (hyper, segment) = (*hyper, number);
                dispatches.push(Dispatch {
                    stage,
                    bind_group,
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
    Ok(())
}

/// What a stage works on of a segment, in its own units, for each of its bind groups, and whether with kernels for any shape.
fn parts<R>(stage: Stage, inputs: &Inputs<'_, R>, segment: &Segment) -> Vec<(usize, Range<usize>, bool)> {
    let rows = |firsts: &[usize]| firsts[segment.tensors.start]..firsts[segment.tensors.end];
    let all = |range: Range<usize>| if range.is_empty() { Vec::new() } else { vec![(0, range, false)] };
    let of_any = |(window, range)| (window, range, false);
    let (tensors, Inputs { reduction_tiles, statistics, .. }) = (segment.tensors.clone(), inputs);
    match stage {
        Stage::Statistics => {
            statistics.map_or(Vec::new(), |statistics| statistics.gather.of(tensors).collect())
        }
        Stage::Finish => statistics.map_or(Vec::new(), |statistics| all(rows(&statistics.finish))),
        Stage::Means => statistics.map_or(Vec::new(), |statistics| all(rows(&statistics.means))),
        Stage::Measure | Stage::Update if statistics.is_some() => {
            statistics.map_or(Vec::new(), |statistics| statistics.tiles.of(tensors).collect())
        }
        Stage::Measure => reduction_tiles
            .map_or(Vec::new(), |reduction_tiles| reduction_tiles.of(tensors).map(of_any).collect()),
        Stage::Ratio => all(tensors),
        Stage::Update if inputs.blocks.is_some() => {
            inputs.blocks.map_or(Vec::new(), |blocks| blocks.of(tensors).map(of_any).collect())
        }
        Stage::Direction | Stage::Update => cut_at_windows(inputs.layout, segment.range.clone())
            .map(|(window, range)| (window, range.start / 4..range.end / 4, false))
            .collect(),
    }
}

/// Whether the tensors of a segment have a direction to make orthogonal.
fn has_direction<R: AnyRule>(inputs: &Inputs<'_, R>, segment: &Segment) -> Result<bool, Error> {
    let rule = inputs.rules[segment.group];
    let mut spans = inputs.layout.spans()[segment.tensors.clone()].iter();
    spans.try_fold(false, |any, span| Ok(any || rule.newton_schulz(&span.shape)?.is_some()))
}

fn call_of<R: AnyRule>(
    inputs: &Inputs<'_, R>,
    segment: &Segment,
    window: usize,
    range: &Range<usize>,
) -> Call {
    let rule = inputs.rules[segment.group];
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

#[cfg(test)]
mod tests;
