//! Parameters to evaluate with: what they are, and that looking at them changes nothing.

use gradus::grad::{Skip, Transforms};
use gradus::graph::Graph;
use gradus::optim::{self, AnyRule, Optimizer, Rule, SGD};
use gradus::train::Trainer;
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gpu_with, gradients, noises, padding, read_all};

const LENS: [usize; 4] = [20_000, 7, 300, 33_000];
const ALL: usize = 53_307;

/// Tensors over several windows and buffers, in two groups, the last of which begins late.
fn small_windows() -> GpuOptions {
    GpuOptions {
        max_binding_bytes: Some(65_536),
        max_buffer_bytes: Some(3 * 65_536),
        ..GpuOptions::default()
    }
}

fn build(gpu: &Gpu, json: &Value) -> (ParamStore, Optimizer<Box<dyn AnyRule>>) {
    let data: Vec<Vec<f32>> = (40..).zip(LENS).map(|(stream, len)| noises(stream, len)).collect();
    let mut params = ParamStore::builder()
        .group("a", |g| g.tensor("t0", [LENS[0]], &data[0]).tensor("t1", [LENS[1]], &data[1]))
        .group("b", |g| g.tensor("t2", [LENS[2]], &data[2]).tensor("t3", [LENS[3]], &data[3]))
        .build(gpu)
        .unwrap();
    let second = match json["name"].as_str() {
        Some("ScheduleFreeAdamW") => json!({"lr": 0.02, "betas": [0.7, 0.9], "warmup_steps": 3}),
        _ => json!({"lr": 0.02, "t0": 0}),
    };
    let optimizer = optim::from_json(json).unwrap().build_with(&params, &[("b", second)]).unwrap();
    params.freeze("t3").unwrap();
    (params, optimizer)
}

fn step(optimizer: &mut Optimizer<Box<dyn AnyRule>>, params: &mut ParamStore, number: usize) {
    params.write_grads(&gradients(number, ALL)).unwrap();
    optimizer.step(params).unwrap();
}

fn rules() -> Vec<Value> {
    vec![
        json!({"name": "ASGD", "lr": 0.1, "t0": 2, "lambd": 0.1}),
        json!({"name": "ScheduleFreeAdamW", "lr": 0.05, "weight_decay": 0.1}),
    ]
}

/// The averages by the state dict, in f64.
fn wanted(optimizer: &Optimizer<Box<dyn AnyRule>>, params: &ParamStore) -> Vec<f64> {
    let dict = optimizer.read_state_dict().unwrap();
    let spans = params.layout().spans();
    let of = |span: &gradus::layout::Span| -> Vec<f64> {
        let p: Vec<f64> = params.read(&span.name).unwrap().into_iter().map(f64::from).collect();
        let Some(state) = dict.state.get(&span.name) else { return p };
        if let Some(ax) = state.slots.get("ax") {
            return ax.as_ref().unwrap().iter().map(|x| f64::from(*x)).collect();
        }
        let beta = optimizer.group(&params.layout().groups()[span.group]).unwrap().to_json();
        let beta = beta["betas"][0].as_f64().unwrap();
        let z = state.slots["z"].as_ref().unwrap().iter().map(|z| f64::from(*z));
        p.iter().zip(z).map(|(y, z)| (y - (1.0 - beta) * z) / beta).collect()
    };
    spans.iter().flat_map(of).collect()
}

#[test]
fn looking_at_averages_leaves_every_bit_of_what_follows() {
    let devices = [gpu(), gpu_with(small_windows())];
    for (gpu, rule) in
        devices.iter().flatten().flat_map(|gpu| rules().into_iter().map(move |rule| (gpu, rule)))
    {
        let (mut params, mut optimizer) = build(gpu, &rule);
        let (mut twin, mut other) = build(gpu, &rule);
        for number in 0..6 {
            step(&mut optimizer, &mut params, number);
            step(&mut other, &mut twin, number);
            let before = bits(&params.params().read_all(gpu).unwrap());
            let want = wanted(&optimizer, &params);
            let got = optimizer
                .with_eval_params(&mut params, |params| {
                    assert!(padding(params).iter().all(|x| *x == 0.0));
                    let got = read_all(params);
                    // What is written here is lost.
                    params.write("t1", &[f32::NAN; 7]).unwrap();
                    got
                })
                .unwrap();
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                let off = (f64::from(*got) - want).abs();
                assert!(off <= 3e-7 * (0.1 + want.abs()), "{rule}, {index}: got {got}, expected {want}");
            }
            let moved = want.iter().zip(read_all(&params)).filter(|(x, p)| (*x - f64::from(*p)).abs() > 1e-3);
            assert!(number < 4 || moved.count() > 100, "{rule}: these are the parameters");
            assert_eq!(bits(&params.params().read_all(gpu).unwrap()), before);
            if number == 3 {
                params.thaw("t3").unwrap();
                twin.thaw("t3").unwrap();
            }
        }
        assert_eq!(
            bits(&params.params().read_all(gpu).unwrap()),
            bits(&twin.params().read_all(gpu).unwrap())
        );
        assert_eq!(optimizer.read_state_dict().unwrap(), other.read_state_dict().unwrap());
    }
}

