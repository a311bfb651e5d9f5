//! Refused configurations and their messages.

use serde_json::json;

use crate::schedule::*;

const KNOWN: &str = "known: ChainedScheduler, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CosineDecay, \
    CosineDecayRestarts, CyclicLR, ExponentialDecay, ExponentialDecayLR, ExponentialLR, InverseTimeDecay, LinearLR, \
    MultiStepLR, MultiplicativeLR, OneCycleLR, PiecewiseConstantDecay, PiecewiseConstantSchedule, PolynomialDecay, PolynomialLR, \
    ReduceLROnPlateau, SWALR, SequentialLR, StepLR, WarmupCosineSchedule, WarmupLinearDecay, WarmupScheduler";

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    for (name, nearest) in [
        ("CosineAnealingLR", ", did you mean \"CosineAnnealingLR\"?"),
        ("ReduceLrOnPlateau", ", did you mean \"ReduceLROnPlateau\"?"),
        ("qqq", ""),
    ] {
        let error = from_json(&json!({"name": name})).unwrap_err().to_string();
        assert_eq!(error, format!("unknown schedule {name:?}{nearest}; {KNOWN}"));
    }
}

#[test]
fn refusals_say_what_to_write() {
    let step = json!({"name": "StepLR", "step_size": 5});
    let plateau = json!({"name": "ReduceLROnPlateau"});
    let rows = [
        (json!({"step_size": 5}), "schedule: missing field `name`"),
        (json!({"name": "StepLR"}), "schedule StepLR: missing field `step_size`"),
        (
            json!({"name": "StepLR", "step_size": 5, "gama": 0.5}),
            "unknown field of StepLR \"gama\", did you mean \"gamma\"?; known: step_size, gamma",
        ),
        (json!({"name": "StepLR", "step_size": 0}), "step_size must be at least 1, got 0"),
        (
            json!({"name": "StepLR", "step_size": 2.5}),
            "schedule StepLR: step_size: invalid type: floating point `2.5`, expected u64",
        ),
        (
            json!({"name": "StepLR", "step_size": 5, "gamma": "0.5"}),
            "schedule StepLR: gamma: invalid type: string \"0.5\", expected f64",
        ),
        (
            json!({"name": "StepLR", "step_size": 5, "gamma": -1}),
            "gamma must be finite and at least 0, got -1",
        ),
        (json!({"name": "ConstantLR", "factor": 1.5}), "factor must be in [0, 1], got 1.5"),
        (json!({"name": "ConstantLR", "total_iters": 0}), "total_iters must be at least 1, got 0"),
        (json!({"name": "LinearLR", "start_factor": 0}), "start_factor must be above 0 and at most 1, got 0"),
        (json!({"name": "LinearLR", "start_factor": 2}), "start_factor must be above 0 and at most 1, got 2"),
        (json!({"name": "LinearLR", "end_factor": -0.5}), "end_factor must be in [0, 1], got -0.5"),
        (json!({"name": "LinearLR", "total_iters": 0}), "total_iters must be at least 1, got 0"),
        (json!({"name": "CosineAnnealingLR"}), "schedule CosineAnnealingLR: missing field `T_max`"),
        (json!({"name": "CosineAnnealingLR", "T_max": 0}), "T_max must be at least 1, got 0"),
        (
            json!({"name": "CosineAnnealingLR", "t_max": 9}),
            "unknown field of CosineAnnealingLR \"t_max\", did you mean \"T_max\"?; \
             known: T_max, eta_min, clamp",
        ),
        (
            json!({"name": "CosineAnnealingLR", "T_max": 9, "eta_min": -0.1}),
            "eta_min must be finite and at least 0, got -0.1",
        ),
        (
            json!({"name": "CosineAnnealingLR", "T_max": 9, "clamp": 1}),
            "schedule CosineAnnealingLR: clamp: invalid type: integer `1`, expected a boolean",
        ),
        (json!({"name": "OneCycleLR", "total_steps": 9}), "schedule OneCycleLR: missing field `max_lr`"),
        (
            json!({"name": "OneCycleLR", "max_lr": 1}),
            "schedule OneCycleLR: needs total_steps, or both epochs and steps_per_epoch",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "epochs": 3}),
            "schedule OneCycleLR: needs total_steps, or both epochs and steps_per_epoch",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 7, "epochs": 3, "steps_per_epoch": 2}),
            "schedule OneCycleLR: total_steps is 7, but 3 epochs of 2 steps are 6",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 0}),
            "total_steps must be at least 1, got 0",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "epochs": 0, "steps_per_epoch": 2}),
            "epochs must be at least 1, got 0",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "epochs": 2, "steps_per_epoch": 0}),
            "steps_per_epoch must be at least 1, got 0",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": null}),
            "schedule OneCycleLR: total_steps: invalid type: null, expected u64",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": -1, "total_steps": 9}),
            "max_lr must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "pct_start": 1.1}),
            "pct_start must be in [0, 1], got 1.1",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "div_factor": 0}),
            "div_factor must be finite and above 0, got 0",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "final_div_factor": 0}),
            "final_div_factor must be finite and above 0, got 0",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "max_momentum": 1}),
            "max_momentum must be in [0, 1), got 1",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "base_momentum": -0.1}),
            "base_momentum must be in [0, 1), got -0.1",
        ),
        (
            json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 9, "anneal_strategy": "Cos"}),
            "schedule OneCycleLR: anneal_strategy: unknown variant `Cos`, expected `cos` or `linear`",
        ),
        // Lists of steps.
        (
            json!({"name": "MultiStepLR", "milestones": []}),
            "milestones must be steps in rising order, at least one, got []",
        ),
        (
            json!({"name": "MultiStepLR", "milestones": [5, 3]}),
            "milestones must be steps in rising order, at least one, got [5, 3]",
        ),
        (
            json!({"name": "MultiStepLR", "milestones": [-1, 3]}),
            "schedule MultiStepLR: milestones: invalid value: integer `-1`, expected u64",
        ),
        (
            json!({"name": "PiecewiseConstantDecay", "boundaries": [5, 3], "values": [1, 2, 3]}),
            "boundaries must be steps in rising order, at least one, got [5, 3]",
        ),
        (
            json!({"name": "PiecewiseConstantSchedule", "boundaries": [5, 9], "values": [1, 2]}),
            "schedule PiecewiseConstantSchedule: 2 boundaries need one value more, got 2",
        ),
        (
            json!({"name": "PiecewiseConstantSchedule", "boundaries": [5], "values": [1, -2]}),
            "values[1] must be finite and at least 0, got -2",
        ),
        // Ranges.
        (json!({"name": "ExponentialLR", "gamma": -0.5}), "gamma must be finite and at least 0, got -0.5"),
        (json!({"name": "PolynomialLR", "total_iters": 0}), "total_iters must be at least 1, got 0"),
        (json!({"name": "PolynomialLR", "power": -1}), "power must be finite and at least 0, got -1"),
        (json!({"name": "CosineAnnealingWarmRestarts", "T_0": 0}), "T_0 must be at least 1, got 0"),
        (
            json!({"name": "CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 0}),
            "T_mult must be at least 1, got 0",
        ),
        (
            json!({"name": "CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 1.5}),
            "schedule CosineAnnealingWarmRestarts: T_mult: invalid type: floating point `1.5`, expected u64",
        ),
        (
            json!({"name": "CosineDecayRestarts", "first_decay_steps": 5, "t_mul": 0.5}),
            "t_mul must be finite and at least 1, got 0.5",
        ),
        (json!({"name": "CosineDecay", "decay_steps": 5, "alpha": 1.5}), "alpha must be in [0, 1], got 1.5"),
        (
            json!({"name": "CosineDecay", "decay_steps": 5, "warmup_steps": 3}),
            "warmup_steps must be 0 without a warmup_target, got 3",
        ),
        (
            json!({"name": "ExponentialDecay", "decay_steps": 0, "decay_rate": 0.5}),
            "decay_steps must be at least 1, got 0",
        ),
        (
            json!({"name": "ExponentialDecayLR", "decay_steps": 5, "decay_rate": 0}),
            "decay_rate must be finite and above 0, got 0",
        ),
        (
            json!({"name": "InverseTimeDecay", "decay_steps": 5, "decay_rate": -1}),
            "decay_rate must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "PolynomialDecay", "decay_steps": 5, "end_learning_rate": -1}),
            "end_learning_rate must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "CyclicLR", "base_lr": 0, "max_lr": 1, "step_size_up": 0}),
            "step_size_up must be at least 1, got 0",
        ),
        (
            json!({"name": "CyclicLR", "base_lr": 0, "max_lr": 1, "mode": "triangular3"}),
            "schedule CyclicLR: mode: unknown variant `triangular3`, expected one of `triangular`, `triangular2`, \
             `exp_range`",
        ),
        (
            json!({"name": "WarmupCosineSchedule", "warmup_steps": 20, "total_steps": 10}),
            "warmup_steps must be at most total_steps, which is 10, got 20",
        ),
        (
            json!({"name": "WarmupLinearDecay", "warmup_steps": 20, "total_steps": 10}),
            "warmup_steps must be at most total_steps, which is 10, got 20",
        ),
        (
            json!({"name": "WarmupScheduler", "warmup_epochs": -1}),
            "schedule WarmupScheduler: warmup_epochs: invalid value: integer `-1`, expected u64",
        ),
        (json!({"name": "MultiplicativeLR"}), "schedule MultiplicativeLR: missing field `factors`"),
        (
            json!({"name": "MultiplicativeLR", "factors": [1, -0.5]}),
            "factors[1] must be finite and at least 0, got -0.5",
        ),
        (
            json!({"name": "MultiplicativeLR", "factors": 0.5}),
            "schedule MultiplicativeLR: factors: invalid type: floating point `0.5`, expected a sequence",
        ),
        (
            json!({"name": "MultiplicativeLR", "lr_lambda": [1]}),
            "unknown field of MultiplicativeLR \"lr_lambda\"; known: factors",
        ),
        (json!({"name": "SWALR"}), "schedule SWALR: missing field `swa_lr`"),
        (json!({"name": "SWALR", "swa_lr": -1}), "swa_lr must be finite and at least 0, got -1"),
        (
            json!({"name": "SWALR", "swa_lr": 1, "anneal_epochs": -1}),
            "schedule SWALR: anneal_epochs: invalid value: integer `-1`, expected u64",
        ),
        (
            json!({"name": "SWALR", "swa_lr": 1, "anneal_strategy": "cosine"}),
            "schedule SWALR: anneal_strategy: unknown variant `cosine`, expected `cos` or `linear`",
        ),
        (json!({"name": "ReduceLROnPlateau", "factor": 1}), "factor must be in [0, 1), got 1"),
        (json!({"name": "ReduceLROnPlateau", "threshold": 1}), "threshold must be in [0, 1), got 1"),
        (
            json!({"name": "ReduceLROnPlateau", "state": {}}),
            "unknown field of ReduceLROnPlateau \"state\"; known: mode, factor, patience, \
             threshold, threshold_mode, cooldown, min_lr, eps",
        ),
        // Schedules inside schedules.
        (
            json!({"name": "ChainedScheduler", "schedulers": {}}),
            "schedule ChainedScheduler: schedulers: invalid type: map, expected a sequence",
        ),
        (
            json!({"name": "SequentialLR", "schedulers": [step], "milestones": [], "interval": 3}),
            "schedule SequentialLR: interval: invalid type: integer `3`, expected string or map",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": []}),
            "schedulers must be a list of at least one schedule, got []",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [step, 3]}),
            "schedule of schedulers[1]: expected an object with a name, got 3",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [step, {"name": "ExponentialLR", "gamma": -1}]}),
            "gamma of schedulers[1] must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [step, {"name": "ExponentialLR", "gama": 1}]}),
            "unknown field of ExponentialLR of schedulers[1] \"gama\", did you mean \"gamma\"?; known: gamma",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [{
                "name": "SequentialLR", "milestones": [3], "schedulers": [step, {"name": "StepLR", "step_size": 0}],
            }]}),
            "step_size of schedulers[1] of schedulers[0] must be at least 1, got 0",
        ),
        (
            json!({"name": "SequentialLR", "schedulers": [step, step], "milestones": []}),
            "schedule SequentialLR: 2 schedulers need one milestone fewer, got 0",
        ),
        (
            json!({"name": "SequentialLR", "schedulers": [step, step, step], "milestones": [9, 4]}),
            "milestones must be steps in rising order, got [9, 4]",
        ),
        (
            json!({"name": "SequentialLR", "schedulers": [step, plateau], "milestones": [4]}),
            "schedule SequentialLR: schedulers[1] is ReduceLROnPlateau, which follows a metric: only the outermost \
             schedule hears one",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [plateau]}),
            "schedule ChainedScheduler: schedulers[0] is ReduceLROnPlateau, which follows a metric: only the outermost \
             schedule hears one",
        ),
        // The interval.
        (
            json!({"name": "StepLR", "step_size": 5, "interval": "batch"}),
            "schedule StepLR: interval: unknown variant `batch`, expected `step` or `epoch`",
        ),
        (
            json!({"name": "ChainedScheduler", "schedulers": [
                {"name": "StepLR", "step_size": 5, "interval": "epoch"},
            ]}),
            "schedule StepLR of schedulers[0]: interval belongs to ChainedScheduler",
        ),
    ];
    for (json, message) in rows {
        assert_eq!(from_json(&json).unwrap_err().to_string(), message, "{json}");
    }
}

