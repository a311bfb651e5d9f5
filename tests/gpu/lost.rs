//! Devices that are lost: every call that needs one says so, of a device of our own and of a host's, and none panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gradus::gpu::{Binding, Buffer, KernelSource, ReadRing, Recorder, UniformRing};
use gradus::grad::{ClipGradNorm, GradScaler, Penalty, Transforms};
use gradus::graph::{Graph, Plan, PlanOptions, Resident, Var, Workspace};
use gradus::optim::{AdamW, Ema, LBFGS, LbfgsOptimizer, Optimizer, Rule, SGD, StateDict};
use gradus::params::Weights;
use gradus::predict::Predictor;
use gradus::train::{Checkpoint, Trainer};
use gradus::{Error, Gpu, ParamStore, wgpu};
use serde_json::json;

use crate::common;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A device that a host made, with these limits, or [`Gpu::required_limits`]. wgpu's own handler of uncaptured errors,
/// which panics, stays.
pub(crate) fn host(limits: Option<wgpu::Limits>) -> Option<(wgpu::Adapter, wgpu::Device, wgpu::Queue)> {
    common::gpu()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = wait(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let required_limits = limits.unwrap_or_else(|| Gpu::required_limits(&adapter));
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = wait(adapter.request_device(&descriptor)).unwrap();
    Some((adapter, device, queue))
}

fn gpus() -> Option<[Gpu; 2]> {
    let (adapter, device, queue) = host(None)?;
    Some([common::gpu()?, Gpu::from_wgpu(&adapter, device, queue)])
}

/// Everything that a call may need, made while the device was there.
struct Made {
    gpu: Gpu,
    graph: Graph,
    loss: Var,
    logits: Var,
    trainer: Trainer<AdamW>,
    params: ParamStore,
    optimizer: Optimizer<SGD>,
    /// With averages, a clip and a penalty.
    averaging: Optimizer<SGD>,
    lbfgs: LbfgsOptimizer,
    plan: Plan,
    predictor: Predictor,
    set: Resident,
    labels: Resident,
    buffer: Buffer<f32>,
    dict: StateDict,
    checkpoint: Checkpoint,
}

const X: [f32; 8] = [0.5, -1.0, 0.25, 2.0, -0.5, 1.0, 1.5, -2.0];
const Y: [u32; 4] = [0, 1, 1, 0];

fn network() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 2]), graph.labels("y", 4));
    let logits = x.linear(3).relu().linear(2);
    (graph, logits.cross_entropy(&y), logits)
}

impl Made {
    fn new(gpu: &Gpu) -> Self {
        let (graph, loss, logits) = network();
        let mut trainer = graph.trainer(&loss, AdamW::default()).build(gpu).unwrap();
        trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]).unwrap();
        trainer.predict(&logits, &[("x", &&X[..])], 4).unwrap();
        let checkpoint = trainer.read_checkpoint().unwrap();
        let mut params = ParamStore::builder().tensor("w", [3], &[1.0; 3]).build(gpu).unwrap();
        let mut optimizer = SGD { lr: 0.1, momentum: 0.9, ..Default::default() }.build(&params).unwrap();
        optimizer.step(&mut params).unwrap();
        let dict = optimizer.read_state_dict().unwrap();
        let mut averaging = SGD::default().build(&params).unwrap();
        let transforms = Transforms {
            clip_grad_norm: Some(ClipGradNorm::new(1.0)),
            penalties: vec![Penalty { l2: 0.1, ..Default::default() }],
            ..Default::default()
        };
        averaging.set_transforms(transforms, &params).unwrap();
        averaging.set_averages(Ema::new(0.5), &params).unwrap();
        let lbfgs = LBFGS::default().build(&params).unwrap();
        let options = PlanOptions::evaluate().output("logits", &logits);
        let plan = graph.compile(trainer.params(), &options, &mut Workspace::new()).unwrap();
        let store = graph.store(gpu, 1).unwrap();
        let mut predictor = Predictor::new(&graph, store, &[("logits", &logits)]).unwrap();
        predictor.predict(&[("x", &&X[..])]).unwrap();
        let set = Resident::numbers(gpu, &X, &[2]).unwrap();
        let labels = Resident::labels(gpu, &Y).unwrap();
        let buffer = Buffer::storage(gpu, "some", 4).unwrap();
        let gpu = gpu.clone();
        Self {
            gpu,
            graph,
            loss,
            logits,
            trainer,
            params,
            optimizer,
            averaging,
            lbfgs,
            plan,
            predictor,
            set,
            labels,
            buffer,
            dict,
            checkpoint,
        }
    }
}

