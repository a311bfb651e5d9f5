use super::any::used_slots;
use super::recurrence::{Carried, Recurrence};
use super::{AnyRule, Reset, StepInfo};
use crate::params::GateValues;

/// The most slots that a rule can have beside parameters and gradients: kernels bind eight buffers.
pub(super) const MOST_SLOTS: usize = 6;

/// Steps that may be pending.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const MOST_PENDING: usize = GateValues::HISTORY as usize;

/// The most sets of pending steps that the kernel can tell apart.
pub(super) const MOST_MARKS: usize = MOST_PENDING;

/// What a tensor has behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Steps applied.
    pub(super) applied: u64,
    /// One bit for each slot that a step has used.
    pub(super) live: u32,
    /// The steps that the tensor took part in and that may yet turn out to have been skipped, as bits of the
    /// device's history.
    pub(super) pending: u32,
    /// For each slot that is not live, those of them that use it.
    begun: [u32; MOST_SLOTS],
    /// What the steps applied since `reset_at` have left.
    pub(super) carried: Carried,
    /// Of the steps applied, those up to the latest one after which the state began anew.
    pub(super) reset_at: u64,
    /// Live slots that no step has used since.
    pub(super) dropped: u32,
    /// Of each pending step, at its bit's number modulo their count: they lie that close together.
    taken: [Taken; MOST_PENDING],
}

impl PartialEq for Progress {
    fn eq(&self, other: &Self) -> bool {
        let Self { applied, live, pending, begun, carried, reset_at, dropped, taken } = *self;
        (applied, live, pending) == (other.applied, other.live, other.pending)
            && (reset_at, dropped) == (other.reset_at, other.dropped)
            && carried == other.carried
            // Both hold nothing where nothing is pending, which is most of the time and of each tensor.
            && (pending == 0 || (begun, taken) == (other.begun, other.taken))
    }
}

/// What a step does to a tensor's progress.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// One bit for each slot that it uses.
    pub(super) used: u32,
    pub(super) recurrence: Option<Recurrence>,
    pub(super) reset: Option<Reset>,
}

impl Taken {
    /// Of a step with these options.
    pub(super) fn of(rule: &impl AnyRule) -> Self {
        Self { used: used_slots(rule), recurrence: rule.recurrence(), reset: rule.reset() }
    }
}

impl Progress {
    /// Nothing pending.
    pub(super) fn new(applied: u64, live: u32, carried: Carried) -> Self {
        Self { applied, live, carried, ..Self::default() }
    }

    /// Where the tensor stands before its next step.
    pub(super) fn at(now: &StepInfo) -> Self {
        let StepInfo { reset_at, dropped, .. } = *now;
        Self { reset_at, dropped, ..Self::new(now.step - 1, now.live | dropped, now.carried) }
    }

    /// The tensor takes part in a step, a bit of the history.
    pub(super) fn begin(&mut self, step: u32, taken: Taken) {
        self.pending |= step;
        self.taken[place(step)] = taken;
        for slot in bits(taken.used & !self.live) {
            self.begun[slot] |= step;
        }
    }

    /// Slots that pending steps are the first to use.
    pub(super) fn begun(&self) -> u32 {
        mask(|slot| self.begun[slot] != 0)
    }

    /// Where the tensor stands if those of the pending steps were applied whose bits are set.
    pub(super) fn after(&self, history: u32) -> StepInfo {
        let live = self.live | mask(|slot| self.begun[slot] & history != 0);
        self.following(self.taken_of(history), live)
    }

    /// A pending step has turned out to be applied or skipped, or will never be.
    pub(super) fn settle(&mut self, step: u32, applied: bool) {
        let now = self.after(if applied { step } else { 0 });
        let Self { applied, live, carried, reset_at, dropped, .. } = Self::at(&now);
        (self.applied, self.live, self.carried) = (applied, live, carried);
        (self.reset_at, self.dropped) = (reset_at, dropped);
        if self.pending & step != 0 {
            self.taken[place(step)] = Taken::default();
        }
        self.pending &= !step;
        for (slot, begun) in self.begun.iter_mut().enumerate() {
            *begun = if self.live & (1 << slot) == 0 { *begun & !step } else { 0 };
        }
    }

