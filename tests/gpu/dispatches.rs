//! What dispatches move and compute, against numbers worked out by hand; and recorders that measure them.

use gradus::gpu::{Dispatch, Phase, Recorder, Timestamps};
use gradus::grad::{ClipGradNorm, Transforms};
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Embedding, LSTM, Linear};
use gradus::optim::{AdamW, Lamb, Rule, SGD};
use gradus::{Gpu, GpuOptions, ParamStore};

use crate::common::{gpu, gpu_with, gpus_with};

fn plan(gpu: &Gpu, graph: &Graph, options: &PlanOptions) -> (ParamStore, Plan) {
    let params = graph.store(gpu, 1).unwrap();
    let plan = graph.compile(&params, options, &mut Workspace::new()).unwrap();
    (params, plan)
}

fn evaluated(gpu: &Gpu, graph: &Graph, y: &Var) -> Vec<Dispatch> {
    // A store has a tensor, whatever the plan needs.
    let _ = graph.input("unused", [1, 4]).bias();
    plan(gpu, graph, &PlanOptions::evaluate().output("y", y)).1.dispatches()
}

fn trained(gpu: &Gpu, graph: &Graph, loss: &Var) -> Vec<Dispatch> {
    plan(gpu, graph, &PlanOptions::train(loss)).1.dispatches()
}

fn named<'d>(all: &'d [Dispatch], part: &str) -> Vec<&'d Dispatch> {
    let found: Vec<_> = all.iter().filter(|dispatch| dispatch.label.contains(part)).collect();
    assert!(!found.is_empty(), "no {part} in {:?}", all.iter().map(|d| &d.label).collect::<Vec<_>>());
    found
}

/// Bytes read, bytes written, FLOP.
fn of(dispatch: &Dispatch) -> [u64; 3] {
    [dispatch.bytes_read, dispatch.bytes_written, dispatch.flops]
}

#[test]
fn a_product_reads_its_factors_and_writes_its_output_once() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let graph = Graph::new();
        let y = graph.input("x", [32, 64]).linear(16);
        let dispatches = evaluated(&gpu, &graph, &y);
        assert_eq!(dispatches.len(), 1);
        assert_eq!(of(&dispatches[0]), [4 * (32 * 64 + 64 * 16 + 16), 4 * 32 * 16, 2 * 32 * 64 * 16]);

        // Without a bias, and 6 columns in rows of 8.
        let graph = Graph::new();
        let y = graph.input("x", [5, 12]).linear(Linear::new(6).without_bias());
        let dispatches = evaluated(&gpu, &graph, &y);
        assert_eq!(of(&dispatches[0]), [4 * (5 * 12 + 12 * 6), 4 * 5 * 8, 2 * 5 * 12 * 6]);

        // Of a factor that all matrices of a batch share, one.
        let graph = Graph::new();
        let y = graph.input("a", [3, 8, 12]).matmul(&graph.input("b", [3, 12, 20]));
        assert_eq!(
            of(&evaluated(&gpu, &graph, &y)[0]),
            [4 * 3 * (8 * 12 + 12 * 20), 4 * 3 * 8 * 20, 2 * 3 * 8 * 12 * 20]
        );
        let graph = Graph::new();
        let y = graph.input("a", [3, 8, 12]).matmul(&graph.input("b", [1, 12, 20]));
        assert_eq!(evaluated(&gpu, &graph, &y)[0].bytes_read, 4 * (3 * 8 * 12 + 12 * 20));
    }
}

#[test]
fn what_is_added_to_is_read_first() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let read = |adds: bool| {
            let graph = Graph::new();
            let loss = graph.input("x", [8, 12]).linear(Linear::new(16).without_bias()).mean();
            let mut options = PlanOptions::train(&loss);
            if adds {
                options = options.accumulate();
            }
            let all = plan(&gpu, &graph, &options).1.dispatches();
            let product = all.iter().find(|d| d.phase == Phase::Backward && d.flops == 2 * 8 * 12 * 16);
            product.map(|product| [product.bytes_read, product.bytes_written]).unwrap()
        };
        let factors = 4 * (8 * 12 + 8 * 16);
        let gradient = 4 * 12 * 16;
        assert_eq!(read(false), [factors, gradient]);
        assert_eq!(read(true), [factors + gradient, gradient]);
    }
}

#[test]
fn the_passes_of_a_convolution_compute_as_much_each() {
    for gpu in gpus_with(&GpuOptions::default()) {
        for (groups, conv) in [(1, Conv2d::new(8, 3).padding(1)), (2, Conv2d::new(8, 3).padding(1).groups(2))]
        {
            let graph = Graph::new();
            let x = graph.input("x", [2, 4, 6, 10]).bias();
            let all = trained(&gpu, &graph, &x.conv2d(conv).mean());
            let flops = 2 * (2 * 6 * 10) * 8 * 9 * (4 / groups);
            let heavy: Vec<_> = all.iter().filter(|dispatch| dispatch.flops == flops).collect();
            assert_eq!(heavy.len(), 3, "{all:?}");
            let phases: Vec<_> = heavy.iter().map(|dispatch| dispatch.phase).collect();
            assert_eq!(phases, [Phase::Forward, Phase::Backward, Phase::Backward]);
            let y = 4 * 2 * 6 * 10 * 8;
            let x = 4 * 2 * 6 * 10 * 4;
            assert_eq!(heavy[0].bytes_written, y);
            // The weight's gradient, then the input's.
            assert!(heavy[1].bytes_read >= x + y && heavy[2].bytes_read >= y, "{heavy:?}");
            assert_eq!(heavy[2].bytes_written, x);
        }
    }
}