type Call = fn(&mut Made) -> Result<(), Error>;

fn closure(params: &mut ParamStore) -> Result<f64, Error> {
    params.write_grads(&[0.5; 3])?;
    Ok(1.0)
}

/// A kernel that no other call makes.
fn source() -> KernelSource {
    let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(1) fn main() { x[0] = 1.0; }";
    KernelSource { name: "one".into(), wgsl: wgsl.into(), bindings: vec![Binding::ReadWrite] }
}

const CALLS: &[(&str, Call)] = &[
    ("Optimizer::step", |made| made.optimizer.step(&mut made.params)),
    ("Optimizer::record", |made| {
        let mut encoder = made.gpu.encoder("step");
        made.optimizer.record(&mut encoder, &mut made.params).map(drop)
    }),
    ("Optimizer::read_state_dict", |made| made.optimizer.read_state_dict().map(drop)),
    ("Optimizer::read_state_dict_async", |made| wait(made.optimizer.read_state_dict_async()).map(drop)),
    ("Optimizer::step_async", |made| wait(made.optimizer.step_async(&mut made.params))),
    ("Optimizer::with_averages_async", |made| {
        let Made { averaging, params, .. } = made;
        wait(
            averaging
                .with_averages_async(params, async |params: &mut ParamStore| params.read_async("w").await),
        )
        .map(drop)
    }),
    ("Optimizer::read_averages_async", |made| {
        wait(made.averaging.read_averages_async(&made.params)).map(drop)
    }),
    ("Optimizer::read_averaged_model_async", |made| {
        wait(made.averaging.read_averaged_model_async(&made.params)).map(drop)
    }),
    ("Optimizer::read_norm_async", |made| wait(made.averaging.read_norm_async(None)).map(drop)),
    ("Optimizer::read_penalty_async", |made| wait(made.averaging.read_penalty_async(&made.params)).map(drop)),
    ("Optimizer::load_state_dict", |made| made.optimizer.load_state_dict(&made.dict)),
    ("Optimizer::add_param_group", |made| {
        let Made { optimizer, params, .. } = made;
        optimizer.add_param_group(params, "more", &json!({}), |g| g.tensor("v", [2], &[0.0; 2]))
    }),
    ("Optimizer::set_transforms", |made| {
        let scaled = Transforms { grad_scaler: Some(GradScaler::default()), ..Default::default() };
        made.optimizer.set_transforms(scaled, &made.params)
    }),
    ("Rule::build", |made| AdamW::default().build(&made.params).map(drop)),
    ("LBFGS::build", |made| LBFGS::optax().build(&made.params).map(drop)),
    ("LbfgsOptimizer::step", |made| made.lbfgs.step(&mut made.params, closure).map(drop)),
    ("LbfgsOptimizer::step_async", |made| {
        wait(made.lbfgs.step_async(&mut made.params, async |_: &mut ParamStore| Ok(1.0))).map(drop)
    }),
    ("LbfgsOptimizer::read_state_dict_async", |made| {
        wait(made.lbfgs.read_state_dict_async(&made.params)).map(drop)
    }),
    ("LbfgsOptimizer::read_state_dict", |made| made.lbfgs.read_state_dict(&made.params).map(drop)),
    ("ParamStore::read", |made| made.params.read("w").map(drop)),
    ("ParamStore::read_async", |made| wait(made.params.read_async("w")).map(drop)),
    ("ParamStore::read_grad", |made| made.params.read_grad("w").map(drop)),
    ("ParamStore::read_grad_async", |made| wait(made.params.read_grad_async("w")).map(drop)),
    ("ParamStore::write", |made| made.params.write("w", &[0.0; 3])),
    ("ParamStore::write_grad", |made| made.params.write_grad("w", &[0.0; 3])),
    ("ParamStore::write_grads", |made| made.params.write_grads(&[0.0; 3])),
    ("ParamStoreBuilder::build", |made| {
        ParamStore::builder().tensor("w", [1], &[1.0]).build(&made.gpu).map(drop)
    }),
    ("ParamStore::read_weights", |made| made.params.read_weights().map(drop)),
    ("ParamStore::read_weights_async", |made| wait(made.params.read_weights_async()).map(drop)),
    ("ParamStore::load_state_dict", |made| {
        let mut weights = Weights::new();
        weights.insert("w", [3], [0.5; 3])?;
        made.params.load_state_dict(&weights, true).map(drop)
    }),
    ("Predictor::predict", |made| made.predictor.predict(&[("x", &&X[..])]).map(drop)),
    ("Predictor::predict of a batch size that is new", |made| {
        made.predictor.predict(&[("x", &&X[..2])]).map(drop)
    }),
    ("Predictor::predict_async", |made| wait(made.predictor.predict_async(&[("x", &&X[..])])).map(drop)),
    ("Predictor::from_weights", |made| {
        let Made { graph, logits, checkpoint, .. } = made;
        let weights = Weights::try_from(checkpoint.params.clone())?;
        Predictor::from_weights(&made.gpu, graph, &weights, &[("logits", logits)]).map(drop)
    }),
    ("Flat::read_all", |made| made.params.params().read_all(&made.gpu).map(drop)),
    ("Gate::read", |made| made.params.gate().read(&made.gpu, 0).map(drop)),
    ("Graph::store", |made| made.graph.store(&made.gpu, 1).map(drop)),
    ("Graph::compile", |made| {
        let options = PlanOptions::train(&made.loss).batch(3);
        made.graph.compile(made.trainer.params(), &options, &mut Workspace::new()).map(drop)
    }),
    ("TrainerBuilder::build", |made| {
        made.graph.trainer(&made.loss, AdamW::default()).build(&made.gpu).map(drop)
    }),
    ("Trainer::step", |made| made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])])),
    ("Trainer::step of a batch size that is new", |made| {
        made.trainer.step(&[("x", &&X[..6]), ("y", &&Y[..3])])
    }),
    ("Trainer::step of rows", |made| {
        let Made { trainer, set, labels, .. } = made;
        trainer.step(&[("x", &set.rows(&[1, 0, 2, 3])), ("y", &labels.rows(&[1, 0, 2, 3]))])
    }),
    ("Trainer::evaluate", |made| made.trainer.evaluate(&[("x", &&X[..]), ("y", &&Y[..])], 4).map(drop)),
    ("Trainer::evaluate of a batch size that is new", |made| {
        made.trainer.evaluate(&[("x", &&X[..]), ("y", &&Y[..])], 3).map(drop)
    }),
    ("Trainer::predict", |made| made.trainer.predict(&made.logits, &[("x", &&X[..])], 4).map(drop)),
    ("Trainer::predict of a batch size that is new", |made| {
        made.trainer.predict(&made.logits, &[("x", &&X[..])], 1).map(drop)
    }),
    ("Trainer::step_async", |made| wait(made.trainer.step_async(&[("x", &&X[..]), ("y", &&Y[..])]))),
    ("Trainer::evaluate_async", |made| {
        wait(made.trainer.evaluate_async(&[("x", &&X[..]), ("y", &&Y[..])], 4)).map(drop)
    }),
    ("Trainer::predict_async", |made| {
        wait(made.trainer.predict_async(&made.logits, &[("x", &&X[..])], 4)).map(drop)
    }),
    ("Trainer::read_checkpoint_async", |made| wait(made.trainer.read_checkpoint_async()).map(drop)),
    ("Trainer::load_checkpoint_async", |made| wait(made.trainer.load_checkpoint_async(&made.checkpoint))),
    ("Trainer::read_checkpoint", |made| made.trainer.read_checkpoint().map(drop)),
    ("Trainer::load_checkpoint", |made| made.trainer.load_checkpoint(&made.checkpoint)),
    ("Plan::write", |made| made.plan.write("x", &&X[..])),
    ("Plan::write of rows", |made| made.plan.write("x", &made.set.rows(&[0, 1, 2, 3]))),
    ("Plan::read", |made| made.plan.read("logits").map(drop)),
    ("Plan::read_async", |made| wait(made.plan.read_async("logits")).map(drop)),
    ("Plan::record and Gpu::submit", |made| {
        let mut encoder = made.gpu.encoder("plan");
        made.plan.record(&mut Recorder::new(&made.gpu, &mut encoder))?;
        made.gpu.submit(encoder).map(drop)
    }),
    ("Resident::numbers", |made| Resident::numbers(&made.gpu, &X, &[2]).map(drop)),
    ("Resident::bytes", |made| Resident::bytes(&made.gpu, &[1; 8], &[2], &[0.0; 256]).map(drop)),
    ("Resident::labels", |made| Resident::labels(&made.gpu, &Y).map(drop)),
    ("Buffer::storage", |made| Buffer::<u8>::storage(&made.gpu, "new", 3).map(drop)),
    ("Buffer::write", |made| made.buffer.write(&made.gpu, 0, &[1.0])),
    ("Buffer::read", |made| made.buffer.read(&made.gpu, 0, 4).map(drop)),
    ("Buffer::read of nothing", |made| made.buffer.read(&made.gpu, 0, 0).map(drop)),
    ("ReadRing::new", |made| ReadRing::new(&made.gpu, 2).map(drop)),
    ("ReadRing::read_next", |made| {
        let mut ring = ReadRing::new(&made.gpu, 2)?;
        let mut encoder = made.gpu.encoder("copy");
        ring.record(&mut Recorder::new(&made.gpu, &mut encoder), 0, &[(made.buffer.raw(), 16)])?;
        made.gpu.submit(encoder)?;
        ring.submitted();
        ring.read_next(&made.gpu).map(drop)
    }),
    ("ReadRing::read_next_async", |made| {
        let mut ring = ReadRing::new(&made.gpu, 2)?;
        let mut encoder = made.gpu.encoder("copy");
        ring.record(&mut Recorder::new(&made.gpu, &mut encoder), 0, &[(made.buffer.raw(), 16)])?;
        made.gpu.submit(encoder)?;
        ring.submitted();
        wait(ring.read_next_async(&made.gpu)).map(drop)
    }),
    ("UniformRing::new", |made| UniformRing::new(&made.gpu, "ring", 256, 2).map(drop)),
    ("Gpu::kernel", |made| made.gpu.kernel(&source()).map(drop)),
    ("Gpu::submit", |made| made.gpu.submit(made.gpu.encoder("nothing")).map(drop)),
    ("Gpu::wait", |made| made.gpu.wait()),
    ("Gpu::wait_async", |made| wait(made.gpu.wait_async())),
];

