use serde_json::json;

use super::*;

#[test]
fn the_table_holds_each_name_once_and_in_order() {
    assert!(SCHEDULES.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn refusals_say_what_to_write() {
    let rows = [
        (
            json!({"name": "CosineAnealingLR", "T_max": 5}),
            "unknown schedule \"CosineAnealingLR\", did you mean \"CosineAnnealingLR\"?; \
             known: ConstantLR, CosineAnnealingLR, LinearLR, OneCycleLR, StepLR",
        ),
        (
            json!({"name": "qqq"}),
            "unknown schedule \"qqq\"; known: ConstantLR, CosineAnnealingLR, LinearLR, OneCycleLR, StepLR",
        ),
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
fn every_schedule_survives_its_own_json() {
    let rows: [Box<dyn Schedule>; 5] = [
        Box::new(ConstantLR::default()),
        Box::new(CosineAnnealingLR::new(7)),
        Box::new(LinearLR::default()),
        Box::new(OneCycleLR { three_phase: true, ..OneCycleLR::of_epochs(0.1, 6, 10) }),
        Box::new(StepLR { gamma: 0.3, ..StepLR::new(4) }),
    ];
    assert_eq!(rows.len(), SCHEDULES.len());
    for (schedule, entry) in rows.iter().zip(SCHEDULES) {
        let json = schedule.to_json().unwrap();
        assert_eq!(json["name"], entry.name);
        assert_eq!(format!("{:?}", from_json(&json).unwrap()), format!("{schedule:?}"));
    }
    assert_eq!(from_fn(|_, base| base).to_json(), None);
}
