//! What searches cost on the device: evaluations a second, dispatches, submits and read-backs of 1,000 generations of 4,096
//! members in 32 dimensions of Rastrigin, for each method; beside nevergrad where Python has it.
//!
//! `cargo bench --bench search [-- <generations> [<method>..]]`. nevergrad evaluates on the host, a member at a time, in
//! numpy; it is given two seconds a method.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gradus::search::{Method, Objective, Search, Space};
use gradus::{Gpu, GpuOptions};

const MEMBERS: usize = 4096;
const DIMENSIONS: usize = 32;

const RASTRIGIN: &str = "fn objective() -> f32 {
    var sum = 10.0 * f32(DIMENSIONS);
    for (var i = 0u; i < DIMENSIONS; i++) {
        // Where nobody begins.
        let y = x(i) - 1.25;
        sum += y * y - 10.0 * cos(6.283185307179586 * y);
    }
    return sum;
}";

const NEVERGRAD: &str = "
import time, warnings
warnings.filterwarnings('ignore')
import numpy as np, nevergrad as ng
f = lambda x: 10 * len(x) + np.sum(x * x - 10 * np.cos(2 * np.pi * x))
for name in ['DE', 'PSO', 'CMA', 'OnePlusOne', 'RandomSearch']:
    own = ng.optimizers.registry[name](ng.p.Array(shape=(32,)).set_bounds(-5.12, 5.12), budget=10**9, num_workers=1)
    count, start = 0, time.process_time()
    while time.process_time() - start < 2:
        x = own.ask(); own.tell(x, f(x.value)); count += 1
    print(name, count / (time.process_time() - start))
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let generations: u64 = match arguments.first() {
        Some(text) => text.parse().context("generations")?,
        None => 1000,
    };
    let names = arguments.get(1..).unwrap_or_default();
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} ({:?}), {:?} kernels", gpu.info().name, gpu.info().backend, gpu.kernel_kind());
    println!("{MEMBERS} members, {DIMENSIONS} dimensions, {generations} generations of Rastrigin");
    println!(
        "{:<20}{:>14}{:>12}{:>9}{:>12}{:>10}",
        "method", "evaluations/s", "dispatches", "submits", "read-backs", "best"
    );
    for method in Method::all() {
        if names.is_empty() || names.iter().any(|name| name == method.name()) {
            one(&gpu, &method, generations)?;
        }
    }
    match Command::new("python3").args(["-c", NEVERGRAD]).output() {
        Ok(output) if output.status.success() => {
            println!("nevergrad, evaluations/s\n{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => println!("nevergrad: python3 does not have it"),
    }
    Ok(())
}

fn one(gpu: &Gpu, method: &Method, generations: u64) -> Result<()> {
    let search = |generations: u64| {
        let space = Space::cube(DIMENSIONS, -5.12, 5.12);
        Search::builder(space, method.clone())
            .members(MEMBERS)
            .budget(generations * MEMBERS as u64)
            .build(gpu)
    };
    let mut objective = Objective::wgsl(RASTRIGIN);
    // Kernels are made before the clock starts.
    search(1)?.minimize(&mut objective)?;
    let mut search = search(generations)?;
    let (before, start) = (gpu.counters(), Instant::now());
    let found = search.minimize(&mut objective)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = gpu.counters();
    let rate = found.nfev as f64 / seconds;
    ensure!(found.fun.is_finite(), "{}: {found:?}", method.name());
    println!(
        "{:<20}{rate:>14.3e}{:>12}{:>9}{:>12}{:>10.3}",
        method.name(),
        after.dispatches - before.dispatches,
        after.submits - before.submits,
        after.read_backs - before.read_backs,
        found.fun
    );
    Ok(())
}
