//! An optimizer's state, read into a dict.

use std::collections::BTreeMap;

use super::averages::Values;
use super::dict::{GroupState, StateDict, TensorState, refuse};
use crate::Error;
use crate::layout::Span;
use crate::optim::device::slots;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::SlotBits;
use crate::optim::rule::any::{AnyRule, options};
use crate::optim::rule::fields::{entries, used_slots};
use crate::optim::rule::recurrence::Recurrence;
use crate::optim::step::counters::StepCounter;
use crate::params::GateValues;

type Slots = Vec<Option<slots::Values>>;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Waits for the device and reads all state.
    ///
    /// # Errors
    /// [`Error::StateDict`] for an option that is not finite, which no state dict can hold; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_state_dict(&self) -> Result<StateDict, Error> {
        self.gpu.block_on(self.read_state_dict_async())
    }

    /// As [`Optimizer::read_state_dict`], without blocking.
    ///
    /// # Errors
    /// As [`Optimizer::read_state_dict`].
    pub async fn read_state_dict_async(&self) -> Result<StateDict, Error> {
        self.check_options()?;
        self.gpu.probe()?;
        let mut slots = Slots::new();
        for slot in &self.device.slots {
            slots.push(match slot {
                Some(kept) => Some(kept.read(&self.gpu).await?),
                None => None,
            });
        }
        let averages = self.read_average_values().await?;
        let gate = self.read_unresolved_gate().await?;
        Ok(self.state_dict(&slots, &averages, gate))
    }

    fn check_options(&self) -> Result<(), Error> {
        for (group, name) in self.groups.iter().zip(self.layout.groups()) {
            if let Some(found) = group.rule.not_in_json() {
                return refuse(format!("group {name:?}: {found}, and options must be finite"));
            }
        }
        Ok(())
    }

    fn state_dict(&self, slots: &Slots, averages: &Values, gate: Option<GateValues>) -> StateDict {
        let averages = self.averages_state(averages, gate);
        let counter = self.steps.counters_after(&self.layout, gate);
        let spans = self.layout.spans();
        let state = spans
            .iter()
            .zip(&counter)
            .enumerate()
            .filter(|(_, (_, counter))| counter.applied > 0)
            .map(|(tensor, (span, counter))| (span.name.clone(), self.tensor_state(tensor, *counter, slots)))
            .collect();
        let groups = self.groups.iter().zip(self.layout.groups()).enumerate();
        let param_groups = groups
            .map(|(index, (group, name))| GroupState {
                name: name.clone(),
                params: self.tensors_of(index).map(|span| span.name.clone()).collect(),
                initial_lr: Some(group.base_lr_now()),
                options: options(&group.rule),
            })
            .collect();
        let optimizer = self.name.clone();
        StateDict { optimizer, attempted: self.attempted(), state, param_groups, averages }
    }

    fn tensor_state(&self, tensor: usize, counter: StepCounter, slots: &Slots) -> TensorState {
        let span = &self.layout.spans()[tensor];
        let rule = &self.groups[span.group].rule;
        let held = counter.initialized & !counter.dropped;
        let known = held | used_slots(rule);
        let stored = self.stored(tensor, held, slots);
        let slots = rule
            .slots()
            .iter()
            .zip(self.device.slots.iter().zip(slots))
            .enumerate()
            .filter(|(bit, _)| known & (1 << bit) != 0)
            .flat_map(|(bit, (slot, (kept, all)))| {
                let initialized = kept.as_ref().zip(all.as_ref()).filter(|_| held & (1 << bit) != 0);
                match initialized {
                    Some((kept, all)) => kept
                        .places(slot, &self.layout, tensor)
                        .into_iter()
                        .map(|(name, place)| (name, Some(all.all[place].to_vec())))
                        .collect(),
                    None => entries(rule, bit, &span.shape)
                        .into_iter()
                        .map(|(name, _)| (name, None))
                        .collect::<Vec<_>>(),
                }
            })
            .collect();
        let step = counter.applied;
        let inner_step = step - counter.reset_at;
        let is_product = matches!(rule.recurrence(), Some(Recurrence::Momentum(_)));
        let mu_product = is_product.then(|| counter.carried.momenta().product(inner_step));
        let scalars = counter.carried.scalars();
        let has_reset = rule.reset().is_some() || counter.reset_at != 0;
        let inner_step = has_reset.then_some(inner_step);
        TensorState { step, shape: span.shape.clone(), mu_product, inner_step, stored, scalars, slots }
    }

    /// The exact bits of a tensor's slots that hold values and are not stored as f32.
    fn stored(&self, tensor: usize, held: u32, slots: &Slots) -> BTreeMap<String, SlotBits> {
        let known = self.rules().next().expect("a store has a group").slots().iter();
        let kept = self.device.slots.iter().zip(slots).enumerate();
        known
            .zip(kept)
            .filter(|(_, (bit, _))| held & (1 << bit) != 0)
            .filter_map(|(slot, (_, (kept, all)))| {
                let bits = kept.as_ref()?.bits(all.as_ref()?, tensor)?;
                Some((slot.name.to_string(), bits))
            })
            .collect()
    }

    pub(super) fn tensors_of(&self, group: usize) -> impl Iterator<Item = &Span> {
        self.layout.spans().iter().filter(move |span| span.group == group)
    }
}
