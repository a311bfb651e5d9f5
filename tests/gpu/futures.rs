//! What waits without blocking: it gives what the blocking form gives, is woken once what it waits for is there and is not
//! polled before, on any executor; and where it is dropped nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use gradus::gpu::{Buffer, ReadRing, Recorder};
use gradus::grad::{ClipGradNorm, Penalty, Skip, Transforms};
use gradus::graph::{Graph, HostData, PlanOptions, Var, Workspace};
use gradus::nn::BatchNorm;
use gradus::optim::{ASGD, AdamW, Ema, Lamb, Optimizer, Rule};
use gradus::train::{EarlyStopping, Trainer};
use gradus::{Error, Gpu, ParamStore};

use crate::common::{bits, gpu, noises};

/// Wakes the thread that polls.
struct Alarm {
    thread: Thread,
    rung: AtomicUsize,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::Release);
        self.thread.unpark();
    }
}

/// An executor for one task, which it polls when it was woken and not otherwise: what the future gives, and how often
/// it was polled.
pub(crate) fn counted<T>(future: impl Future<Output = T>) -> (T, usize) {
    let alarm = Arc::new(Alarm { thread: thread::current(), rung: AtomicUsize::new(0) });
    let waker = Waker::from(alarm.clone());
    let mut future = std::pin::pin!(future);
    let deadline = Instant::now() + Duration::from_secs(120);
    for polls in 1.. {
        let heard = alarm.rung.load(Ordering::Acquire);
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (value, polls);
        }
        while alarm.rung.load(Ordering::Acquire) == heard {
            thread::park_timeout(Duration::from_secs(1));
            assert!(Instant::now() < deadline, "it was not woken");
        }
    }
    unreachable!()
}

/// As [`counted`], of a future that another thread might poll, and that may be polled twice for each wait that the device
/// counts.
fn run<T>(gpu: &Gpu, future: impl Future<Output = T> + Send) -> T {
    let before = gpu.counters();
    let (value, polls) = counted(future);
    let waits = usize::try_from(gpu.counters().since(&before).read_backs).unwrap();
    assert!(polls <= 2 + 2 * waits, "{polls} polls for {waits} waits");
    value
}

/// Whether a submit may run the commands itself, as those of OpenGL's software drivers do: then nothing is waited for.
fn is_synchronous(gpu: &Gpu) -> bool {
    gpu.info().backend == gradus::wgpu::Backend::Gl
}

/// Submits products that take the device a while.
fn submit_work(gpu: &Gpu) -> Buffer<f32> {
    let graph = Graph::new();
    let x = graph.input("x", [64, 1024]);
    let y = (0..6).fold(x, |h, _| h.linear(1024).relu()).sum();
    let store = graph.store(gpu, 1).unwrap();
    let options = PlanOptions::evaluate().output("y", &y);
    let plan = graph.compile(&store, &options, &mut Workspace::new()).unwrap();
    let target = Buffer::storage(gpu, "target", 1).unwrap();
    let mut encoder = gpu.encoder("work");
    let mut recorder = Recorder::new(gpu, &mut encoder);
    plan.record(&mut recorder).unwrap();
    recorder.copy(plan.output("y").unwrap(), 0, target.raw(), 0, 4);
    drop(recorder);
    gpu.submit(encoder).unwrap();
    target
}

#[test]
fn a_future_is_polled_once_more_when_the_device_is_done() {
    let Some(gpu) = gpu() else { return };
    let mut suspended = 0;
    for _ in 0..3 {
        let target = submit_work(&gpu);
        let ((), polls) = counted(async { gpu.wait_async().await.unwrap() });
        assert!(polls <= 2, "{polls}");
        suspended += polls - 1;
        let (read, polls) = counted(target.read_async(&gpu, 0, 1));
        assert!(polls <= 2, "{polls}");
        assert_eq!(bits(&read.unwrap()), bits(&target.read(&gpu, 0, 1).unwrap()));
        let target = submit_work(&gpu);
        let (read, polls) = counted(target.read_async(&gpu, 0, 1));
        assert!(polls <= 2, "{polls}");
        read.unwrap();
        suspended += polls - 1;
        // And on an executor that parks its thread.
        let target = submit_work(&gpu);
        pollster::block_on(target.read_async(&gpu, 0, 1)).unwrap();
    }
    assert!(suspended > 0 || is_synchronous(&gpu), "the device was always done before it was asked");
}

