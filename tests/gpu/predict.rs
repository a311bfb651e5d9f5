//! Inference without a trainer.

use gradus::graph::{Graph, HostData, Init, PlanOptions, Resident, Var, Workspace};
use gradus::nn::{BatchNorm, Conv2d, Embedding, Linear};
use gradus::optim::SGD;
use gradus::params::Weights;
use gradus::predict::Predictor;
use gradus::{Error, Gpu, ParamStore};

use crate::common::{bits, gpu, noises};
use crate::folder::Folder;
use crate::lost::wait;

const SAMPLE: usize = 2 * 5 * 6;

struct Model {
    graph: Graph,
    /// Channels last on the device, five of them.
    features: Var,
    logits: Var,
    loss: Var,
}

/// A small network with dropout and running statistics.
fn model() -> Model {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 2, 5, 6]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(5, 3).name("conv")).batch_norm2d(BatchNorm::new().name("bn"));
    let features = h.relu();
    let logits = features.dropout(0.5).flatten().linear(Linear::new(3).name("fc"));
    let loss = logits.cross_entropy(&y);
    Model { graph, features, logits, loss }
}

/// A store whose running statistics are not the first ones.
fn store(gpu: &Gpu, graph: &Graph) -> ParamStore {
    let mut params = graph.store(gpu, 5).unwrap();
    params.write("bn.running_mean", &noises(1, 5)).unwrap();
    params.write("bn.running_var", &[0.5, 2.0, 1.5, 0.25, 1.0]).unwrap();
    params
}

/// What a plan of this batch size reads.
fn expected(model: &Model, params: &ParamStore, x: &[f32]) -> [Vec<f32>; 2] {
    let options = PlanOptions::evaluate().output("f", &model.features).output("l", &model.logits);
    let options = options.batch(x.len() / SAMPLE);
    let plan = model.graph.compile(params, &options, &mut Workspace::new()).unwrap();
    plan.write("x", x).unwrap();
    let mut encoder = params.gpu().encoder("plan");
    plan.record(&mut gradus::gpu::Recorder::new(params.gpu(), &mut encoder)).unwrap();
    params.gpu().submit(encoder).unwrap();
    ["f", "l"].map(|name| plan.read(name).unwrap())
}

#[test]
fn all_outputs_of_any_number_of_samples_are_those_of_a_plan() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let outputs = [("features", &model.features), ("logits", &model.logits)];
    let params = store(&gpu, &model.graph);
    let mut predictor = Predictor::new(&model.graph, params, &outputs).unwrap().max_batch(7).unwrap();
    for samples in [1, 2, 7, 4, 8, 14, 17, 2] {
        let x = noises(samples as u64, samples * SAMPLE);
        let made = predictor.predict(&[("x", &x)]).unwrap();
        let [features, logits] = expected(&model, predictor.params(), &x);
        assert_eq!(made.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["features", "logits"]);
        assert_eq!(made.get("features").unwrap().shape, [samples, 5, 3, 4]);
        assert_eq!(made.get("logits").unwrap().shape, [samples, 3]);
        let close = |got: &[f32], want: &[f32]| {
            got.len() == want.len() && got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5)
        };
        assert!(close(&made.get("features").unwrap().values, &features), "{samples} samples");
        assert!(close(&made.get("logits").unwrap().values, &logits), "{samples} samples");
        if samples <= 7 {
            assert_eq!(bits(&made.get("logits").unwrap().values), bits(&logits), "{samples} samples");
        }
        // The same request again, and without blocking.
        assert_eq!(predictor.predict(&[("x", &x)]).unwrap(), made);
        assert_eq!(wait(predictor.predict_async(&[("x", &x)])).unwrap(), made);
    }
}

