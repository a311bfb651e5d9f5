//! The cost of compiling kernels. For each kind of kernels that the adapter runs, compiles the plans of the reference
//! network and of several blocks in a fresh process, without the driver's cache.
//!
//! Drivers compile when a pipeline is created, or when it first runs. So the time of a kernel is the time to create
//! its pipeline, plus its first dispatch, minus its second. `cargo bench --bench compile`.

#[path = "support/networks.rs"]
#[expect(dead_code, reason = "a batch")]
mod networks;

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gradus::gpu::{KernelChoice, KernelKind, Recorder, Trial};
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::{Gpu, GpuOptions};

use networks::{BATCH, BLOCKS, reference};

/// Runs the kind with this number in this process.
const KIND: &str = "--kind";

/// Number of kernels listed for each kind.
const SLOWEST: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == KIND) {
        let number: usize = arguments.get(at + 1).context("the number of a kind")?.parse()?;
        return of_kind(KernelKind::ALL[number]);
    }
    for gpu in Gpu::of_each_kind(&GpuOptions::default())? {
        let kind = KernelKind::ALL.iter().position(|kind| *kind == gpu.kernel_kind()).context("a kind")?;
        let status = Command::new(std::env::current_exe()?)
            .args([KIND, &kind.to_string()])
            // The switches of Mesa and NVIDIA.
            .envs([("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")])
            .status()?;
        ensure!(status.success(), "{:?} kernels do not compile", gpu.kernel_kind());
    }
    Ok(())
}

fn of_kind(kind: KernelKind) -> Result<()> {
    let gpu = Gpu::new(GpuOptions { kernels: KernelChoice::Only(kind), ..GpuOptions::default() })?;
    println!("{} ({:?}), {kind:?} kernels", gpu.info().name, gpu.info().backend);
    let (mut seen, mut all) = (HashSet::new(), Vec::new());
    let graph = Graph::new();
    let loss = reference(&graph, BATCH);
    let params = graph.store(&gpu, 1)?;
    let mut compile = |what: &str, graph: &Graph, params: &gradus::ParamStore, loss: &Var| -> Result<()> {
        let (pipelines, start) = (gpu.counters().pipelines, Instant::now());
        let plan = graph.compile(params, &cold(loss), &mut Workspace::new())?;
        let made = start.elapsed().as_secs_f64() * 1e3;
        let pipelines = gpu.counters().pipelines - pipelines;
        let times = times(&gpu, &plan)?;
        let first: f64 = times.iter().map(|(time, _)| time).sum();
        println!("  {what}: plan and {pipelines} pipelines in {made:.0} ms, first runs {first:.0} ms");
        all.extend(times.into_iter().filter(|(_, label)| seen.insert(label.clone())));
        Ok(())
    };
    compile("reference network", &graph, &params, &loss)?;
    for (name, shape, build) in BLOCKS {
        let graph = Graph::new();
        let loss = build(&graph.input("x", shape).bias()).mean();
        compile(name, &graph, &graph.store(&gpu, 1)?, &loss)?;
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (time, label) in all.iter().take(SLOWEST) {
        println!("    {time:>6.0} ms  {label}");
    }
    Ok(())
}

/// A training plan whose kernels are not compiled before their first run.
fn cold(loss: &Var) -> PlanOptions {
    PlanOptions::train(loss).trial(Trial { is_cold: true, ..Trial::default() })
}

/// For each dispatch, how many milliseconds its first run takes more than its second.
fn times(gpu: &Gpu, plan: &Plan) -> Result<Vec<(f64, String)>> {
    let labels: Vec<String> = plan.labels().map(ToOwned::to_owned).collect();
    let time = |number: usize| -> Result<f64> {
        let start = Instant::now();
        let mut encoder = gpu.encoder("compile");
        plan.record_part(&mut Recorder::new(gpu, &mut encoder), number..number + 1)?;
        gpu.submit(encoder)?;
        gpu.wait()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    let times = labels.into_iter().enumerate();
    times.map(|(number, label)| Ok((time(number)? - time(number)?, label))).collect()
}