    /// The pending steps of which it matters how many were applied: none where it matters of each, because what
    /// they leave differs, or what begins anew after them.
    pub(super) fn counted(&self) -> u32 {
        let mut taken = self.taken_of(self.pending);
        let Some(first) = taken.next() else { return 0 };
        let is_same = |other: Taken| {
            let resets = self.dropped != 0 || first.reset.is_some();
            (other.recurrence, other.reset) == (first.recurrence, first.reset)
                && (!resets || other.used == first.used)
        };
        if taken.all(is_same) { self.pending } else { 0 }
    }

    /// Sets of pending steps of which it matters whether one was applied, beside how many were: those that use a
    /// slot, where others do not, or each alone. There are none unless options have just changed.
    pub(super) fn marks(&self) -> impl Iterator<Item = u32> {
        let (begun, pending, counts) = (self.begun, self.pending, self.counted() == self.pending);
        let tells = move |set: &u32| counts && *set != 0 && *set != pending;
        let alone = (0..u32::BITS).map(|bit| 1 << bit).filter(move |bit| !counts && pending & bit != 0);
        begun.into_iter().filter(tells).chain(alone)
    }

    /// Every point at which the tensor may stand: first by the number of counted steps that were applied, then by
    /// what the marks say, the first in the lowest bit.
    pub(super) fn rows(&self) -> impl Iterator<Item = StepInfo> {
        let marks: Vec<u32> = self.marks().collect();
        let this = *self;
        let counted = self.counted();
        (0..1_u32 << marks.len()).flat_map(move |told| {
            let marks = marks.clone();
            (0..=counted.count_ones()).map(move |more| {
                let was =
                    |set: &u32| marks.iter().position(|mark| mark == set).map(|mark| told & (1 << mark) != 0);
                if counted != this.pending {
                    return this.after(marks.iter().filter(|mark| was(mark) == Some(true)).sum());
                }
                let begun = |slot: usize| this.begun[slot];
                let live = mask(|slot| was(&begun(slot)).unwrap_or(begun(slot) != 0 && more > 0));
                this.following(this.taken_of(counted).take(more as usize), this.live | live)
            })
        })
    }

    /// What some pending steps do, in the order in which these were recorded.
    fn taken_of(&self, steps: u32) -> impl Iterator<Item = Taken> {
        let Self { pending, taken, .. } = *self;
        let oldest = (0..u32::BITS).find(|&first| pending.rotate_right(first) < 1 << MOST_PENDING);
        (oldest.unwrap_or(0)..)
            .take(MOST_PENDING)
            .map(|bit| 1_u32.rotate_left(bit))
            .filter(move |step| pending & steps & step != 0)
            .map(move |step| taken[place(step)])
    }

