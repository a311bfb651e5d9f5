//! The state dict: torch's keys, resumption bit for bit, and refusals that change nothing.

use gradus::optim::{
    self, AnyRule, GroupState, LbfgsState, LbfgsTensorState, Optimizer, StateDict, TensorState,
};
use gradus::{Gpu, ParamStore};
use serde_json::{Map, Value, json};

use crate::common::{bits, gpu, noises, run};

fn store(gpu: &Gpu) -> ParamStore {
    let (w, b) = (noises(1, 300), noises(2, 5));
    let params = ParamStore::builder()
        .group("decay", |g| g.tensor("w", [3, 100], &w))
        .group("rest", |g| g.tensor("b", [5], &b).tensor("s", [], &[1.0]));
    params.build(gpu).unwrap()
}

fn build(params: &ParamStore, json: &Value) -> Optimizer<Box<dyn AnyRule>> {
    let group = ("rest", json!({"lr": 0.05}));
    optim::from_json(json).unwrap().build_with(params, &[group]).unwrap()
}

fn all_bits(params: &ParamStore) -> Vec<u32> {
    bits(&params.params().read_all(params.gpu()).unwrap())
}

#[test]
fn steps_after_a_round_trip_are_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let rules = [
        json!({"name": "SGD"}),
        json!({"name": "SGD", "momentum": 0.9, "dampening": 0.5}),
        json!({"name": "Adam", "amsgrad": true}),
        json!({"name": "AdamW"}),
        json!({"name": "RMSprop", "momentum": 0.9, "centered": true}),
        json!({"name": "Adagrad", "initial_accumulator_value": 0.1, "lr_decay": 0.1}),
        json!({"name": "Adadelta"}),
        json!({"name": "Adan"}),
        json!({"name": "ASGD", "t0": 2, "lambd": 0.1}),
        json!({"name": "ScheduleFreeAdamW", "warmup_steps": 4}),
        json!({"name": "Adamax"}),
        json!({"name": "NAdam"}),
        json!({"name": "NAdam", "variant": "optax"}),
        json!({"name": "RAdam", "betas": [0.9, 0.9]}),
        json!({"name": "Yogi"}),
        json!({"name": "AdaBelief"}),
        json!({"name": "Lion"}),
        json!({"name": "Rprop"}),
        json!({"name": "Lamb", "weight_decay": 0.1}),
        json!({"name": "Lars", "nesterov": true}),
        json!({"name": "Lars", "momentum": 0}),
        json!({"name": "Novograd"}),
        json!({"name": "Fromage"}),
        json!({"name": "Muon", "adamw": {}}),
    ];
    for json in rules {
        let mut params = store(&gpu);
        let mut optimizer = build(&params, &json);
        params.freeze("s").unwrap();
        run(&mut optimizer, &mut params, 0..3);
        params.thaw("s").unwrap();
        run(&mut optimizer, &mut params, 3..5);
        *optimizer.group_mut("decay").unwrap().lr_mut() = 0.002;
        let dict = optimizer.read_state_dict().unwrap();
        let text = serde_json::to_string(&dict).unwrap();
        let read: StateDict = serde_json::from_str(&text).unwrap();
        assert_eq!(read, dict);

        let mut twin = store(&gpu);
        let mut resumed = build(&twin, &json);
        // State of its own, to be replaced.
        run(&mut resumed, &mut twin, 7..9);
        for span in params.layout().spans() {
            twin.write(&span.name, &params.read(&span.name).unwrap()).unwrap();
        }
        resumed.load_state_dict(&read).unwrap();
        assert_eq!(resumed.read_state_dict().unwrap(), dict, "{json}");
        assert_eq!((resumed.attempted(), resumed.applied("s").unwrap()), (5, 2));
        run(&mut optimizer, &mut params, 5..8);
        run(&mut resumed, &mut twin, 5..8);
        assert_eq!(all_bits(&twin), all_bits(&params), "{json}");
    }
}