#[test]
fn several_futures_wait_at_once_and_one_that_is_dropped_holds_none_up() {
    let Some(gpu) = gpu() else { return };
    let targets = [submit_work(&gpu), submit_work(&gpu), submit_work(&gpu)];
    let mut dropped = Box::pin(targets[0].read_async(&gpu, 0, 1));
    let _ = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(dropped);
    thread::scope(|scope| {
        for target in &targets {
            let gpu = &gpu;
            scope.spawn(move || {
                let (read, polls) = counted(target.read_async(gpu, 0, 1));
                assert!(read.unwrap()[0].is_finite() && polls <= 2, "{polls}");
            });
        }
    });
}

#[test]
fn submits_beside_the_polls_of_other_threads_lose_no_device() {
    let Some(gpu) = gpu() else { return };
    let work = submit_work(&gpu);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..100).for_each(|_| drop(counted(work.read_async(&gpu, 0, 1)).0.unwrap())));
        }
        scope.spawn(|| (0..100).for_each(|_| drop(work.read(&gpu, 0, 1).unwrap())));
        scope.spawn(|| (0..100).for_each(|_| gpu.wait().unwrap()));
    });
}

#[test]
fn a_future_is_woken_where_the_device_is_lost() {
    let Some(gpu) = gpu() else { return };
    let target = submit_work(&gpu);
    let mut future = Box::pin(target.read_async(&gpu, 0, 1));
    let first = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    gpu.device().destroy();
    if first.is_pending() {
        // What was done before is there.
        let (read, _) = counted(future);
        assert!(matches!(read, Ok(_) | Err(Error::DeviceLost(_))), "{read:?}");
    }
    let (read, _) = counted(target.read_async(&gpu, 0, 1));
    assert!(matches!(read, Err(Error::DeviceLost(_))), "{read:?}");
}

struct Net {
    graph: Graph,
    loss: Var,
    logits: Var,
}

fn net() -> Net {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 6]), graph.labels("y", 4));
    let logits = x.linear(8).batch_norm1d(BatchNorm::new()).relu().linear(3);
    let loss = logits.cross_entropy(&y);
    Net { graph, loss, logits }
}

fn transforms() -> Transforms {
    Transforms {
        skip: Some(Skip::default()),
        clip_grad_norm: Some(ClipGradNorm::new(0.5)),
        penalties: vec![Penalty { l1: 0.01, l2: 0.1, ..Default::default() }],
        ..Default::default()
    }
}

fn trainer(gpu: &Gpu, net: &Net, steps_per_submit: usize) -> Trainer<AdamW> {
    let builder = net.graph.trainer(&net.loss, AdamW { lr: 1e-2, ..Default::default() });
    let builder = builder.transforms(transforms()).averages(Ema::new(0.9)).metric("twice", &net.loss);
    builder.steps_per_submit(steps_per_submit).build(gpu).unwrap()
}

struct Data {
    x: Vec<f32>,
    y: Vec<u32>,
}

impl Data {
    fn new(samples: usize) -> Self {
        let y = (0..samples).map(|i| u32::try_from(i % 3).unwrap()).collect();
        Self { x: noises(7, samples * 6), y }
    }

    fn inputs(&self) -> [(&str, &dyn HostData); 2] {
        [("x", &self.x), ("y", &self.y)]
    }
}