    /// Where the tensor stands after further steps, with the slots that have been used by then.
    fn following(&self, taken: impl Iterator<Item = Taken>, live: u32) -> StepInfo {
        let Self { carried, reset_at, dropped, .. } = *self;
        let start = StepInfo { step: self.applied + 1, live, carried, reset_at, dropped };
        let now = taken.fold(start, |now, Taken { used, recurrence, reset }| {
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
        let dropped = now.dropped & live;
        StepInfo { live: live & !dropped, dropped, ..now }
    }
}

/// Where what a pending step does is kept.
fn place(step: u32) -> usize {
    step.trailing_zeros() as usize % MOST_PENDING
}

fn mask(holds: impl Fn(usize) -> bool) -> u32 {
    (0..MOST_SLOTS).filter(|&slot| holds(slot)).fold(0, |mask, slot| mask | 1 << slot)
}

fn bits(mask: u32) -> impl Iterator<Item = usize> {
    (0..MOST_SLOTS).filter(move |slot| mask & (1 << slot) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::optim::Mu;

    fn momentum(mu: Mu) -> Option<Recurrence> {
        Some(Recurrence::Momentum(mu))
    }

    /// A step of one tensor: its number, what it uses if the tensor takes part, and what becomes of it.
    #[derive(Clone, Copy, Debug)]
    struct Step {
        bit: u32,
        used: Option<u32>,
        mu: Mu,
        applied: bool,
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Record {
            used: Option<u32>,
            beta1: f64,
            applied: bool,
        },
        /// One of those on their way, any of them, becomes known.
        Settle(usize),
        /// One of them will never be.
        Abandon(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let used = prop_oneof![Just(None), (0..8_u32).prop_map(Some), Just(Some(5))];
        let beta1 = prop_oneof![6 => Just(0.99), 1 => Just(0.9), 1 => Just(0.999)];
        let event = prop_oneof![
            4 => (used, beta1, any::<bool>())
                .prop_map(|(used, beta1, applied)| Event::Record { used, beta1, applied }),
            3 => any::<usize>().prop_map(Event::Settle),
            1 => any::<usize>().prop_map(Event::Abandon),
        ];
        prop::collection::vec(event, 1..60)
    }

    /// Where the tensor stands after these steps, all of them known, and the product of its momenta.
    fn plainly(known: &[Step]) -> (u64, u32, f64) {
        let applied = known.iter().filter(|step| step.applied);
        let applied = applied.filter_map(|step| Some((step.used?, step.mu)));
        applied.fold((0, 0, 1.0), |(count, live, product), (used, mu)| {
            (count + 1, live | used, product * mu.at(count + 1))
        })
    }

    /// The row that the kernel picks.
    fn row(progress: &Progress, history: u32) -> usize {
        let counted = progress.counted();
        let told = progress.marks().enumerate().filter(|(_, mark)| history & *mark != 0);
        let more = (history & counted).count_ones();
        told.fold(more, |row, (mark, _)| row + ((counted.count_ones() + 1) << mark)) as usize
    }

    proptest! {
        #[test]
        fn progress_is_that_of_steps_that_are_all_known(events in events()) {
            let mut progress = Progress::default();
            let (mut known, mut flying) = (Vec::new(), Vec::<Step>::new());
            let mut number = 0_u32;
            for event in events {
                match event {
                    Event::Record { used, beta1, applied } => {
                        // As the device's history: a place of its own, close to the others.
                        let bit = 1_u32.rotate_left(number);
                        if flying.iter().any(|step| bit.rotate_right(step.bit.trailing_zeros()) >= 1 << MOST_PENDING) {
                            continue;
                        }
                        number += 1;
                        let mu = Mu { beta1, momentum_decay: 4e-3 };
                        if let Some(used) = used {
                            progress.begin(bit, Taken { used, recurrence: momentum(mu), reset: None });
                        }
                        flying.push(Step { bit, used, mu, applied });
                    }
                    Event::Settle(which) | Event::Abandon(which) if !flying.is_empty() => {
                        let mut step = flying.remove(which % flying.len());
                        step.applied &= matches!(event, Event::Settle(_));
                        progress.settle(step.bit, step.applied);
                        known.push(step);
                    }
                    Event::Settle(_) | Event::Abandon(_) => {}
                }
                let (steps, live, product) = plainly(&known);
                prop_assert_eq!((progress.applied, progress.live), (steps, live));
                // Of steps that became known in another order than they were recorded in, to a rounding.
                prop_assert!((progress.carried.momenta().product(steps) - product).abs() < 1e-14);
                prop_assert!(progress.marks().count() <= MOST_MARKS);
                // Where the tensor stands once the rest is known too; other bits say nothing.
                let rest = flying.iter().filter(|step| step.applied).fold(0, |bits, step| bits | step.bit);
                let on_their_way = flying.iter().fold(0, |bits, step| bits | step.bit);
                let (steps, live, product) = plainly(&[&known[..], &flying[..]].concat());
                for history in [rest, rest | !on_their_way] {
                    let after = progress.after(history);
                    prop_assert_eq!((after.step, after.live), (steps + 1, live));
                    prop_assert!((after.carried.momenta().product(steps) - product).abs() < 1e-14);
                    prop_assert_eq!(progress.rows().nth(row(&progress, history)), Some(after));
                }
            }
        }
    }

    /// What steps of a rule around another do, with options that change now and then.
    fn resetting() -> impl Strategy<Value = Taken> {
        let reset = prop_oneof![
            6 => Just(Some(3)),
            1 => Just(Some(1)),
            1 => Just(Some(2)),
            1 => Just(None),
        ];
        let used = prop_oneof![6 => Just(7_u32), 1 => Just(5), 1 => Just(4)];
        let beta1 = prop_oneof![6 => Just(0.9), 1 => Just(0.5)];
        (reset, used, beta1).prop_map(|(every, used, beta1)| Taken {
            used,
            recurrence: momentum(Mu { beta1, momentum_decay: 4e-3 }),
            reset: every.map(|every| Reset { every, slots: 3 }),
        })
    }

    /// A tensor of which everything is known.
    #[derive(Clone, Copy, Debug)]
    struct Plain {
        steps: u64,
        /// Since the state began anew; so with the others.
        inner: u64,
        live: u32,
        product: f64,
    }

    impl Default for Plain {
        fn default() -> Self {
            Self { steps: 0, inner: 0, live: 0, product: 1.0 }
        }
    }

    impl Plain {
        fn take(&mut self, applied: bool, taken: &Taken) {
            if !applied {
                return;
            }
            (self.steps, self.inner, self.live) = (self.steps + 1, self.inner + 1, self.live | taken.used);
            let Some(Recurrence::Momentum(mu)) = taken.recurrence else { unreachable!("of these steps") };
            self.product *= mu.at(self.inner);
            if let Some(reset) = taken.reset.filter(|reset| self.steps.is_multiple_of(reset.every)) {
                (self.inner, self.live, self.product) = (0, self.live & !reset.slots, 1.0);
            }
        }
    }

    proptest! {
        #[test]
        fn a_state_that_begins_anew_is_known_in_every_case(
            steps in prop::collection::vec((resetting(), any::<bool>(), 0..3_usize), 1..40),
        ) {
            let mut progress = Progress::default();
            let mut known = Plain::default();
            let mut flying = Vec::<(u32, Taken, bool)>::new();
            for (number, (taken, applied, heard)) in steps.into_iter().enumerate() {
                let bit = 1_u32.rotate_left(u32::try_from(number).unwrap());
                progress.begin(bit, taken);
                flying.push((bit, taken, applied));
                // Outcomes arrive in order, some of them late.
                for _ in 0..heard.max(usize::from(flying.len() == MOST_PENDING)).min(flying.len()) {
                    let (bit, taken, applied) = flying.remove(0);
                    progress.settle(bit, applied);
                    known.take(applied, &taken);
                }
                let (mut plain, mut history) = (known, 0);
                for (bit, taken, applied) in &flying {
                    history |= if *applied { *bit } else { 0 };
                    plain.take(*applied, taken);
                }
                let after = progress.after(history);
                prop_assert_eq!((after.step - 1, after.live), (plain.steps, plain.live));
                prop_assert_eq!(after.step - 1 - after.reset_at, plain.inner);
                prop_assert_eq!(after.live & after.dropped, 0);
                prop_assert!((after.carried.momenta().product(plain.inner) - plain.product).abs() < 1e-14);
                prop_assert_eq!(progress.rows().nth(row(&progress, history)), Some(after));
            }
        }
    }

    #[test]
    fn options_that_stay_need_one_row_for_each_count() {
        let mut progress = Progress::default();
        for step in 0..8 {
            progress.begin(1 << step, Taken { used: 3, ..Taken::default() });
        }
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (0, 9, 3));
        progress.settle(1, true);
        progress.begin(1 << 8, Taken { used: 7, ..Taken::default() });
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (1, 18, 4));
        progress.settle(1 << 8, false);
        assert_eq!((progress.rows().count(), progress.begun()), (8, 0));
    }

    #[test]
    fn momenta_that_differ_need_a_row_for_each_set_of_steps() {
        let mut progress = Progress::default();
        for step in 0..8_u32 {
            let mu = Mu { beta1: f64::from(step) / 10.0, momentum_decay: 0.0 };
            progress.begin(1 << step, Taken { used: 3, recurrence: momentum(mu), reset: None });
        }
        assert_eq!((progress.marks().count(), progress.rows().count()), (8, 256));
        let applied = 0b0110_0010;
        let after = progress.rows().nth(row(&progress, applied)).unwrap();
        assert_eq!(
            (after.step, after.carried.momenta().product(3)),
            (4, 0.1 * 0.5 * 0.5 * 0.5 * (0.6 * 0.5))
        );
    }
}
