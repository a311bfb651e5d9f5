use super::results::StepResults;
use super::spec::{BuffersDispatch, Dispatch, ResetDispatch, StepSpec};
use crate::Error;
use crate::gpu::{Recorder, Ticket, grid};
use crate::grad::{NormReduction, Transforms};
use crate::optim::averages::buffers::LANES;
use crate::optim::device::bindings::DeviceState;
use crate::optim::norms::in_flight::NormReports;
use crate::optim::norms::measured::Reported;
use crate::params::ParamStore;

/// The values that a step reads back.
pub(crate) struct ReadBacks<'a> {
    pub(crate) results: Option<&'a mut StepResults>,
    pub(crate) norms: Option<&'a mut NormReports>,
}

/// The fourth phase of a step: records the dispatches of the prepared step, whose uniforms start at byte `base` of the
/// ring, and the copies of the values to be read back.
///
/// # Errors
/// [`Error::RingFull`] if there is no room for another result; then nothing was recorded.
pub(crate) fn encode(
    spec: &StepSpec,
    device: &DeviceState,
    (reduction, transforms): (&NormReduction, &Transforms),
    ReadBacks { results, norms }: ReadBacks<'_>,
    (recorder, params): (&mut Recorder<'_>, &ParamStore),
    (ticket, base): (&Ticket, u32),
) -> Result<(), Error> {
    if let Some(results) = results.as_deref().filter(|_| spec.may_skip) {
        results.check_room()?;
    }
    let norms = norms.filter(|_| spec.reports_norms);
    if let Some(norms) = &norms {
        norms.record_before(recorder, params);
    }
    if !spec.norms.is_empty() {
        reduction.record(&spec.norms, recorder, base);
    }
    encode_dispatches(spec, device, recorder, base)?;
    if let Some(norms) = norms {
        norms.record_after(recorder, params, ticket, reported(spec, transforms))?;
    }
    results.map_or(Ok(()), |results| results.record(recorder, spec.attempted, ticket, spec.may_skip))
}

fn reported(spec: &StepSpec, transforms: &Transforms) -> Reported {
    Reported {
        step: spec.attempted,
        tensors: spec.segments.iter().map(|segment| segment.tensors.clone()).collect(),
        scale: transforms.scale(),
        unscales: transforms.grad_scaler.is_some(),
    }
}

fn encode_dispatches(
    spec: &StepSpec,
    device: &DeviceState,
    recorder: &mut Recorder<'_>,
    base: u32,
) -> Result<(), Error> {
    let bindings = device.bindings().expect("prepared");
    if let (Some(pick), Some((kernel, bind_group))) = (spec.pick, &bindings.pick) {
        let workgroups = grid((pick.segments * pick.words).div_ceil(64));
        recorder.dispatch(kernel, bind_group, &[base + pick.call, base], workgroups);
    }
    let is_picked = bindings.pick.is_some();
    let hyper_of = |hyper: u32| if is_picked { hyper } else { base + hyper };
    if let Some(resets) = &bindings.resets {
        for ResetDispatch { slot, bind_group, workgroups, call, hyper, .. } in &spec.resets {
            let offsets = [base + call, hyper_of(*hyper)];
            let bind_group = &resets.bind_groups[*slot][*bind_group];
            recorder.dispatch(&resets.kernel, bind_group, &offsets, grid(*workgroups));
        }
    }
    let update = bindings.stages.len() - 1;
    let mut products = device.orthogonal.as_ref();
    for Dispatch { stage, bind_group, workgroups, call, hyper, gate, general, .. } in &spec.dispatches {
        if *stage == update
            && let Some(orthogonal) = products.take()
        {
            orthogonal.record(recorder)?;
        }
        let stage = bindings.stages[*stage].of(*general);
        let offsets = [base + call, hyper_of(*hyper), *gate];
        recorder.dispatch(&stage.kernel, &stage.bind_groups[*bind_group], &offsets, grid(*workgroups));
    }
    if let Some(buffers) = &bindings.buffers {
        for BuffersDispatch { window, len, call, hyper, gate } in &spec.buffers {
            let offsets = [base + call, hyper_of(*hyper), *gate];
            let workgroups = grid((len / 4).div_ceil(LANES));
            recorder.dispatch(&buffers.kernel, &buffers.bind_groups[*window], &offsets, workgroups);
        }
    }
    Ok(())
}