#[test]
fn a_request_of_a_known_size_is_one_submit_and_makes_nothing() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let outputs = [("logits", &model.logits), ("features", &model.features), ("again", &model.logits)];
    let mut predictor = Predictor::new(&model.graph, store(&gpu, &model.graph), &outputs).unwrap();
    let sizes = [3, 1, 12];
    for size in sizes {
        predictor.predict(&[("x", &noises(1, size * SAMPLE))]).unwrap();
    }
    // Staging memory has seen the largest size; a smaller one comes first, so that it did not have to be remade.
    for size in [12, 3, 12, 1, 1, 3] {
        let x = noises(2, size * SAMPLE);
        for blocking in [true, false] {
            let before = gpu.counters();
            let made = match blocking {
                true => predictor.predict(&[("x", &x)]).unwrap(),
                false => wait(predictor.predict_async(&[("x", &x)])).unwrap(),
            };
            let count = gpu.counters().since(&before);
            let nothing = (count.allocations, count.pipelines, count.bind_groups, count.live_bytes);
            assert_eq!(nothing, (0, 0, 0, 0), "{size} samples, blocking: {blocking}");
            assert_eq!((count.submits, count.uploads, count.read_backs, count.passes), (1, 1, 1, 1));
            assert_eq!(made.get("again").unwrap(), made.get("logits").unwrap());
        }
    }
    // More than the default is cut, with a submit each.
    let x = noises(2, (Predictor::MAX_BATCH + 3) * SAMPLE);
    predictor.predict(&[("x", &x)]).unwrap();
    let before = gpu.counters();
    predictor.predict(&[("x", &x)]).unwrap();
    let count = gpu.counters().since(&before);
    assert_eq!((count.submits, count.allocations, count.pipelines), (2, 0, 0));
}

#[test]
fn a_trainer_predicts_the_same_and_its_files_open() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("predictor");
    let Model { graph, features, logits, loss } = model();
    let mut trainer = graph.trainer(&loss, SGD { lr: 0.1, ..SGD::default() }).build(&gpu).unwrap();
    let (x, y) = (noises(3, 8 * SAMPLE), [0_u32, 1, 2, 0, 1, 2, 0, 1]);
    for _ in 0..5 {
        trainer.step(&[("x", &x), ("y", &y)]).unwrap();
    }
    let want = trainer.predict(&logits, &[("x", &x)], 8).unwrap();
    assert_eq!(trainer.predict(&features, &[("x", &x)], 3).unwrap().len(), 8 * 5 * 12);
    assert_eq!(trainer.predict(&logits, &[("x", &x)], 8).unwrap(), want);
    trainer.read_checkpoint().unwrap().write(folder.join("run.safetensors")).unwrap();
    trainer.params().read_weights().unwrap().write(folder.join("model.safetensors")).unwrap();
    let outputs = [("logits", &logits)];
    for file in ["run.safetensors", "model.safetensors"] {
        let mut predictor = Predictor::open(&gpu, &graph, folder.join(file), &outputs).unwrap();
        let made = predictor.predict(&[("x", &x)]).unwrap();
        assert_eq!(bits(&made.get("logits").unwrap().values), bits(&want), "{file}");
    }
    // Other weights from the next request on, and in a network that has more.
    let more = Graph::new();
    let input = more.input("x", [4, 2, 5, 6]);
    let h = input.conv2d(Conv2d::new(5, 3).name("net.conv")).batch_norm2d(BatchNorm::new().name("net.bn"));
    let head = h.relu().flatten().linear(Linear::new(3).name("net.fc"));
    let weights = Weights::read(folder.join("model.safetensors")).unwrap().within("net");
    let mut predictor = Predictor::new(&more, more.store(&gpu, 9).unwrap(), &[("head", &head)]).unwrap();
    let before = predictor.predict(&[("x", &x)]).unwrap();
    assert_eq!(predictor.load_state_dict(&weights, true).unwrap().loaded.len(), 9);
    let after = predictor.predict(&[("x", &x)]).unwrap();
    assert_ne!(before, after);
    assert_eq!(bits(&after.get("head").unwrap().values), bits(&want));
    let refused = Predictor::open(&gpu, &more, folder.join("model.safetensors"), &[("head", &head)]);
    let Err(Error::Weights(mismatch)) = refused else { panic!("{refused:?}") };
    assert!(mismatch.weights.ends_with("model.safetensors"));
    assert_eq!((mismatch.missing.len(), mismatch.unexpected.len()), (9, 9));
}

