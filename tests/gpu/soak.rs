//! Work that is done again and again takes no more memory than once.

use std::time::{Duration, Instant};

use gradus::graph::Graph;
use gradus::nn::Conv2d;
use gradus::optim::AdamW;
use gradus::train::Trainer;
use gradus::{Gpu, gpu::Counters};

use crate::common::{gpu, noises};

fn trainer(gpu: &Gpu) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 1, 6, 6]), graph.labels("y", 4));
    let logits = x.conv2d(Conv2d::new(5, 3)).relu().max_pool2d(2).flatten().linear(3);
    graph.trainer(&logits.cross_entropy(&y), AdamW::default()).clip_grad_norm(1.0).seed(1).build(gpu).unwrap()
}

fn steps(trainer: &mut Trainer<AdamW>, number: u64) {
    for step in 0..number {
        trainer.step(&[("x", &noises(step, 4 * 36)), ("y", &vec![0, 1, 2, 1])]).unwrap();
        while trainer.poll().unwrap().is_some() {}
    }
    trainer.read_loss().unwrap();
}

/// A trainer made, trained, saved, loaded, evaluated and dropped, beside one that stays.
fn round(gpu: &Gpu, stays: &mut Trainer<AdamW>) {
    steps(stays, 5);
    let mut trainer = trainer(gpu);
    steps(&mut trainer, 3);
    let checkpoint = trainer.read_checkpoint().unwrap();
    trainer.load_checkpoint(&checkpoint).unwrap();
    let data = noises(9, 7 * 36);
    trainer.evaluate(&[("x", &data), ("y", &vec![0, 1, 2, 1, 0, 0, 2])], 4).unwrap();
    drop(trainer);
    gpu.wait().unwrap();
}

/// Bytes of memory of this process, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok().map(|kib: u64| kib << 10)
}

/// `GRADUS_MINUTES`, for which a process does nothing else; without it there are a few rounds among other tests.
fn minutes() -> Option<f64> {
    std::env::var("GRADUS_MINUTES").ok().map(|number| number.parse().expect("GRADUS_MINUTES"))
}

#[test]
fn rounds_of_work_leave_nothing_behind() {
    let Some(gpu) = gpu() else { return };
    let mut stays = trainer(&gpu);
    (0..2).for_each(|_| round(&gpu, &mut stays));
    let count = |stays: &mut Trainer<AdamW>| {
        let before = gpu.counters();
        round(&gpu, stays);
        (gpu.counters().since(&before), gpu.counters().live_bytes)
    };
    let (expected, live): (Counters, u64) = count(&mut stays);
    assert_eq!((expected.pipelines, expected.live_bytes), (0, 0));
    let started = Instant::now();
    let time = minutes().map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let (mut rounds, mut early) = (0_u64, None);
    while time.map_or(rounds < 4, |time| started.elapsed() < time) {
        let (counted, now) = count(&mut stays);
        assert_eq!(now, live, "live bytes after {rounds} rounds");
        // What is polled depends on when results arrive; what is made does not.
        let made = |counters: &Counters| {
            (
                counters.allocations,
                counters.pipelines,
                counters.bind_groups,
                counters.dispatches,
                counters.submits,
            )
        };
        assert_eq!(made(&counted), made(&expected), "after {rounds} rounds");
        if time.is_some() && rounds.is_multiple_of(10) {
            // Devices come and go too.
            let other = self::gpu().unwrap();
            steps(&mut trainer(&other), 2);
        }
        rounds += 1;
        // What the allocator and the driver keep has grown to its size by then.
        if time.is_some_and(|time| early.is_none() && started.elapsed() > time / 4) {
            early = resident();
        }
    }
    println!("{rounds} rounds in {:.0?}: {live} bytes on the device throughout", started.elapsed());
    if let (Some(early), Some(late)) = (early, resident()) {
        println!(
            "memory of the process: {} MiB after a quarter of the time, {} MiB at the end",
            early >> 20,
            late >> 20
        );
        assert!(late < early + early / 4 + (32 << 20), "{early} bytes have become {late}");
    }
}