#[test]
fn what_json_cannot_carry_is_refused_in_typed_form() {
    let rows: [(Box<dyn Schedule>, &str); 4] = [
        (
            Box::new(StepLR { gamma: f64::NAN, ..StepLR::new(5) }),
            "gamma must be finite and at least 0, got NaN",
        ),
        (
            Box::new(LinearLR { start_factor: f64::NAN, ..Default::default() }),
            "start_factor must be above 0 and at most 1, got NaN",
        ),
        (Box::new(OneCycleLR::new(f64::INFINITY, 9)), "max_lr must be finite and at least 0, got inf"),
        (
            Box::new(OneCycleLR::of_epochs(0.1, u64::MAX, 2)),
            "schedule OneCycleLR: 18446744073709551615 epochs of 2 steps are too many",
        ),
    ];
    for (schedule, message) in rows {
        assert_eq!(schedule.check().unwrap_err().to_string(), message);
    }
}

#[test]
fn a_nested_schedule_that_counts_epochs_is_refused_in_typed_form() {
    let chain = ChainedScheduler::new(StepLR::new(5)).and(PerEpoch(StepLR::new(5)));
    let said = "schedule ChainedScheduler: schedulers[1] is StepLR, which counts epochs: only the outermost \
                schedule has an interval";
    assert_eq!(chain.check().unwrap_err().to_string(), said);
}

#[test]
fn a_step_past_the_end_of_a_nested_cycle_is_refused_with_its_place() {
    let chain = ChainedScheduler::new(OneCycleLR::new(0.1, 10)).and(ExponentialLR::new(0.9));
    assert!(chain.at(10, 1.0).is_ok());
    let said = "step of schedulers[0] must be at most 10, the total_steps of OneCycleLR, got 11";
    assert_eq!(chain.at(11, 1.0).unwrap_err().to_string(), said);
}
