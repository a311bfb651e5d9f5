//! The rules that know their tensor, against f64 over whole tensors.

use std::ops::Range;

use gradus::grad::{ClipGradNorm, Noise, Penalty, Skip, Transforms};
use gradus::optim::{self, AnyRule, Family, Optimizer, RULES, Rule, SGD};
use gradus::params::GroupBuilder;
use gradus::schedule::CosineAnnealingLR;
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu_with, gpus_with, gradients, noises, padding, read_all};
use crate::network::gpus;
use crate::tensor_oracle::{Tensor, length};

pub(crate) type Built = (ParamStore, Optimizer<Box<dyn AnyRule>>);

/// Odd lengths; two tensors cross windows of 16,384 elements, and one of them buffers of three.
pub(crate) const TENSORS: [(&str, usize); 7] = [
    ("one", 1),
    ("odd", 15),
    ("wide", 40_000),
    ("zeros", 300),
    ("quiet", 129),
    ("two", 2),
    ("large", 50_050),
];
/// From here on they are in the second group.
const SECOND: usize = 4;
const ALL: usize = 90_497;
const STEPS: usize = 25;

/// Every rule of the family with its defaults and with each of its options, and what differs in the second group.
pub(crate) fn options() -> Vec<(Value, Value)> {
    let betas = json!({"lr": 0.03, "betas": [0.8, 0.9], "weight_decay": 0.05});
    let momentum = json!({"momentum": 0.3, "trust_coefficient": 0.02});
    vec![
        (json!({"name": "Lamb"}), json!({})),
        (json!({"name": "Lamb", "lr": 0.02, "weight_decay": 0.1}), betas.clone()),
        (json!({"name": "Lamb", "lr": 0.01, "betas": [0, 0.5], "eps": 1e-2}), json!({"eps": 1e-3})),
        (
            json!({"name": "Lamb", "lr": 0.01, "eps_root": 1e-2, "weight_decay": 0.1}),
            json!({"eps_root": 1e-4}),
        ),
        (json!({"name": "Lars"}), json!({})),
        (json!({"name": "Lars", "lr": 5, "weight_decay": 0.1, "eps": 0.1}), momentum.clone()),
        (json!({"name": "Lars", "lr": 2, "nesterov": true}), momentum.clone()),
        (json!({"name": "Lars", "lr": 2, "lr_in_buffer": false, "nesterov": true}), momentum.clone()),
        (json!({"name": "Lars", "lr": 3, "lr_in_buffer": false, "trust_coefficient": 0.01}), json!({})),
        (json!({"name": "Lars", "lr": 3, "momentum": 0}), momentum),
        (json!({"name": "Novograd"}), json!({})),
        (json!({"name": "Novograd", "lr": 0.01, "betas": [0.5, 0.98], "eps": 1e-2}), betas),
        (
            json!({"name": "Novograd", "lr": 0.01, "eps_root": 0.5, "weight_decay": 0.1}),
            json!({"eps_root": 10}),
        ),
        (json!({"name": "Fromage"}), json!({"lr": 0.01})),
        (json!({"name": "Fromage", "lr": 0.1, "min_norm": 0}), json!({"min_norm": 100})),
    ]
}

fn small_windows() -> GpuOptions {
    GpuOptions {
        max_binding_bytes: Some(65_536),
        max_buffer_bytes: Some(3 * 65_536),
        ..GpuOptions::default()
    }
}

/// Every kind of kernels, with everything in one window and cut.
pub(crate) fn devices() -> Vec<Gpu> {
    gpus().into_iter().chain(gpus_with(&small_windows())).collect()
}

pub(crate) fn data() -> Vec<Vec<f32>> {
    let first = |(stream, (name, len)): (u64, (&str, usize))| match name {
        "zeros" => vec![0.0; len],
        _ => noises(stream, len),
    };
    (20..).zip(TENSORS).map(first).collect()
}

fn store<'d>(gpu: &Gpu, data: &'d [Vec<f32>]) -> ParamStore {
    let add = |mut group: GroupBuilder<'d>, range: Range<usize>| {
        for ((name, len), data) in TENSORS[range.clone()].iter().zip(&data[range]) {
            group = group.tensor(*name, [*len], data);
        }
        group
    };
    ParamStore::builder()
        .group("a", |group| add(group, 0..SECOND))
        .group("b", |group| add(group, SECOND..TENSORS.len()))
        .build(gpu)
        .unwrap()
}

pub(crate) fn build(gpu: &Gpu, (rule, second): &(Value, Value)) -> Built {
    let params = store(gpu, &data());
    let rule = optim::from_json(rule).unwrap();
    let optimizer = rule.build_with(&params, &[("b", second.clone())]).unwrap();
    (params, optimizer)
}

