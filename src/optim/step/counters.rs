use crate::optim::rule::any::AnyRule;
use crate::optim::rule::fields::used_slots;
use crate::optim::rule::recurrence::{Carried, Recurrence};
use crate::optim::rule::{Reset, StepInfo};
use crate::params::GateValues;

/// Maximum number of slots of a rule, besides parameters and gradients: kernels bind eight buffers.
pub(crate) const MOST_SLOTS: usize = 6;

/// Maximum number of steps in flight.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const MOST_IN_FLIGHT: usize = GateValues::HISTORY as usize;

/// The most sets of in-flight steps that the kernel can tell apart.
pub(crate) const MOST_MARKS: usize = MOST_IN_FLIGHT;

/// Step counters of a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepCounter {
    /// Number of steps applied.
    pub(crate) applied: u64,
    /// One bit for each slot that a step has used.
    pub(crate) initialized: u32,
    /// Steps of the tensor that may yet turn out to have been skipped, as bits of the device's history.
    pub(crate) in_flight: u32,
    /// For each slot that is not initialized, the steps among them that use it.
    first_uses: [u32; MOST_SLOTS],
    /// What the steps applied since `reset_at` have left.
    pub(crate) carried: Carried,
    /// Number of applied steps up to the latest reset of the state.
    pub(crate) reset_at: u64,
    /// Initialized slots that no step has used since the reset.
    pub(crate) dropped: u32,
    /// Of each in-flight step, at its bit's number modulo their count: they lie that close together.
    effects: [StepEffect; MOST_IN_FLIGHT],
}

impl PartialEq for StepCounter {
    fn eq(&self, other: &Self) -> bool {
        let Self { applied, initialized, in_flight, first_uses, carried, reset_at, dropped, effects } = *self;
        (applied, initialized, in_flight) == (other.applied, other.initialized, other.in_flight)
            && (reset_at, dropped) == (other.reset_at, other.dropped)
            && carried == other.carried
            // Both hold nothing where nothing is in-flight, which is most of the time and of each tensor.
            && (in_flight == 0 || (first_uses, effects) == (other.first_uses, other.effects))
    }
}

/// The effect of a step on a tensor's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StepEffect {
    /// One bit for each slot that the step uses.
    pub(crate) used: u32,
    pub(crate) recurrence: Option<Recurrence>,
    pub(crate) reset: Option<Reset>,
}

impl StepEffect {
    /// The effect of a step with these options.
    pub(crate) fn of(rule: &impl AnyRule) -> Self {
        Self { used: used_slots(rule), recurrence: rule.recurrence(), reset: rule.reset() }
    }
}

impl StepCounter {
    /// Counters without steps in flight.
    pub(crate) fn new(applied: u64, initialized: u32, carried: Carried) -> Self {
        Self { applied, initialized, carried, ..Self::default() }
    }

    /// Counters before the tensor's next step.
    pub(crate) fn at(now: &StepInfo) -> Self {
        let StepInfo { reset_at, dropped, .. } = *now;
        Self { reset_at, dropped, ..Self::new(now.step - 1, now.initialized | dropped, now.carried) }
    }

    /// Counts a step in flight, given as a bit of the history.
    pub(crate) fn begin(&mut self, step: u32, effects: StepEffect) {
        self.in_flight |= step;
        self.effects[place(step)] = effects;
        for slot in bits(effects.used & !self.initialized) {
            self.first_uses[slot] |= step;
        }
    }

    /// Slots that steps in flight are the first to use.
    pub(crate) fn first_uses(&self) -> u32 {
        mask(|slot| self.first_uses[slot] != 0)
    }

    /// Where the tensor stands if those of the in-flight steps were applied whose bits are set.
    pub(crate) fn after(&self, history: u32) -> StepInfo {
        let initialized = self.initialized | mask(|slot| self.first_uses[slot] & history != 0);
        self.following(self.effects_of(history), initialized)
    }

    /// Counts a step in flight as applied, or removes it.
    pub(crate) fn resolve(&mut self, step: u32, applied: bool) {
        let now = self.after(if applied { step } else { 0 });
        let Self { applied, initialized, carried, reset_at, dropped, .. } = Self::at(&now);
        (self.applied, self.initialized, self.carried) = (applied, initialized, carried);
        (self.reset_at, self.dropped) = (reset_at, dropped);
        if self.in_flight & step != 0 {
            self.effects[place(step)] = StepEffect::default();
        }
        self.in_flight &= !step;
        for (slot, first_uses) in self.first_uses.iter_mut().enumerate() {
            *first_uses = if self.initialized & (1 << slot) == 0 { *first_uses & !step } else { 0 };
        }
    }

