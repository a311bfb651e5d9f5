//! Buffers in torch's sense: tensors that are kept, read, written and saved with the parameters, and never trained.

use gradus::grad::{Centralize, ClipGradNorm, Noise, Transforms};
use gradus::graph::{Graph, Init, PlanOptions, Role, Var, Workspace};
use gradus::layout::{GroupSpec, Layout};
use gradus::nn::Linear;
use gradus::optim::{self, AdamW, LBFGS, RULES, Rule};
use gradus::train::{Checkpoint, EarlyStopping, Trainer};
use gradus::{Error, Gpu, GpuOptions, ParamStore, wgpu};
use serde_json::{Value, json};

use crate::common::{bits, default_of, gpu, gpu_with, noises, read_all, run};
use crate::folder::Folder;

const MEAN: &str = "bn1.running_mean";
const VAR: &str = "bn1.running_var";

/// Two parameters in two groups, with or without buffers.
fn store(gpu: &Gpu, with_buffers: bool) -> ParamStore {
    let (w, b, mean) = (noises(1, 300), noises(2, 5), noises(3, 70));
    let mut builder = ParamStore::builder()
        .group("decay", |g| g.tensor("w", [3, 100], &w))
        .group("rest", |g| g.tensor("b", [5], &b));
    if with_buffers {
        builder = builder
            .buffer(MEAN, [70], &mean)
            .buffer(VAR, [2, 2], &[1.0; 4])
            .buffer("bn1.num_batches_tracked", [], &[0.0])
            .tie("again", MEAN);
    }
    builder.build(gpu).unwrap()
}

#[test]
fn they_are_read_and_written_by_name_and_have_no_place_among_parameters() {
    let small =
        GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(65_536), ..Default::default() };
    for options in [GpuOptions::default(), small] {
        let Some(gpu) = gpu_with(options) else { return };
        let large = noises(4, 50_000);
        let mut params = ParamStore::builder()
            .tensor("w", [3], &[1.0; 3])
            .buffer("table", [50, 1000], &large)
            .buffer(MEAN, [2], &[5.0, 6.0])
            .build(&gpu)
            .unwrap();
        assert_eq!(params.layout().spans().len(), 1);
        assert_eq!(params.tensors().map(|span| &span.name[..]).collect::<Vec<_>>(), ["w", "table", MEAN]);
        assert_eq!(params.read("table").unwrap(), large);
        params.write_shaped(MEAN, &[2], &[7.0, 8.0]).unwrap();
        params.write("table", &vec![0.5; 50_000]).unwrap();
        assert_eq!(params.read(MEAN).unwrap(), [7.0, 8.0]);
        assert_eq!(params.read("table").unwrap(), vec![0.5; 50_000]);
        assert_eq!(params.read("w").unwrap(), [1.0; 3]);
        assert!(params.is_buffer(MEAN) && !params.is_buffer("w") && !params.is_buffer("nobody"));
        // Gradients are those of parameters alone.
        params.write_grads(&[2.0; 3]).unwrap();
        assert_eq!(params.read_grad("w").unwrap(), [2.0; 3]);
    }
}

#[test]
fn what_only_parameters_have_is_refused() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu, true);
    let said = "bn1.running_mean: expected a parameter, got a buffer, which is not trained";
    assert_eq!(params.read_grad(MEAN).unwrap_err().to_string(), said);
    assert_eq!(params.write_grad(MEAN, &[0.0; 70]).unwrap_err().to_string(), said);
    assert_eq!(params.freeze(MEAN).unwrap_err().to_string(), said);
    assert_eq!(params.thaw(MEAN).unwrap_err().to_string(), said);
    assert_eq!(params.is_frozen(MEAN).unwrap_err().to_string(), said);
    let unknown = params.read("bn1.running_men").unwrap_err().to_string();
    let known = "known: w, b, bn1.running_mean, bn1.running_var, bn1.num_batches_tracked";
    let said = format!("unknown tensor \"bn1.running_men\", did you mean \"bn1.running_mean\"?; {known}");
    assert_eq!(unknown, said);
    assert_eq!(
        params.write(MEAN, &[0.0; 3]).unwrap_err().to_string(),
        format!("{MEAN}: expected 70 elements, got 3")
    );
    assert_eq!(
        params.write_shaped(VAR, &[4], &[0.0; 4]).unwrap_err().to_string(),
        format!("{VAR}: expected [2, 2], got [4]")
    );
    // One name, one tensor, whichever comes first and however it came by the name.
    let builder = || ParamStore::builder().tensor("w", [1], &[0.0]);
    let rows = [
        (builder().buffer("w", [1], &[0.0]).build(&gpu), "duplicate tensor \"w\""),
        (builder().buffer("m", [1], &[0.0]).buffer("m", [1], &[0.0]).build(&gpu), "duplicate tensor \"m\""),
        (builder().buffer("m", [1], &[0.0]).tie("w", "m").build(&gpu), "duplicate tensor \"w\""),
        (builder().buffer("m", [1], &[0.0]).tie("m", "w").build(&gpu), "duplicate tensor \"m\""),
        (builder().buffer("m", [3], &[0.0]).build(&gpu), "m: expected 3 elements, got 1"),
        (builder().buffer("", [1], &[0.0]).build(&gpu), "tensor: the name is empty"),
        (
            ParamStore::builder().buffer("m", [1], &[0.0]).build(&gpu),
            "parameters: expected at least one tensor",
        ),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    let mut optimizer = AdamW::default().build(&params).unwrap();
    let add = |g: gradus::params::GroupBuilder<'static>| g.tensor(MEAN, [1], &[0.0]);
    let error = optimizer.add_param_group(&mut params, "more", &json!({}), add).unwrap_err();
    assert_eq!(error.to_string(), format!("duplicate tensor \"{MEAN}\""));
    assert!(optimizer.applied(MEAN).is_err());
}