/// Data, and how the refusal of them begins.
type Row<'a> = (Vec<(&'a str, &'a dyn HostData)>, &'a str);

#[test]
fn labels_rows_and_several_inputs_are_taken_and_only_those_that_matter() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (tokens, x) = (graph.labels("tokens", [2, 3]), graph.input("x", [2, 4]));
    let embedded = tokens.embedding(Embedding::new(6, 4).name("emb"));
    let joined = embedded.mean_dim(&[1], false).add(&x);
    let _ = graph.input("z", [2, 4]).linear(Linear::new(2).name("other"));
    let outputs = [("joined", &joined), ("embedded", &embedded)];
    let mut predictor = Predictor::new(&graph, graph.store(&gpu, 2).unwrap(), &outputs).unwrap();
    let (t, xs) = ([0_u32, 5, 1, 2, 2, 3, 4, 4, 4], noises(4, 12));
    let data: [(&str, &dyn HostData); 2] = [("x", &xs), ("tokens", &t)];
    let made = predictor.predict(&data).unwrap();
    let table = predictor.params().read("emb.weight").unwrap();
    for (at, got) in made.get("joined").unwrap().values.iter().enumerate() {
        let (sample, column) = (at / 4, at % 4);
        let rows = t[sample * 3..][..3].iter().map(|row| table[*row as usize * 4 + column]).sum::<f32>();
        assert!((got - rows / 3.0 - xs[at]).abs() < 1e-6);
    }
    assert_eq!(made.get("embedded").unwrap().shape, [3, 3, 4]);
    let set = Resident::numbers(&gpu, &xs, &[4]).unwrap();
    let rows = set.rows(&[2, 0, 1]);
    let turned = [&t[6..], &t[..6]].concat();
    let of_rows = predictor.predict(&[("x", &rows), ("tokens", &turned)]).unwrap();
    let whole = made.get("joined").unwrap();
    let expected = [&whole.values[8..], &whole.values[..8]].concat();
    assert_eq!(bits(&of_rows.get("joined").unwrap().values), bits(&expected));

    let refusals: Vec<Row> = vec![
        (vec![], "inputs: expected at least one"),
        (vec![("x", &xs)], "inputs: tokens is missing"),
        (vec![("X1", &xs), ("tokens", &t)], "unknown input \"X1\", did you mean \"x\"?; known: tokens, x"),
        (vec![("x", &xs), ("tokns", &t)], "unknown input \"tokns\", did you mean \"tokens\"?; known: "),
        (vec![("x", &xs), ("tokens", &t), ("z", &xs)], "unknown input \"z\"; known: "),
        (vec![("x", &xs), ("tokens", &t), ("x", &xs)], "duplicate input \"x\""),
        (
            vec![("x", &[0.0; 5]), ("tokens", &t)],
            "input x, in whole samples of [4]: expected 8 elements, got 5",
        ),
        (
            vec![("x", &[0.0; 0]), ("tokens", &t)],
            "input x, in whole samples of [4]: expected 4 elements, got 0",
        ),
        (vec![("x", &[0.0; 8]), ("tokens", &t)], "input tokens of 2 samples: expected 6 elements, got 9"),
        (vec![("x", &t), ("tokens", &t)], "input x, in whole samples of [4]: expected 12 elements, got 9"),
        (vec![("tokens", &t), ("x", &t)], "input x: expected f32 numbers"),
        (vec![("x", &xs), ("tokens", &[6_u32; 9])], "label 0 of input tokens must be below 6, got 6"),
    ];
    for (data, message) in refusals {
        let before = gpu.counters();
        let refused = predictor.predict(&data).unwrap_err().to_string();
        assert!(refused.starts_with(message), "{refused}\nexpected {message}");
        assert_eq!(gpu.counters().since(&before).submits, 0);
    }
    assert_eq!(predictor.predict(&data).unwrap(), made);
    let unknown = made.get("joind").unwrap_err().to_string();
    assert_eq!(unknown, "unknown output \"joind\", did you mean \"joined\"?; known: joined, embedded");
}

