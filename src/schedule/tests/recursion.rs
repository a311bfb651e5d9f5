//! Any step computed directly is the one that PyTorch reaches step by step.

use std::f64::consts::PI;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::all;
use crate::schedule::{
    ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineDecayRestarts, CyclicLR, ExponentialLR, LambdaLR,
    Link, OneCycleLR, Point, Schedule, SequentialLR, StepLR, WarmupScheduler, from_json,
};

/// A schedule, and what PyTorch's `get_lr` makes of the group's rate at step `k`: `get_lr(k, base, lr)`.
type GetLr = Box<dyn Fn(u64, f64, f64) -> f64>;

/// PyTorch's recursions, one for each `kind`, from numbers that mean something else for each.
fn torch(kind: usize, n: u64, x: f64, y: f64) -> (Value, GetLr) {
    let f = n as f64;
    match kind {
        0 => (
            json!({"name": "StepLR", "step_size": n, "gamma": x}),
            Box::new(move |k, _, lr| if !k.is_multiple_of(n) || k == 0 { lr } else { lr * x }),
        ),
        1 => (
            json!({"name": "MultiStepLR", "milestones": [n, n, n + 5], "gamma": x}),
            Box::new(move |k, _, lr| match k {
                _ if k == n => lr * x * x,
                _ if k == n + 5 => lr * x,
                _ => lr,
            }),
        ),
        2 => (
            json!({"name": "ConstantLR", "factor": x, "total_iters": n}),
            Box::new(move |k, _, lr| match k {
                0 => lr * x,
                _ if k == n => lr * (1.0 / x),
                _ => lr,
            }),
        ),
        3 => (
            json!({"name": "LinearLR", "start_factor": x, "end_factor": y, "total_iters": n}),
            Box::new(move |k, _, lr| match k {
                0 => lr * x,
                _ if k > n => lr,
                _ => lr * (1.0 + (y - x) / (f * x + (k - 1) as f64 * (y - x))),
            }),
        ),
        4 => (
            json!({"name": "ExponentialLR", "gamma": x}),
            Box::new(move |k, _, lr| if k == 0 { lr } else { lr * x }),
        ),
        5 => (
            json!({"name": "PolynomialLR", "total_iters": n, "power": 3.0 * y}),
            Box::new(move |k, _, lr| {
                if k == 0 || k > n {
                    return lr;
                }
                lr * ((1.0 - k as f64 / f) / (1.0 - (k - 1) as f64 / f)).powf(3.0 * y)
            }),
        ),
        6 | 7 => {
            let eta = if kind == 6 { 0.0 } else { 0.1 * x };
            (
                json!({"name": "CosineAnnealingLR", "T_max": n, "eta_min": eta}),
                Box::new(move |k, base, lr| {
                    let cos = |k: u64| (PI * k as f64 / f).cos();
                    if k == 0 {
                        lr
                    } else if k > n && (k - 1 - n).is_multiple_of(2 * n) {
                        lr + (base - eta) * (1.0 - (PI / f).cos()) / 2.0
                    } else {
                        (1.0 + cos(k)) / (1.0 + cos(k - 1)) * (lr - eta) + eta
                    }
                }),
            )
        }
        _ => (
            json!({"name": "CosineAnnealingWarmRestarts", "T_0": n, "T_mult": 2, "eta_min": 0.1 * x}),
            Box::new(move |k, base, _| {
                let (mut current, mut length) = (0, n);
                for _ in 0..k {
                    current += 1;
                    if current >= length {
                        (current, length) = (current - length, 2 * length);
                    }
                }
                let wave = (1.0 + (PI * current as f64 / length as f64).cos()) / 2.0;
                0.1 * x + (base - 0.1 * x) * wave
            }),
        ),
    }
}

/// A kind and the numbers for it. The last ones are no multiples of the base rate.
fn any_torch(kinds: std::ops::Range<usize>) -> impl Strategy<Value = (usize, u64, f64, f64)> {
    (kinds, 1..25_u64, 0.2..1.0, 0.05..1.0)
}

fn assert_close(got: f64, want: f64, place: &str) {
    assert!((got - want).abs() <= 1e-9 * want.abs() + 1e-12, "{place}: got {got}, expected {want}");
}

const STEPS: u64 = 80;

