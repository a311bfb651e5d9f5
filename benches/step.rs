//! The cost of a training step and its components.
//!
//! The reference CNN shows the whole graph as a user sees it. AdamW over ResNet-18's tensors, next to a copy kernel
//! in the same run, shows how close the fused update is to memory bandwidth. A matrix product shows the arithmetic
//! rate. Blocks of a transformer, an LSTM and a residual network follow. The first step of a fresh process shows the
//! cost of compiling kernels. Times are the best of five runs of one step, one product or one process, because cores
//! are shared; the counters at the end do not vary.

#[path = "support/blocks.rs"]
mod blocks;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/networks.rs"]
mod networks;
#[path = "support/resnet18.rs"]
mod resnet18;
#[path = "support/torch.rs"]
mod torch;

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gradus::gpu::{Counters, Recorder, Trial};
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::nn::Linear;
use gradus::optim::{AdamW, Rule};
use gradus::train::Trainer;
use gradus::{Gpu, GpuOptions, ParamStore};

use figures::figures;
use measure::{CopyKernel, best, each};
use networks::{BATCH, reference, reference_batch};
use resnet18::resnet18;

const FIRST_STEP: &str = "--first-step";
/// Prints instead the time of each dispatch of the step, alone and when it first ran: `cargo bench --bench step --
/// --profile`.
const PROFILE: &str = "--profile";
/// Prints only the host's time of a step.
const HOST: &str = "--host";

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == FIRST_STEP) {
        return first_step();
    }
    let gpu = Gpu::new(GpuOptions::default())?;
    if std::env::args().any(|argument| argument == HOST) {
        return host(&gpu);
    }
    if std::env::args().any(|argument| argument == PROFILE) {
        profile(&gpu)?;
        return blocks::blocks(&gpu, true);
    }
    println!("{} ({:?}, {})", gpu.info().name, gpu.info().backend, gpu.info().driver_info);
    let step = cnn(&gpu)?;
    host(&gpu)?;
    let torch = figures(&gpu, "torch_probes.py")?;
    adamw(&gpu, "62 tensors", &resnet18(), &torch)?;
    adamw(&gpu, "1,000 tensors of 1,000", &vec![vec![1000]; 1000], &torch)?;
    for size in [512, 1024, 4096].into_iter().filter(|size| *size < 4096 || !gpu.capabilities().is_cpu) {
        matmul(&gpu, size, &torch)?;
    }
    blocks::blocks(&gpu, false)?;
    println!("first step: {:.2} s", first_step_of_a_process(true)?);
    println!("first step, driver cache off: {:.2} s", first_step_of_a_process(false)?);
    println!("counters of a cnn step: {step:?}");
    Ok(())
}

fn trainer(gpu: &Gpu) -> Result<Trainer<AdamW>> {
    let graph = Graph::new();
    let loss = reference(&graph, BATCH);
    Ok(graph.trainer(&loss, AdamW::default()).build(gpu)?)
}

fn profile(gpu: &Gpu) -> Result<()> {
    let graph = Graph::new();
    let loss = reference(&graph, BATCH);
    let params = graph.store(gpu, 1)?;
    // The driver compiles a kernel when that runs for the first time, which is shown too.
    let options = PlanOptions::train(&loss).trial(Trial { is_cold: true, ..Trial::default() });
    let plan = graph.compile(&params, &options, &mut Workspace::new())?;
    let (x, y) = reference_batch(BATCH);
    plan.write("x", &x)?;
    plan.write("y", &y)?;
    let run = |number: usize| {
        let mut encoder = gpu.encoder("profile");
        plan.record_part(&mut Recorder::new(gpu, &mut encoder), number..number + 1)?;
        gpu.submit(encoder)?;
        Ok(gpu.wait()?)
    };
    for (number, label) in plan.labels().enumerate() {
        // Drivers compile a kernel when it first runs.
        let start = std::time::Instant::now();
        run(number)?;
        let first = start.elapsed().as_secs_f64() * 1e3;
        let time = best(|| run(number))?;
        println!("{time:>8.2} ms, first {first:>8.1} ms  {label}");
    }
    Ok(())
}

fn cnn(gpu: &Gpu) -> Result<Counters> {
    let mut trainer = trainer(gpu)?;
    let (x, y) = reference_batch(BATCH);
    let time = best(|| {
        trainer.step(&[("x", &x), ("y", &y)])?;
        trainer.read_loss()?;
        Ok(())
    })?;
    println!("cnn step: {time:.2} ms");
    let before = gpu.counters();
    trainer.step(&[("x", &x), ("y", &y)])?;
    let counters = gpu.counters().since(&before);
    ensure!(trainer.read_loss()?.is_finite(), "the loss is not finite");
    Ok(counters)
}

