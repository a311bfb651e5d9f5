//! Sizes and numbers that nothing can hold, refused before anything is made for them.

use gradus::grad::{Accumulate, Transforms};
use gradus::graph::{Graph, Parameter};
use gradus::nn::{CrossEntropy, Init, Linear};
use gradus::optim::{Rule, SGD};
use gradus::{Error, ParamStore};

use crate::common::gpu;

#[test]
fn parameters_that_no_plan_binds_are_refused_before_values_are_drawn() {
    let Some(gpu) = gpu() else { return };
    let limit = gpu.device().limits().max_storage_buffer_binding_size;
    let rows = usize::try_from(limit / 4 / 1024).unwrap();
    for (rows, bytes) in
        [(rows + 1, Some((rows + 1) * 4096)), (32_768 * 16, Some(32_768 * 65_536)), (16, None)]
    {
        let bytes = bytes.filter(|bytes| *bytes as u64 > limit);
        let graph = Graph::new();
        let y = graph.input("x", [1, 1024]).linear(Linear::new(rows).name("wide"));
        let before = gpu.counters();
        for built in [
            graph.store(&gpu, 0).map(drop),
            graph.store_in_groups(&gpu, 0, |p: &Parameter| p.name.clone()).map(drop),
            graph.trainer(&y.mean(), SGD::default()).build(&gpu).map(drop),
        ] {
            match (built, bytes) {
                (Ok(()), None) => {}
                (Err(error), Some(bytes)) => {
                    let said = format!(
                        "wide.weight: {bytes} bytes exceed the max_storage_buffer_binding_size of {limit} bytes on this device"
                    );
                    assert_eq!(error.to_string(), said);
                    assert_eq!(gpu.counters().allocations, before.allocations);
                }
                (built, bytes) => panic!("{bytes:?}: {built:?}"),
            }
        }
    }
}

#[test]
fn tensors_whose_lengths_add_up_to_nothing_are_refused() {
    let Some(gpu) = gpu() else { return };
    let names: Vec<String> = (0..64).map(|index| format!("t{index}")).collect();
    let none: [f32; 0] = [];
    let store = names.iter().fold(ParamStore::builder(), |store, name| {
        store.tensor(name.clone(), [usize::MAX / 64 / 256 * 256], &none)
    });
    let error = store.build(&gpu).unwrap_err();
    assert!(matches!(&error, Error::Shape { layer, .. } if layer == "t1"), "{error}");
    let mut params = ParamStore::builder().tensor("w", [2], &[1.0, 2.0]).build(&gpu).unwrap();
    let mut optimizer = SGD::default().build(&params).unwrap();
    let error = optimizer
        .add_param_group(&mut params, "more", &serde_json::json!({}), |group| {
            names
                .iter()
                .fold(group, |group, name| group.tensor(name.clone(), [usize::MAX / 64 / 256 * 256], &none))
        })
        .unwrap_err();
    assert!(matches!(&error, Error::Shape { layer, .. } if layer == "t0"), "{error}");
    assert_eq!((params.layout().spans().len(), params.read("w").unwrap()), (1, vec![1.0, 2.0]));
}

#[test]
fn options_that_are_infinite_in_f32_are_refused() {
    let Some(gpu) = gpu() else { return };
    let said = |build: &dyn Fn(&Graph)| {
        let graph = Graph::new();
        build(&graph);
        graph.store(&gpu, 0).map(drop).unwrap_err().to_string()
    };
    let init = |init: Init| said(&|graph| drop(graph.parameter("p", [4, 3], init)));
    assert!(
        init(Init::Constant(1e308))
            .starts_with("p: the scale of its initialiser must be such that all values")
    );
    assert!(
        init(Init::Normal { std: 1e38 }).starts_with("p: the scale of its initialiser must be such that 16")
    );
    let weights = |weights: &[f32]| {
        said(&|graph: &Graph| {
            let options = CrossEntropy::new().weight(weights);
            let _ = graph.input("x", [4, 2]).cross_entropy_with(options, &graph.labels("y", 4));
        })
    };
    let error = weights(&[3e38, 3e38]);
    assert!(error.contains(": the sum of weight must be finite in 32 bits, got "), "{error}");
    let graph = Graph::new();
    let options = CrossEntropy::new().weight(&[3e38, 0.0]);
    let _ = graph.input("x", [4, 2]).cross_entropy_with(options, &graph.labels("y", 4));
    graph.check().unwrap();
}

#[test]
fn counts_that_leave_no_room_are_refused_and_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let trainer = |transforms| {
        let graph = Graph::new();
        let loss = graph.input("x", [2, 3]).linear(Linear::new(2).name("l")).mean();
        graph.trainer(&loss, SGD::default()).transforms(transforms).build(&gpu).unwrap()
    };
    let x = vec![0.5; 6];
    let mut ours = trainer(Transforms::default());
    ours.step(&[("x", &x)]).unwrap();
    let good = ours.read_checkpoint().unwrap();
    let most = "must be at most 9223372036854775807, got 9223372036854775808";
    let late = 1 << 63;
    let mut rows = [(good.clone(), "step"), (good.clone(), "attempted"), (good.clone(), "step of l.bias")];
    rows[0].0.step = late;
    rows[1].0.optimizer.attempted = late;
    rows[2].0.optimizer.state.get_mut("l.bias").unwrap().step = late;
    for (checkpoint, name) in &rows {
        let error = ours.load_checkpoint(checkpoint).unwrap_err().to_string();
        assert!(error.ends_with(&format!("{name} {most}")), "{error}");
        assert_eq!(ours.read_checkpoint().unwrap(), good);
    }
    // The last that is accepted goes on.
    let mut last = good.clone();
    (last.step, last.optimizer.attempted) = (late - 1, late - 1);
    ours.load_checkpoint(&last).unwrap();
    ours.step(&[("x", &x)]).unwrap();
    assert_eq!(ours.read_checkpoint().unwrap().step, late);
    // Batches are counted too, and there are more of them.
    let mut threes = trainer(Transforms { accumulate: Some(Accumulate::new(3)), ..Transforms::default() });
    let mut checkpoint = threes.read_checkpoint().unwrap();
    checkpoint.step = late - 1;
    threes.load_checkpoint(&checkpoint).unwrap();
    let said = "step must be at most 6148914691236517205, got 9223372036854775807";
    assert_eq!(threes.step(&[("x", &x)]).unwrap_err().to_string(), said);
    assert_eq!(threes.read_checkpoint().unwrap(), checkpoint);
}