/// Every optimizer over a store with buffers leaves them as they are, and takes the steps that it takes without them.
#[test]
fn no_optimizer_touches_them_or_notices_them() {
    let Some(gpu) = gpu() else { return };
    let plain = RULES.iter().filter(|entry| entry.name != "Lookahead");
    let rules = plain.map(default_of);
    let inner =
        json!({"name": "Lookahead", "inner": {"name": "AdamW"}, "sync_period": 2, "reset_state": true});
    let decays = json!({"name": "SGD", "lr": 0.1, "weight_decay": 0.5, "momentum": 0.9});
    for rule in rules.chain([inner, decays]) {
        let read = |with_buffers: bool| {
            let mut params = store(&gpu, with_buffers);
            let mut optimizer = optim::from_json(&rule).unwrap().build(&params).unwrap();
            let transforms = Transforms {
                custom: vec![Box::new(Centralize::default())],
                clip_grad_norm: Some(ClipGradNorm::new(0.5)),
                clip_grad_value: Some(0.1),
                noise: Some(Noise { seed: 3, ..Noise::default() }),
                ..Transforms::default()
            };
            optimizer.set_transforms(transforms, &params).unwrap();
            let before = buffers(&params);
            run(&mut optimizer, &mut params, 0..5);
            assert_eq!(buffers(&params), before, "{rule}");
            let dict = serde_json::to_value(optimizer.read_state_dict().unwrap()).unwrap();
            (bits(&read_all(&params)), dict)
        };
        let (with, without) = (read(true), read(false));
        assert!(with == without, "{rule}");
    }
}

fn buffers(params: &ParamStore) -> Vec<u32> {
    params.buffers().map_or(Vec::new(), |buffers| bits(&buffers.read_all(params.gpu()).unwrap()))
}

#[test]
fn lbfgs_does_not_move_them() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu, true);
    let before = buffers(&params);
    let mut optimizer = LBFGS { max_iter: 4, ..LBFGS::default() }.build(&params).unwrap();
    for _ in 0..3 {
        let closure = |params: &mut ParamStore| -> Result<f64, Error> {
            let values = read_all(params);
            params.write_grads(&values)?;
            Ok(values.iter().map(|x| f64::from(*x).powi(2) / 2.0).sum())
        };
        optimizer.step(&mut params, closure).unwrap();
    }
    assert_eq!(buffers(&params), before);
    assert!(read_all(&params).iter().all(|x| x.abs() < 1e-3));
}

#[test]
fn groups_that_are_added_leave_them_where_they_are() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu, true);
    let before = buffers(&params);
    let mut optimizer = AdamW::default().build(&params).unwrap();
    let head = noises(7, 40_000);
    optimizer
        .add_param_group(&mut params, "head", &json!({}), |g| g.tensor("head", [40_000], &head))
        .unwrap();
    run(&mut optimizer, &mut params, 0..2);
    assert_eq!(buffers(&params), before);
    assert_eq!(params.read("again").unwrap(), noises(3, 70));
}