/// The host's time of a step of a small network: the duration of the call, with nothing in flight.
fn host(gpu: &Gpu) -> Result<()> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [16, 32]), graph.labels("y", 16));
    let loss = x.linear(64).relu().linear(10).cross_entropy(&y);
    let mut trainer = graph.trainer(&loss, AdamW::default()).build(gpu)?;
    let (x, y) = (vec![0.5; 16 * 32], vec![3; 16]);
    let mut times = Vec::new();
    let mut counters = Counters::default();
    for _ in 0..400 {
        let before = gpu.counters();
        let start = Instant::now();
        trainer.step(&[("x", &x), ("y", &y)])?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        counters = gpu.counters().since(&before);
        trainer.read_loss()?;
        gpu.wait()?;
    }
    times.sort_by(f64::total_cmp);
    let Counters { dispatches, passes, uploads, .. } = counters;
    println!(
        "host cost of a small step: {:.0} us at the median, {:.0} at least; {dispatches} dispatches, {passes} passes, \
         {uploads} uploads",
        times[times.len() / 2],
        times[0]
    );
    Ok(())
}

/// A step over tensors of such shapes, next to a copy kernel and to torch's three ways.
fn adamw(gpu: &Gpu, name: &str, shapes: &[Vec<usize>], torch: &HashMap<String, f64>) -> Result<()> {
    let before = gpu.counters().live_bytes;
    let len = |shape: &[usize]| shape.iter().product::<usize>();
    let zeros = vec![0.0; shapes.iter().map(|shape| len(shape)).max().unwrap_or_default()];
    let mut params = ParamStore::builder()
        .group("all", |mut group| {
            for (number, shape) in shapes.iter().enumerate() {
                group = group.tensor(format!("{number}"), shape.clone(), &zeros[..len(shape)]);
            }
            group
        })
        .build(gpu)?;
    let count: usize = shapes.iter().map(|shape| len(shape)).sum();
    params.write_grads(&vec![0.01; count])?;
    let mut optimizer = AdamW::default().build(&params)?;
    let live = gpu.counters().live_bytes - before;

    let copy = CopyKernel::new(gpu, 16 << 20)?;
    let (mut step_time, mut copy_time) = (f64::INFINITY, f64::INFINITY);
    // Alternating, so that both see the same machine load.
    for _ in 0..3 {
        step_time = step_time.min(each(gpu, |times| {
            for _ in 0..times {
                optimizer.step(&mut params)?;
            }
            Ok(gpu.wait()?)
        })?);
        copy_time = copy_time.min(copy.time(gpu)?);
    }
    let rate = |bytes: usize, milliseconds: f64| bytes as f64 / milliseconds / 1e6;
    println!(
        "adamw {name}, {count} parameters: {step_time:.3} ms, {:.1} GB/s, copy {:.1} GB/s",
        rate(28 * count, step_time),
        rate(copy.bytes, copy_time)
    );
    for how in ["fused", "foreach", "loop"] {
        if let Some(torch) = torch.get(&format!("adamw {name}, {how}")) {
            println!("  torch, {how}: {torch:.3} ms, {:.2} of ours", torch / step_time);
        }
    }
    println!("adamw live bytes: {live} ({:.2} of 16 a parameter)", live as f64 / (16 * count) as f64);
    Ok(())
}

fn matmul(gpu: &Gpu, size: usize, torch: &HashMap<String, f64>) -> Result<()> {
    let graph = Graph::new();
    let y = graph.input("x", [size, size]).linear(Linear::new(size).without_bias());
    let params = graph.store(gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::evaluate().output("y", &y), &mut Workspace::new())?;
    plan.write("x", &(0..size * size).map(|i| (i % 89) as f32 / 89.0 - 0.5).collect::<Vec<f32>>())?;
    let time = each(gpu, |times| {
        let mut encoder = gpu.encoder("matmul");
        let mut recorder = Recorder::new(gpu, &mut encoder);
        (0..times).try_for_each(|_| plan.record(&mut recorder))?;
        drop(recorder);
        gpu.submit(encoder)?;
        Ok(gpu.wait()?)
    })?;
    let rate = 2.0 * (size * size * size) as f64 / time / 1e6;
    let beside = torch
        .get(&format!("matmul {size}"))
        .map_or(String::new(), |torch| format!("; torch {torch:.1} GFLOP/s: {:.2} of it", rate / torch));
    println!("matmul {size}: {rate:.1} GFLOP/s{beside}");
    Ok(())
}

/// Seconds from the start of a fresh process to the end of its first step; best of five.
fn first_step_of_a_process(driver_cache: bool) -> Result<f64> {
    let exe = std::env::current_exe()?;
    let time = best(|| {
        let mut command = Command::new(&exe);
        command.arg(FIRST_STEP).stderr(Stdio::null());
        if !driver_cache {
            command.env("MESA_SHADER_CACHE_DISABLE", "true");
        }
        let output = command.output()?;
        ensure!(output.status.success(), "the first step failed");
        Ok(())
    })?;
    Ok(time / 1e3)
}

fn first_step() -> Result<()> {
    let mut trainer = trainer(&Gpu::new(GpuOptions::default())?)?;
    let (x, y) = reference_batch(BATCH);
    trainer.step(&[("x", &x), ("y", &y)])?;
    ensure!(trainer.read_loss()?.is_finite(), "the loss is not finite");
    std::io::Write::flush(&mut std::io::stdout()).context("flush")
}
