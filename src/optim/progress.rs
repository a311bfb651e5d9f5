use super::StepInfo;
use super::momenta::{Momenta, Mu};
use crate::params::GateValues;

/// The most slots that a rule can have beside parameters and gradients: kernels bind eight buffers.
pub(super) const MOST_SLOTS: usize = 6;

/// Steps that may be pending.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const MOST_PENDING: usize = GateValues::HISTORY as usize;

/// The most sets of pending steps that the kernel can tell apart.
pub(super) const MOST_MARKS: usize = MOST_PENDING;

/// What a tensor has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
    /// Of the steps applied.
    pub(super) momenta: Momenta,
    /// Of each pending step, at its bit's number modulo their count: they lie that close together.
    mus: [Mu; MOST_PENDING],
}

impl Progress {
    /// Nothing pending.
    pub(super) fn new(applied: u64, live: u32, momenta: Momenta) -> Self {
        Self { applied, live, momenta, ..Self::default() }
    }

    /// The tensor takes part in a step, a bit of the history, that uses some slots and has a momentum.
    pub(super) fn begin(&mut self, step: u32, used: u32, mu: Mu) {
        self.pending |= step;
        self.mus[place(step)] = mu;
        for slot in bits(used & !self.live) {
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
        self.following(self.mus_of(history), live)
    }

    /// A pending step has turned out to be applied or skipped, or will never be.
    pub(super) fn settle(&mut self, step: u32, applied: bool) {
        let now = self.after(if applied { step } else { 0 });
        (self.applied, self.live, self.momenta) = (now.step - 1, now.live, now.momenta);
        if self.pending & step != 0 {
            self.mus[place(step)] = Mu::default();
        }
        self.pending &= !step;
        for (slot, begun) in self.begun.iter_mut().enumerate() {
            *begun = if self.live & (1 << slot) == 0 { *begun & !step } else { 0 };
        }
    }

    /// The pending steps of which it matters how many were applied: none where it matters of each, because their
    /// momenta differ.
    pub(super) fn counted(&self) -> u32 {
        let mut mus = self.mus_of(self.pending);
        let first = mus.next();
        if mus.all(|mu| Some(mu) == first) { self.pending } else { 0 }
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
                this.following(this.mus_of(counted).take(more as usize), this.live | live)
            })
        })
    }

    /// The momenta of some pending steps, in the order in which these were recorded.
    fn mus_of(&self, steps: u32) -> impl Iterator<Item = Mu> {
        let Self { pending, mus, .. } = *self;
        let oldest = (0..u32::BITS).find(|&first| pending.rotate_right(first) < 1 << MOST_PENDING);
        (oldest.unwrap_or(0)..)
            .take(MOST_PENDING)
            .map(|bit| 1_u32.rotate_left(bit))
            .filter(move |step| pending & steps & step != 0)
            .map(move |step| mus[place(step)])
    }

    /// Where the tensor stands after further steps.
    fn following(&self, mus: impl Iterator<Item = Mu>, live: u32) -> StepInfo {
        let start = StepInfo { step: self.applied + 1, live, momenta: self.momenta };
        mus.fold(start, |now, mu| StepInfo {
            step: now.step + 1,
            momenta: now.momenta.then(mu, now.step),
            ..now
        })
    }
}

/// Where the momentum of a pending step is kept.
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
                            progress.begin(bit, used, mu);
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
                prop_assert!((progress.momenta.product(steps) - product).abs() < 1e-14);
                prop_assert!(progress.marks().count() <= MOST_MARKS);
                // Where the tensor stands once the rest is known too; other bits say nothing.
                let rest = flying.iter().filter(|step| step.applied).fold(0, |bits, step| bits | step.bit);
                let on_their_way = flying.iter().fold(0, |bits, step| bits | step.bit);
                let (steps, live, product) = plainly(&[&known[..], &flying[..]].concat());
                for history in [rest, rest | !on_their_way] {
                    let after = progress.after(history);
                    prop_assert_eq!((after.step, after.live), (steps + 1, live));
                    prop_assert!((after.momenta.product(steps) - product).abs() < 1e-14);
                    prop_assert_eq!(progress.rows().nth(row(&progress, history)), Some(after));
                }
            }
        }
    }

    #[test]
    fn options_that_stay_need_one_row_for_each_count() {
        let mut progress = Progress::default();
        for step in 0..8 {
            progress.begin(1 << step, 3, Mu::default());
        }
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (0, 9, 3));
        progress.settle(1, true);
        progress.begin(1 << 8, 7, Mu::default());
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (1, 18, 4));
        progress.settle(1 << 8, false);
        assert_eq!((progress.rows().count(), progress.begun()), (8, 0));
    }

    #[test]
    fn momenta_that_differ_need_a_row_for_each_set_of_steps() {
        let mut progress = Progress::default();
        for step in 0..8_u32 {
            progress.begin(1 << step, 3, Mu { beta1: f64::from(step) / 10.0, momentum_decay: 0.0 });
        }
        assert_eq!((progress.marks().count(), progress.rows().count()), (8, 256));
        let applied = 0b0110_0010;
        let after = progress.rows().nth(row(&progress, applied)).unwrap();
        assert_eq!((after.step, after.momenta.product(3)), (4, 0.1 * 0.5 * 0.5 * 0.5 * (0.6 * 0.5)));
    }
}
