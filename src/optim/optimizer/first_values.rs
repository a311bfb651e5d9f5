use super::Optimizer;
use crate::Error;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::any::used_slots;
use crate::optim::rule::f32_of;
use crate::params::ParamStore;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Writes the first values of the slots that the next step begins to use. Into tensors only: a kernel
    /// that made them itself could not tell padding from a tensor.
    pub(crate) fn write_first_values(&self, params: &ParamStore) -> Result<(), Error> {
        let tensors = self.layout.spans().iter().zip(&self.counters).zip(params.frozen()).enumerate();
        for (tensor, ((span, counter), _)) in tensors.filter(|(_, (_, frozen))| !**frozen) {
            let rule = &self.groups[span.group].rule;
            // A step that may yet have been skipped has written them already.
            let fresh = used_slots(rule) & !counter.initialized & !counter.first_uses();
            for (bit, slot) in self.device.slots.iter().enumerate().filter(|(bit, _)| fresh & (1 << bit) != 0)
            {
                let value = f32_of(rule.initial(bit));
                if let (Some(kept), true) = (slot, value != 0.0) {
                    kept.fill(&self.gpu, &self.layout, tensor, value)?;
                }
            }
        }
        Ok(())
    }
}