#[test]
fn keys_are_torchs() {
    let Some(gpu) = gpu() else { return };
    let rows = [
        (json!({"name": "SGD", "momentum": 0.9}), vec!["momentum_buffer"]),
        (json!({"name": "Adam", "amsgrad": true}), vec!["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
        (json!({"name": "AdamW"}), vec!["exp_avg", "exp_avg_sq"]),
        (
            json!({"name": "RMSprop", "momentum": 0.9, "centered": true}),
            vec!["grad_avg", "momentum_buffer", "square_avg"],
        ),
        (json!({"name": "Adagrad"}), vec!["sum"]),
        (json!({"name": "Adadelta"}), vec!["acc_delta", "square_avg"]),
        (json!({"name": "Adan"}), vec!["exp_avg", "exp_avg_diff", "exp_avg_sq", "g_prev"]),
        (json!({"name": "ASGD"}), vec!["ax", "eta", "mu"]),
        (json!({"name": "ScheduleFreeAdamW"}), vec!["exp_avg_sq", "max_lr", "weight_sum", "z"]),
        (json!({"name": "Adamax"}), vec!["exp_avg", "exp_inf"]),
        (json!({"name": "NAdam"}), vec!["exp_avg", "exp_avg_sq", "mu_product"]),
        (json!({"name": "RAdam"}), vec!["exp_avg", "exp_avg_sq"]),
        (json!({"name": "Yogi"}), vec!["exp_avg", "exp_avg_sq"]),
        (json!({"name": "AdaBelief"}), vec!["exp_avg", "exp_avg_sq"]),
        (json!({"name": "Lion"}), vec!["exp_avg"]),
        (json!({"name": "Rprop"}), vec!["prev", "step_size"]),
        (json!({"name": "Lamb"}), vec!["exp_avg", "exp_avg_sq"]),
        (json!({"name": "Lars"}), vec!["momentum_buffer"]),
        (json!({"name": "Novograd"}), vec!["exp_avg", "exp_avg_sq"]),
        (json!({"name": "Fromage"}), vec![]),
    ];
    for (json, keys) in rows {
        let mut params = store(&gpu);
        let mut optimizer = build(&params, &json);
        run(&mut optimizer, &mut params, 0..2);
        let dict = serde_json::to_value(optimizer.read_state_dict().unwrap()).unwrap();
        let w = dict["state"]["w"].as_object().unwrap();
        let slots: Vec<_> = w.keys().filter(|key| !["step", "shape"].contains(&key.as_str())).collect();
        assert_eq!(slots, keys);
        assert_eq!((&w["step"], &w["shape"]), (&json!(2), &json!([3, 100])));
        let group = &dict["param_groups"][1];
        assert_eq!((&group["name"], &group["params"]), (&json!("rest"), &json!(["b", "s"])));
        assert_eq!((&group["lr"], &group["initial_lr"]), (&json!(0.05), &json!(0.05)));
    }
}

#[test]
fn refusals_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = build(&params, &json!({"name": "AdamW"}));
    run(&mut optimizer, &mut params, 0..2);
    let dict = optimizer.read_state_dict().unwrap();
    let good = serde_json::to_value(&dict).unwrap();
    let mut elsewhere = good.clone();
    elsewhere["state"]["v"] = elsewhere["state"]["w"].clone();
    let rows: Vec<(&str, Value, &str)> = vec![
        ("/optimizer", json!("Adam"), "it is of Adam, this optimizer is AdamW"),
        (
            "/param_groups/1/name",
            json!("other"),
            "it has the groups [\"decay\", \"other\"], expected [\"decay\", \"rest\"]",
        ),
        ("/param_groups", json!([]), "it has the groups [], expected [\"decay\", \"rest\"]"),
        (
            "/param_groups/1/params",
            json!(["b"]),
            "group \"rest\" has the tensors [\"b\"], expected [\"b\", \"s\"]",
        ),
        ("/param_groups/0/eps", json!(-1), "group \"decay\": eps must be finite and at least 0, got -1"),
        (
            "/param_groups/0/eps",
            json!("x"),
            "group \"decay\": optimizer AdamW: eps: invalid type: string \"x\", expected f64",
        ),
        ("/state/b/shape", json!([1, 5]), "b has the shape [1, 5], expected [5]"),
        ("/state/b/exp_avg", json!([1.0]), "exp_avg of b has 1 elements, expected 5"),
        (
            "/state/b",
            json!({"step": 2, "shape": [5], "exp_avg": [0, 0, 0, 0, 0]}),
            "b lacks the slot \"exp_avg_sq\"",
        ),
        (
            "/state/s",
            json!({"step": 2, "shape": [], "exp_avg": [0], "exp_avg_sq": [0], "sum": [0]}),
            "s: unknown slot of AdamW \"sum\"; known: exp_avg, exp_avg_sq, max_exp_avg_sq",
        ),
        (
            "/state/s",
            json!({"step": 2, "shape": [], "mu_product": 0.5, "exp_avg": [0], "exp_avg_sq": [0]}),
            "s has a mu_product, which AdamW has not",
        ),
        (
            "/state/s",
            json!({"step": 2, "shape": [], "eta": 0.5, "exp_avg": [0], "exp_avg_sq": [0]}),
            "s has a number eta, which AdamW has not",
        ),
        ("", elsewhere, "unknown tensor \"v\"; known: w, b, s"),
    ];
    for (pointer, value, message) in rows {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        let bad: StateDict = serde_json::from_value(bad).unwrap();
        let error = optimizer.load_state_dict(&bad).unwrap_err().to_string();
        assert_eq!(error, format!("state dict: {message}"));
        assert_eq!(optimizer.read_state_dict().unwrap(), dict);
    }
}

#[test]
fn json_is_refused_a_number_that_it_cannot_hold_with_the_place() {
    let group = |initial_lr| GroupState {
        name: "all".into(),
        params: vec!["conv.weight".into()],
        initial_lr: Some(initial_lr),
        options: Map::new(),
    };
    let dict = |value: f32, mu_product: f64, initial_lr: f64| {
        let slots = [("exp_avg".to_owned(), Some(vec![0.5, value])), ("unused".to_owned(), None)].into();
        let state = TensorState {
            step: 1,
            shape: vec![2],
            mu_product: Some(mu_product),
            slots,
            ..TensorState::default()
        };
        StateDict {
            optimizer: "NAdam".into(),
            attempted: 1,
            state: [("conv.weight".to_owned(), state)].into(),
            param_groups: vec![group(initial_lr)],
            averages: None,
        }
    };
    let lbfgs = |t: f64, step: f32| LbfgsState {
        optimizer: "LBFGS".into(),
        state: [(
            "w".to_owned(),
            LbfgsTensorState { t: Some(t), old_stps: vec![vec![step]], ..Default::default() },
        )]
        .into(),
        param_groups: vec![group(1.0)],
    };
    let refused = |value: serde_json::Result<String>, place: &str| {
        let message = format!("{place}: JSON holds finite numbers alone");
        assert_eq!(value.unwrap_err().to_string(), message);
    };
    let text = |dict: StateDict| serde_json::to_string(&dict);
    refused(text(dict(f32::NAN, 1.0, 0.1)), "state.conv.weight.exp_avg[1] is NaN");
    refused(text(dict(0.5, f64::INFINITY, 0.1)), "state.conv.weight.mu_product is inf");
    refused(text(dict(0.5, 1.0, f64::NAN)), "param_groups[0].initial_lr is NaN");
    refused(serde_json::to_string(&lbfgs(f64::NEG_INFINITY, 1.0)), "state.w.t is -inf");
    refused(serde_json::to_string(&lbfgs(1.0, f32::NAN)), "state.w.old_stps[0][0] is NaN");
    let good = dict(f32::MAX, 5e-324, -0.0);
    assert_eq!(serde_json::from_str::<StateDict>(&text(good.clone()).unwrap()).unwrap(), good);
    let good = lbfgs(1.0, f32::MIN_POSITIVE);
    let read: LbfgsState = serde_json::from_str(&serde_json::to_string(&good).unwrap()).unwrap();
    assert_eq!(read, good);
}