#[test]
fn functions_of_elements_count_what_their_text_computes() {
    for gpu in gpus_with(&GpuOptions::default()) {
        // 21 columns lie in rows of 24.
        let graph = Graph::new();
        let (a, b) = (graph.input("a", [10, 21]), graph.input("b", [1, 21]));
        let dispatches = evaluated(&gpu, &graph, &a.mul(&b).add(&a).relu());
        // Behind what brings the inputs into these rows.
        assert_eq!(dispatches.len(), 3);
        let (rows, pitch) = (10, 24);
        // What is broadcast is read once; a product and a sum for each lane, between which and zero a relu selects.
        assert_eq!(of(&dispatches[2]), [4 * (rows + 1) * pitch, 4 * rows * pitch, 2 * rows * pitch]);

        // A copy computes nothing, and moves the part that it takes.
        let graph = Graph::new();
        let x = graph.input("x", [10, 64]);
        let y = x.narrow(0, 2, 5);
        let dispatches = evaluated(&gpu, &graph, &y);
        assert_eq!(of(&dispatches[dispatches.len() - 1]), [4 * 5 * 64, 4 * 5 * 64, 0]);

        // A chain at the end of a product is counted with it.
        let flops = |finish: fn(&Var) -> Var| {
            let graph = Graph::new();
            let y = finish(&graph.input("x", [8, 12]).linear(16));
            evaluated(&gpu, &graph, &y).iter().map(|dispatch| dispatch.flops).sum::<u64>()
        };
        let product = 2 * 8 * 12 * 16;
        assert_eq!(flops(|y| y.clone()), product);
        assert_eq!(flops(|y| y.square().add(y)), product + 2 * 8 * 16);
    }
}

#[test]
fn a_step_of_a_recurrent_layer_touches_its_own_rows() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let (samples, steps, hidden) = (8, 10, 32);
        let graph = Graph::new();
        let x = graph.input("x", [samples, steps, 16]);
        let y = x.lstm(LSTM::new(hidden).batch_first(true), None).0;
        let all = trained(&gpu, &graph, &y.mean());
        let forward = named(&all, "lstm");
        let (samples, hidden) = (samples as u64, hidden as u64);
        let flops = 2 * samples * 4 * hidden * hidden;
        let steps: Vec<_> =
            forward.iter().filter(|d| d.flops == flops && d.phase == Phase::Forward).collect();
        assert_eq!(steps.len(), 10);
        // A row of what ten rows hold, and the weight: not all that is bound.
        let (row, weight) = (4 * samples * hidden, 4 * 4 * hidden * hidden);
        for step in steps {
            assert!(step.bytes_read < weight + 10 * row && step.bytes_read > weight + 5 * row, "{step:?}");
        }
    }
}

#[test]
fn an_embedding_touches_no_more_than_its_table() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let y = graph.labels("x", [6, 2]).embedding(Embedding::new(1000, 16));
    let dispatch = &evaluated(&gpu, &graph, &y)[0];
    // A row for each index, and the indices, which are labels in memory of quads.
    assert_eq!(dispatch.bytes_written, 4 * 12 * 16);
    assert!((4 * 12 * 16..4 * 1000 * 16).contains(&dispatch.bytes_read), "{dispatch:?}");
}

fn flat(gpu: &Gpu, len: usize) -> ParamStore {
    let data = vec![0.5; len];
    ParamStore::builder().tensor("w", [len], &data).build(gpu).unwrap()
}

#[test]
fn an_optimizer_moves_its_slots() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let len = 64 * 1024_usize;
        let bytes = 4 * len as u64;
        let mut params = flat(&gpu, len);
        let mut adamw = AdamW::default().build(&params).unwrap();
        adamw.step(&mut params).unwrap();
        let all = adamw.dispatches();
        assert_eq!(all.len(), 1);
        assert_eq!([all[0].bytes_read, all[0].bytes_written], [4 * bytes, 3 * bytes]);
        assert!(all[0].flops > 10 * len as u64 && all[0].flops < 60 * len as u64, "{all:?}");
        assert_eq!(all[0].phase, Phase::Update);

        // Momentum has no slot: parameter and gradient are read, one is written.
        let mut sgd = SGD::default().build(&params).unwrap();
        sgd.step(&mut params).unwrap();
        let all = sgd.dispatches();
        assert_eq!([all[0].bytes_read, all[0].bytes_written], [2 * bytes, bytes]);

        // Of two windows each its own part; and what is frozen is not touched.
        let mut lamb = Lamb::default().build(&params).unwrap();
        lamb.step(&mut params).unwrap();
        let all = lamb.dispatches();
        assert_eq!(all.len(), 3);
        let measured = named(&all, "/measure")[0];
        assert!(measured.bytes_read >= 2 * bytes, "{measured:?}");
    }
}