#[test]
fn what_cannot_be_an_output_is_refused() {
    let Some(gpu) = gpu() else { return };
    let Model { graph, logits, loss, .. } = model();
    let foreign = Graph::new().input("x", [4, 1]);
    let parameter = graph.parameter("p", [4, 3], Init::Constant(0.0));
    let new = |outputs: &[(&str, &Var)]| {
        let params = graph.store(&gpu, 1).unwrap();
        Predictor::new(&graph, params, outputs).map(drop).unwrap_err().to_string()
    };
    assert_eq!(new(&[]), "outputs: expected at least one");
    assert_eq!(new(&[("a", &logits), ("a", &logits)]), "duplicate output \"a\"");
    assert_eq!(new(&[("a", &foreign)]), "output a: it belongs to another graph");
    let labels = graph.labels("z", 4);
    assert_eq!(new(&[("a", &labels)]), "output a: expected a computed value, got labels");
    for var in [&loss, &parameter, &logits.amax(&[0], true)] {
        let said = new(&[("l", &logits), ("a", var)]);
        assert!(said.contains(": expected one row for each of the 4 samples, got "), "{said}");
    }
    let other = Graph::new();
    let _ = other.input("x", [1, 2]).linear(Linear::new(2).name("fc"));
    let refused = Predictor::new(&graph, other.store(&gpu, 0).unwrap(), &[("l", &logits)]).unwrap_err();
    assert!(matches!(refused, Error::UnknownName { .. }), "{refused}");
    let predictor = Predictor::new(&graph, graph.store(&gpu, 0).unwrap(), &[("l", &logits)]).unwrap();
    assert_eq!(predictor.max_batch(0).unwrap_err().to_string(), "max_batch must be at least 1, got 0");
}

#[test]
fn a_request_that_was_dropped_on_its_way_leaves_the_next_one_right() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let params = store(&gpu, &model.graph);
    let mut predictor = Predictor::new(&model.graph, params, &[("logits", &model.logits)]).unwrap();
    let [one, two] = [1, 2].map(|stream| noises(stream, 3 * SAMPLE));
    let want = predictor.predict(&[("x", &two)]).unwrap();
    let data: [(&str, &dyn HostData); 1] = [("x", &one)];
    for _ in 0..4 {
        let mut dropped = Box::pin(predictor.predict_async(&data));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = dropped.as_mut().poll(&mut context);
        drop(dropped);
        assert_eq!(predictor.predict(&[("x", &two)]).unwrap(), want);
    }
}

