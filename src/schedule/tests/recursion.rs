//! Every step computed directly equals the one that PyTorch reaches step by step.

use std::f64::consts::PI;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::all;
use crate::schedule::{
    Anneal, ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineDecayRestarts, CyclicLR, ExponentialLR,
    LambdaLR, Link, MultiplicativeFn, MultiplicativeLR, OneCycleLR, Point, SWALR, Schedule, SequentialLR,
    StepLR, WarmupScheduler, from_json,
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
        8 => {
            let factors = [x, 1.0, y, 1.0 / x, 1.5 * y];
            (
                json!({"name": "MultiplicativeLR", "factors": factors}),
                Box::new(move |k, _, lr| match k {
                    1..=5 => lr * factors[usize::try_from(k).unwrap() - 1],
                    _ => lr,
                }),
            )
        }
        9 | 10 => {
            let (n, cos) = (n - 1, kind == 9);
            let anneal = move |t: f64| if cos { (1.0 - (PI * t).cos()) / 2.0 } else { t };
            (
                json!({"name": "SWALR", "swa_lr": x, "anneal_epochs": n,
                       "anneal_strategy": if cos { "cos" } else { "linear" }}),
                Box::new(move |k, _, lr| {
                    let step = if n == 0 { k.max(1) } else { k } as f64;
                    let of = |step: f64| anneal((step / n.max(1) as f64).clamp(0.0, 1.0));
                    let (before, now) = (of(step - 1.0), of(step));
                    let first = if before == 1.0 { x } else { (lr - before * x) / (1.0 - before) };
                    x * now + first * (1.0 - now)
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
    fn a_schedule_is_torchs_recursion(case in any_torch(0..12), base in 0.001..2.0_f64) {
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
        cases in proptest::collection::vec(any_torch(0..12), 1..5),
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
        cases in proptest::collection::vec(any_torch(0..12), 3),
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
            // Of what has no closed form there, PyTorch takes a step of the recursion at the milestone.
            let goes_on = (8..=10).contains(&cases[turn].0);
            lr = parts[turn](step - start, base, if step == start && !goes_on { base } else { lr });
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
fn a_function_of_the_step_multiplies_as_its_table_does() {
    let factors: Vec<f64> = (1..40).map(|k| 1.0 - 0.01 * k as f64).collect();
    let table = MultiplicativeLR::new(factors.clone());
    let function =
        MultiplicativeFn::new(move |k| factors.get(usize::try_from(k).unwrap() - 1).copied().unwrap_or(1.0));
    for step in [0, 1, 7, 39, 5, 40, 100, 39] {
        assert_eq!(function.at(step, 0.3).unwrap(), table.at(step, 0.3).unwrap(), "{step}");
    }
    let chain = |schedule: Box<dyn Schedule>| {
        ChainedScheduler::of(vec![
            schedule,
            Box::new(CosineAnnealingLR { eta_min: 0.1, ..CosineAnnealingLR::new(30) }),
        ])
    };
    for step in [0, 1, 29, 31, 60] {
        let got = chain(Box::new(function.clone())).at(step, 0.3).unwrap().lr;
        assert_close(got, chain(Box::new(table.clone())).at(step, 0.3).unwrap().lr, &format!("step {step}"));
    }
    // Shortly after a step that was asked for, and too long after.
    let calls = std::sync::atomic::AtomicU64::new(0);
    let halves = MultiplicativeFn::new(|_| {
        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        1.0
    });
    assert!(halves.at(1 << 20, 0.5).is_ok() && halves.at(1 << 21, 0.5).is_ok());
    let said = "schedule MultiplicativeFn at step 3145729: its function would be called for 1048577 steps, at most \
                1048576 are for one";
    assert_eq!(halves.at((3 << 20) + 1, 0.5).unwrap_err().to_string(), said);
    assert!(halves.at(u64::MAX, 0.5).is_err());
    assert_eq!(calls.into_inner(), 2 << 20);
    assert_eq!(
        MultiplicativeFn::new(|_| f64::NAN).at(1, 0.5).unwrap_err().to_string(),
        "learning rate at step 1 must be finite, got NaN"
    );
}

#[test]
fn an_average_goes_on_from_the_rate_that_it_finds() {
    let sequence = SequentialLR::new(ConstantLR { factor: 0.5, total_iters: 9 })
        .then(4, SWALR { anneal_epochs: 2, anneal_strategy: Anneal::Linear, ..SWALR::new(0.1) })
        .then(5, MultiplicativeLR::new([0.5]))
        .then(9, StepLR::new(5));
    let rates: Vec<f64> = (3..10).map(|step| sequence.at(step, 1.0).unwrap().lr).collect();
    assert_eq!(rates, [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 1.0]);
    // At a milestone of 0 there is none.
    let first = SequentialLR::new(StepLR::new(5)).then(0, SWALR { anneal_epochs: 2, ..SWALR::new(0.1) });
    assert_eq!([0, 2].map(|step| first.at(step, 1.0).unwrap().lr), [1.0, 0.1]);
    // Many of them one after the other.
    let (mut many, mut steps) = (vec![], vec![]);
    for index in 0..2000_u64 {
        many.push(Box::new(MultiplicativeLR::new([0.5, 0.5])) as Box<dyn Schedule>);
        steps.push(2 * index + 2);
    }
    many.push(Box::new(StepLR::new(1)));
    let many = SequentialLR::of(many, steps);
    assert_eq!(many.at(7, 1.0).unwrap().lr, 0.0625);
    assert_eq!(many.at(3999, 1.0).unwrap().lr, 0.0);
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
    let said = "schedule ChainedScheduler at step 1 of schedulers[0]: the rate is 0, and no factor can raise it again";
    assert_eq!(chain.at(5, 2.0).unwrap_err().to_string(), said);
}

#[test]
fn a_chain_of_factors_takes_no_longer_for_a_late_step() {
    let chain = ChainedScheduler::new(ConstantLR::default()).and(StepLR { gamma: 1.0, ..StepLR::new(7) });
    assert_eq!(chain.link(), Link::Scales);
    assert_eq!(chain.at(u64::MAX, 0.5).unwrap(), Point::rate(0.5));
}
