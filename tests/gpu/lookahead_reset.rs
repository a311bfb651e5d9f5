//! Lookahead whose inner state begins anew: against new optimizers, one after each look ahead, bit for bit.

use std::ops::Range;

use gradus::gpu::KernelChoice;
use gradus::grad::{Skip, Transforms};
use gradus::graph::Graph;
use gradus::optim::{self, AnyRule, CustomRule, Lookahead, NAdam, Optimizer, RULES, StateDict};
use gradus::schedule::ExponentialLR;
use gradus::train::{Checkpoint, Trainer};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gpu_with, gradients, noises, padding};
use crate::folder::Folder;
use crate::{factored_rules, rules, tensor_rules};

const PERIOD: usize = 3;
const SCHEDULE: ExponentialLR = ExponentialLR { gamma: 0.9 };
type Built = Optimizer<Box<dyn AnyRule>>;

fn around(inner: &Value, reset: bool) -> Value {
    json!({"name": "Lookahead", "inner": inner, "sync_period": PERIOD, "alpha": 0.75, "reset_state": reset})
}

/// Tensors of several sizes and ranks in two groups, with padding behind each.
fn store(gpu: &Gpu) -> ParamStore {
    let shapes: [&[usize]; 5] = [&[7], &[3, 5], &[12, 16], &[], &[130, 140]];
    let data: Vec<Vec<f32>> =
        (30..).zip(shapes).map(|(stream, shape)| noises(stream, shape.iter().product())).collect();
    let mut builder = ParamStore::builder();
    for (group, range) in [("a", 0..2), ("b", 2..shapes.len())] {
        builder = builder.group(group, |group| {
            range.fold(group, |group, number| {
                group.tensor(format!("t{number}"), shapes[number].to_vec(), &data[number])
            })
        });
    }
    builder.build(gpu).unwrap()
}

fn build(params: &ParamStore, json: &Value) -> Built {
    optim::from_json(json).unwrap().build_with(params, &[("b", json!({"lr": 0.03}))]).unwrap()
}

fn steps<R: AnyRule + Clone>(optimizer: &mut Optimizer<R>, params: &mut ParamStore, steps: Range<usize>) {
    for step in steps {
        optimizer.schedule(&SCHEDULE, step as u64).unwrap();
        params.write_grads(&gradients(step, params.layout().parameters())).unwrap();
        optimizer.step(params).unwrap();
    }
}

fn all_bits(params: &ParamStore) -> Vec<u32> {
    bits(&params.params().read_all(params.gpu()).unwrap())
}

/// What the steps do to the parameters if a new optimizer is built after every [`PERIOD`] of them.
fn anew(gpu: &Gpu, inner: &Value, count: usize) -> Vec<u32> {
    let mut params = store(gpu);
    for first in (0..count).step_by(PERIOD) {
        let mut optimizer = build(&params, &around(inner, false));
        steps(&mut optimizer, &mut params, first..count.min(first + PERIOD));
    }
    all_bits(&params)
}

/// Rules of each family, with slots that begin at zero or not, or are numbers of a tensor or of rows.
fn kinds() -> Vec<Value> {
    vec![
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.9, "dampening": 0.5}),
        json!({"name": "Adam", "lr": 0.01, "amsgrad": true, "nesterov": true}),
        json!({"name": "RMSprop", "initial_scale": 0.5, "bias_correction": true, "momentum": 0.5, "centered": true,
               "eps": 1e-2}),
        json!({"name": "NAdam", "lr": 0.01, "momentum_decay": 0.5}),
        json!({"name": "Adagrad", "lr": 0.05, "lr_decay": 0.5, "initial_accumulator_value": 0.1}),
        json!({"name": "Yogi", "lr": 0.01, "initial_accumulator_value": 0.1}),
        json!({"name": "Rprop", "lr": 0.02}),
        json!({"name": "Lamb", "lr": 0.01}),
        json!({"name": "Novograd", "lr": 0.01}),
        json!({"name": "Adafactor", "lr": 0.05}),
        json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 4, "momentum": 0.5}),
        json!({"name": "SM3", "lr": 0.1}),
    ]
}

