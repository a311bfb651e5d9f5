//! Rules of one's own equal the built-in ones of the same arithmetic, bit for bit, wherever a rule can be.

mod padding;

use gradus::grad::{ClipGradNorm, Skip, Transforms};
use gradus::graph::Graph;
use gradus::optim::{Adam, AnyRule, CustomRule, Optimizer, SGD};
use gradus::schedule::OneCycleLR;
use gradus::train::{Checkpoint, Trainer};
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gradients, noises, padding, read_all, run, store};
use crate::folder::Folder;

const ADAM: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = g + hyper.weight_decay * p;
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
    let denominator = at_least_tiny(hyper.root_scale * sqrt((*s).exp_avg_sq) + hyper.eps);
    return p - hyper.step_size * (*s).exp_avg / denominator;
}";

const MOMENTUM: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let direction = g + hyper.weight_decay * p;
    (*s).momentum_buffer = hyper.keep * (*s).momentum_buffer + direction;
    return p - call.lr * (*s).momentum_buffer;
}";

fn adam() -> CustomRule {
    let builder = CustomRule::builder("Adam", ADAM)
        .slot("exp_avg")
        .slot("exp_avg_sq")
        .hyper("beta1", 0.9, 0.0..1.0)
        .hyper("beta2", 0.999, 0.0..1.0)
        .hyper("eps", 1e-8, 0.0..)
        .hyper("weight_decay", 0.0, 0.0..)
        .constant("one_minus_beta1", |_, h| 1.0 - h.get("beta1"))
        .constant("one_minus_beta2", |_, h| 1.0 - h.get("beta2"))
        .constant("step_size", |step, h| h.get("lr") / step.correction(h.get("beta1")))
        .constant("root_scale", |step, h| 1.0 / step.correction(h.get("beta2")).sqrt());
    builder.build().unwrap()
}

fn momentum() -> CustomRule {
    let builder = CustomRule::builder("SGD", MOMENTUM)
        .lr(0.01)
        .slot("momentum_buffer")
        .hyper("momentum", 0.9, 0.0..)
        .hyper("weight_decay", 0.0, 0.0..)
        .constant("keep", |step, h| if step.is_first_use(0) { 0.0 } else { h.get("momentum") });
    builder.build().unwrap()
}