#[test]
fn a_frozen_tensor_is_not_moved() {
    let Some(gpu) = gpu() else { return };
    let data = vec![0.5; 4096];
    let mut params = ParamStore::builder()
        .group("all", |g| g.tensor("a", [4096], &data).tensor("b", [2048], &data[..2048]))
        .build(&gpu)
        .unwrap();
    let mut sgd = SGD::default().build(&params).unwrap();
    params.freeze("a").unwrap();
    sgd.step(&mut params).unwrap();
    let all = sgd.dispatches();
    assert_eq!(all.len(), 1);
    assert_eq!([all[0].bytes_read, all[0].bytes_written], [8 * 2048, 4 * 2048]);
}

#[test]
fn a_gradient_norm_reads_the_gradients_once() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let len = 64 * 1024;
        let mut params = flat(&gpu, len);
        let mut sgd = SGD::default().build(&params).unwrap();
        let clip_grad_norm = Some(ClipGradNorm::new(1.0));
        sgd.set_transforms(Transforms { clip_grad_norm, ..Transforms::default() }, &params).unwrap();
        sgd.step(&mut params).unwrap();
        let before = gpu.counters().dispatches;
        sgd.step(&mut params).unwrap();
        let all = sgd.dispatches();
        assert_eq!(all.len() as u64, gpu.counters().dispatches - before);
        let norm = named(&all, "grad/norm")[0];
        assert_eq!((norm.phase, norm.bytes_read), (Phase::Gradients, 4 * len as u64));
        // A square and a sum at least, for each.
        assert!(norm.flops >= 2 * len as u64 && norm.bytes_written < norm.bytes_read, "{norm:?}");
    }
}

#[test]
fn a_recorder_repeats_one_dispatch_and_copies_nothing() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let y = graph.input("x", [8, 12]).linear(16).relu().linear(4).mean();
    let (_params, plan) = plan(&gpu, &graph, &PlanOptions::train(&y));
    let count = plan.labels().count();
    assert!(count > 3);
    for (number, times) in [(0, 1), (count - 1, 7), (count, 3)] {
        let before = gpu.counters().dispatches;
        let mut encoder = gpu.encoder("repeating");
        let mut recorder = Recorder::repeating(&gpu, &mut encoder, number, times);
        plan.record(&mut recorder).unwrap();
        recorder.clear(plan.output("loss").unwrap(), 0, 4);
        drop(recorder);
        gpu.submit(encoder).unwrap();
        let expected = if number < count { times as u64 } else { 0 };
        assert_eq!(gpu.counters().dispatches - before, expected);
    }
    gpu.wait().unwrap();
}

#[test]
fn timestamps_follow_the_order_of_dispatches() {
    let Some(gpu) = gpu_with(GpuOptions { timestamps: true, ..GpuOptions::default() }) else { return };
    if !gpu.has_timestamps() {
        eprintln!("SKIPPED: {} has no timestamps", gpu.info().name);
        return;
    }
    let graph = Graph::new();
    let y = graph.input("x", [64, 128]).linear(128).relu().linear(4).mean();
    let (_params, plan) = plan(&gpu, &graph, &PlanOptions::train(&y));
    let count = plan.labels().count();
    plan.write("x", &vec![0.5; 64 * 128]).unwrap();
    // Room for all of them, and for all but one.
    for (room, timed) in [(count, count), (count - 1, count - 1)] {
        let mut timestamps = Timestamps::new(&gpu, room).unwrap();
        for _ in 0..2 {
            let mut encoder = gpu.encoder("timed");
            plan.record(&mut Recorder::timed(&gpu, &mut encoder, &mut timestamps)).unwrap();
            timestamps.record_read(&mut encoder);
            gpu.submit(encoder).unwrap();
            let times = timestamps.read().unwrap();
            assert_eq!(times.iter().flatten().count(), timed);
            let mut last = 0.0;
            for time in times.iter().flatten() {
                assert!(time.start >= last && time.end >= time.start, "{times:?}");
                last = time.end;
            }
            assert!(last > 0.0 && last < 60e9, "{last} ns");
        }
    }
    // What is computed between timestamps is what is computed without.
    let timed = plan.read("loss").unwrap();
    let mut encoder = gpu.encoder("plain");
    plan.record(&mut Recorder::new(&gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    assert_eq!(plan.read("loss").unwrap(), timed);
}

#[test]
fn timestamps_of_a_device_without_them_are_refused() {
    let Some(gpu) = gpu() else { return };
    let error = Timestamps::new(&gpu, 4).unwrap_err().to_string();
    assert!(error.contains("the device was made without TIMESTAMP_QUERY"), "{error}");
}