#[test]
fn the_inner_rule_begins_anew_as_another_optimizer_would() {
    const STEPS: usize = 2 * PERIOD + 2;
    for kernels in [KernelChoice::Auto, KernelChoice::Plain] {
        let small = GpuOptions { kernels, max_binding_bytes: Some(131_072), ..GpuOptions::default() };
        let Some(gpu) = gpu_with(small) else { return };
        let mut inners: Vec<Value> = kinds();
        if kernels == KernelChoice::Auto {
            inners.extend(rules::options());
            inners.extend(tensor_rules::options().into_iter().map(|(json, _)| json));
            inners.extend(factored_rules::options());
            inners.push(json!({"name": "Muon", "adamw": {"betas": [0.8, 0.9]}}));
            // No rule that follows from its parameters can be an inner one.
            inners.retain(|inner| inner["name"] != "ScheduleFreeAdamW");
        }
        let kept =
            |entry: &optim::Entry| entry.family != optim::Family::Around && entry.name != "ScheduleFreeAdamW";
        for entry in RULES.iter().filter(|entry| kept(entry)) {
            assert!(kernels == KernelChoice::Plain || inners.iter().any(|json| json["name"] == entry.name));
        }
        for inner in inners {
            let mut params = store(&gpu);
            let mut optimizer = build(&params, &around(&inner, true));
            steps(&mut optimizer, &mut params, 0..STEPS);
            assert!(
                all_bits(&params) == anew(&gpu, &inner, STEPS),
                "{inner}, {:?} kernels",
                gpu.kernel_kind()
            );
            assert!(padding(&params).iter().all(|x| *x == 0.0), "{inner}: padding");
        }
    }
}