#[test]
fn a_trainer_that_waits_without_blocking_does_the_same() {
    let Some(gpu) = gpu() else { return };
    for steps_per_submit in [1, 3] {
        let net = net();
        let (mut one, mut two) =
            (trainer(&gpu, &net, steps_per_submit), trainer(&gpu, &net, steps_per_submit));
        let (batch, set) = (Data::new(4), Data::new(11));
        let x = [("x", &set.x as &dyn HostData)];
        let mut stopping = EarlyStopping { restore_best_weights: true, ..Default::default() };
        let mut other = stopping.clone();
        for round in 0..3 {
            for _ in 0..11 {
                one.step(&batch.inputs()).unwrap();
                run(&gpu, two.step_async(&batch.inputs())).unwrap();
            }
            for _ in 0..2 {
                let report = one.read_report().unwrap();
                assert_eq!(run(&gpu, two.read_report_async()).unwrap(), report);
                assert!(report.is_some());
            }
            assert_eq!(run(&gpu, two.read_loss_async()).unwrap(), one.read_loss().unwrap());
            let evaluation = one.evaluate(&set.inputs(), 4).unwrap();
            assert_eq!(run(&gpu, two.evaluate_async(&set.inputs(), 4)).unwrap(), evaluation);
            let predicted = one.predict(&net.logits, &x, 4).unwrap();
            assert_eq!(run(&gpu, two.predict_async(&net.logits, &x, 4)).unwrap(), predicted);
            let stop = stopping.watch(evaluation.loss, &one).unwrap();
            assert_eq!(run(&gpu, other.watch_async(evaluation.loss, &two)).unwrap(), stop);
            assert_eq!(stopping, other, "round {round}");
            one.update_bn(&set.inputs(), 4).unwrap();
            run(&gpu, two.update_bn_async(&set.inputs(), 4)).unwrap();
            let averages = one.read_averages().unwrap();
            assert_eq!(run(&gpu, two.read_averages_async()).unwrap(), averages);
            let averaged = one.with_averages(|one| one.evaluate(&set.inputs(), 3)).unwrap();
            let look = two.with_averages_async(async |two: &mut Trainer<AdamW>| {
                two.evaluate_async(&set.inputs(), 3).await
            });
            assert_eq!(counted(look).0.unwrap(), averaged);
            one.step(&batch.inputs()).unwrap();
            run(&gpu, two.step_async(&batch.inputs())).unwrap();
            let checkpoint = one.read_checkpoint().unwrap();
            assert!(run(&gpu, two.read_checkpoint_async()).unwrap() == checkpoint, "round {round}");
            run(&gpu, two.load_checkpoint_async(&checkpoint)).unwrap();
            one.load_checkpoint(&checkpoint).unwrap();
        }
        assert!(one.read_checkpoint().unwrap() == two.read_checkpoint().unwrap());
    }
}

#[test]
fn an_optimizer_that_waits_without_blocking_does_the_same() {
    let Some(gpu) = gpu() else { return };
    let make = || {
        let mut params = ParamStore::builder()
            .tensor("w", [40, 30], &noises(1, 1200))
            .tensor("b", [30], &noises(2, 30))
            .build(&gpu)
            .unwrap();
        let mut optimizer = Lamb::default().build(&params).unwrap();
        optimizer.set_transforms(transforms(), &params).unwrap();
        optimizer.set_averages(Ema::new(0.5), &params).unwrap();
        params.write_grads(&noises(3, 1230)).unwrap();
        (params, optimizer)
    };
    let ((mut a, mut one), (mut b, mut two)) = (make(), make());
    let step = |one: &mut Optimizer<Lamb>, a: &mut ParamStore, steps| {
        (0..steps).for_each(|_| one.step(a).unwrap());
    };
    // More than may be on their way.
    step(&mut one, &mut a, 20);
    for _ in 0..20 {
        run(&gpu, two.step_async(&mut b)).unwrap();
    }
    assert_eq!(run(&gpu, two.read_state_dict_async()).unwrap(), one.read_state_dict().unwrap());
    assert_eq!(run(&gpu, two.read_averages_async(&b)).unwrap(), one.read_averages(&a).unwrap());
    let model = one.read_averaged_model(&a).unwrap();
    assert_eq!(run(&gpu, two.read_averaged_model_async(&b)).unwrap(), model);
    let results = one.read_step_results().unwrap();
    assert_eq!(run(&gpu, two.read_step_results_async()).unwrap(), results);
    assert_eq!(results.len(), 20);
    assert_eq!(run(&gpu, two.read_norm_async(None)).unwrap(), one.read_norm(None).unwrap());
    assert_eq!(run(&gpu, two.read_penalty_async(&b)).unwrap(), one.read_penalty(&a).unwrap());
    let ratios = one.read_trust_ratios().unwrap();
    assert_eq!(run(&gpu, two.read_trust_ratios_async()).unwrap(), ratios);
    let averages = one.with_averages(&mut a, |a| a.read("w")).unwrap();
    let look = two.with_averages_async(&mut b, async |b: &mut ParamStore| b.read_async("w").await);
    assert_eq!(counted(look).0.unwrap(), averages);
    assert_eq!(run(&gpu, b.read_async("w")).unwrap(), a.read("w").unwrap());
    assert_eq!(run(&gpu, b.read_grad_async("b")).unwrap(), a.read_grad("b").unwrap());
    assert_eq!(run(&gpu, b.read_weights_async()).unwrap(), a.read_weights().unwrap());
    assert_eq!(run(&gpu, b.gate().read_async(&gpu, 0)).unwrap(), a.gate().read(&gpu, 0).unwrap());
    let refused = run(&gpu, two.read_norm_async(Some("none"))).unwrap_err();
    assert_eq!(refused, one.read_norm(Some("none")).unwrap_err());
}