#[test]
fn what_has_no_averages_or_steps_on_their_way_is_refused() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder().tensor("w", [3], &[1.0; 3]).build(&gpu).unwrap();
    let mut plain = SGD::default().build(&params).unwrap();
    let refused = plain.with_eval_params(&mut params, |_| unreachable!("refused")).unwrap_err().to_string();
    assert_eq!(refused, "parameters to evaluate with: SGD has no evaluation parameters");
    let mut optimizer = optim::ASGD::default().build(&params).unwrap();
    let mut encoder = gpu.encoder("recorded");
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    let refused =
        optimizer.with_eval_params(&mut params, |_| unreachable!("refused")).unwrap_err().to_string();
    assert!(
        refused.starts_with("parameters to evaluate with: a recorded step is not submitted"),
        "{refused}"
    );
    gpu.submit(encoder).unwrap();
    optimizer.submitted(ticket).unwrap();
    let mut another = ParamStore::builder().tensor("w", [3], &[1.0; 3]).build(&gpu).unwrap();
    assert!(optimizer.with_eval_params(&mut another, |_| unreachable!("refused")).is_err());
    optimizer.with_eval_params(&mut params, |params| params.read("w").unwrap()).unwrap();
}

#[test]
fn the_parameters_are_back_after_a_panic() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let (mut params, mut optimizer) = build(&gpu, &rule);
        (0..3).for_each(|number| step(&mut optimizer, &mut params, number));
        let before = bits(&read_all(&params));
        let looking = std::panic::AssertUnwindSafe(|| {
            optimizer.with_eval_params(&mut params, |params| {
                assert_ne!(bits(&read_all(params)), before, "{rule}: others are in their place");
                std::panic::resume_unwind(Box::new("seen"))
            })
        });
        let thrown = std::panic::catch_unwind(looking).map(|_: Result<(), _>| ()).unwrap_err();
        assert_eq!(thrown.downcast_ref::<&str>(), Some(&"seen"));
        assert_eq!(bits(&read_all(&params)), before, "{rule}");
        step(&mut optimizer, &mut params, 3);
    }
}

/// The first step is skipped, and the host does not know it yet.
#[test]
fn a_tensor_whose_steps_were_all_skipped_is_its_own_average() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let (mut params, mut optimizer) = build(&gpu, &rule);
        let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
        optimizer.set_transforms(skip, &params).unwrap();
        let before = bits(&read_all(&params));
        params.write_grads(&vec![f32::NAN; ALL]).unwrap();
        optimizer.step(&mut params).unwrap();
        let got = optimizer.with_eval_params(&mut params, |params| bits(&read_all(params))).unwrap();
        assert_eq!(got, before, "{rule}");
        step(&mut optimizer, &mut params, 1);
        let want = wanted(&optimizer, &params);
        let got = optimizer.with_eval_params(&mut params, |params| read_all(params)).unwrap();
        assert!(got.iter().zip(want).all(|(got, want)| (f64::from(*got) - want).abs() < 1e-6), "{rule}");
    }
}

fn trainer(gpu: &Gpu, rule: &Value) -> Trainer<Box<dyn AnyRule>> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 4]), graph.labels("y", 8));
    let loss = x.linear(3).cross_entropy(&y);
    graph.trainer(&loss, optim::from_json(rule).unwrap()).seed(3).steps_per_submit(2).build(gpu).unwrap()
}

#[test]
fn a_trainer_evaluates_with_eval_params_and_trains_on() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let (mut looked, mut whole) = (trainer(&gpu, &rule), trainer(&gpu, &rule));
        let labels = vec![0, 2, 1, 1, 0, 2, 2, 0];
        let train = |trainer: &mut Trainer<_>, steps: std::ops::Range<u64>| {
            for step in steps {
                trainer.step(&[("x", &noises(step, 32)), ("y", &labels)]).unwrap();
            }
        };
        train(&mut looked, 0..7);
        train(&mut whole, 0..7);
        let held_out: [(&str, &dyn gradus::graph::HostData); 2] = [("x", &noises(99, 32)), ("y", &labels)];
        let plain = looked.evaluate(&held_out, 3).unwrap();
        let averaged = looked
            .with_eval_params(|trainer| {
                let refused = trainer.read_checkpoint().unwrap_err().to_string();
                assert!(
                    refused
                        .starts_with("checkpoint: the evaluation parameters replace the training parameters"),
                    "{refused}"
                );
                assert!(trainer.step(&[("x", &noises(0, 32)), ("y", &labels)]).is_err());
                trainer.evaluate(&held_out, 3).unwrap()
            })
            .unwrap();
        assert!((averaged.loss - plain.loss).abs() > 1e-6, "{rule}: {averaged:?}, {plain:?}");
        train(&mut looked, 7..12);
        train(&mut whole, 7..12);
        assert_eq!(looked.read_checkpoint().unwrap(), whole.read_checkpoint().unwrap(), "{rule}");
    }
}