#[test]
fn what_an_output_does_not_depend_on_may_come_later_and_fix_the_batch() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let Model { graph, features, logits, loss } = &model;
    let mut trainer = graph.trainer(loss, SGD::default()).build(&gpu).unwrap();
    let weights = trainer.params().read_weights().unwrap();
    let outputs = [("logits", logits)];
    let mut predictor = Predictor::from_weights(&gpu, graph, &weights, &outputs).unwrap();
    let known = predictor.predict(&[("x", &noises(1, 2 * SAMPLE))]).unwrap();
    // Tensors that the stores lack, read by what works with the declared batch alone.
    let embedded = features.flatten().linear(Linear::new(4).name("later"));
    let eye = graph.buffer("eye", [4, 4], Init::Constant(1.0));
    let contrast = embedded.matmul(&embedded.transpose(0, 1)).sub(&eye).square().mean();
    let _ = graph.trainer(&contrast, SGD::default()).build(&gpu).unwrap();
    for samples in [2, 4, 7] {
        let (x, y) = (noises(1, samples * SAMPLE), vec![1_u32; samples]);
        let made = predictor.predict(&[("x", &x)]).unwrap();
        let [_, want] = expected(&model, predictor.params(), &x);
        assert_eq!(bits(&made.get("logits").unwrap().values), bits(&want), "{samples} samples");
        assert_eq!(made.get("logits").unwrap().values[..6], known.get("logits").unwrap().values[..6]);
        trainer.params_mut().load_state_dict(&weights, true).unwrap();
        assert_eq!(bits(&trainer.predict(&model.logits, &[("x", &x)], samples).unwrap()), bits(&want));
        trainer.step(&[("x", &x), ("y", &y)]).unwrap();
        trainer.evaluate(&[("x", &x), ("y", &y)], samples).unwrap();
    }
    let refused = Predictor::new(graph, store_of(&weights, &gpu), &[("later", &embedded)]).unwrap_err();
    assert!(refused.to_string().starts_with("unknown tensor \"later.weight\""), "{refused}");
    // What fixes the batch is refused where it is asked for.
    let mut fixed = Predictor::new(graph, graph.store(&gpu, 1).unwrap(), &[("later", &embedded)]).unwrap();
    assert_eq!(fixed.predict(&[("x", &noises(1, 7 * SAMPLE))]).unwrap().get("later").unwrap().shape, [7, 4]);
    let of_five = PlanOptions::train(&contrast).batch(5);
    let refused = graph.compile(fixed.params(), &of_five, &mut Workspace::new()).unwrap_err().to_string();
    assert_eq!(refused, "sub1: expected a shape that broadcasts with [5, 5], got [4, 4]");
}

/// A store of the model as it was, with these weights.
fn store_of(weights: &Weights, gpu: &Gpu) -> ParamStore {
    let mut params = store(gpu, &model().graph);
    params.load_state_dict(weights, true).unwrap();
    params
}

#[test]
fn rows_that_grow_with_the_batch_are_made_of_one_batch() {
    let Some(gpu) = gpu() else { return };
    for declared in [1, 4] {
        let graph = Graph::new();
        let x = graph.input("x", [declared, 3]);
        let products = x.matmul(&x.transpose(0, 1));
        // A store has a tensor.
        let _ = x.linear(Linear::new(2).name("other"));
        let outputs = [("x", &x), ("products", &products)];
        let store = || graph.store(&gpu, 1).unwrap();
        let mut predictor = Predictor::new(&graph, store(), &outputs).unwrap().max_batch(5).unwrap();
        for samples in [1, 4, 5] {
            let x = noises(2, samples * 3);
            let made = predictor.predict(&[("x", &x)]).unwrap();
            let products = made.get("products").unwrap();
            assert_eq!(products.shape, [samples, samples]);
            for (at, got) in products.values.iter().enumerate() {
                let row = |number: usize| &x[number * 3..][..3];
                let want: f32 = row(at / samples).iter().zip(row(at % samples)).map(|(a, b)| a * b).sum();
                assert!((got - want).abs() < 1e-6);
            }
        }
        // Also where all batches would be as large.
        for samples in [6, 10] {
            let before = gpu.counters();
            let refused = predictor.predict(&[("x", &noises(2, samples * 3))]).unwrap_err().to_string();
            let want = "expected rows whose size does not depend on the number of samples, since at most 5 are computed at once";
            assert_eq!(refused, format!("matmul1: {want}, got [{samples}, {samples}]"));
            assert_eq!(gpu.counters().since(&before).submits, 0);
        }
        let mut alone = Predictor::new(&graph, store(), &outputs[..1]).unwrap().max_batch(5).unwrap();
        assert_eq!(alone.predict(&[("x", &noises(2, 18))]).unwrap().get("x").unwrap().shape, [6, 3]);
    }
}
