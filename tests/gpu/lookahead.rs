//! Lookahead around every rule.

use gradus::grad::{Skip, Transforms};
use gradus::optim::{self, Adam, AnyRule, CustomRule, Entry, Family, Lookahead, Optimizer, RULES};
use gradus::schedule::StepLR;
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, default_of, gpu, gradients, noises, padding, read_all, run, store};

const PERIOD: u64 = 3;
const ALPHA: f32 = 0.75;

fn around(inner: &Value) -> Value {
    json!({"name": "Lookahead", "inner": inner, "sync_period": PERIOD, "alpha": ALPHA})
}

/// The inner rule alone; slow weights on the host.
struct ByHand {
    params: ParamStore,
    fast: Optimizer<Box<dyn AnyRule>>,
    slow: Vec<f32>,
}

impl ByHand {
    fn new(params: ParamStore, inner: &Value, groups: &[(&str, Value)]) -> Self {
        let fast = optim::from_json(inner).unwrap().build_with(&params, groups).unwrap();
        let slow = read_all(&params);
        Self { params, fast, slow }
    }

    fn step(&mut self, step: u64, grads: &[f32]) {
        self.params.write_grads(grads).unwrap();
        self.fast.step(&mut self.params).unwrap();
        if (step + 1).is_multiple_of(PERIOD) {
            let fast = read_all(&self.params);
            self.slow.iter_mut().zip(&fast).for_each(|(slow, fast)| *slow += ALPHA * (fast - *slow));
            let mut rest = &self.slow[..];
            for span in self.params.layout().clone().spans() {
                let (part, after) = rest.split_at(span.len);
                self.params.write(&span.name, part).unwrap();
                rest = after;
            }
        }
    }
}

/// Equal but for the last bits: a device may fuse a product and a sum.
fn near(got: &[f32], want: &[f32], what: &dyn std::fmt::Display) {
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= 4e-6 * (0.1 + want.abs()),
            "{what}, element {index}: {got}, expected {want}"
        );
    }
}

#[test]
fn it_looks_ahead_of_every_rule() {
    let Some(gpu) = gpu() else { return };
    // Of one an average follows from its parameters: it is refused.
    let takes = |entry: &&Entry| entry.family != Family::Around && entry.name != "ScheduleFreeAdamW";
    for entry in RULES.iter().filter(takes) {
        let inner = default_of(entry);
        let mut params = store(&gpu);
        let mut ahead = optim::from_json(&around(&inner)).unwrap().build(&params).unwrap();
        let mut hand = ByHand::new(store(&gpu), &inner, &[]);
        for step in 0..2 * PERIOD + 1 {
            let grads = gradients(usize::try_from(step).unwrap(), params.layout().parameters());
            params.write_grads(&grads).unwrap();
            ahead.step(&mut params).unwrap();
            hand.step(step, &grads);
        }
        near(&read_all(&params), &read_all(&hand.params), &entry.name);
        assert!(padding(&params).iter().all(|x| *x == 0.0), "{}", entry.name);
        let dict = ahead.read_state_dict().unwrap();
        assert_eq!(dict.state["t6"].slots["slow_param"].as_ref().unwrap().len(), 1025, "{}", entry.name);
    }
}

fn grouped(gpu: &Gpu) -> ParamStore {
    let (w, b) = (noises(1, 300), noises(2, 70));
    ParamStore::builder()
        .group("decay", |g| g.tensor("w", [3, 100], &w))
        .group("rest", |g| g.tensor("b", [70], &b))
        .build(gpu)
        .unwrap()
}

#[test]
fn rates_schedules_and_overrides_are_the_inner_rules() {
    let Some(gpu) = gpu() else { return };
    let inner = json!({"name": "SGD", "lr": 0.1, "momentum": 0.9});
    let groups = [("rest", json!({"lr": 0.02, "momentum": 0.5}))];
    let mut params = grouped(&gpu);
    let mut ahead = optim::from_json(&around(&inner)).unwrap().build_with(&params, &groups).unwrap();
    let mut hand = ByHand::new(grouped(&gpu), &inner, &groups);
    let schedule = StepLR { step_size: 2, gamma: 0.5 };
    for step in 0..8 {
        ahead.schedule(&schedule, step).unwrap();
        hand.fast.schedule(&schedule, step).unwrap();
        if step == 5 {
            *ahead.group_mut("rest").unwrap().lr_mut() = 0.3;
            *hand.fast.group_mut("rest").unwrap().lr_mut() = 0.3;
        }
        let grads = noises(step, 370);
        params.write_grads(&grads).unwrap();
        ahead.step(&mut params).unwrap();
        hand.step(step, &grads);
    }
    near(&read_all(&params), &read_all(&hand.params), &"two groups");
    // Its own options may differ too, but the rule may not.
    let rule = optim::from_json(&around(&inner)).unwrap();
    let own = [("rest", json!({"alpha": 0.1, "sync_period": 2}))];
    let built = rule.clone().build_with(&params, &own).unwrap();
    assert_eq!(built.group("rest").unwrap().to_json()["alpha"], json!(0.1));
    for (fields, message) in [
        (json!({"lr": -1}), "group \"rest\": lr must be finite and at least 0, got -1"),
        (
            json!({"inner": {"name": "Adam"}}),
            "group \"rest\": optimizer Lookahead: inner is Adam, expected SGD",
        ),
        (json!({"alpha": 2}), "group \"rest\": alpha must be in [0, 1], got 2"),
        (json!({"name": "SGD"}), "group \"rest\" of Lookahead: `name` is the same in all groups"),
    ] {
        let refused = rule.clone().build_with(&params, &[("rest", fields)]).unwrap_err().to_string();
        assert_eq!(refused, message);
    }
}