#[test]
fn it_does_so_while_nobody_knows_which_steps_were_skipped() {
    let Some(gpu) = gpu() else { return };
    for inner in kinds() {
        let mut params = store(&gpu);
        let mut optimizer = build(&params, &around(&inner, true));
        let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
        optimizer.set_transforms(skip, &params).unwrap();
        let len = params.layout().parameters();
        let mut grads = Vec::new();
        for step in 0..11 {
            grads.push((step, gradients(step, len)));
            if [0, 2, 3, 6, 7].contains(&step) {
                grads.insert(grads.len() - 1, (step, vec![f32::NAN; len]));
            }
        }
        for (step, grads) in grads {
            optimizer.schedule(&SCHEDULE, step as u64).unwrap();
            params.write_grads(&grads).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        assert!(all_bits(&params) == anew(&gpu, &inner, 11), "{inner}");
        let dict = optimizer.read_state_dict().unwrap();
        assert_eq!((dict.state["t1"].step, dict.state["t1"].inner_step), (11, Some(2)), "{inner}");
        assert!(padding(&params).iter().all(|x| *x == 0.0), "{inner}: padding");
    }
}

#[test]
fn recorded_steps_wait_for_their_submit() {
    let Some(gpu) = gpu() else { return };
    for inner in kinds() {
        for may_skip in [false, true] {
            let mut params = store(&gpu);
            let mut optimizer = build(&params, &around(&inner, true));
            let skip = may_skip.then(Skip::default);
            optimizer.set_transforms(Transforms { skip, ..Transforms::default() }, &params).unwrap();
            // The same gradients in all steps, since they are written before the first runs.
            params.write_grads(&gradients(0, params.layout().parameters())).unwrap();
            let mut recorded = Vec::new();
            for _ in 0..8 {
                let mut encoder = gpu.encoder("step");
                recorded.push((optimizer.record(&mut encoder, &mut params).unwrap(), encoder));
            }
            for (ticket, encoder) in recorded {
                gpu.submit(encoder).unwrap();
                optimizer.submitted(ticket).unwrap();
            }
            let mut other = store(&gpu);
            for first in (0..8).step_by(PERIOD) {
                let mut optimizer = build(&other, &around(&inner, false));
                for _ in first..8.min(first + PERIOD) {
                    other.write_grads(&gradients(0, other.layout().parameters())).unwrap();
                    optimizer.step(&mut other).unwrap();
                }
            }
            assert!(all_bits(&params) == all_bits(&other), "{inner}, skipping {may_skip}");
        }
    }
}

#[test]
fn state_goes_round_at_every_step() {
    let Some(gpu) = gpu() else { return };
    const STEPS: usize = 2 * PERIOD + 2;
    for inner in kinds() {
        let mut params = store(&gpu);
        let mut optimizer = build(&params, &around(&inner, true));
        let mut kept = Vec::new();
        for step in 0..STEPS {
            steps(&mut optimizer, &mut params, step..step + 1);
            let dict = optimizer.read_state_dict().unwrap();
            let values = params.layout().spans().iter().map(|span| params.read(&span.name).unwrap());
            kept.push((dict, values.collect::<Vec<_>>()));
        }
        let end = (all_bits(&params), optimizer.read_state_dict().unwrap());
        for (step, (dict, values)) in (1..).zip(kept) {
            let state = &dict.state["t1"];
            assert_eq!((state.step, state.inner_step), (step as u64, Some(step as u64 % 3)), "{inner}");
            let is_new = step % PERIOD == 0;
            for (name, values) in &state.slots {
                assert_eq!(values.is_none(), is_new && name != "slow_param", "{inner}, step {step}: {name}");
            }
            if is_new && inner["name"] == "NAdam" {
                assert_eq!(state.mu_product, Some(1.0));
            }
            let mut twin = store(&gpu);
            let mut resumed = build(&twin, &around(&inner, true));
            // State of its own, to be replaced.
            steps(&mut resumed, &mut twin, 0..2);
            for (span, values) in params.layout().spans().iter().zip(&values) {
                twin.write(&span.name, values).unwrap();
            }
            let mut read: StateDict = serde_json::from_str(&serde_json::to_string(&dict).unwrap()).unwrap();
            assert_eq!(read, dict);
            if step % 2 == 0 {
                // It follows from the options.
                read.state.values_mut().for_each(|tensor| tensor.inner_step = None);
            }
            resumed.load_state_dict(&read).unwrap();
            assert_eq!(resumed.read_state_dict().unwrap(), dict, "{inner}, step {step}");
            steps(&mut resumed, &mut twin, step..STEPS);
            assert!(all_bits(&twin) == end.0, "{inner}, from step {step}");
            assert_eq!(resumed.read_state_dict().unwrap(), end.1, "{inner}, from step {step}");
        }
    }
}

/// Each tensor of its own store, in the steps in which it takes part.
fn alone(gpu: &Gpu, name: &str, values: &[f32], fields: &Value, grads: &[(usize, Vec<f32>)]) -> Vec<u32> {
    let mut params = ParamStore::builder().tensor(name, [values.len()], values).build(gpu).unwrap();
    let every = usize::try_from(fields["sync_period"].as_u64().unwrap()).unwrap();
    for part in grads.chunks(if fields["reset_state"] == true { every } else { usize::MAX }) {
        let mut fields = fields.clone();
        fields["reset_state"] = json!(false);
        let mut optimizer = optim::from_json(&fields).unwrap().build(&params).unwrap();
        for (step, grads) in part {
            optimizer.schedule(&SCHEDULE, *step as u64).unwrap();
            params.write_grads(grads).unwrap();
            optimizer.step(&mut params).unwrap();
        }
    }
    bits(&params.read(name).unwrap())
}

#[test]
fn tensors_begin_anew_by_their_own_counts_and_groups_by_their_own_options() {
    let Some(gpu) = gpu() else { return };
    let sizes = [70, 5, 300, 64, 9];
    let elementwise = kinds().into_iter().filter(|json| json["name"] != "SM3" && json["name"] != "Adafactor");
    for inner in elementwise {
        for may_skip in [false, true] {
            let data: Vec<Vec<f32>> = (3..).zip(sizes).map(|(stream, len)| noises(stream, len)).collect();
            let mut params = ParamStore::builder()
                .group("a", |g| g.tensor("0", [70], &data[0]).tensor("1", [5], &data[1]))
                .group("b", |g| g.tensor("2", [300], &data[2]).tensor("3", [64], &data[3]))
                .group("c", |g| g.tensor("4", [9], &data[4]))
                .build(&gpu)
                .unwrap();
            let of_group = [
                json!({}),
                json!({"sync_period": 2, "lr": 0.05}),
                json!({"reset_state": false, "sync_period": 4, "alpha": 0.5}),
            ];
            let groups = [("b", of_group[1].clone()), ("c", of_group[2].clone())];
            let rule = optim::from_json(&around(&inner, true)).unwrap();
            let mut optimizer = rule.build_with(&params, &groups).unwrap();
            let skip = may_skip.then(Skip::default);
            optimizer.set_transforms(Transforms { skip, ..Transforms::default() }, &params).unwrap();
            let mut own: Vec<Vec<(usize, Vec<f32>)>> = vec![Vec::new(); sizes.len()];
            for step in 0..11 {
                let is_frozen = |tensor: usize| (step + tensor) % 4 == 1 || (tensor == 1 && step < 3);
                for tensor in 0..sizes.len() {
                    let name = tensor.to_string();
                    if is_frozen(tensor) {
                        params.freeze(&name).unwrap();
                    } else {
                        params.thaw(&name).unwrap();
                    }
                }
                let all: Vec<Vec<f32>> =
                    sizes.iter().enumerate().map(|(i, len)| gradients(step + 20 * i, *len)).collect();
                optimizer.schedule(&SCHEDULE, step as u64).unwrap();
                if may_skip && step % 3 == 0 {
                    params.write_grads(&vec![f32::NAN; sizes.iter().sum()]).unwrap();
                    optimizer.step(&mut params).unwrap();
                }
                params.write_grads(&all.concat()).unwrap();
                optimizer.step(&mut params).unwrap();
                for (tensor, grads) in all.into_iter().enumerate().filter(|(tensor, _)| !is_frozen(*tensor)) {
                    own[tensor].push((step, grads));
                }
            }
            for (tensor, group) in [0, 0, 1, 1, 2].into_iter().enumerate() {
                let name = tensor.to_string();
                let mut fields = around(&inner, true);
                for (field, value) in of_group[group].as_object().unwrap() {
                    // A name that both rules have is the inner one's.
                    if field == "lr" || (field == "alpha" && inner["name"] == "RMSprop") {
                        fields["inner"][field] = value.clone();
                    } else {
                        fields[field] = value.clone();
                    }
                }
                let want = alone(&gpu, &name, &data[tensor], &fields, &own[tensor]);
                assert!(bits(&params.read(&name).unwrap()) == want, "{inner}, tensor {name}, {may_skip}");
            }
        }
    }
}

#[test]
fn options_may_change_while_steps_are_on_their_way() {
    let Some(gpu) = gpu() else { return };
    let inner = json!({"name": "SGD", "lr": 0.01, "momentum": 0.9, "dampening": 0.5});
    let yogi = json!({"name": "Yogi", "lr": 0.01, "initial_accumulator_value": 0.1});
    let nadam = json!({"name": "NAdam", "lr": 0.01, "momentum_decay": 0.5});
    // From a step on: the period, whether state begins anew, and the momentum.
    let plan =
        [(0, 3, true, 0.9), (4, 2, true, 0.9), (7, 2, false, 0.5), (9, 4, true, 0.9), (12, 1, true, 0.0)];
    for inner in [inner, yogi, nadam] {
        let run = |may_skip: bool| {
            let mut params = store(&gpu);
            let mut optimizer = build(&params, &around(&inner, true));
            let skip = may_skip.then(Skip::default);
            optimizer.set_transforms(Transforms { skip, ..Transforms::default() }, &params).unwrap();
            let mut dicts = Vec::new();
            for step in 0..15 {
                if let Some((_, period, resets, momentum)) = plan.iter().find(|(first, ..)| *first == step) {
                    for group in ["a", "b"] {
                        let rule = optimizer.group_mut(group).unwrap();
                        let mut json = rule.to_json();
                        json["sync_period"] = json!(period);
                        json["reset_state"] = json!(resets);
                        *rule = optim::from_json(&json).unwrap();
                        *rule.momentum_mut().unwrap() = *momentum;
                    }
                }
                let len = params.layout().parameters();
                if may_skip && step % 2 == 0 {
                    params.write_grads(&vec![f32::NAN; len]).unwrap();
                    optimizer.step(&mut params).unwrap();
                }
                params.write_grads(&gradients(step, len)).unwrap();
                optimizer.step(&mut params).unwrap();
                dicts.push(optimizer.read_state_dict().unwrap().state);
            }
            (all_bits(&params), dicts)
        };
        let (known, unknown) = (run(false), run(true));
        for (step, (known, unknown)) in known.1.iter().zip(&unknown.1).enumerate() {
            assert_eq!(known, unknown, "{inner}, step {step}");
        }
        assert!(known.0 == unknown.0, "{inner}");
        // Steps since the state last began anew, whatever the period was then.
        let inner_steps: Vec<u64> = known.1.iter().map(|state| state["t1"].inner_step.unwrap()).collect();
        assert_eq!(inner_steps, [1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0]);
    }
}

#[test]
fn rules_of_ones_own_begin_anew_too() {
    let Some(gpu) = gpu() else { return };
    let own = || {
        let text = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
            (*s).count += vec4f(1.0);
            (*s).sum += g * g;
            return p - call.lr * hyper.shrink * g / sqrt(at_least_tiny((*s).sum));
        }";
        CustomRule::builder("Counting", text)
            .slot("count")
            .slot_from("sum", 0.5)
            .constant("shrink", |step, _| 1.0 / step.step as f64)
            .lr(0.1)
            .build()
            .unwrap()
    };
    let build = |params: &ParamStore, resets: bool| {
        let mut rule = Lookahead::new(own());
        (rule.sync_period, rule.reset_state) = (PERIOD as u64, resets);
        rule.build(params).unwrap()
    };
    let mut params = store(&gpu);
    let mut optimizer = build(&params, true);
    steps(&mut optimizer, &mut params, 0..8);
    let mut other = store(&gpu);
    for first in (0..8).step_by(PERIOD) {
        let mut optimizer = build(&other, false);
        steps(&mut optimizer, &mut other, first..8.min(first + PERIOD));
    }
    assert!(all_bits(&params) == all_bits(&other));
    assert!(padding(&params).iter().all(|x| *x == 0.0));
    let state = optimizer.read_state_dict().unwrap().state;
    assert_eq!(state["t1"].slots["count"].as_ref().unwrap(), &vec![2.0; 15]);
}

