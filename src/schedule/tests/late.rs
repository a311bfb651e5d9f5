//! Late steps, extreme options and deep nests: an answer that is a number or a refusal, and soon.

use std::f64::consts::PI;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schedule::*;

/// For a whole table, on any machine; a step that is computed from all before it takes hours.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails if `work` takes long.
fn soon(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        // The other side is gone where this came too late.
        let _ = done.send(());
    });
    match wait.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} takes longer than {PATIENCE:?}"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

const STEPS: [u64; 15] = [
    0,
    1,
    2,
    7,
    100,
    4096,
    65_537,
    1_000_003,
    (1 << 24) + 1,
    1_000_000_000,
    1 << 53,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];
const COUNTS: [u64; 9] = [0, 1, 2, 10, 1000, 1_000_000_007, 1 << 53, u64::MAX - 1, u64::MAX];
const NUMBERS: [f64; 13] = [
    0.0,
    f64::MIN_POSITIVE,
    1e-308,
    1e-17,
    0.1,
    1.0 - f64::EPSILON,
    1.0,
    1.0 + f64::EPSILON,
    1.5,
    2.0,
    1e17,
    1e308,
    f64::MAX,
];

/// Any schedule but those that hold others, by number.
fn any_one(kind: usize, n: [u64; 3], x: [f64; 3], flag: bool) -> Value {
    let list = [n[0].min(n[1]), n[0].max(n[1])];
    let mode = ["triangular", "triangular2", "exp_range"][kind % 3];
    let anneal = ["cos", "linear"][usize::from(flag)];
    match kind % 24 {
        0 => json!({"name": "StepLR", "step_size": n[0], "gamma": x[0]}),
        1 => json!({"name": "MultiStepLR", "milestones": list, "gamma": x[0]}),
        2 => json!({"name": "ConstantLR", "factor": x[0], "total_iters": n[0]}),
        3 => json!({"name": "LinearLR", "start_factor": x[0], "end_factor": x[1], "total_iters": n[0]}),
        4 => json!({"name": "ExponentialLR", "gamma": x[0]}),
        5 => json!({"name": "MultiplicativeLR", "factors": x}),
        6 => json!({"name": "SWALR", "swa_lr": x[0], "anneal_epochs": n[0], "anneal_strategy": anneal}),
        7 => json!({"name": "PolynomialLR", "total_iters": n[0], "power": x[0]}),
        8 => json!({"name": "CosineAnnealingLR", "T_max": n[0], "eta_min": x[0], "clamp": flag}),
        9 => json!({"name": "CosineAnnealingWarmRestarts", "T_0": n[0], "T_mult": n[1], "eta_min": x[0]}),
        10 => json!({"name": "CyclicLR", "base_lr": x[0], "max_lr": x[1], "step_size_up": n[0],
                     "step_size_down": n[1], "mode": mode, "gamma": x[2]}),
        11 => json!({"name": "OneCycleLR", "max_lr": x[0], "total_steps": n[0], "div_factor": x[1],
                     "final_div_factor": x[2], "three_phase": flag, "anneal_strategy": anneal}),
        12 => json!({"name": "WarmupScheduler", "warmup_epochs": n[0], "warmup_start_lr": x[0]}),
        13 => json!({"name": "WarmupCosineSchedule", "warmup_steps": list[0], "total_steps": list[1],
                     "warmup_start_lr": x[0], "eta_min": x[1]}),
        14 => json!({"name": "PiecewiseConstantSchedule", "boundaries": list, "values": x}),
        15 => json!({"name": "ExponentialDecayLR", "decay_steps": n[0], "decay_rate": x[0],
                     "transition_begin": n[1], "staircase": flag, "end_value": x[1]}),
        16 => json!({"name": "ExponentialDecay", "decay_steps": n[0], "decay_rate": x[0], "staircase": flag}),
        17 if flag => json!({"name": "CosineDecay", "decay_steps": n[0], "alpha": x[0]}),
        17 => json!({"name": "CosineDecay", "decay_steps": n[0], "alpha": x[0], "warmup_target": x[1],
                     "warmup_steps": n[1]}),
        18 => json!({"name": "CosineDecayRestarts", "first_decay_steps": n[0], "t_mul": x[0], "m_mul": x[1],
                     "alpha": x[2]}),
        19 => {
            json!({"name": "PolynomialDecay", "decay_steps": n[0], "end_learning_rate": x[0], "power": x[1],
                     "cycle": flag})
        }
        20 => json!({"name": "InverseTimeDecay", "decay_steps": n[0], "decay_rate": x[0], "staircase": flag}),
        21 => json!({"name": "PiecewiseConstantDecay", "boundaries": list, "values": x}),
        22 => json!({"name": "WarmupLinearDecay", "warmup_steps": list[0], "total_steps": list[1]}),
        _ => {
            json!({"name": "ExponentialDecayLR", "decay_steps": n[0], "decay_rate": x[0], "staircase": flag})
        }
    }
}

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![proptest::sample::select(&COUNTS[..]), 0..50_u64, any::<u64>()]
}

fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        proptest::sample::select(&NUMBERS[..]),
        0.0..1.0_f64,
        any::<f64>().prop_filter("a finite number", |x| x.is_finite()).prop_map(f64::abs)
    ]
}

fn any_schedule() -> impl Strategy<Value = Value> {
    let leaf =
        (0..24_usize, [counts(), counts(), counts()], [numbers(), numbers(), numbers()], any::<bool>())
            .prop_map(|(kind, n, x, flag)| any_one(kind, n, x, flag));
    leaf.prop_recursive(3, 12, 3, |inner| {
        let members = proptest::collection::vec(inner, 1..4);
        (members, any::<bool>(), counts(), counts()).prop_map(|(members, chained, one, two)| {
            if chained {
                return json!({"name": "ChainedScheduler", "schedulers": members});
            }
            let milestones = [one.min(two), one.max(two)];
            json!({"name": "SequentialLR", "milestones": milestones[..members.len() - 1], "schedulers": members})
        })
    })
}

/// Whether it answers all steps as it should; a schedule that is refused has answered.
fn answers(json: &Value, base: f64, steps: &[u64]) {
    let Ok(schedule) = from_json(json) else { return };
    for step in steps {
        if let Ok(point) = schedule.at(*step, base) {
            assert!(point.lr.is_finite(), "{json} at {step} from {base}: {point:?}");
            assert!(point.momentum.is_none_or(f64::is_finite), "{json} at {step} from {base}: {point:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..Default::default() })]

    #[test]
    fn any_schedule_answers_any_step_soon(
        json in any_schedule(),
        base in numbers(),
        more in proptest::collection::vec(any::<u64>(), 3),
    ) {
        let steps: Vec<u64> = STEPS.into_iter().chain(more).collect();
        let what = format!("{json} from {base}");
        soon(&what, move || answers(&json, base, &steps));
    }
}

#[test]
fn every_schedule_answers_extreme_options_soon() {
    soon("the table", || {
        for kind in 0..24 {
            for count in COUNTS {
                for number in NUMBERS {
                    let others = [number, 1.0, 0.5];
                    answers(&any_one(kind, [count, 1, 7], others, true), 0.1, &STEPS);
                    answers(&any_one(kind, [count, u64::MAX, 7], [number; 3], false), f64::MAX, &STEPS);
                    answers(&any_one(kind, [1, count, 7], [0.5, number, 0.5], false), 0.0, &STEPS);
                }
            }
        }
    });
}

#[test]
fn restarts_of_huge_factors_are_waves() {
    let restarts = |t_mul| CosineDecayRestarts { t_mul, m_mul: 0.5, ..CosineDecayRestarts::new(10) };
    // The second wave has barely begun.
    for t_mul in [1e17, 1e300, 1e308, f64::MAX] {
        let rates = [0, 5, 10, 1000].map(|step| restarts(t_mul).at(step, 1.0).unwrap().lr);
        assert_eq!(rates, [1.0, 0.5, 0.5, 0.5], "{t_mul}");
    }
    let warm = CosineAnnealingWarmRestarts { t_mult: u64::MAX, ..CosineAnnealingWarmRestarts::new(1 << 63) };
    assert_eq!([0, 1 << 62, u64::MAX].map(|step| warm.at(step, 1.0).unwrap().lr), [1.0, 0.5, 1.0]);
    let zigzag = CyclicLR { step_size_up: u64::MAX, ..CyclicLR::new(0.0, 1.0) };
    assert_eq!([1 << 63, u64::MAX].map(|step| zigzag.at(step, 1.0).unwrap().lr), [0.5, 1.0]);
}

#[test]
fn a_rate_that_no_number_holds_is_refused_with_its_step() {
    let rows: [(Box<dyn Schedule>, &str); 5] = [
        (Box::new(ExponentialLR::new(1e308)), "learning rate at step 7 must be finite, got inf"),
        (
            Box::new(StepLR { gamma: 1e308, ..StepLR::new(2) }),
            "learning rate at step 7 must be finite, got inf",
        ),
        (
            Box::new(CosineDecayRestarts { m_mul: 1e308, ..CosineDecayRestarts::new(1) }),
            "learning rate at step 7 must be finite, got inf",
        ),
        (
            Box::new(CyclicLR { mode: CyclicMode::ExpRange, gamma: 1e308, ..CyclicLR::new(0.0, 1.0) }),
            "learning rate at step 7 must be finite, got inf",
        ),
        (
            Box::new(ChainedScheduler::new(StepLR::new(1)).and(MultiplicativeLR::new([1e308, 1e308]))),
            "learning rate at step 7 of schedulers[1] must be finite, got inf",
        ),
    ];
    for (schedule, said) in rows {
        assert_eq!(schedule.at(7, 1.0).unwrap_err().to_string(), said);
    }
    assert_eq!(ExponentialLR::new(1e308).at(7, 0.0).unwrap(), Point::rate(0.0));
}

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

/// Every way on which a late step of a chain is computed, against all steps one by one.
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
    // Over the ends of walked stretches, in steps and in jumps.
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

fn nest(levels: usize, name: &str) -> Value {
    (1..levels).fold(json!({"name": "StepLR", "step_size": 3}), |inner, _| {
        let mut json = json!({"name": name});
        if name == "SequentialLR" {
            json["milestones"] = json!([]);
        }
        json["schedulers"] = Value::Array(vec![inner]);
        json
    })
}

#[test]
fn nests_are_read_up_to_a_depth_that_files_hold() {
    for name in ["ChainedScheduler", "SequentialLR"] {
        let deepest = nest(60, name);
        let schedule = from_json(&deepest).unwrap();
        assert_eq!(schedule.at(7, 1.0).unwrap(), StepLR::new(3).at(7, 1.0).unwrap());
        assert_eq!(schedule.levels(), 60);
        let json = schedule.to_json().unwrap();
        // As deep in a file as a checkpoint of a program may have it.
        let text = json!({"run": {"options": {"schedule": json}}}).to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        for levels in [61, 2000] {
            let said = format!("schedulers must be at most 60 deep in each other, got {levels}");
            assert_eq!(from_json(&nest(levels, name)).unwrap_err().to_string(), said);
        }
    }
    let mut typed: Box<dyn Schedule> = Box::new(StepLR::new(3));
    for _ in 1..1000 {
        typed = Box::new(ChainedScheduler::of(vec![typed]));
    }
    let said = "schedulers must be at most 60 deep in each other, got 1000";
    assert_eq!(typed.check().unwrap_err().to_string(), said);
}

#[test]
fn wide_lists_are_read_once() {
    // A copy of the rest for each member would be 10^10 values.
    soon("a list of 100,000 schedules", || {
        let members = vec![json!({"name": "StepLR", "step_size": 3}); 100_000];
        let nested = json!({"name": "ChainedScheduler", "schedulers": [{"name": "ChainedScheduler", "schedulers": members}]});
        assert!(from_json(&nested).is_ok());
    });
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

/// The whole of a long sum is what one step gives.
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