#[test]
fn a_name_that_both_rules_have_is_the_inner_rules_in_a_group() {
    let Some(gpu) = gpu() else { return };
    let params = grouped(&gpu);
    let rule = optim::from_json(&around(&json!({"name": "RMSprop"}))).unwrap();
    let whole = json!({"name": "RMSprop", "alpha": 0.75, "lr": 0.5});
    for (fields, outer, inner) in [
        (json!({"alpha": 0.25}), ALPHA, 0.25),
        (json!({"alpha": 0.25, "sync_period": 2}), ALPHA, 0.25),
        (json!({"inner": whole.clone()}), ALPHA, 0.75),
        (json!({"alpha": 0.25, "inner": whole.clone()}), 0.25, 0.75),
    ] {
        let built = rule.clone().build_with(&params, &[("rest", fields.clone())]).unwrap();
        let options = built.group("rest").unwrap().to_json();
        assert_eq!(
            (&options["alpha"], &options["inner"]["alpha"]),
            (&json!(outer), &json!(inner)),
            "{fields}"
        );
        assert_eq!(built.group("decay").unwrap().to_json()["inner"]["alpha"], json!(0.99));
    }
    // Fields beside a whole inner rule replace its own, whatever they are called; and it must be a rule.
    let built = rule.clone().build_with(&params, &[("rest", json!({"eps": 0.1, "inner": whole, "lr": 2}))]);
    let inner = &built.unwrap().group("rest").unwrap().to_json()["inner"];
    assert_eq!((&inner["eps"], &inner["lr"]), (&json!(0.1), &json!(2.0)));
    for inner in [json!(5), json!(null), json!("RMSprop"), json!([])] {
        let fields = json!({"inner": inner, "lr": 1});
        let refused = rule.clone().build_with(&params, &[("rest", fields)]).unwrap_err().to_string();
        assert!(refused.starts_with("group \"rest\": inner"), "{refused}");
    }
}

#[test]
fn state_goes_round_and_skipped_or_frozen_steps_do_not_count() {
    let Some(gpu) = gpu() else { return };
    for inner in [json!({"name": "Adam", "lr": 0.01}), json!({"name": "Lamb", "lr": 0.01})] {
        let rule = optim::from_json(&around(&inner)).unwrap();
        let mut params = grouped(&gpu);
        let mut ahead = rule.clone().build(&params).unwrap();
        run(&mut ahead, &mut params, 0..4);
        let dict = ahead.read_state_dict().unwrap();
        let mut twin = grouped(&gpu);
        let mut resumed = rule.clone().build(&twin).unwrap();
        resumed
            .load_state_dict(&serde_json::from_value(serde_json::to_value(&dict).unwrap()).unwrap())
            .unwrap();
        for name in ["w", "b"] {
            twin.write(name, &params.read(name).unwrap()).unwrap();
        }
        // Steps of NaN are skipped, while the host does not know of them yet.
        let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
        resumed.set_transforms(skip, &twin).unwrap();
        for step in 4..12 {
            run(&mut ahead, &mut params, step..step + 1);
            if step % 3 == 0 {
                twin.write_grads(&[f32::NAN; 370]).unwrap();
                resumed.step(&mut twin).unwrap();
            }
            run(&mut resumed, &mut twin, step..step + 1);
        }
        assert_eq!(bits(&read_all(&params)), bits(&read_all(&twin)), "{inner}");
        // A tensor that was frozen looks ahead by its own count.
        let before = params.read("b").unwrap();
        params.freeze("b").unwrap();
        run(&mut ahead, &mut params, 12..14);
        assert_eq!(bits(&params.read("b").unwrap()), bits(&before));
        params.thaw("b").unwrap();
        run(&mut ahead, &mut params, 14..15);
        assert_eq!((ahead.applied("w").unwrap(), ahead.applied("b").unwrap()), (15, 13));
    }
}

#[test]
fn typed_rules_and_rules_of_ones_own_stand_inside() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut typed = Lookahead::new(Adam { lr: 0.01, ..Default::default() }).build(&params).unwrap();
    typed.group_mut("default").unwrap().inner.lr = 0.02;
    run(&mut typed, &mut params, 0..6);
    let mut named = store(&gpu);
    let json = json!({"name": "Lookahead", "inner": {"name": "Adam", "lr": 0.02}});
    let mut boxed = optim::from_json(&json).unwrap().build(&named).unwrap();
    run(&mut boxed, &mut named, 0..6);
    assert_eq!(bits(&read_all(&params)), bits(&read_all(&named)));

    let text = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
        (*s).velocity = hyper.momentum * (*s).velocity + g;
        return p - call.lr * (*s).velocity;
    }";
    let own = CustomRule::builder("Heavy ball", text).slot("velocity").hyper("momentum", 0.9, 0.0..1.0);
    let mut params = store(&gpu);
    let mut own_ahead = Lookahead::new(own.build().unwrap());
    own_ahead.sync_period = 2;
    let mut ahead = own_ahead.build(&params).unwrap();
    run(&mut ahead, &mut params, 0..5);
    // Another rule in its place is noticed before the next step.
    let before = read_all(&params);
    let mut ahead =
        Lookahead::new(optim::from_json(&json!({"name": "SGD"})).unwrap()).build(&params).unwrap();
    ahead.group_mut("default").unwrap().inner = optim::from_json(&json!({"name": "Adam"})).unwrap();
    let refused = ahead.step(&mut params).unwrap_err().to_string();
    assert_eq!(refused, "optimizer Lookahead: inner is now Adam, and not the rule that it was made around");
    assert_eq!(bits(&read_all(&params)), bits(&before));
}
