//! Skipped steps: as if they had not been, whatever the host knew when it recorded the next one.

use gradus::grad::{Noise, Skip, Transforms};
use gradus::optim::{self, AnyRule, Optimizer, StateDict};
use gradus::{Gpu, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gradients, noises};
use crate::oracle::Oracle;

pub(crate) const NAMES: [&str; 3] = ["w", "b", "s"];
pub(crate) const ALL: usize = 375;

pub(crate) fn rules() -> Vec<Value> {
    vec![
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.9}),
        json!({"name": "SGD", "lr": 0.01, "momentum": 0.7, "dampening": 0.4, "weight_decay": 0.1}),
        json!({"name": "Adam", "lr": 0.01, "amsgrad": true}),
        json!({"name": "AdamW", "lr": 0.01}),
        json!({"name": "RMSprop", "lr": 1e-3, "centered": true}),
        json!({"name": "NAdam", "lr": 0.01, "betas": [0.9, 0.99]}),
        json!({"name": "Adan", "lr": 0.01}),
        json!({"name": "ASGD", "lr": 0.05, "lambd": 0.2, "t0": 4}),
        json!({"name": "ScheduleFreeAdamW", "lr": 0.01, "warmup_steps": 10}),
    ]
}

/// Also those that know their tensor.
fn all_rules() -> Vec<Value> {
    let names = ["Lamb", "Lars", "Novograd", "Fromage"];
    rules().into_iter().chain(names.map(|name| json!({"name": name, "lr": 0.01}))).collect()
}

pub(crate) fn start() -> Vec<f32> {
    noises(17, ALL)
}

pub(crate) fn build(
    gpu: &Gpu,
    rule: &Value,
    transforms: Transforms,
) -> (ParamStore, Optimizer<Box<dyn AnyRule>>) {
    let all = start();
    let params = ParamStore::builder()
        .group("decay", |g| g.tensor("w", [3, 100], &all[..300]).tensor("b", [70], &all[300..370]))
        .group("rest", |g| g.tensor("s", [5], &all[370..]))
        .build(gpu)
        .unwrap();
    let mut optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    optimizer.set_transforms(transforms, &params).unwrap();
    (params, optimizer)
}

pub(crate) fn skip() -> Transforms {
    Transforms { skip: Some(Skip::default()), ..Transforms::default() }
}

pub(crate) fn all_bits(params: &ParamStore) -> Vec<u32> {
    bits(&params.params().read_all(params.gpu()).unwrap())
}

/// What a step of the script does: which tensors are frozen, and where a gradient is not finite.
fn frozen_at(step: usize) -> [bool; 3] {
    [(20..28).contains(&step), (7..15).contains(&step), (3..5).contains(&step) || step > 35]
}

fn bad_at(step: usize) -> Option<(usize, f32)> {
    match step {
        0 | 39 => Some((2, f32::NAN)),
        1 | 16 => Some((299, f32::INFINITY)),
        // In a frozen tensor: nobody looks.
        8 | 12 => Some((310, f32::NAN)),
        9 | 10 | 11 | 21 | 33 => Some((374, f32::NEG_INFINITY)),
        _ => None,
    }
}

fn grads_at(step: usize) -> Vec<f32> {
    let mut grads = gradients(step, ALL);
    if let Some((place, bad)) = bad_at(step) {
        grads[place] = bad;
    }
    grads
}

fn tensor_of(place: usize) -> usize {
    [300, 370].iter().filter(|end| place >= **end).count()
}

fn is_skipped(step: usize) -> bool {
    bad_at(step).is_some_and(|(place, _)| !frozen_at(step)[tensor_of(place)])
}

fn set_frozen(params: &mut ParamStore, step: usize) {
    for (name, frozen) in NAMES.iter().zip(frozen_at(step)) {
        if frozen { params.freeze(name) } else { params.thaw(name) }.unwrap();
    }
}

/// NAdam's momentum changes, so that its product depends on which steps were applied.
fn beta1_at(step: usize) -> f64 {
    if step < 10 { 0.9 } else { [0.5, 0.9, 0.8, 0.99][step / 2 % 4] }
}

fn set_momentum(optimizer: &mut Optimizer<Box<dyn AnyRule>>, step: usize) {
    if optimizer.name() == "NAdam" {
        optimizer.rules_mut().for_each(|rule| *rule.momentum_mut().unwrap() = beta1_at(step));
    }
}