/// The reason, which must be a sentence.
fn reason(name: &str, result: Result<(), Error>) -> String {
    match result {
        Err(Error::DeviceLost(reason)) if reason.contains(' ') => reason,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_call_on_a_device_that_was_destroyed_says_so() {
    for (name, call) in CALLS {
        let Some(gpus) = gpus() else { return };
        for (gpu, own) in gpus.iter().zip([true, false]) {
            let mut made = Made::new(gpu);
            gpu.device().destroy();
            let said = reason(name, call(&mut made));
            let expected =
                if own { "it was destroyed" } else { "it was destroyed, or its driver gave it up" };
            assert_eq!(said, expected, "{name}");
            assert!(gpu.is_lost(), "{name}");
            // And it stays so, also for another call, and for dropping what was made.
            reason(name, made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]));
            reason(name, gpu.check());
            // Reports that have arrived are given out; that there are no more is not said of a lost device.
            while let Ok(Some(_)) = made.trainer.read_report() {}
            reason(name, made.trainer.read_report().map(drop));
            reason(name, made.trainer.read_loss().map(drop));
            reason(name, made.trainer.poll().map(drop));
        }
    }
}

#[test]
fn calls_work_on_a_device_that_is_there() {
    let Some(gpus) = gpus() else { return };
    for gpu in &gpus {
        for (name, call) in CALLS {
            assert_eq!(call(&mut Made::new(gpu)), Ok(()), "{name}");
        }
        assert!(!gpu.is_lost());
    }
}