#[test]
fn who_does_not_ask_for_it_pays_nothing() {
    let Some(gpu) = gpu() else { return };
    for (inner, each) in [(json!({"name": "Adam"}), 1), (json!({"name": "Lamb"}), 3)] {
        let counts = [false, true].map(|reset| {
            let mut params = store(&gpu);
            let rule = optim::from_json(&around(&inner, reset)).unwrap();
            let mut optimizer = rule.build(&params).unwrap();
            steps(&mut optimizer, &mut params, 0..PERIOD + 1);
            (PERIOD + 1..3 * PERIOD + 1)
                .map(|step| {
                    let before = gpu.counters();
                    steps(&mut optimizer, &mut params, step..step + 1);
                    let since = gpu.counters().since(&before);
                    assert_eq!((since.allocations, since.pipelines, since.bind_groups), (0, 0, 0));
                    since.dispatches
                })
                .collect::<Vec<_>>()
        });
        // Two groups; two slots begin anew in each of the two steps after a look ahead.
        assert_eq!(counts[0], [2 * each; 6], "{inner}");
        let more = 2 * each + 4;
        assert_eq!(counts[1], [2 * each, 2 * each, more, 2 * each, 2 * each, more], "{inner}");
    }
}

#[test]
fn inner_steps_that_cannot_be_are_refused() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = build(&params, &around(&json!({"name": "Adam"}), true));
    steps(&mut optimizer, &mut params, 0..4);
    let dict = optimizer.read_state_dict().unwrap();
    let mut bad = dict.clone();
    bad.state.get_mut("t1").unwrap().inner_step = Some(5);
    let refused = optimizer.load_state_dict(&bad).unwrap_err().to_string();
    assert_eq!(refused, "state dict: inner_step of t1 must be at most its step, 4, got 5");
    assert_eq!(optimizer.read_state_dict().unwrap(), dict);
    let mut adam = optim::from_json(&json!({"name": "Adam"})).unwrap().build(&params).unwrap();
    steps(&mut adam, &mut params, 0..1);
    let mut bad = adam.read_state_dict().unwrap();
    assert_eq!(bad.state["t1"].inner_step, None);
    bad.state.get_mut("t1").unwrap().inner_step = Some(1);
    let refused = adam.load_state_dict(&bad).unwrap_err().to_string();
    assert_eq!(refused, "state dict: t1 has an inner_step, which Adam has not");
}