    /// The in-flight steps of which it matters how many were applied: none where it matters of each, because what
    /// they leave differs, or what begins anew after them.
    pub(crate) fn counted(&self) -> u32 {
        let mut effects = self.effects_of(self.in_flight);
        let Some(first) = effects.next() else { return 0 };
        let is_same = |other: StepEffect| {
            let resets = self.dropped != 0 || first.reset.is_some();
            (other.recurrence, other.reset) == (first.recurrence, first.reset)
                && (!resets || other.used == first.used)
        };
        if effects.all(is_same) { self.in_flight } else { 0 }
    }

    /// Sets of in-flight steps of which it matters whether one was applied, beside how many were: those that use a
    /// slot, where others do not, or each alone. There are none unless options have just changed.
    pub(crate) fn marks(&self) -> impl Iterator<Item = u32> {
        let (first_uses, in_flight, counts) =
            (self.first_uses, self.in_flight, self.counted() == self.in_flight);
        let tells = move |set: &u32| counts && *set != 0 && *set != in_flight;
        let alone = (0..u32::BITS).map(|bit| 1 << bit).filter(move |bit| !counts && in_flight & bit != 0);
        first_uses.into_iter().filter(tells).chain(alone)
    }

    /// Every point at which the tensor may stand: first by the number of counted steps that were applied, then by
    /// what the marks say, the first in the lowest bit.
    pub(crate) fn rows(&self) -> impl Iterator<Item = StepInfo> {
        let marks: Vec<u32> = self.marks().collect();
        let this = *self;
        let counted = self.counted();
        (0..1_u32 << marks.len()).flat_map(move |told| {
            let marks = marks.clone();
            (0..=counted.count_ones()).map(move |more| {
                let was =
                    |set: &u32| marks.iter().position(|mark| mark == set).map(|mark| told & (1 << mark) != 0);
                if counted != this.in_flight {
                    return this.after(marks.iter().filter(|mark| was(mark) == Some(true)).sum());
                }
                let first_uses = |slot: usize| this.first_uses[slot];
                let initialized =
                    mask(|slot| was(&first_uses(slot)).unwrap_or(first_uses(slot) != 0 && more > 0));
                this.following(this.effects_of(counted).take(more as usize), this.initialized | initialized)
            })
        })
    }

    /// What some in-flight steps do, in the order in which these were recorded.
    fn effects_of(&self, steps: u32) -> impl Iterator<Item = StepEffect> {
        let Self { in_flight, effects, .. } = *self;
        let oldest = (0..u32::BITS).find(|&first| in_flight.rotate_right(first) < 1 << MOST_IN_FLIGHT);
        (oldest.unwrap_or(0)..)
            .take(MOST_IN_FLIGHT)
            .map(|bit| 1_u32.rotate_left(bit))
            .filter(move |step| in_flight & steps & step != 0)
            .map(move |step| effects[place(step)])
    }

    /// Where the tensor stands after further steps, with the slots that have been used by then.
    fn following(&self, effects: impl Iterator<Item = StepEffect>, initialized: u32) -> StepInfo {
        let Self { carried, reset_at, dropped, .. } = *self;
        let start = StepInfo { step: self.applied + 1, initialized, carried, reset_at, dropped };
        let now = effects.fold(start, |now, StepEffect { used, recurrence, reset }| {
            let step = now.step + 1;
            match reset.filter(|reset| now.step.is_multiple_of(reset.every)) {
                Some(Reset { slots, .. }) => {
                    StepInfo { step, carried: Carried::default(), reset_at: now.step, dropped: slots, ..now }
                }
                None => StepInfo {
                    step,
                    carried: now.carried.then(recurrence, now.step - now.reset_at),
                    dropped: now.dropped & !used,
                    ..now
                },
            }
        });
        let dropped = now.dropped & initialized;
        StepInfo { initialized: initialized & !dropped, dropped, ..now }
    }
}

/// Index of the effect of a step in flight.
fn place(step: u32) -> usize {
    step.trailing_zeros() as usize % MOST_IN_FLIGHT
}

fn mask(holds: impl Fn(usize) -> bool) -> u32 {
    (0..MOST_SLOTS).filter(|&slot| holds(slot)).fold(0, |mask, slot| mask | 1 << slot)
}

fn bits(mask: u32) -> impl Iterator<Item = usize> {
    (0..MOST_SLOTS).filter(move |slot| mask & (1 << slot) != 0)
}

#[cfg(test)]
mod tests;