fn group_of(tensor: usize) -> &'static str {
    if tensor < SECOND { "a" } else { "b" }
}

fn frozen_at(step: usize) -> [bool; 7] {
    [false, (0..2).contains(&step), false, step == 7, false, step > 20, (9..12).contains(&step)]
}

pub(crate) fn gradients_at(step: usize) -> Vec<Vec<f32>> {
    let all = gradients(step, ALL);
    let mut rest = &all[..];
    let mut part = |(name, len): (&str, usize)| {
        let (part, after) = rest.split_at(len);
        rest = after;
        if name == "quiet" { vec![0.0; len] } else { part.to_vec() }
    };
    TENSORS.map(&mut part).to_vec()
}

/// One step of the script: freezes, sets the rate, and steps.
pub(crate) fn step((params, optimizer): &mut Built, step: usize, gradients: &[Vec<f32>]) {
    for ((name, _), frozen) in TENSORS.iter().zip(frozen_at(step)) {
        if frozen { params.freeze(name) } else { params.thaw(name) }.unwrap();
    }
    let cosine = CosineAnnealingLR { t_max: STEPS as u64, eta_min: 0.0, clamp: false };
    optimizer.schedule(&cosine, step as u64).unwrap();
    params.write_grads(&gradients.concat()).unwrap();
    optimizer.step(params).unwrap();
}

/// The same of the oracle, from gradients of its own.
fn follow(optimizer: &Optimizer<Box<dyn AnyRule>>, tensors: &mut [Tensor], step: usize, g: &[Vec<f64>]) {
    for (index, tensor) in tensors.iter_mut().enumerate().filter(|(index, _)| !frozen_at(step)[*index]) {
        tensor.step(&optimizer.group(group_of(index)).unwrap().to_json(), &g[index]);
    }
}

fn wide(gradients: &[Vec<f32>]) -> Vec<Vec<f64>> {
    gradients.iter().map(|tensor| tensor.iter().map(|g| f64::from(*g)).collect()).collect()
}

fn assert_agrees((params, optimizer): &Built, tensors: &[Tensor], what: &str) {
    // As for other rules, and the rounding of sums of many squares.
    let bound = |x: f64| 4.0 * STEPS as f64 * f64::from(f32::EPSILON) * (0.5 + x.abs());
    for (tensor, (name, _)) in tensors.iter().zip(TENSORS) {
        for (index, (got, want)) in params.read(name).unwrap().into_iter().zip(&tensor.p).enumerate() {
            let off = (f64::from(got) - want).abs();
            assert!(off <= bound(*want), "{what}, {name}[{index}]: got {got}, expected {want}");
        }
    }
    let near = |got: f32, want: f64| (f64::from(got) - want).abs() <= 2e-5 * want.abs();
    for ((name, got), tensor) in optimizer.read_trust_ratios().unwrap().into_iter().zip(tensors) {
        assert!(near(got, tensor.ratio), "{what}, {name}: ratio {got}, expected {}", tensor.ratio);
    }
    let dict = optimizer.read_state_dict().unwrap();
    for (tensor, (name, _)) in tensors.iter().zip(TENSORS).filter(|_| optimizer.name() == "Novograd") {
        let got = dict.state[name].slots["exp_avg_sq"].clone().unwrap();
        assert!(got.len() == 1 && near(got[0], tensor.norm), "{what}, {name}: {got:?}, {}", tensor.norm);
    }
    assert!(padding(params).iter().all(|x| *x == 0.0), "{what}: padding");
}

#[test]
fn every_option_agrees_with_f64_in_one_window_and_cut() {
    let devices = devices();
    for entry in RULES.iter().filter(|entry| matches!(entry.family, Family::Tensor { .. })) {
        assert!(options().iter().any(|(rule, _)| rule["name"] == entry.name), "{} is missing", entry.name);
    }
    for options in options() {
        let mut built: Vec<Built> = devices.iter().map(|gpu| build(gpu, &options)).collect();
        let Some((params, _)) = built.last() else { return };
        assert_eq!((params.layout().windows().count(), params.layout().buffers()), (6, 2));
        let mut tensors: Vec<Tensor> = data().iter().map(|p| Tensor::new(p)).collect();
        for number in 0..STEPS {
            let gradients = gradients_at(number);
            built.iter_mut().for_each(|built| step(built, number, &gradients));
            follow(&built[0].1, &mut tensors, number, &wide(&gradients));
        }
        for (number, built) in built.iter().enumerate() {
            assert_agrees(built, &tensors, &format!("{}, device {number}", options.0));
        }
    }
}

