//! What else knows of a store that grows: state dicts, counters, plans of a graph, trainers, other optimizers.

use gradus::gpu::Recorder;
use gradus::grad::Transforms;
use gradus::graph::{Graph, Init, PlanOptions, Workspace};
use gradus::optim::{Rule, SGD, StateDict};
use gradus::{Error, GpuOptions};
use serde_json::json;

use super::{add, all, small_windows, start, step, store};
use crate::common::{bits, gpu, gpu_with, noises, read_all};
use crate::network::submit;

#[test]
fn a_state_dict_goes_into_a_store_built_at_once_and_back() {
    let Some(gpu) = gpu() else { return };
    let rule = json!({"name": "AdamW", "lr": 0.01});
    let mut run = start(&gpu, &[0], &rule);
    step(&mut run, &[0], 0);
    add(&mut run, 1, &json!({"lr": 0.5, "amsgrad": true})).unwrap();
    step(&mut run, &[0, 1], 1);
    let text = serde_json::to_string(&run.1.read_state_dict().unwrap()).unwrap();
    let dict: StateDict = serde_json::from_str(&text).unwrap();
    let mut later = start(&gpu, &[0], &rule);
    assert!(later.1.load_state_dict(&dict).is_err());
    add(&mut later, 1, &json!({})).unwrap();
    let mut others = [start(&gpu, &[0, 1], &rule), later];
    for (params, optimizer) in &mut others {
        optimizer.load_state_dict(&dict).unwrap();
        for span in params.layout().clone().spans() {
            params.write(&span.name, &run.0.read(&span.name).unwrap()).unwrap();
        }
    }
    step(&mut run, &[0, 1], 2);
    for mut other in others {
        step(&mut other, &[0, 1], 2);
        assert!(all(&other) == all(&run));
    }
}

#[test]
fn what_stays_live_is_what_a_store_built_at_once_has() {
    let chain = json!([{"name": "skip"}, {"name": "clip_grad_norm", "max_norm": 1}, {"name": "noise"}]);
    for (options, chain) in [
        (GpuOptions::default(), None),
        (small_windows(), None),
        (GpuOptions::default(), Some(&chain)),
        (small_windows(), Some(&chain)),
    ] {
        let Some(gpu) = gpu_with(options) else { return };
        let live = |groups: &[usize], added: &[usize]| {
            let before = gpu.counters();
            let mut run = start(&gpu, groups, &json!({"name": "Adam", "amsgrad": true}));
            if let Some(chain) = chain {
                run.1.set_transforms(Transforms::from_json(chain).unwrap(), &run.0).unwrap();
            }
            step(&mut run, groups, 0);
            run.1.read_step_results().unwrap();
            added.iter().for_each(|group| add(&mut run, *group, &json!({})).unwrap());
            if chain.is_some() {
                // How much room there is for uniforms depends on when it was made, so it is made now.
                run.1.add_param_group(&mut run.0, "empty", &json!({}), |g| g).unwrap();
            }
            step(&mut run, &[groups, added].concat(), 1);
            gpu.wait().unwrap();
            gpu.counters().since(&before).live_bytes
        };
        assert_eq!(live(&[0, 1, 2, 3], &[]), live(&[0], &[1, 2, 3]));
    }
}

#[test]
fn others_that_use_the_store_notice() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.parameter("x", [3], Init::Constant(1.0));
    let loss = x.sum();
    let mut params = graph.store(&gpu, 0).unwrap();
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    let mut optimizer = SGD { lr: 0.5, ..Default::default() }.build(&params).unwrap();
    let mut other = SGD::default().build(&params).unwrap();
    submit(&gpu, &[&plan]);
    optimizer.step(&mut params).unwrap();
    optimizer.add_param_group(&mut params, "late", &json!({}), |g| g.tensor("y", [2], &[3.0, 4.0])).unwrap();
    // What the pass left stays.
    assert_eq!(params.read_grad("x").unwrap(), [1.0; 3]);
    let before = (read_all(&params), gpu.counters());
    let mut encoder = gpu.encoder("test");
    let mut recorder = Recorder::new(&gpu, &mut encoder);
    let message = "a group was added to the parameters after this plan was compiled: compile it again";
    assert_eq!(plan.record(&mut recorder).unwrap_err(), Error::Mismatch(message.into()));
    assert_eq!(plan.record_part(&mut recorder, 0..1).unwrap_err(), Error::Mismatch(message.into()));
    let message = "another optimizer has added a group to the parameter store: build this one again";
    let refused = Error::Mismatch(message.into());
    assert_eq!(other.record_into(&mut recorder, &mut params).unwrap_err(), refused);
    assert_eq!(other.set_transforms(Transforms::default(), &params).unwrap_err(), refused);
    let late = other.add_param_group(&mut params, "more", &json!({}), |g| g.tensor("z", [1], &[0.0]));
    assert_eq!(late.unwrap_err(), refused);
    drop(recorder);
    assert_eq!(gpu.counters().since(&before.1).dispatches, 0);
    assert_eq!(read_all(&params), before.0);
    let y = graph.parameter("y", [2], Init::Constant(0.0));
    let loss = y.sum().add(&x.sum());
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    submit(&gpu, &[&plan]);
    optimizer.step(&mut params).unwrap();
    assert_eq!(read_all(&params), [0.0, 0.0, 0.0, 2.5, 3.5]);
    SGD::default().build(&params).unwrap().step(&mut params).unwrap();
}

#[test]
fn a_trainer_notices_that_its_store_has_grown() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let loss = graph.input("x", [4, 2]).linear(1).mean();
    let mut trainer = graph.trainer(&loss, SGD::default()).build(&gpu).unwrap();
    let data = noises(1, 8);
    trainer.step(&[("x", &data)]).unwrap();
    let mut params = store(&gpu, &[2]);
    std::mem::swap(trainer.params_mut(), &mut params);
    let added = trainer
        .optimizer_mut()
        .add_param_group(&mut params, "late", &json!({}), |g| g.tensor("y", [2], &[3.0, 4.0]));
    added.unwrap();
    std::mem::swap(trainer.params_mut(), &mut params);
    let before = bits(&read_all(trainer.params()));
    let message = "a group was added to the parameters after this plan was compiled: compile it again";
    assert_eq!(trainer.step(&[("x", &data)]).unwrap_err(), Error::Mismatch(message.into()));
    assert_eq!(bits(&read_all(trainer.params())), before);
}