proptest! {
    #[test]
    fn a_schedule_is_torchs_recursion(case in any_torch(0..9), base in 0.001..2.0_f64) {
        let (json, get_lr) = torch(case.0, case.1, case.2, case.3);
        let schedule = from_json(&json).unwrap();
        let mut lr = base;
        for step in 0..STEPS {
            lr = get_lr(step, base, lr);
            assert_close(schedule.at(step, base).unwrap().lr, lr, &format!("{json} at {step}"));
        }
    }

    #[test]
    fn a_chain_is_torchs_recursion(
        cases in proptest::collection::vec(any_torch(0..9), 1..5),
        base in 0.001..2.0_f64,
    ) {
        let (json, parts): (Vec<_>, Vec<_>) = cases.iter().map(|c| torch(c.0, c.1, c.2, c.3)).unzip();
        let json = json!({"name": "ChainedScheduler", "schedulers": json});
        let schedule = from_json(&json).unwrap();
        let mut lr = base;
        for step in 0..STEPS {
            lr = parts.iter().fold(lr, |lr, get_lr| get_lr(step, base, lr));
            assert_close(schedule.at(step, base).unwrap().lr, lr, &format!("{json} at {step}"));
        }
    }

    /// PyTorch sets the rate by the closed form at a milestone, and goes on from there.
    #[test]
    fn a_sequence_is_torchs_recursion(
        cases in proptest::collection::vec(any_torch(0..9), 3),
        (first, second) in (1..20_u64, 0..30_u64),
        base in 0.001..2.0_f64,
    ) {
        let (json, parts): (Vec<_>, Vec<_>) = cases.iter().map(|c| torch(c.0, c.1, c.2, c.3)).unzip();
        let milestones = [first, first + second];
        let json = json!({"name": "SequentialLR", "schedulers": json, "milestones": milestones});
        let schedule = from_json(&json).unwrap();
        let mut lr = base;
        for step in 0..STEPS {
            let turn = milestones.iter().filter(|milestone| **milestone <= step).count();
            let start = if turn == 0 { 0 } else { milestones[turn - 1] };
            lr = parts[turn](step - start, base, if step == start { base } else { lr });
            assert_close(schedule.at(step, base).unwrap().lr, lr, &format!("{json} at {step}"));
        }
    }

    #[test]
    fn a_step_does_not_depend_on_the_calls_before(steps in proptest::collection::vec(0..120_u64, 12)) {
        for (walked, asked) in all().into_iter().zip(all()) {
            let base = |step: u64| [0.1, 0.02][usize::from(step.is_multiple_of(3))];
            let walk: Vec<_> = (0..120).map(|step| walked.at(step, base(step)).unwrap()).collect();
            for step in &steps {
                let fresh = asked.at(*step, base(*step)).unwrap();
                prop_assert_eq!(walk[usize::try_from(*step).unwrap()], fresh, "{:?} at {}", asked, step);
            }
        }
    }

    /// Wave by wave, as the definition has it; by halves the lengths are exact.
    #[test]
    fn restarts_are_where_the_waves_end(first in 1..40_u64, halves in 2..8_u32, step in 0..3000_u64) {
        let t_mul = f64::from(halves) / 2.0;
        let schedule = CosineDecayRestarts { t_mul, m_mul: 0.75, ..CosineDecayRestarts::new(first) };
        let (mut since, mut length, mut height) = (step as f64, first as f64, 1.0);
        while since >= length {
            (since, length, height) = (since - length, length * t_mul, height * 0.75);
        }
        let want = height * (1.0 + (PI * since / length).cos()) / 2.0;
        assert_close(schedule.at(step, 1.0).unwrap().lr, want, &format!("{schedule:?} at {step}"));
    }
}

#[test]
fn what_sets_the_rate_undoes_what_came_before_it() {
    let cycle = || OneCycleLR::new(0.5, 200);
    let chain = ChainedScheduler::new(ExponentialLR::new(0.5)).and(cycle()).and(StepLR::new(10));
    assert_eq!(chain.link(), Link::Sets);
    // The drop at step 20 acts on the rate of step 20, and is gone with the next one, as in PyTorch.
    for (step, factor) in [(0, 1.0), (19, 1.0), (20, 0.1), (21, 1.0)] {
        let (got, alone) = (chain.at(step, 1.0).unwrap(), cycle().at(step, 1.0).unwrap());
        assert_eq!(got.momentum, alone.momentum);
        assert_close(got.lr, alone.lr * factor, &format!("step {step}"));
    }
    let lambda = ChainedScheduler::new(ExponentialLR::new(0.5)).and(LambdaLR::new(|step| step as f64));
    assert_eq!(lambda.at(3, 2.0).unwrap(), Point::rate(6.0));
}

#[test]
fn the_momentum_of_a_chain_is_the_last_one_that_is_cycled() {
    let still = CyclicLR { cycle_momentum: false, ..CyclicLR::new(0.1, 0.2) };
    let chain = ChainedScheduler::new(OneCycleLR::new(0.5, 20)).and(still);
    let cycle = OneCycleLR::new(0.5, 20);
    assert_eq!(chain.at(7, 1.0).unwrap().momentum, cycle.at(7, 1.0).unwrap().momentum);
}

#[test]
fn the_momentum_of_a_sequence_stays_where_it_was_left() {
    let sequence =
        SequentialLR::new(OneCycleLR::new(0.5, 20)).then(12, StepLR::new(5)).then(30, StepLR::new(5));
    let left = OneCycleLR::new(0.5, 20).at(11, 1.0).unwrap().momentum;
    assert!(left.is_some());
    for step in [11, 12, 29, 30, 99] {
        assert_eq!(sequence.at(step, 1.0).unwrap().momentum, left, "step {step}");
    }
}

#[test]
fn a_warm_up_from_0_multiplies_a_cosine() {
    let chain = ChainedScheduler::new(WarmupScheduler::default()).and(CosineAnnealingLR::new(40));
    let cosine = CosineAnnealingLR::new(40);
    for (step, factor) in [(0, 0.0), (1, 0.2), (4, 0.8), (5, 1.0), (39, 1.0)] {
        assert_close(chain.at(step, 2.0).unwrap().lr, factor * cosine.at(step, 2.0).unwrap().lr, "product");
    }
    // With an eta_min it would have to rise from 0 step by step.
    let floor = CosineAnnealingLR { eta_min: 0.1, ..cosine };
    let chain = ChainedScheduler::new(WarmupScheduler::default()).and(floor);
    let said = "schedule ChainedScheduler at step 1 of schedulers[0]: the rate was 0, and no factor makes it rise again";
    assert_eq!(chain.at(5, 2.0).unwrap_err().to_string(), said);
}

#[test]
fn a_chain_of_factors_takes_no_longer_for_a_late_step() {
    let chain = ChainedScheduler::new(ConstantLR::default()).and(StepLR { gamma: 1.0, ..StepLR::new(7) });
    assert_eq!(chain.link(), Link::Scales);
    assert_eq!(chain.at(u64::MAX, 0.5).unwrap(), Point::rate(0.5));
}
