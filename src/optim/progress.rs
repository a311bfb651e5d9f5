use super::StepInfo;

/// The most slots that a rule can have beside parameters and gradients: kernels bind eight buffers.
pub(super) const MOST_SLOTS: usize = 6;

/// What a tensor has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

impl Progress {
    /// Nothing pending.
    pub(super) fn new(applied: u64, live: u32) -> Self {
        Self { applied, live, ..Self::default() }
    }

    /// The tensor takes part in a step, a bit of the history, that uses some slots.
    pub(super) fn begin(&mut self, step: u32, used: u32) {
        self.pending |= step;
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
        let more = u64::from((self.pending & history).count_ones());
        StepInfo {
            step: self.applied + more + 1,
            live: self.live | mask(|slot| self.begun[slot] & history != 0),
        }
    }

    /// A pending step has turned out to be applied or skipped, or will never be.
    pub(super) fn settle(&mut self, step: u32, applied: bool) {
        let now = self.after(if applied { step } else { 0 });
        (self.applied, self.live) = (now.step - 1, now.live);
        self.pending &= !step;
        for (slot, begun) in self.begun.iter_mut().enumerate() {
            *begun = if self.live & (1 << slot) == 0 { *begun & !step } else { 0 };
        }
    }

    /// Sets of pending steps of which it matters whether one was applied, beside how many were: those that use a
    /// slot, where others do not. There are none unless options have just changed.
    pub(super) fn marks(&self) -> impl Iterator<Item = u32> {
        let begun = self.begun;
        let tells = move |slot: &usize| begun[*slot] != 0 && begun[*slot] != self.pending;
        (0..MOST_SLOTS).filter(tells).map(move |slot| begun[slot])
    }

    /// Every point at which the tensor may stand: first by the number of pending steps that were applied, then
    /// by what the marks say, the first in the lowest bit.
    pub(super) fn rows(&self) -> impl Iterator<Item = StepInfo> {
        let marks: Vec<u32> = self.marks().collect();
        let this = *self;
        (0..1_u32 << marks.len()).flat_map(move |told| {
            let marks = marks.clone();
            (0..=this.pending.count_ones()).map(move |more| {
                let live = |slot: usize| match marks.iter().position(|mark| *mark == this.begun[slot]) {
                    Some(mark) => told & (1 << mark) != 0,
                    None => this.begun[slot] != 0 && more > 0,
                };
                StepInfo { step: this.applied + u64::from(more) + 1, live: this.live | mask(live) }
            })
        })
    }
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
        applied: bool,
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Record {
            used: Option<u32>,
            applied: bool,
        },
        /// One of those on their way, any of them, becomes known.
        Settle(usize),
        /// One of them will never be.
        Abandon(usize),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let used = prop_oneof![Just(None), (0..8_u32).prop_map(Some), Just(Some(5))];
        let event = prop_oneof![
            4 => (used, any::<bool>()).prop_map(|(used, applied)| Event::Record { used, applied }),
            3 => any::<usize>().prop_map(Event::Settle),
            1 => any::<usize>().prop_map(Event::Abandon),
        ];
        prop::collection::vec(event, 1..60)
    }

    /// Where the tensor stands after these steps, all of them known.
    fn plainly(known: &[Step]) -> (u64, u32) {
        let applied = known.iter().filter(|step| step.applied).filter_map(|step| step.used);
        applied.fold((0, 0), |(count, live), used| (count + 1, live | used))
    }

    /// The row that the kernel picks.
    fn row(progress: &Progress, history: u32) -> usize {
        let pending = progress.pending;
        let told = progress.marks().enumerate().filter(|(_, mark)| history & *mark != 0);
        let more = (history & pending).count_ones();
        told.fold(more, |row, (mark, _)| row + ((pending.count_ones() + 1) << mark)) as usize
    }

    proptest! {
        #[test]
        fn progress_is_that_of_steps_that_are_all_known(events in events()) {
            let mut progress = Progress::default();
            let (mut known, mut flying) = (Vec::new(), Vec::<Step>::new());
            let mut number = 0_u64;
            for event in events {
                match event {
                    Event::Record { used, applied } if flying.len() < 8 => {
                        // As the device's history: a place of its own.
                        let bit = 1 << (number % 32);
                        number += 1;
                        if flying.iter().any(|step| step.bit == bit) {
                            continue;
                        }
                        if let Some(used) = used {
                            progress.begin(bit, used);
                        }
                        flying.push(Step { bit, used, applied });
                    }
                    Event::Record { .. } => {}
                    Event::Settle(which) | Event::Abandon(which) if !flying.is_empty() => {
                        let mut step = flying.remove(which % flying.len());
                        step.applied &= matches!(event, Event::Settle(_));
                        progress.settle(step.bit, step.applied);
                        known.push(step);
                    }
                    Event::Settle(_) | Event::Abandon(_) => {}
                }
                prop_assert_eq!((progress.applied, progress.live), plainly(&known));
                // Where the tensor stands once the rest is known too; other bits say nothing.
                let rest = flying.iter().filter(|step| step.applied).fold(0, |bits, step| bits | step.bit);
                let on_their_way = flying.iter().fold(0, |bits, step| bits | step.bit);
                let (steps, live) = plainly(&[&known[..], &flying[..]].concat());
                for history in [rest, rest | !on_their_way] {
                    let after = progress.after(history);
                    prop_assert_eq!((after.step, after.live), (steps + 1, live));
                    prop_assert_eq!(progress.rows().nth(row(&progress, history)), Some(after));
                }
            }
        }
    }

    #[test]
    fn options_that_stay_need_one_row_for_each_count() {
        let mut progress = Progress::default();
        for step in 0..8 {
            progress.begin(1 << step, 3);
        }
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (0, 9, 3));
        progress.begin(1 << 8, 7);
        assert_eq!((progress.marks().count(), progress.rows().count(), progress.begun()), (1, 20, 7));
        progress.settle(1 << 8, false);
        assert_eq!((progress.rows().count(), progress.begun()), (9, 3));
    }
}