/// One rule of each kind, with what it can keep.
pub(crate) fn rules() -> [Value; 4] {
    [
        json!({"name": "Lamb", "lr": 0.01, "weight_decay": 0.1}),
        json!({"name": "Lars", "lr": 2}),
        json!({"name": "Novograd", "weight_decay": 0.1}),
        json!({"name": "Fromage", "lr": 0.05}),
    ]
}

/// The noise of each step alone, from a rule that only adds it up.
fn noise_of(gpu: &Gpu, noise: &Noise) -> Vec<Vec<Vec<f64>>> {
    let zeros: Vec<Vec<f32>> = TENSORS.iter().map(|(_, len)| vec![0.0; *len]).collect();
    let mut params = store(gpu, &zeros);
    let mut optimizer = SGD { lr: 1.0, maximize: true, ..SGD::default() }.build(&params).unwrap();
    let transforms = Transforms { noise: Some(noise.clone()), ..Transforms::default() };
    optimizer.set_transforms(transforms, &params).unwrap();
    let mut noise = || {
        TENSORS.iter().zip(&zeros).for_each(|((name, _), zeros)| params.write(name, zeros).unwrap());
        optimizer.step(&mut params).unwrap();
        wide(&TENSORS.map(|(name, _)| params.read(name).unwrap()))
    };
    (0..STEPS).map(|_| noise()).collect()
}

#[test]
fn what_rides_in_the_frame_rides_in_every_stage() {
    let noise = Noise { eta: 0.02, gamma: 0.55, seed: 5 };
    let Some(gpu) = gpu_with(small_windows()) else { return };
    let noises = noise_of(&gpu, &noise);
    for rule in rules() {
        let mut built = build(&gpu, &(rule.clone(), json!({"lr": 0.1})));
        let transforms = Transforms {
            clip_grad_norm: Some(ClipGradNorm::new(400.0)),
            clip_grad_value: Some(0.5),
            noise: Some(noise.clone()),
            penalties: vec![Penalty { l1: 0.01, l2: 0.02, groups: vec!["a".into()], tensors: vec![] }],
            ..Transforms::default()
        };
        built.1.set_transforms(transforms, &built.0).unwrap();
        let mut tensors: Vec<Tensor> = data().iter().map(|p| Tensor::new(p)).collect();
        for (number, noises) in noises.iter().enumerate() {
            let gradients = gradients_at(number);
            step(&mut built, number, &gradients);
            let mut g = wide(&gradients);
            let thawed = |index: &usize| !frozen_at(number)[*index];
            let norm = length(&(0..7).filter(thawed).map(|index| length(&g[index])).collect::<Vec<f64>>());
            let scale = (400.0 / (norm + 1e-6)).min(1.0);
            assert!((0.3..0.99).contains(&scale), "{scale}");
            for (index, g) in g.iter_mut().enumerate() {
                for ((g, noise), p) in g.iter_mut().zip(&noises[index]).zip(&tensors[index].p) {
                    *g = (*g * scale).clamp(-0.5, 0.5) + noise;
                    if index < SECOND {
                        *g += 0.01 * if *p == 0.0 { 0.0 } else { p.signum() } + 0.04 * p;
                    }
                }
            }
            follow(&built.1, &mut tensors, number, &g);
        }
        assert_agrees(&built, &tensors, &rule.to_string());
    }
}

#[test]
fn skipped_steps_leave_no_trace() {
    for gpu in gpus() {
        for rule in rules() {
            let rule = (rule, json!({}));
            let (mut whole, mut skipping) = (build(&gpu, &rule), build(&gpu, &rule));
            let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
            skipping.1.set_transforms(skip, &skipping.0).unwrap();
            for number in 0..12 {
                // The first of all among them, which is when an average begins.
                if [0, 1, 5, 6, 11].contains(&number) {
                    let mut bad = gradients_at(number + 50);
                    bad[2][39_999] = if number == 5 { f32::INFINITY } else { f32::NAN };
                    step(&mut skipping, number, &bad);
                }
                let gradients = gradients_at(number);
                step(&mut whole, number, &gradients);
                step(&mut skipping, number, &gradients);
            }
            let ends = [&mut whole, &mut skipping].map(|(params, optimizer)| {
                optimizer.read_step_results().unwrap();
                let dict = optimizer.read_state_dict().unwrap();
                (bits(&read_all(params)), dict.state, optimizer.read_trust_ratios().unwrap())
            });
            assert!(ends[0] == ends[1], "{}", rule.0);
            assert_eq!((whole.1.attempted(), skipping.1.attempted()), (12, 17));
        }
    }
}