#[test]
fn parameters_to_evaluate_with_are_put_back() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder().tensor("w", [5], &[1.0; 5]).build(&gpu).unwrap();
    let mut optimizer = ASGD { t0: 1.0, ..Default::default() }.build(&params).unwrap();
    params.write_grads(&noises(1, 5)).unwrap();
    (0..4).for_each(|_| optimizer.step(&mut params).unwrap());
    let weights = bits(&params.read("w").unwrap());
    let averages = optimizer.with_eval_params(&mut params, |params| params.read("w")).unwrap().unwrap();
    assert_ne!(bits(&averages), weights);
    let look = optimizer
        .with_eval_params_async(&mut params, async |params: &mut ParamStore| params.read_async("w").await);
    assert_eq!(counted(look).0.unwrap().unwrap(), averages);
    // Of a future that is dropped too.
    let mut look =
        Box::pin(optimizer.with_eval_params_async(&mut params, async |params: &mut ParamStore| {
            params.write("w", &[9.0; 5]).unwrap();
            std::future::pending::<()>().await;
        }));
    for _ in 0..20 {
        assert!(look.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        gpu.wait().unwrap();
    }
    drop(look);
    assert_eq!(bits(&params.read("w").unwrap()), weights);
    optimizer.step(&mut params).unwrap();
}

#[test]
fn a_future_that_is_dropped_loses_nothing() {
    let Some(gpu) = gpu() else { return };
    let net = net();
    let (mut one, mut two) = (trainer(&gpu, &net, 1), trainer(&gpu, &net, 1));
    let (batch, set) = (Data::new(4), Data::new(40));
    let mut pending = 0;
    for polls in 1..6 {
        one.step(&batch.inputs()).unwrap();
        two.step(&batch.inputs()).unwrap();
        let inputs = set.inputs();
        let some = |future: &mut dyn FnMut() -> bool| (0..polls).all(|_| future());
        {
            let mut evaluation = Box::pin(two.evaluate_async(&inputs, 4));
            let is_pending =
                || evaluation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            pending += usize::from(some(&mut { is_pending }));
        }
        {
            let mut averaged =
                Box::pin(two.with_averages_async(async |two: &mut Trainer<AdamW>| {
                    two.evaluate_async(&inputs, 4).await
                }));
            let is_pending = || averaged.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            pending += usize::from(some(&mut { is_pending }));
        }
        one.step(&batch.inputs()).unwrap();
        two.step(&batch.inputs()).unwrap();
        // Reports of steps, and none of the evaluation.
        for _ in 0..2 {
            assert_eq!(two.read_report().unwrap(), one.read_report().unwrap());
        }
        assert_eq!((two.read_report().unwrap(), one.read_report().unwrap()), (None, None));
        let evaluation = one.evaluate(&set.inputs(), 4).unwrap();
        assert_eq!(two.evaluate(&set.inputs(), 4).unwrap(), evaluation);
    }
    assert!(pending > 0 || is_synchronous(&gpu), "none was dropped before it was ready");
    assert!(one.read_checkpoint().unwrap() == two.read_checkpoint().unwrap());
}

#[test]
fn a_ring_gives_its_results_in_order() {
    let Some(gpu) = gpu() else { return };
    let mut ring = ReadRing::new(&gpu, 3).unwrap();
    let buffer = Buffer::storage(&gpu, "numbers", 4).unwrap();
    for number in 0..3_u32 {
        buffer.write(&gpu, 0, &[number; 4]).unwrap();
        let mut encoder = gpu.encoder("copy");
        let source = [(buffer.raw(), 16)];
        ring.record(&mut Recorder::new(&gpu, &mut encoder), u64::from(number), &source).unwrap();
        gpu.submit(encoder).unwrap();
        ring.submitted();
    }
    for number in 0..3_u32 {
        let expected = bytes([number; 4]);
        assert_eq!(run(&gpu, ring.read_next_async(&gpu)).unwrap(), Some((u64::from(number), expected)));
    }
    assert_eq!(run(&gpu, ring.read_next_async(&gpu)).unwrap(), None);
}

fn bytes(numbers: [u32; 4]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
