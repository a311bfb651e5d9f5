use super::ledger::StepLedger;
use super::spec::StepSpec;
use crate::gpu::Ticket;
use crate::params::GateValues;

/// The last phase of a step: counts the recorded step. From here on, dropping its ticket undoes it.
pub(crate) fn commit(steps: &mut StepLedger, spec: StepSpec, ticket: &Ticket) {
    steps.attempted += 1;
    let bit = GateValues::history_bit(spec.number);
    for segment in &spec.segments {
        for counter in &mut steps.counters[segment.tensors.clone()] {
            counter.begin(bit, spec.effects[segment.group]);
            if !spec.may_skip {
                counter.resolve(bit, true);
            }
        }
    }
    steps.latest = Some(ticket.held());
    steps.spare = std::mem::replace(&mut steps.last, spec);
}