#[test]
fn a_loss_is_noticed_by_the_step_that_meets_it_also_while_others_are_on_their_way() {
    let Some(pair) = gpus() else { return };
    for (kind, gpu) in pair.iter().enumerate() {
        let mut made = Made::new(gpu);
        // Nothing waits here, so that work is on its way.
        for _ in 0..20 {
            made.optimizer.step(&mut made.params).unwrap();
        }
        gpu.device().destroy();
        reason("step", made.optimizer.step(&mut made.params));

        // What waits for reports of steps does not wait for ever.
        let calls: [Call; 4] = [
            |made| made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]),
            |made| made.trainer.evaluate(&[("x", &&X[..]), ("y", &&Y[..])], 4).map(drop),
            |made| made.trainer.read_checkpoint().map(drop),
            |made| made.lbfgs.step(&mut made.params, closure).map(drop),
        ];
        for call in calls {
            let mut made = Made::new(&gpus().unwrap()[kind]);
            made.lbfgs.step(&mut made.params, closure).unwrap();
            for _ in 0..3 {
                made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]).unwrap();
            }
            made.gpu.device().destroy();
            reason("a call", call(&mut made));
        }
    }
}

#[test]
fn a_loss_between_recording_and_submitting_is_noticed_by_the_submit() {
    let Some(gpus) = gpus() else { return };
    for gpu in &gpus {
        let mut made = Made::new(gpu);
        for _ in 0..3 {
            made.optimizer.step(&mut made.params).unwrap();
        }
        let before = gpu.counters().submits;
        let mut encoder = gpu.encoder("step");
        let ticket = made.optimizer.record(&mut encoder, &mut made.params).unwrap();
        gpu.device().destroy();
        reason("submit", gpu.submit(encoder).map(drop));
        made.optimizer.abandoned(ticket).unwrap();
        assert_eq!((made.optimizer.attempted(), gpu.counters().submits), (4, before));
    }
}