#[test]
fn adopted_memory_can_be_given_buffers_once() {
    let Some(gpu) = gpu() else { return };
    let groups = [GroupSpec::new("all").tensor("w", [3])];
    let limits = store(&gpu, false).layout().limits();
    let layout = Layout::new(&groups, limits).unwrap();
    let buffer = || {
        gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: layout.len() as u64 * 4,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let adopted = || ParamStore::adopt(&gpu, layout.clone(), vec![buffer()], vec![buffer()]).unwrap();
    let params = adopted().with_buffers(|g| g.tensor(MEAN, [2], &[3.0, 4.0])).unwrap();
    assert_eq!(params.read(MEAN).unwrap(), [3.0, 4.0]);
    let again = params.with_buffers(|g| g.tensor(VAR, [1], &[1.0])).unwrap_err().to_string();
    assert_eq!(again, "buffers: the parameter store already has buffers: add all of them in one call");
    let twice = adopted().with_buffers(|g| g.tensor("w", [1], &[3.0])).unwrap_err().to_string();
    assert_eq!(twice, "duplicate tensor \"w\"");
    assert!(adopted().with_buffers(|g| g).unwrap().buffers().is_none());
}

/// A network whose input is shifted by a buffer.
fn network(graph: &Graph, shifted: bool) -> (Var, Var) {
    let (x, y) = (graph.input("x", [4, 6]), graph.labels("y", 4));
    let x = match shifted {
        true => {
            let shift = graph.buffer("norm.shift", [4, 6], Init::Normal { std: 0.5 });
            x.add(&shift)
        }
        false => x,
    };
    let hidden = x.linear(Linear::new(5).name("hidden")).relu();
    let logits = hidden.linear(Linear::new(3).name("head"));
    (logits.cross_entropy(&y), logits)
}

#[test]
fn a_graph_declares_them_and_a_store_draws_their_first_values_apart() {
    let Some(gpu) = gpu() else { return };
    let (with, without) = (Graph::new(), Graph::new());
    network(&with, true);
    network(&without, false);
    let (with_store, without_store) = (with.store(&gpu, 5).unwrap(), without.store(&gpu, 5).unwrap());
    let names = |tensors: Vec<gradus::graph::Parameter>| {
        tensors.into_iter().map(|tensor| (tensor.name, tensor.role)).collect::<Vec<_>>()
    };
    assert_eq!(with.parameters(), without.parameters());
    assert!(names(with.parameters()).iter().all(|(_, role)| *role == Role::Trained));
    assert_eq!(names(with.buffers()), [("norm.shift".to_owned(), Role::Buffer)]);
    // The parameters begin as they do without it, bit for bit, and it begins like none of them.
    assert_eq!(bits(&read_all(&with_store)), bits(&read_all(&without_store)));
    let shift = with_store.read("norm.shift").unwrap();
    assert_eq!(with.store(&gpu, 5).unwrap().read("norm.shift").unwrap(), shift);
    assert_ne!(with.store(&gpu, 6).unwrap().read("norm.shift").unwrap(), shift);
    let first = without.parameters()[0].clone();
    let normal = Graph::new();
    normal.parameter("w", [4, 6], Init::Normal { std: 0.5 });
    assert_ne!(normal.store(&gpu, 5).unwrap().read("w").unwrap(), shift, "as {}", first.name);
}

#[test]
fn a_plan_reads_them_and_writes_no_gradient_of_them() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let shift = graph.buffer("shift", [2, 3], Init::Constant(2.0));
    let w = graph.parameter("w", [2, 3], Init::Constant(3.0));
    let y = w.add(&shift);
    let mut params = graph.store(&gpu, 0).unwrap();
    let options = PlanOptions::train(&y.sum()).output("y", &y);
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    assert_eq!(plan.unreached().count(), 0);
    let run = |params: &ParamStore| {
        let mut encoder = gpu.encoder("plan");
        plan.record(&mut gradus::gpu::Recorder::new(&gpu, &mut encoder)).unwrap();
        gpu.submit(encoder).unwrap();
        (plan.read("y").unwrap(), params.read_grad("w").unwrap())
    };
    assert_eq!(run(&params), (vec![5.0; 6], vec![1.0; 6]));
    params.write("shift", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    assert_eq!(run(&params).0, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert!(!plan.labels().any(|label| label.starts_with("shift: to_planes")));
    // The same names in other roles are other models.
    let swapped = ParamStore::builder()
        .tensor("shift", [2, 3], &[0.0; 6])
        .buffer("w", [2, 3], &[0.0; 6])
        .build(&gpu)
        .unwrap();
    let error = graph.compile(&swapped, &options, &mut Workspace::new()).unwrap_err().to_string();
    assert_eq!(error, "shift: it is a buffer in the graph and trained in the store");
    let swapped = ParamStore::builder()
        .tensor("x", [1], &[0.0])
        .buffer("shift", [2, 3], &[0.0; 6])
        .buffer("w", [2, 3], &[0.0; 6])
        .build(&gpu)
        .unwrap();
    let error = graph.compile(&swapped, &options, &mut Workspace::new()).unwrap_err().to_string();
    assert_eq!(error, "w: it is trained in the graph and a buffer in the store");
    graph.tie("w", "shift");
    let error = graph.check().unwrap_err().to_string();
    assert_eq!(error, "w: cannot be tied to shift, because one is a buffer and the other a parameter");
}

#[test]
fn tied_buffers_are_one() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (a, b) = ("a", "b");
    let sum = graph.buffer(a, [3], Init::Constant(1.0)).add(&graph.buffer(b, [3], Init::Constant(2.0)));
    let loss = sum.add(&graph.parameter("w", [3], Init::Constant(0.0))).sum();
    graph.tie(b, a);
    let mut params = graph.store(&gpu, 0).unwrap();
    assert_eq!(params.tensors().count(), 2);
    params.write(b, &[4.0, 5.0, 6.0]).unwrap();
    assert_eq!(params.read(a).unwrap(), [4.0, 5.0, 6.0]);
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    let mut encoder = gpu.encoder("plan");
    plan.record(&mut gradus::gpu::Recorder::new(&gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    assert_eq!(plan.read("loss").unwrap()[0], 30.0);
}

fn trainer(gpu: &Gpu, seed: u64) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (loss, _) = network(&graph, true);
    graph.trainer(&loss, AdamW { weight_decay: 0.5, ..Default::default() }).seed(seed).build(gpu).unwrap()
}

fn train(trainer: &mut Trainer<AdamW>, steps: std::ops::Range<u64>) {
    for step in steps {
        trainer.step(&[("x", &noises(step, 24)), ("y", &vec![0, 1, 2, 1])]).unwrap();
        // Stands for what a layer leaves there.
        let params = trainer.params_mut();
        let moved: Vec<f32> = params.read("norm.shift").unwrap().iter().map(|x| 0.9 * x + 0.01).collect();
        params.write("norm.shift", &moved).unwrap();
    }
}

#[test]
fn checkpoints_hold_them_and_a_run_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("buffers");
    let path = folder.join("model.safetensors");
    let save = |trainer: &mut Trainer<AdamW>| {
        trainer.read_checkpoint().unwrap().write(&path).unwrap();
        std::fs::read(&path).unwrap()
    };
    let mut whole = trainer(&gpu, 3);
    train(&mut whole, 0..6);
    let want = save(&mut whole);
    for stop in [0, 1, 5] {
        let mut first = trainer(&gpu, 3);
        train(&mut first, 0..stop);
        let saved = save(&mut first);
        let file = safetensors::SafeTensors::deserialize(&saved).unwrap();
        assert_eq!(file.tensor("params.norm.shift").unwrap().shape(), [4, 6]);
        let mut second = trainer(&gpu, 99);
        second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
        assert!(save(&mut second) == saved, "loaded at {stop} and saved again");
        train(&mut second, stop..6);
        assert!(save(&mut second) == want, "stopped at {stop}");
    }
    // Files of models with and without it are those of other models.
    let checkpoint = whole.read_checkpoint().unwrap();
    assert!(!checkpoint.optimizer.state.contains_key("norm.shift"));
    let graph = Graph::new();
    let (loss, _) = network(&graph, false);
    let mut plain =
        graph.trainer(&loss, AdamW { weight_decay: 0.5, ..Default::default() }).build(&gpu).unwrap();
    let error = plain.load_checkpoint(&checkpoint).unwrap_err().to_string();
    assert!(error.ends_with("it is of another model: this one has no parameter norm.shift"), "{error}");
    let error = whole.load_checkpoint(&plain.read_checkpoint().unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("it is of another model: params.norm.shift is missing"), "{error}");
    let mut odd = checkpoint.clone();
    odd.frozen.push("norm.shift".into());
    let error = whole.load_checkpoint(&odd).unwrap_err().to_string();
    assert!(error.ends_with("this one has no parameter norm.shift"), "{error}");
    assert!(save(&mut whole) == want, "a refusal has changed something");
}

#[test]
fn the_best_of_early_stopping_has_them() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("best-buffers");
    let path = folder.join("model.safetensors");
    let mut trainer = trainer(&gpu, 3);
    let mut stopping = EarlyStopping { patience: 5, restore_best_weights: true, ..Default::default() };
    train(&mut trainer, 0..2);
    let best: Vec<Value> = tensors(&trainer);
    stopping.watch(1.0, &trainer).unwrap();
    train(&mut trainer, 2..4);
    stopping.watch(2.0, &trainer).unwrap();
    assert_ne!(tensors(&trainer), best);
    let mut checkpoint = trainer.read_checkpoint().unwrap();
    checkpoint.early_stopping = Some(stopping.state.clone());
    checkpoint.write(&path).unwrap();
    stopping.state = Checkpoint::read(&path).unwrap().early_stopping.unwrap();
    assert!(stopping.restore(&mut trainer).unwrap());
    assert_eq!(tensors(&trainer), best);
    // Without it, it is the best of another model.
    stopping.state.best_weights.as_mut().unwrap().remove("norm.shift");
    assert!(stopping.restore(&mut trainer).is_err());
}

fn tensors(trainer: &Trainer<AdamW>) -> Vec<Value> {
    let params = trainer.params();
    params.tensors().map(|span| json!(params.read(&span.name).unwrap())).collect()
}