/// How the host runs the script.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    /// It waits for each outcome.
    Knows,
    /// It never asks.
    Forgets,
    /// It records three steps before the first of them is submitted.
    Flies,
    /// So it does, and some that are never submitted.
    Abandons,
}

fn play(
    optimizer: &mut Optimizer<Box<dyn AnyRule>>,
    params: &mut ParamStore,
    host: Host,
    steps: std::ops::Range<usize>,
) {
    let gpu = params.gpu().clone();
    if matches!(host, Host::Knows | Host::Forgets) {
        for step in steps {
            set_frozen(params, step);
            set_momentum(optimizer, step);
            params.write_grads(&grads_at(step)).unwrap();
            optimizer.step(params).unwrap();
            if host == Host::Knows {
                assert_eq!(optimizer.read_step_results().unwrap()[0].skipped, is_skipped(step), "{step}");
            }
        }
        return;
    }
    let steps: Vec<usize> = steps.collect();
    for (number, few) in steps.chunks(if host == Host::Flies { 3 } else { 2 }).enumerate() {
        let mut flying = Vec::new();
        for &step in few {
            set_frozen(params, step);
            set_momentum(optimizer, step);
            let mut record = |optimizer: &mut Optimizer<_>| {
                let mut encoder = gpu.encoder("a step");
                let ticket = optimizer.record(&mut encoder, params).unwrap();
                (encoder, ticket)
            };
            let earlier = (host == Host::Abandons && step % 3 == 0).then(|| record(optimizer));
            flying.push((step, record(optimizer)));
            if let Some((_, ticket)) = earlier {
                optimizer.abandoned(ticket).unwrap();
            }
            if host == Host::Abandons && step % 2 == 0 {
                let (_, ticket) = record(optimizer);
                // What becomes known meanwhile stays known.
                while optimizer.poll_step_result().unwrap().is_some() {}
                optimizer.abandoned(ticket).unwrap();
            }
        }
        for (step, (encoder, ticket)) in flying {
            params.write_grads(&grads_at(step)).unwrap();
            gpu.submit(encoder).unwrap();
            optimizer.submitted(ticket).unwrap();
        }
        // Half of the time, so that others are still unknown.
        if number % 2 == 1 {
            optimizer.read_step_results().unwrap();
        }
    }
}

const HOSTS: [Host; 4] = [Host::Knows, Host::Forgets, Host::Flies, Host::Abandons];

#[test]
fn forty_steps_agree_with_f64_however_late_the_host_knows() {
    let Some(gpu) = gpu() else { return };
    for rule in rules() {
        let mut first: Option<(Vec<u32>, StateDict)> = None;
        for host in HOSTS {
            let (mut params, mut optimizer) = build(&gpu, &rule, skip());
            play(&mut optimizer, &mut params, host, 0..40);
            optimizer.read_step_results().unwrap();
            let options = optimizer.group("rest").unwrap().to_json();
            let mut elements: Vec<_> = start().into_iter().map(Oracle::element).collect();
            let mut applied = [0; 3];
            for step in (0..40).filter(|step| !is_skipped(*step)) {
                let mut options = options.clone();
                if rule["name"] == "NAdam" {
                    options["betas"][0] = json!(beta1_at(step));
                }
                let oracle = Oracle::new(options);
                for (place, g) in grads_at(step).into_iter().enumerate() {
                    if !frozen_at(step)[tensor_of(place)] {
                        oracle.step(&mut elements[place], g);
                    }
                }
                applied.iter_mut().zip(frozen_at(step)).for_each(|(n, frozen)| *n += u64::from(!frozen));
            }
            let got: Vec<f32> = NAMES.iter().flat_map(|name| params.read(name).unwrap()).collect();
            for (index, (got, want)) in got.into_iter().zip(&elements).enumerate() {
                let off = (f64::from(got) - want.p).abs();
                assert!(
                    off <= 1e-5 * (0.5 + want.p.abs()),
                    "{rule}, {host:?}, element {index}: got {got}, expected {}",
                    want.p
                );
            }
            assert_eq!(NAMES.map(|name| optimizer.applied(name).unwrap()), applied, "{host:?}");
            let mut dict = optimizer.read_state_dict().unwrap();
            if host == Host::Abandons {
                assert_eq!(dict.attempted, 40 + 14);
                dict.attempted = 40;
            }
            let (want, want_dict) = first.get_or_insert_with(|| (all_bits(&params), dict.clone()));
            assert!(all_bits(&params) == *want, "{rule}, {host:?}");
            assert_eq!(dict, *want_dict, "{rule}, {host:?}");
        }
    }
}

