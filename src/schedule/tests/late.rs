//! Late steps, extreme options and deep nesting must give a number or an error in short time.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::schedule::*;

/// Time limit for a whole table on any machine. Computing a late step from all steps before it would take hours.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails if `work` takes long.
pub(super) fn soon(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        // The receiver is gone if the limit was exceeded.
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

/// Any schedule that contains no other, selected by number.
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

/// Checks the answers at all steps. A refused schedule counts as answered.
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