/// The built-in rule and ours, with fields for a group of each.
fn pairs() -> [[(Box<dyn AnyRule>, Value); 2]; 2] {
    let sgd = SGD { lr: 0.01, momentum: 0.9, ..Default::default() };
    [
        [
            (Adam::default().into(), json!({"betas": [0.5, 0.9], "eps": 1e-4, "weight_decay": 0.1})),
            (adam().into(), json!({"beta1": 0.5, "beta2": 0.9, "eps": 1e-4, "weight_decay": 0.1})),
        ],
        [
            (sgd.into(), json!({"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1, "maximize": true})),
            (momentum().into(), json!({"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1, "maximize": true})),
        ],
    ]
}

fn in_groups(gpu: &Gpu) -> ParamStore {
    let (one, other) = (noises(1, 1500), noises(2, 70));
    ParamStore::builder()
        .group("one", |g| g.tensor("w", [1500], &one))
        .group("other", |g| g.tensor("b", [70], &other))
        .build(gpu)
        .unwrap()
}

fn state(optimizer: &Optimizer<Box<dyn AnyRule>>) -> Value {
    json!(optimizer.read_state_dict().unwrap().state)
}

#[test]
fn a_custom_rule_equals_the_built_in_one() {
    let Some(gpu) = gpu() else { return };
    for pair in pairs() {
        let [want, got] = pair.map(|(rule, _)| {
            let mut params = store(&gpu);
            let mut optimizer = rule.build(&params).unwrap();
            run(&mut optimizer, &mut params, 0..25);
            assert!(padding(&params).iter().all(|value| *value == 0.0));
            (bits(&read_all(&params)), state(&optimizer))
        });
        assert_eq!(want, got);
    }
}

#[test]
fn groups_schedules_transforms_and_skipped_steps_reach_it_too() {
    let Some(gpu) = gpu() else { return };
    for pair in pairs() {
        let [want, got] = pair.map(|(rule, fields)| {
            let mut params = in_groups(&gpu);
            let before = read_all(&params);
            let mut optimizer = rule.build_with(&params, &[("other", fields)]).unwrap();
            let transforms = Transforms {
                clip_grad_norm: Some(ClipGradNorm::new(3.0)),
                skip: Some(Skip::default()),
                ..Default::default()
            };
            optimizer.set_transforms(transforms, &params).unwrap();
            let schedule = OneCycleLR::new(0.05, 25);
            for step in 0..25 {
                let mut gradient = gradients(step, 1570);
                if [0, 7, 8].contains(&step) {
                    gradient[3] = f32::INFINITY;
                }
                params.write_grads(&gradient).unwrap();
                optimizer.schedule(&schedule, step as u64).unwrap();
                optimizer.step(&mut params).unwrap();
            }
            optimizer.read_step_results().unwrap();
            assert_eq!(optimizer.applied("w").unwrap(), 22);
            let after = read_all(&params);
            assert_ne!(before, after);
            let lr: Vec<f64> = optimizer.rules().map(AnyRule::lr).collect();
            (bits(&after), state(&optimizer), lr)
        });
        assert_eq!(want, got);
    }
}

#[test]
fn a_schedule_cycles_the_momentum() {
    let Some(gpu) = gpu() else { return };
    let params = store(&gpu);
    for (rule, name) in [(adam(), "beta1"), (momentum(), "momentum")] {
        let mut optimizer = rule.build(&params).unwrap();
        optimizer.schedule(&OneCycleLR::new(0.05, 25), 0).unwrap();
        let rule = optimizer.group("default").unwrap();
        assert_eq!((rule.get(name).unwrap(), rule.get("lr").unwrap() < 0.01), (0.95, true));
    }
}

#[test]
fn a_state_dict_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    for [_, (rule, fields)] in pairs() {
        let built = |params: &ParamStore, fields: &Value| {
            rule.clone().build_with(params, &[("other", fields.clone())]).unwrap()
        };
        let mut params = in_groups(&gpu);
        let mut whole = built(&params, &fields);
        run(&mut whole, &mut params, 0..10);
        let dict = whole.read_state_dict().unwrap();
        let middle: Vec<Vec<f32>> = ["w", "b"].map(|name| params.read(name).unwrap()).into();
        run(&mut whole, &mut params, 10..25);

        let mut copy = in_groups(&gpu);
        copy.write("w", &middle[0]).unwrap();
        copy.write("b", &middle[1]).unwrap();
        let mut second = built(&copy, &json!({}));
        let text = serde_json::to_string(&dict).unwrap();
        second.load_state_dict(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(second.read_state_dict().unwrap(), dict);
        run(&mut second, &mut copy, 10..25);
        assert_eq!(bits(&read_all(&copy)), bits(&read_all(&params)));
        assert_eq!(second.read_state_dict().unwrap(), whole.read_state_dict().unwrap());
    }
}

fn trainer(gpu: &Gpu, rule: CustomRule) -> Trainer<CustomRule> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 6]), graph.labels("y", 4));
    let loss = x.linear(8).relu().linear(3).cross_entropy(&y);
    graph.trainer(&loss, rule).schedule(OneCycleLR::new(1e-2, 20)).seed(3).build(gpu).unwrap()
}

fn train(trainer: &mut Trainer<CustomRule>, steps: std::ops::Range<u64>) {
    for step in steps {
        trainer.step(&[("x", &noises(step, 24)), ("y", &vec![0, 1, 2, 1])]).unwrap();
    }
}

#[test]
fn a_checkpoint_of_the_trainer_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("custom");
    let path = folder.join("model.safetensors");
    let save = |trainer: &mut Trainer<CustomRule>| {
        trainer.read_checkpoint().unwrap().write(&path).unwrap();
        std::fs::read(&path).unwrap()
    };
    let mut whole = trainer(&gpu, adam());
    train(&mut whole, 0..20);
    let want = save(&mut whole);
    let mut first = trainer(&gpu, adam());
    train(&mut first, 0..9);
    save(&mut first);
    let mut other = adam();
    other.set("eps", 0.5).unwrap();
    let mut second = trainer(&gpu, other);
    second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
    assert_eq!(second.optimizer().group("default").unwrap().get("eps").unwrap(), 1e-8);
    train(&mut second, 9..20);
    assert!(save(&mut second) == want);
}

#[test]
fn a_slot_starts_at_its_first_value() {
    let Some(gpu) = gpu() else { return };
    let text = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
        (*s).total += g;
        return p - call.lr * (*s).total * g;
    }";
    let rule = CustomRule::builder("Total", text).lr(1.0).slot_from("total", 0.5).build().unwrap();
    let mut params = ParamStore::builder().tensor("w", [1], &[1.0]).build(&gpu).unwrap();
    let mut optimizer = rule.build(&params).unwrap();
    for want in [1.0 - 0.75 * 0.25, 1.0 - 0.75 * 0.25 - 0.25] {
        params.write_grads(&[0.25]).unwrap();
        optimizer.step(&mut params).unwrap();
        assert_eq!(params.read("w").unwrap(), [want]);
    }
}

#[test]
fn another_rule_of_the_same_name_is_refused_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let before = read_all(&params);
    let mut optimizer = adam().build(&params).unwrap();
    let other = CustomRule::builder("Adam", MOMENTUM.replace("momentum_buffer", "exp_avg"))
        .slot("exp_avg")
        .hyper("keep", 0.9, ..)
        .hyper("weight_decay", 0.9, ..);
    *optimizer.group_mut("default").unwrap() = other.build().unwrap();
    let error = optimizer.step(&mut params).unwrap_err().to_string();
    assert_eq!(
        error,
        "group \"default\": its rule is another Adam than the one that the optimizer was built with"
    );
    assert_eq!(read_all(&params), before);
}
