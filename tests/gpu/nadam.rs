//! NAdam's product of momenta: of each step's own, through schedules, state dicts and checkpoints.

use std::path::PathBuf;

use gradus::graph::Graph;
use gradus::optim::{NAdam, Optimizer, Rule, StateDict};
use gradus::schedule::{CyclicLR, OneCycleLR};
use gradus::train::{Checkpoint, Trainer};
use gradus::{Gpu, ParamStore};
use serde_json::json;

use crate::common::{bits, gpu, gradients, noises, read_all, run, store};
use crate::example::{built, stderr, stdout};
use crate::folder::Folder;

fn cycle() -> CyclicLR {
    CyclicLR { step_size_up: 3, ..CyclicLR::new(1e-3, 1e-2) }
}

fn cycled(optimizer: &mut Optimizer<NAdam>, params: &mut ParamStore, steps: std::ops::Range<usize>) {
    for step in steps {
        optimizer.schedule(&cycle(), step as u64).unwrap();
        params.write_grads(&gradients(step, params.layout().parameters())).unwrap();
        optimizer.step(params).unwrap();
    }
}

fn loaded(params: &ParamStore, dict: &StateDict) -> (ParamStore, Optimizer<NAdam>) {
    let mut twin = store(params.gpu());
    for span in params.layout().spans() {
        twin.write(&span.name, &params.read(&span.name).unwrap()).unwrap();
    }
    let mut optimizer = NAdam::default().build(&twin).unwrap();
    optimizer.load_state_dict(dict).unwrap();
    (twin, optimizer)
}

#[test]
fn a_cycled_momentum_is_torchs() {
    if gpu().is_none() {
        return;
    }
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch/cycled/cases.json");
    let output = built("replay").arg(cases).output().unwrap();
    let said = stdout(&output) + &stderr(&output);
    assert!(output.status.success() && said.matches(": ok").count() == 2, "{said}");
}

#[test]
fn a_cycled_run_goes_on_bit_for_bit_in_one_dispatch_a_step() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = NAdam::default().build(&params).unwrap();
    cycled(&mut optimizer, &mut params, 0..7);
    let dict = optimizer.read_state_dict().unwrap();
    let read: StateDict = serde_json::from_str(&serde_json::to_string(&dict).unwrap()).unwrap();
    assert_eq!(read, dict);
    let (mut twin, mut resumed) = loaded(&params, &read);
    assert_eq!(resumed.read_state_dict().unwrap(), dict);
    let before = gpu.counters();
    cycled(&mut optimizer, &mut params, 7..15);
    assert_eq!(gpu.counters().since(&before).dispatches, 8);
    cycled(&mut resumed, &mut twin, 7..15);
    assert_eq!(bits(&read_all(&twin)), bits(&read_all(&params)));
    assert_eq!(resumed.read_state_dict().unwrap(), optimizer.read_state_dict().unwrap());
}

#[test]
fn without_the_product_a_state_goes_on_as_if_the_options_had_always_been_these() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu);
    let mut optimizer = NAdam::default().build(&params).unwrap();
    run(&mut optimizer, &mut params, 0..7);
    let mut dict = optimizer.read_state_dict().unwrap();
    let mu = |step: i32| 0.9 * (1.0 - 0.5 * 0.96f64.powf(f64::from(step) * 4e-3));
    let product = dict.state["t0"].mu_product.unwrap();
    assert!((product - (1..=7).map(mu).product::<f64>()).abs() < 1e-15, "{product}");
    dict.state.values_mut().for_each(|tensor| tensor.mu_product = None);
    let (mut twin, mut resumed) = loaded(&params, &dict);
    run(&mut optimizer, &mut params, 7..12);
    run(&mut resumed, &mut twin, 7..12);
    assert_eq!(bits(&read_all(&twin)), bits(&read_all(&params)));

    dict.state.get_mut("t1").unwrap().mu_product = Some(1.5);
    let error = resumed.load_state_dict(&dict).unwrap_err().to_string();
    assert_eq!(error, "state dict: mu_product of t1 must be in [0, 1], got 1.5");
    assert_eq!(resumed.read_state_dict().unwrap(), optimizer.read_state_dict().unwrap());
}

fn trainer(gpu: &Gpu) -> Trainer<NAdam> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 4]), graph.labels("y", 2));
    let loss = x.linear(3).cross_entropy(&y);
    graph.trainer(&loss, NAdam::default()).schedule(OneCycleLR::new(1e-2, 20)).seed(3).build(gpu).unwrap()
}

#[test]
fn a_checkpoint_holds_the_product() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("nadam");
    let path = folder.join("model.safetensors");
    let train = |trainer: &mut Trainer<NAdam>, steps: std::ops::Range<u64>| {
        for step in steps {
            trainer.step(&[("x", &noises(step, 8)), ("y", &vec![0, 2])]).unwrap();
        }
    };
    let mut whole = trainer(&gpu);
    train(&mut whole, 0..9);
    whole.read_checkpoint().unwrap().write(&path).unwrap();
    let mut second = trainer(&gpu);
    second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
    train(&mut whole, 9..20);
    train(&mut second, 9..20);
    assert_eq!(second.read_checkpoint().unwrap(), whole.read_checkpoint().unwrap());
    let dict = json!(second.read_checkpoint().unwrap().optimizer);
    assert!(dict["state"]["linear1.bias"]["mu_product"].is_f64(), "{dict}");
}
