//! Compares late steps of a chain with the same steps computed one by one.

use std::f64::consts::PI;

use serde_json::{Value, json};

use super::late::soon;
use crate::schedule::*;

/// A chain of a cosine and of what multiplies the rate by `start` at step 0 and by `ratio(k)` at the step `k`.
struct Chain {
    t_max: u64,
    eta_min: f64,
    other: Value,
    start: f64,
    ratio: fn(u64) -> f64,
}

impl Chain {
    fn new(t_max: u64, eta_min: f64, other: Value, start: f64, ratio: fn(u64) -> f64) -> Self {
        Self { t_max, eta_min, other, start, ratio }
    }

    fn json(&self, cosine_first: bool) -> Value {
        let cosine = json!({"name": "CosineAnnealingLR", "T_max": self.t_max, "eta_min": self.eta_min});
        let mut members = [cosine, self.other.clone()];
        if !cosine_first {
            members.reverse();
        }
        json!({"name": "ChainedScheduler", "schedulers": members})
    }

    /// PyTorch's recursion, step by step.
    fn rates(&self, cosine_first: bool, last: u64) -> Vec<f64> {
        let (n, eta, base) = (self.t_max, self.eta_min, 0.1);
        let cos = |k: u64| (PI * k as f64 / n as f64).cos();
        let mut rates = vec![base * self.start];
        for k in 1..=last {
            let before = rates[rates.len() - 1];
            let cosine = |lr: f64| match k > n && (k - 1 - n).is_multiple_of(2 * n) {
                true => lr + (base - eta) * (1.0 - cos(1)) / 2.0,
                false => (1.0 + cos(k)) / (1.0 + cos(k - 1)) * (lr - eta) + eta,
            };
            let ratio = (self.ratio)(k);
            rates.push(if cosine_first { cosine(before) * ratio } else { cosine(before * ratio) });
        }
        rates
    }
}

/// Covers every way in which a late step is computed.
#[test]
fn a_late_step_of_a_chain_is_the_recursions() {
    let constant = json!({"name": "ConstantLR", "factor": 0.5, "total_iters": 9});
    let linear = json!({"name": "LinearLR", "start_factor": 0.25, "total_iters": 50_000});
    let drops = json!({"name": "StepLR", "step_size": 10_000, "gamma": 0.5});
    let inverse = json!({"name": "InverseTimeDecay", "decay_steps": 1000, "decay_rate": 0.5});
    let poly = json!({"name": "PolynomialLR", "total_iters": 90_000, "power": 2});
    let exponential = |gamma: f64| json!({"name": "ExponentialLR", "gamma": gamma});
    let rows = [
        Chain::new(70_000, 0.01, constant, 0.5, |k| if k == 9 { 2.0 } else { 1.0 }),
        Chain::new(70_000, 0.01, linear, 0.25, |k| {
            let line = |k: u64| 0.25 + 0.75 * k.min(50_000) as f64 / 50_000.0;
            line(k) / line(k - 1)
        }),
        Chain::new(70_000, 0.02, drops, 1.0, |k| if k.is_multiple_of(10_000) { 0.5 } else { 1.0 }),
        Chain::new(70_000, 0.01, inverse, 1.0, |k| {
            (1.0 + 0.5e-3 * (k - 1) as f64) / (1.0 + 0.5e-3 * k as f64)
        }),
        Chain::new(70_000, 0.01, poly, 1.0, |k| match k {
            0..90_000 => ((90_000 - k) as f64 / (90_001 - k) as f64).powi(2),
            90_000 => 0.0,
            _ => 1.0,
        }),
        Chain::new(70_000, 0.01, exponential(0.9999), 1.0, |_| 0.9999),
        Chain::new(70_000, 0.01, exponential(1.0001), 1.0, |_| 1.0001),
        Chain::new(70_000, 0.01, exponential(0.9), 1.0, |_| 0.9),
        Chain::new(70_000, 0.0, exponential(0.9999), 1.0, |_| 0.9999),
        Chain::new(5000, 0.01, exponential(0.9999), 1.0, |_| 0.9999),
        Chain::new(50, 0.01, exponential(0.9999), 1.0, |_| 0.9999),
    ];
    for (chain, cosine_first) in rows.iter().flat_map(|chain| [(chain, true), (chain, false)]) {
        let (json, last) = (chain.json(cosine_first), 130_000);
        let want = chain.rates(cosine_first, last);
        let walking = from_json(&json).unwrap();
        for step in [
            1, 8, 9, 10, 4095, 4096, 4097, 4999, 5001, 8192, 8193, 12_289, 20_000, 69_999, 70_001, 74_100,
            90_001, 99_999, last,
        ] {
            let fresh = from_json(&json).unwrap().at(step, 0.1).unwrap();
            assert_eq!(walking.at(step, 0.1).unwrap(), fresh, "{json} at {step}");
            let want = want[usize::try_from(step).unwrap()];
            // Past its lowest the distance to the floor has fewer digits, in PyTorch too.
            let off = if step <= chain.t_max { 2e-12 } else { 2e-8 };
            assert!(
                (fresh.lr - want).abs() <= off * want.abs() + 1e-16,
                "{json} at {step}: {} {want}",
                fresh.lr
            );
        }
    }
}

