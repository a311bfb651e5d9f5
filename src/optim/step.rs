use std::ops::Range;

use super::rule::f32_of;
use super::runs::{self, Progress, Run};
use super::shader::{Call, MAXIMIZE};
use super::{AnyRule, Slot, StepInfo};
use crate::Error;
use crate::gpu::UniformRing;
use crate::layout::Layout;

/// The dispatches of one step and the uniforms that they read, kept so that later steps need no memory.
#[derive(Debug, Default)]
pub(super) struct StepUniforms {
    runs: Vec<Run>,
    pub(super) dispatches: Vec<Dispatch>,
    pub(super) bytes: Vec<u8>,
}

/// One dispatch, with the first bytes of its blocks in the step's uniforms.
#[derive(Debug)]
pub(super) struct Dispatch {
    pub(super) window: usize,
    pub(super) vectors: usize,
    pub(super) call: u32,
    pub(super) hyper: u32,
}

impl StepUniforms {
    /// What the next step over the tensors that are not frozen needs; `rules` are those of the groups.
    pub(super) fn compute<'r, R: AnyRule + 'r>(
        &mut self,
        layout: &Layout,
        rules: impl Fn(usize) -> &'r R,
        progress: &[Progress],
        frozen: &[bool],
    ) -> Result<(), Error> {
        let Self { runs, dispatches, bytes } = self;
        runs::collect(layout, progress, frozen, runs);
        dispatches.clear();
        bytes.clear();
        for run in runs {
            let rule = rules(run.group);
            let hyper = align(bytes);
            rule.hyper_bytes(&StepInfo { step: run.before.applied + 1, live: run.before.live }, bytes);
            check_finite(rule, &bytes[hyper as usize..])?;
            for (window, range) in runs::cut(layout, run.range.clone()) {
                let call = align(bytes);
                bytes.extend_from_slice(bytemuck::bytes_of(&call_of(rule, &range)));
                dispatches.push(Dispatch { window, vectors: range.len() / 4, call, hyper });
            }
        }
        Ok(())
    }
}

impl StepUniforms {
    /// Puts the tensors of the computed step back to where they stood before it.
    pub(super) fn undo(&self, layout: &Layout, progress: &mut [Progress]) {
        for (span, progress) in layout.spans().iter().zip(progress) {
            if let Some(run) = self.runs.iter().find(|run| run.range.contains(&span.first)) {
                *progress = run.before;
            }
        }
    }
}

/// Pads to where the next uniform block may start, and says where that is.
fn align(bytes: &mut Vec<u8>) -> u32 {
    bytes.resize(bytes.len().next_multiple_of(UniformRing::ALIGN), 0);
    u32::try_from(bytes.len()).expect("a step's uniforms are small")
}

fn call_of(rule: &impl AnyRule, range: &Range<usize>) -> Call {
    let vectors = |elements: usize| u32::try_from(elements / 4).expect("windows are counted in 32 bits");
    Call {
        first: vectors(range.start),
        len: vectors(range.len()),
        lr: f32_of(rule.lr()),
        flags: if rule.maximize() { MAXIMIZE } else { 0 },
    }
}

/// Refuses constants that 32 bits cannot hold: they would make padding NaN.
fn check_finite(rule: &impl AnyRule, hyper: &[u8]) -> Result<(), Error> {
    let refuse = |name: &str, value: f32| Err(Error::constant(name, "finite in 32 bits", value));
    let lr = f32_of(rule.lr());
    if !lr.is_finite() {
        return refuse("lr", lr);
    }
    for field in rule.hyper_block().1.iter().filter(|field| field.kind == "f32") {
        let value: f32 = bytemuck::pod_read_unaligned(&hyper[field.offset..field.offset + 4]);
        if !value.is_finite() {
            return refuse(&format!("{}, which follows from the options,", field.name), value);
        }
    }
    for (slot, Slot { name }) in rule.slots().iter().enumerate() {
        let value = f32_of(rule.initial(slot));
        if !value.is_finite() {
            return refuse(&format!("the first value of {name}"), value);
        }
    }
    Ok(())
}