#[test]
fn a_hosts_handler_and_callback_stay_and_are_told_of_its_own_errors_alone() {
    let Some((adapter, device, queue)) = host(None) else { return };
    let (errors, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (in_handler, in_callback) = (errors.clone(), lost.clone());
    device.on_uncaptured_error(Arc::new(move |_| {
        in_handler.fetch_add(1, Ordering::Relaxed);
    }));
    device.set_device_lost_callback(move |_, _| in_callback.store(true, Ordering::Relaxed));
    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue);
    let mut made = Made::new(&gpu);

    // What is refused here is returned, and does not lose the device.
    let bad = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::STORAGE;
    let refused = Buffer::<f32>::with_usage(&gpu, "bad", 4, bad).unwrap_err();
    assert!(matches!(&refused, Error::Buffer { what, .. } if what == "bad"), "{refused}");
    made.buffer.raw().destroy();
    let refused = made.buffer.write(&gpu, 0, &[1.0]).unwrap_err();
    assert!(matches!(refused, Error::Buffer { .. }), "{refused}");
    let refused = made.buffer.read(&gpu, 0, 1).unwrap_err();
    assert!(matches!(&refused, Error::Device { what, .. } if what == "submitted commands"), "{refused}");
    let regions = [made
        .plan
        .output("logits")
        .map(|buffer| gradus::gpu::Region { buffer, offset: 4, bytes: 4 })
        .unwrap()];
    let refused = gpu.bind_group(&gpu.kernel(&source()).unwrap(), &regions).unwrap_err();
    assert!(matches!(&refused, Error::Kernel { kernel, .. } if kernel == "one"), "{refused}");
    let refused = gpu.bind_group(&gpu.kernel(&source()).unwrap(), &[]).unwrap_err();
    assert_eq!(refused.to_string(), "regions of kernel one: expected 1 elements, got 0");
    assert_eq!((errors.load(Ordering::Relaxed), gpu.is_lost()), (0, false));
    made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]).unwrap();

    // The host's own still reach it.
    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4,
        usage: bad,
        mapped_at_creation: false,
    });
    assert_eq!(errors.load(Ordering::Relaxed), 1);
    device.destroy();
    reason("step", made.trainer.step(&[("x", &&X[..]), ("y", &&Y[..])]));
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    assert_eq!((errors.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (1, true));
}

#[test]
fn what_is_refused_on_a_device_of_our_own_does_not_pass_for_a_loss() {
    let Some(gpu) = common::gpu() else { return };
    let mut made = Made::new(&gpu);
    made.buffer.raw().destroy();
    assert!(matches!(made.buffer.write(&gpu, 0, &[1.0]), Err(Error::Buffer { .. })));
    assert!(matches!(made.buffer.read(&gpu, 0, 1), Err(Error::Device { .. })));
    assert!(!gpu.is_lost());
    made.optimizer.step(&mut made.params).unwrap();
}
