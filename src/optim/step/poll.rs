use super::ledger::StepLedger;
use crate::Error;
use crate::gpu::Gpu;
use crate::optim::device::bindings::DeviceState;

/// The first phase of a step: abandons steps whose tickets were dropped, and takes the results and norm reports that
/// have arrived. Never waits.
///
/// # Errors
/// [`Error::DeviceLost`].
pub(crate) fn poll(steps: &mut StepLedger, device: &mut DeviceState, gpu: &Gpu) -> Result<(), Error> {
    steps.abandon_dropped(device)?;
    while let Some(results) = &mut steps.results
        && let Some((number, bytes)) = results.ring.poll(gpu)?
    {
        steps.apply(number, &bytes);
    }
    steps.norms.as_mut().map_or(Ok(()), |norms| norms.poll(gpu))
}
