//! Blocks of common networks, forward and backward: of a transformer, an LSTM and a residual network. Each is
//! compared with torch on the same device, if the Python in the variable `PYTHON`, or `python3`, has torch.

use std::collections::HashMap;

use anyhow::Result;
use gradus::Gpu;
use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};

use crate::figures::figures;
use crate::measure::best;
use crate::networks::BLOCKS;

/// Prints milliseconds, dispatches and live bytes of each block; with `profile`, the time of each dispatch alone.
pub(crate) fn blocks(gpu: &Gpu, profile: bool) -> Result<()> {
    let torch = if profile { HashMap::new() } else { figures(gpu, "torch_blocks.py")? };
    for (name, shape, build) in BLOCKS {
        let before = gpu.counters().live_bytes;
        let graph = Graph::new();
        let x = graph.input("x", shape);
        // The input has a gradient too, as for a block in the middle of a network.
        let loss = build(&x.bias()).mean();
        let params = graph.store(gpu, 1)?;
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;
        let len = shape.iter().product::<usize>();
        plan.write("x", &(0..len).map(|i| (i % 89) as f32 / 89.0 - 0.5).collect::<Vec<f32>>())?;
        let run = |part: std::ops::Range<usize>| {
            best(|| {
                let mut encoder = gpu.encoder("block");
                plan.record_part(&mut Recorder::new(gpu, &mut encoder), part.clone())?;
                gpu.submit(encoder)?;
                Ok(gpu.wait()?)
            })
        };
        let dispatches = plan.labels().count();
        let (time, live) = (run(0..dispatches)?, gpu.counters().live_bytes - before);
        let beside = torch
            .get(name)
            .map_or(String::new(), |torch| format!("; torch {torch:.3} ms: {:.2} of it", time / torch));
        println!("{name}: {time:.3} ms, {dispatches} dispatches, {live} live bytes{beside}");
        if profile {
            for (number, label) in plan.labels().enumerate() {
                println!("{:>8.2} ms  {label}", run(number..number + 1)?);
            }
        }
    }
    Ok(())
}