fn trainer(gpu: &Gpu) -> Trainer<Lookahead<NAdam>> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 4]), graph.labels("y", 2));
    let mut rule = Lookahead::new(NAdam { lr: 0.01, momentum_decay: 0.5, ..Default::default() });
    (rule.sync_period, rule.reset_state) = (PERIOD as u64, true);
    let loss = x.linear(3).cross_entropy(&y);
    graph.trainer(&loss, rule).schedule(SCHEDULE).seed(3).build(gpu).unwrap()
}

#[test]
fn a_run_that_was_stopped_anywhere_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("lookahead_reset");
    let path = folder.join("model.safetensors");
    let train = |trainer: &mut Trainer<Lookahead<NAdam>>, steps: Range<u64>| {
        for step in steps {
            trainer.step(&[("x", &noises(step, 8)), ("y", &vec![0, 2])]).unwrap();
        }
    };
    let mut whole = trainer(&gpu);
    train(&mut whole, 0..8);
    let want = whole.read_checkpoint().unwrap();
    for stop in 0..8 {
        let mut first = trainer(&gpu);
        train(&mut first, 0..stop);
        first.read_checkpoint().unwrap().write(&path).unwrap();
        let mut second = trainer(&gpu);
        second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
        train(&mut second, stop..8);
        let got = second.read_checkpoint().unwrap();
        assert_eq!((got.params, got.optimizer), (want.params.clone(), want.optimizer.clone()), "from {stop}");
    }
}