#[test]
fn late_steps_of_a_sum_go_on_as_they_began() {
    // Across the ends of ranges computed step by step, both one step at a time and in jumps.
    let json = Chain::new(70_000, 0.01, json!({"name": "ExponentialLR", "gamma": 0.9999}), 1.0, |_| 0.9999)
        .json(true);
    let walking = from_json(&json).unwrap();
    for step in 0..20_000 {
        let got = walking.at(step, 0.1).unwrap();
        if step % 611 == 0 || step % 4096 < 2 {
            assert_eq!(got, from_json(&json).unwrap().at(step, 0.1).unwrap(), "{step}");
        }
    }
    for step in [9000, 3, 8191, 8192, 8191, 8193, 130_000, 12_288, 12_287] {
        let got = walking.at(step, 0.1).unwrap();
        assert_eq!(got, from_json(&json).unwrap().at(step, 0.1).unwrap(), "{step}");
    }
}

#[test]
fn a_chain_of_too_many_turns_is_refused_and_walked() {
    // Each drop is a leg, and each leg a step.
    let chain = || {
        ChainedScheduler::new(StepLR { gamma: 1.0 - 1e-9, ..StepLR::new(2) })
            .and(CosineAnnealingLR { eta_min: 0.1, ..CosineAnnealingLR::new(1 << 40) })
    };
    let said = "schedule ChainedScheduler: from step 1 on its schedules move the rate in too many legs to \
                compute: go there by steps, or chain with what changes smoothly";
    soon("a refusal", move || assert_eq!(chain().at(1_000_000_000, 0.5).unwrap_err().to_string(), said));
    let walking = chain();
    assert!(walking.at(100_000, 0.5).is_ok());
    assert!(walking.at(190_000, 0.5).is_ok());
    assert!(chain().at(190_000, 0.5).is_err());
}

/// One call computes the whole long sum.
#[test]
fn a_chain_answers_a_thousand_million_steps() {
    let of = |factor: Box<dyn Schedule>, eta_min| {
        let cosine = CosineAnnealingLR { eta_min, ..CosineAnnealingLR::new(1_500_000_000) };
        ChainedScheduler::of(vec![Box::new(cosine), factor])
    };
    soon("late steps", move || {
        let step = 1_000_000_000;
        let cos = (1.0 + (PI * 2.0 / 3.0).cos()) / 2.0;
        let got = of(Box::<ConstantLR>::default(), 0.01).at(step, 0.3).unwrap().lr;
        assert!((got - (0.01 + (0.3 - 0.01) * cos)).abs() < 1e-10, "{got}");
        let got = of(Box::new(ExponentialLR::new(1.0 - 1e-9)), 0.0).at(step, 0.3).unwrap().lr;
        let want = 0.3 * cos * (-1.0_f64).exp();
        assert!((got - want).abs() < 1e-7 * want, "{got} {want}");
        // What the floor adds in a step is what the decay takes: f * h = (1 - gamma + h) * lr.
        let fast = of(Box::new(ExponentialLR::new(0.999)), 0.01).at(step, 0.3).unwrap().lr;
        let fall = PI / 1.5e9 * (PI / 3.0).tan();
        let want = 0.01 * fall * 0.999 / (1e-3 + fall * 0.999);
        assert!((fast - want).abs() < 1e-5 * want, "{fast} {want}");
    });
}