#[test]
fn a_skipped_step_changes_no_bit() {
    let Some(gpu) = gpu() else { return };
    for rule in all_rules() {
        let (mut params, mut optimizer) = build(&gpu, &rule, skip());
        for (step, bad) in [(0, true), (1, false), (2, false), (3, true), (4, true)] {
            let before = (all_bits(&params), optimizer.read_state_dict().unwrap());
            let mut grads = gradients(step, ALL);
            if bad {
                grads[374] = f32::NAN;
            }
            params.write_grads(&grads).unwrap();
            optimizer.step(&mut params).unwrap();
            let mut after = (all_bits(&params), optimizer.read_state_dict().unwrap());
            assert_eq!(after.1.attempted, before.1.attempted + 1);
            after.1.attempted -= 1;
            assert_eq!(after == before, bad, "{rule}, step {step}");
        }
        // The gate itself, in 32 bits.
        let gate = params.gate().read(&gpu, 0).unwrap();
        assert_eq!((gate.applied, gate.skipped, gate.skipped_in_a_row), (2, 3, 2));
    }
}

#[test]
fn options_that_change_in_flight_act_on_the_steps_that_were() {
    let Some(gpu) = gpu() else { return };
    let sgd = json!({"name": "SGD", "lr": 0.1});
    // The first step with momentum is skipped: the buffer starts as the gradient of the second.
    let results = [true, false].map(|knows| {
        let (mut params, mut optimizer) = build(&gpu, &sgd, skip());
        for step in 0..6 {
            if step == 2 {
                let fields = json!({"name": "SGD", "lr": 0.1, "momentum": 0.5, "dampening": 0.75});
                optimizer.rules_mut().for_each(|rule| *rule = optim::from_json(&fields).unwrap());
            }
            let mut grads = gradients(step, ALL);
            if step == 2 || step == 4 {
                grads[0] = f32::NAN;
            }
            params.write_grads(&grads).unwrap();
            optimizer.step(&mut params).unwrap();
            if knows {
                optimizer.read_step_results().unwrap();
            }
        }
        let dict = optimizer.read_state_dict().unwrap();
        (all_bits(&params), dict)
    });
    assert!(results[0] == results[1]);
    assert_eq!(results[0].1.state["w"].step, 4);
}

#[test]
fn a_state_dict_read_in_flight_goes_on_identically() {
    let Some(gpu) = gpu() else { return };
    for rule in all_rules() {
        let noisy = || Transforms { noise: Some(Noise { eta: 0.01, ..Noise::default() }), ..skip() };
        let (mut params, mut optimizer) = build(&gpu, &rule, noisy());
        play(&mut optimizer, &mut params, Host::Forgets, 0..6);
        let mut encoder = gpu.encoder("recorded and not submitted");
        let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
        let in_flight = optimizer.read_state_dict().unwrap();
        optimizer.abandoned(ticket).unwrap();
        let dict = optimizer.read_state_dict().unwrap();
        assert_eq!(in_flight.state, dict.state);
        let (mut twin, mut resumed) = build(&gpu, &rule, noisy());
        // State of its own, some of it on its way, to be replaced.
        play(&mut resumed, &mut twin, Host::Forgets, 13..18);
        let mut encoder = gpu.encoder("never submitted");
        let stale = resumed.record(&mut encoder, &mut twin).unwrap();
        for name in NAMES {
            twin.write(name, &params.read(name).unwrap()).unwrap();
        }
        resumed.load_state_dict(&dict).unwrap();
        resumed.abandoned(stale).unwrap();
        assert_eq!(resumed.read_state_dict().unwrap(), dict, "{rule}");
        assert_eq!((resumed.attempted(), dict.state["w"].step), (6, 4));
        play(&mut optimizer, &mut params, Host::Forgets, 6..20);
        play(&mut resumed, &mut twin, Host::Flies, 6..20);
        let seen = resumed.read_step_results().unwrap();
        assert!(
            seen.iter().all(|outcome| (6..20)
                .any(|step| { outcome.step == step as u64 && outcome.skipped == is_skipped(step) })),
            "{seen:?}"
        );
        optimizer.read_step_results().unwrap();
        assert_eq!(all_bits(&twin), all_bits(&params), "{rule}");
        assert_eq!(resumed.read_state_dict().unwrap(), optimizer.read_state_dict().unwrap());
    }
}
