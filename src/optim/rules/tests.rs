use serde_json::json;

use super::*;
use crate::optim::rule::{Family, Rule};

#[test]
fn the_table_holds_each_name_once_and_in_order() {
    assert!(RULES.is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn every_rule_survives_its_own_json() {
    for entry in RULES {
        let json = entry.default_rule().to_json();
        assert_eq!(from_json(&json).unwrap().to_json(), json);
        if entry.family != Family::Around {
            assert_eq!(from_json(&json!({"name": entry.name})).unwrap().to_json(), json);
        }
    }
}

#[test]
fn refusals_say_what_to_write() {
    let names: Vec<&str> = RULES.iter().map(|entry| entry.name).collect();
    let unknown =
        format!("unknown optimizer \"adamw\", did you mean \"AdamW\"?; known: {}", names.join(", "));
    let rows = [
        (json!([]), "optimizer: expected an object with a name, got []"),
        (json!({"lr": 1}), "optimizer: missing field `name`"),
        (json!({"name": "adamw"}), &unknown),
        (
            json!({"name": "SGD", "momentun": 0.9}),
            "unknown field of SGD \"momentun\", did you mean \"momentum\"?; \
             known: lr, momentum, dampening, weight_decay, nesterov, maximize",
        ),
        (
            json!({"name": "AdamW", "decoupled_weight_decay": true}),
            "unknown field of AdamW \"decoupled_weight_decay\", did you mean \"weight_decay\"?; \
             known: lr, betas, eps, eps_root, weight_decay, nesterov, amsgrad, maximize, variant",
        ),
        (json!({"name": "SGD", "lr": null}), "optimizer SGD: lr: invalid type: null, expected f64"),
        (
            json!({"name": "SGD", "lr": "1e-3"}),
            "optimizer SGD: lr: invalid type: string \"1e-3\", expected f64",
        ),
        (
            json!({"name": "SGD", "nesterov": 1}),
            "optimizer SGD: nesterov: invalid type: integer `1`, expected a boolean",
        ),
        (
            json!({"name": "Adam", "betas": [0.9]}),
            "optimizer Adam: betas: invalid length 1, expected a tuple of size 2",
        ),
        (
            json!({"name": "Adam", "betas": 0.9}),
            "optimizer Adam: betas: invalid type: floating point `0.9`, expected a tuple of size 2",
        ),
        (
            json!({"name": "Adam", "variant": "Torch"}),
            "optimizer Adam: variant: unknown variant `Torch`, expected `torch` or `optax`",
        ),
        (json!({"name": "Adam", "betas": [0.9, 1.0]}), "betas[1] must be in [0, 1), got 1"),
        (json!({"name": "Adam", "betas": [-0.1, 0.9]}), "betas[0] must be in [0, 1), got -0.1"),
        (json!({"name": "Adam", "lr": -1e-3}), "lr must be finite and at least 0, got -0.001"),
        (json!({"name": "AdamW", "eps": -1}), "eps must be finite and at least 0, got -1"),
        (
            json!({"name": "RMSprop", "weight_decay": -0.5}),
            "weight_decay must be finite and at least 0, got -0.5",
        ),
        (json!({"name": "RMSprop", "alpha": -0.5}), "alpha must be finite and at least 0, got -0.5"),
        (json!({"name": "SGD", "momentum": -0.5}), "momentum must be finite and at least 0, got -0.5"),
        (json!({"name": "Adagrad", "lr_decay": -1}), "lr_decay must be finite and at least 0, got -1"),
        (json!({"name": "ASGD", "lambd": -1}), "lambd must be finite and at least 0, got -1"),
        (json!({"name": "ASGD", "t0": -1}), "t0 must be finite and at least 0, got -1"),
        (json!({"name": "ASGD", "alpha": -1}), "alpha must be finite and at least 0, got -1"),
        (json!({"name": "ScheduleFreeAdamW", "betas": [0, 0.9]}), "betas[0] must be in (0, 1), got 0"),
        (
            json!({"name": "ScheduleFreeAdamW", "warmup_steps": -1}),
            "optimizer ScheduleFreeAdamW: warmup_steps: invalid value: integer `-1`, expected u64",
        ),
        (
            json!({"name": "ScheduleFreeAdamW", "weight_lr_power": -1}),
            "weight_lr_power must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "ScheduleFreeAdamW"}}),
            "optimizer Lookahead: inner: the average of ScheduleFreeAdamW follows from parameters that Lookahead would move",
        ),
        (json!({"name": "Muon", "momentum": 1}), "momentum must be in [0, 1), got 1"),
        (json!({"name": "Muon", "ns_steps": 100}), "ns_steps must be at most 99, got 100"),
        (
            json!({"name": "Muon", "adjust_lr_fn": "Original"}),
            "optimizer Muon: adjust_lr_fn: unknown variant `Original`, expected one of `original`, \
                 `match_rms_adamw`, `spectral_unclamped`",
        ),
        (
            json!({"name": "Muon", "ns_coefficients": [1, 2]}),
            "optimizer Muon: ns_coefficients: invalid length 2, expected an array of length 3",
        ),
        (json!({"name": "Muon", "adamw": {"betas": [1, 0.9]}}), "betas[0] must be in [0, 1), got 1"),
        (json!({"name": "Adan", "betas": [0.9, 0.9, 1]}), "betas[2] must be in [0, 1), got 1"),
        (
            json!({"name": "Adan", "betas": [0.9, 0.9]}),
            "optimizer Adan: betas: invalid length 2, expected a tuple of size 3",
        ),
        (json!({"name": "Adadelta", "rho": 1.5}), "rho must be in [0, 1], got 1.5"),
        (json!({"name": "Adamax", "betas": [0.9, 1]}), "betas[1] must be in [0, 1), got 1"),
        (
            json!({"name": "NAdam", "momentum_decay": -1}),
            "momentum_decay must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "NAdam", "variant": "optax", "momentum_decay": 4e-3}),
            "optimizer NAdam: the variant has no field `momentum_decay`",
        ),
        (
            json!({"name": "NAdam", "variant": "optax", "decoupled_weight_decay": false}),
            "optimizer NAdam: the variant has no field `decoupled_weight_decay`",
        ),
        (json!({"name": "RAdam", "betas": [1, 0.9]}), "betas[0] must be in [0, 1), got 1"),
        (
            json!({"name": "Yogi", "initial_accumulator_value": -1}),
            "initial_accumulator_value must be finite and at least 0, got -1",
        ),
        (json!({"name": "AdaBelief", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (json!({"name": "Adam", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (
            json!({"name": "Adam", "eps_root": null}),
            "optimizer Adam: eps_root: invalid type: null, expected f64",
        ),
        (
            json!({"name": "Adam", "amsgrad": true, "eps_root": 1e-3}),
            "eps_root must be 0 with amsgrad of the variant torch, got 0.001",
        ),
        (
            json!({"name": "AdamW", "amsgrad": true, "eps_root": 1e-3}),
            "eps_root must be 0 with amsgrad of the variant torch, got 0.001",
        ),
        (json!({"name": "AdamW", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (json!({"name": "Yogi", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (json!({"name": "Lamb", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (json!({"name": "Novograd", "eps_root": -1}), "eps_root must be finite and at least 0, got -1"),
        (json!({"name": "NAdam", "eps_root": 0}), "optimizer NAdam: the variant has no field `eps_root`"),
        (
            json!({"name": "NAdam", "variant": "optax", "eps_root": -1}),
            "eps_root must be finite and at least 0, got -1",
        ),
        (json!({"name": "RAdam", "eps_root": 0}), "optimizer RAdam: the variant has no field `eps_root`"),
        (json!({"name": "RAdam", "threshold": 5}), "optimizer RAdam: the variant has no field `threshold`"),
        (json!({"name": "RAdam", "nesterov": false}), "optimizer RAdam: the variant has no field `nesterov`"),
        (
            json!({"name": "RAdam", "variant": "optax", "threshold": 3.999}),
            "threshold must be finite and at least 4, got 3.999",
        ),
        (
            json!({"name": "RAdam", "variant": "optax", "threshold": null}),
            "optimizer RAdam: threshold: invalid type: null, expected f64",
        ),
        (
            json!({"name": "RMSprop", "initial_scale": -0.5}),
            "initial_scale must be finite and at least 0, got -0.5",
        ),
        (json!({"name": "RMSprop", "bias_correction": true, "alpha": 1}), "alpha must be in [0, 1), got 1"),
        (
            json!({"name": "RMSprop", "bias_correction": null}),
            "optimizer RMSprop: bias_correction: invalid type: null, expected a boolean",
        ),
        (
            json!({"name": "Adafactor", "factored": true}),
            "optimizer Adafactor: the variant has no field `factored`",
        ),
        (
            json!({"name": "Adafactor", "variant": "optax", "factored": null}),
            "optimizer Adafactor: factored: invalid type: null, expected a boolean",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "SGD"}, "reset_state": null}),
            "optimizer Lookahead: reset_state: invalid type: null, expected a boolean",
        ),
        (json!({"name": "Lion", "betas": [0.9, 1]}), "betas[1] must be in [0, 1), got 1"),
        (json!({"name": "Rprop", "etas": [0, 1.2]}), "etas[0] must be in (0, 1), got 0"),
        (json!({"name": "Rprop", "etas": [0.5, 1]}), "etas[1] must be finite and above 1, got 1"),
        (
            json!({"name": "Rprop", "step_sizes": [2, 1]}),
            "step_sizes[1] must be finite and at least 2, got 1",
        ),
        (json!({"name": "Lookahead"}), "optimizer Lookahead: missing field `inner`"),
        (
            json!({"name": "Lookahead", "inner": {"name": "SGD", "lr": -1}}),
            "lr must be finite and at least 0, got -1",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "SGD"}, "lr": 1}),
            "unknown field of Lookahead \"lr\"; known: inner, sync_period, alpha, reset_state",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "SGD"}, "sync_period": 0}),
            "sync_period must be at least 1, got 0",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "SGD"}, "alpha": 1.5}),
            "alpha must be in [0, 1], got 1.5",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "Lookahead", "inner": {"name": "SGD"}}}),
            "optimizer Lookahead: inner: Lookahead cannot be around Lookahead",
        ),
        (
            json!({"name": "Lars", "trust_coefficient": -1}),
            "trust_coefficient must be finite and at least 0, got -1",
        ),
        (json!({"name": "Novograd", "betas": [0.9, 1]}), "betas[1] must be in [0, 1), got 1"),
        (json!({"name": "Fromage", "min_norm": -1}), "min_norm must be finite and at least 0, got -1"),
        (
            json!({"name": "SGD", "nesterov": true}),
            "optimizer SGD: nesterov needs a momentum above 0 and a dampening of 0, got 0 and 0",
        ),
        (
            json!({"name": "SGD", "nesterov": true, "momentum": 0.9, "dampening": 0.1}),
            "optimizer SGD: nesterov needs a momentum above 0 and a dampening of 0, got 0.9 and 0.1",
        ),
    ];
    for (json, message) in rows {
        assert_eq!(from_json(&json).unwrap_err().to_string(), message, "{json}");
    }
    let typed: [(Box<dyn AnyRule>, &str); 4] = [
        (
            RAdam { eps_root: 1e-3, ..Default::default() }.into(),
            "eps_root must be 0 in the variant torch, got 0.001",
        ),
        (
            RAdam { threshold: 6.0, ..Default::default() }.into(),
            "threshold must be 5 in the variant torch, got 6",
        ),
        (
            RAdam { nesterov: true, ..Default::default() }.into(),
            "nesterov must be false in the variant torch, got true",
        ),
        (
            Adafactor { factored: false, ..Default::default() }.into(),
            "factored must be true in the variant torch, got false",
        ),
    ];
    for (rule, message) in typed {
        assert_eq!(rule.check().unwrap_err().to_string(), message, "{rule:?}");
    }
    let nan = SGD { lr: f64::NAN, ..Default::default() };
    assert_eq!(Rule::check(&nan).unwrap_err().to_string(), "lr must be finite and at least 0, got NaN");
}
