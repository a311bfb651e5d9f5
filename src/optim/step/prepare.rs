use super::spec::StepSpec;
use crate::Error;
use crate::grad::{FusedTransforms, NormReduction, Transforms};
use crate::optim::averages::average::Average;
use crate::optim::device::bindings::{DeviceState, Needs};
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::f32_of;
use crate::optim::rule::fields::used_slots;
use crate::params::ParamStore;

/// The third phase of a step: creates device resources that the described step needs and that are missing. After the
/// first steps there are none.
///
/// `rules` are those of the groups.
///
/// # Errors
/// [`Error::Limit`], [`Error::Kernel`], [`Error::Buffer`].
pub(crate) fn prepare<R: AnyRule>(
    spec: &StepSpec,
    device: &mut DeviceState,
    reduction: &mut NormReduction,
    (transforms, fused): (&Transforms, &FusedTransforms),
    average: Option<&Average>,
    rules: &[&R],
    params: &ParamStore,
) -> Result<(), Error> {
    if let Some(orthogonal) = &mut device.orthogonal
        && orthogonal.prepare(params, |group| rules[group])?
    {
        device.rebind();
    }
    let used = rules.iter().fold(0, |mask, rule| mask | used_slots(*rule));
    let needs = Needs {
        bytes: spec.bytes.len(),
        fused,
        pick: spec.pick.map(|pick| pick.segments),
        average,
        resets: !spec.resets.is_empty() || rules.iter().any(|rule| rule.reset().is_some()),
    };
    if device.prepare(rules[0], params, used, &needs)? {
        reduction.rebind();
    }
    if !spec.norms.is_empty() {
        reduction.prepare(&spec.norms, transforms, params, device.ring())?;
    }
    Ok(())
}

/// Writes the initial values of slots that the described step uses first. Only writes to tensors: a kernel that created
/// the values could not tell padding from elements.
pub(crate) fn write_first_values<R: AnyRule>(
    spec: &StepSpec,
    device: &DeviceState,
    rules: &[&R],
    params: &ParamStore,
) -> Result<(), Error> {
    for segment in &spec.segments {
        let rule = rules[segment.group];
        // A step that may yet have been skipped has written them already.
        let fresh = used_slots(rule) & !segment.before.initialized & !segment.before.first_uses();
        for (bit, slot) in device.slots.iter().enumerate().filter(|(bit, _)| fresh & (1 << bit) != 0) {
            let value = f32_of(rule.initial(bit));
            let Some(slot) = slot.as_ref().filter(|_| value != 0.0) else { continue };
            for tensor in segment.tensors.clone() {
                slot.fill(params.gpu(), params.layout(), tensor, value)?;
            }
        }
    }
    Ok(())
}
