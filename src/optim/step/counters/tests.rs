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
    applied.fold((0, 0, 1.0), |(count, initialized, product), (used, mu)| {
        (count + 1, initialized | used, product * mu.at(count + 1))
    })
}

/// The row that the kernel picks.
fn row(counter: &StepCounter, history: u32) -> usize {
    let counted = counter.counted();
    let told = counter.marks().enumerate().filter(|(_, mark)| history & *mark != 0);
    let more = (history & counted).count_ones();
    told.fold(more, |row, (mark, _)| row + ((counted.count_ones() + 1) << mark)) as usize
}

proptest! {
    #[test]
    fn progress_is_that_of_steps_that_are_all_known(events in events()) {
        let mut counter = StepCounter::default();
        let (mut known, mut flying) = (Vec::new(), Vec::<Step>::new());
        let mut number = 0_u32;
        for event in events {
            match event {
                Event::Record { used, beta1, applied } => {
                    // As the device's history: a place of its own, close to the others.
                    let bit = 1_u32.rotate_left(number);
                    if flying.iter().any(|step| bit.rotate_right(step.bit.trailing_zeros()) >= 1 << MOST_IN_FLIGHT) {
                        continue;
                    }
                    number += 1;
                    let mu = Mu { beta1, momentum_decay: 4e-3 };
                    if let Some(used) = used {
                        counter.begin(bit, StepEffect { used, recurrence: momentum(mu), reset: None });
                    }
                    flying.push(Step { bit, used, mu, applied });
                }
                Event::Settle(which) | Event::Abandon(which) if !flying.is_empty() => {
                    let mut step = flying.remove(which % flying.len());
                    step.applied &= matches!(event, Event::Settle(_));
                    counter.resolve(step.bit, step.applied);
                    known.push(step);
                }
                Event::Settle(_) | Event::Abandon(_) => {}
            }
            let (steps, initialized, product) = plainly(&known);
            prop_assert_eq!((counter.applied, counter.initialized), (steps, initialized));
            // Of steps that became known in another order than they were recorded in, to a rounding.
            prop_assert!((counter.carried.momenta().product(steps) - product).abs() < 1e-14);
            prop_assert!(counter.marks().count() <= MOST_MARKS);
            // Where the tensor stands once the rest is known too; other bits say nothing.
            let rest = flying.iter().filter(|step| step.applied).fold(0, |bits, step| bits | step.bit);
            let on_their_way = flying.iter().fold(0, |bits, step| bits | step.bit);
            let (steps, initialized, product) = plainly(&[&known[..], &flying[..]].concat());
            for history in [rest, rest | !on_their_way] {
                let after = counter.after(history);
                prop_assert_eq!((after.step, after.initialized), (steps + 1, initialized));
                prop_assert!((after.carried.momenta().product(steps) - product).abs() < 1e-14);
                prop_assert_eq!(counter.rows().nth(row(&counter, history)), Some(after));
            }
        }
    }
}

/// What steps of a rule around another do, with options that change now and then.
fn resetting() -> impl Strategy<Value = StepEffect> {
    let reset = prop_oneof![
        6 => Just(Some(3)),
        1 => Just(Some(1)),
        1 => Just(Some(2)),
        1 => Just(None),
    ];
    let used = prop_oneof![6 => Just(7_u32), 1 => Just(5), 1 => Just(4)];
    let beta1 = prop_oneof![6 => Just(0.9), 1 => Just(0.5)];
    (reset, used, beta1).prop_map(|(every, used, beta1)| StepEffect {
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
    initialized: u32,
    product: f64,
}

impl Default for Plain {
    fn default() -> Self {
        Self { steps: 0, inner: 0, initialized: 0, product: 1.0 }
    }
}

impl Plain {
    fn take(&mut self, applied: bool, effects: &StepEffect) {
        if !applied {
            return;
        }
        (self.steps, self.inner, self.initialized) =
            (self.steps + 1, self.inner + 1, self.initialized | effects.used);
        let Some(Recurrence::Momentum(mu)) = effects.recurrence else { unreachable!("of these steps") };
        self.product *= mu.at(self.inner);
        if let Some(reset) = effects.reset.filter(|reset| self.steps.is_multiple_of(reset.every)) {
            (self.inner, self.initialized, self.product) = (0, self.initialized & !reset.slots, 1.0);
        }
    }
}

proptest! {
    #[test]
    fn a_state_that_begins_anew_is_known_in_every_case(
        steps in prop::collection::vec((resetting(), any::<bool>(), 0..3_usize), 1..40),
    ) {
        let mut counter = StepCounter::default();
        let mut known = Plain::default();
        let mut flying = Vec::<(u32, StepEffect, bool)>::new();
        for (number, (effects, applied, heard)) in steps.into_iter().enumerate() {
            let bit = 1_u32.rotate_left(u32::try_from(number).unwrap());
            counter.begin(bit, effects);
            flying.push((bit, effects, applied));
            // Outcomes arrive in order, some of them late.
            for _ in 0..heard.max(usize::from(flying.len() == MOST_IN_FLIGHT)).min(flying.len()) {
                let (bit, effects, applied) = flying.remove(0);
                counter.resolve(bit, applied);
                known.take(applied, &effects);
            }
            let (mut plain, mut history) = (known, 0);
            for (bit, effects, applied) in &flying {
                history |= if *applied { *bit } else { 0 };
                plain.take(*applied, effects);
            }
            let after = counter.after(history);
            prop_assert_eq!((after.step - 1, after.initialized), (plain.steps, plain.initialized));
            prop_assert_eq!(after.step - 1 - after.reset_at, plain.inner);
            prop_assert_eq!(after.initialized & after.dropped, 0);
            prop_assert!((after.carried.momenta().product(plain.inner) - plain.product).abs() < 1e-14);
            prop_assert_eq!(counter.rows().nth(row(&counter, history)), Some(after));
        }
    }
}

#[test]
fn options_that_stay_need_one_row_for_each_count() {
    let mut counter = StepCounter::default();
    for step in 0..8 {
        counter.begin(1 << step, StepEffect { used: 3, ..StepEffect::default() });
    }
    assert_eq!((counter.marks().count(), counter.rows().count(), counter.first_uses()), (0, 9, 3));
    counter.resolve(1, true);
    counter.begin(1 << 8, StepEffect { used: 7, ..StepEffect::default() });
    assert_eq!((counter.marks().count(), counter.rows().count(), counter.first_uses()), (1, 18, 4));
    counter.resolve(1 << 8, false);
    assert_eq!((counter.rows().count(), counter.first_uses()), (8, 0));
}

#[test]
fn momenta_that_differ_need_a_row_for_each_set_of_steps() {
    let mut counter = StepCounter::default();
    for step in 0..8_u32 {
        let mu = Mu { beta1: f64::from(step) / 10.0, momentum_decay: 0.0 };
        counter.begin(1 << step, StepEffect { used: 3, recurrence: momentum(mu), reset: None });
    }
    assert_eq!((counter.marks().count(), counter.rows().count()), (8, 256));
    let applied = 0b0110_0010;
    let after = counter.rows().nth(row(&counter, applied)).unwrap();
    assert_eq!((after.step, after.carried.momenta().product(3)), (4, 0.1 * 0.5 * 0.5 * 0.5 * (0.6 * 0.5)));
}
