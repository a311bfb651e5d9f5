//! Products and convolutions with each tile size in workgroup memory, with and without wgpu's run-time checks, whole
//! and in parts.

use anyhow::{Context, Result, ensure};
use gradus::gpu::{Kept, KernelChoice, KernelKind, Recorder, TileSize, Trial};
use gradus::graph::{Graph, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Init};
use gradus::{Gpu, GpuOptions, ParamStore};

use crate::time;

/// Prints the tables. On a CPU adapter, sizes are small and only show that results agree.
pub(crate) fn run(gpu: &Gpu) -> Result<()> {
    let is_cpu = gpu.capabilities().is_cpu;
    let kernels = KernelChoice::Only(KernelKind::Gpu);
    let small = GpuOptions { kernels, ..GpuOptions::default() };
    let gpu = &if is_cpu { Gpu::new(small)? } else { gpu.clone() };
    println!("checks that are kept, GFLOP/s");
    let mut fastest = 0.0;
    for size in if is_cpu { vec![130] } else { vec![512, 1024, 4096] } {
        // On a slower device this would take minutes.
        if size < 4096 || fastest > 4000.0 {
            fastest = checks(gpu, size)?;
        }
    }
    println!("tiles in 1 to 8 parts, GFLOP/s");
    let of_gpu = vec![[512, 64, 512], [64, 1024, 4096], [64, 512, 10], [576, 65_536, 64], [1024, 1024, 1024]];
    for sizes in if is_cpu { vec![[33, 600, 40]] } else { of_gpu } {
        parts(gpu, sizes)?;
    }
    println!("convolutions of 3x3 in each tile, GFLOP/s");
    let of_gpu = vec![([64, 16, 28, 28], 32), ([64, 64, 32, 32], 64)];
    for (shape, channels) in if is_cpu { vec![([2, 12, 9, 8], 20)] } else { of_gpu } {
        convolution(gpu, shape, channels)?;
    }
    Ok(())
}

/// A plan, and what keeps its parameters.
struct Made {
    plan: Plan,
    params: ParamStore,
}

impl Made {
    fn of(gpu: &Gpu, graph: &Graph, options: &PlanOptions, trial: Trial) -> Result<Self> {
        let params = graph.store(gpu, 1)?;
        let plan = graph.compile(&params, &options.clone().trial(trial), &mut Workspace::new())?;
        Ok(Self { plan, params })
    }

    /// The bits of an output and of all gradients.
    fn bits(&self, gpu: &Gpu, output: &str) -> Result<Vec<u32>> {
        let mut encoder = gpu.encoder("tiles");
        self.plan.record(&mut Recorder::new(gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        let mut numbers = self.plan.read(output)?;
        numbers.extend(self.params.grads().read_all(gpu)?);
        Ok(numbers.into_iter().map(f32::to_bits).collect())
    }
}

fn product([rows, inner, columns]: [usize; 3]) -> (Graph, PlanOptions) {
    let graph = Graph::new();
    let factor =
        |name: &str, shape: [usize; 2]| -> Var { graph.parameter(name, shape, Init::Normal { std: 1.0 }) };
    let y = factor("a", [rows, inner]).matmul(&factor("b", [inner, columns]));
    (graph, PlanOptions::evaluate().output("y", &y))
}

/// The rate of a whole plan, in GFLOP/s.
fn rate(gpu: &Gpu, made: &Made, flops: f64) -> Result<f64> {
    Ok(flops / time(gpu, &made.plan, 0..made.plan.labels().count())? / 1e6)
}

fn flops([rows, inner, columns]: [usize; 3]) -> f64 {
    2.0 * (rows * inner * columns) as f64
}

/// A product of square matrices in the two largest tiles, with each set of checks. Returns the highest rate.
fn checks(gpu: &Gpu, size: usize) -> Result<f64> {
    let (graph, options) = product([size; 3]);
    let mut fastest: f64 = 0.0;
    for tile in [TileSize::Large, TileSize::Medium] {
        print!("  {size}x{size} in {tile:?}:");
        let mut first = None;
        for number in 0..8 {
            let [bounds, loops, zeroing] = [1, 2, 4].map(|bit| number & bit != 0);
            let trial = Trial {
                tile: Some(tile),
                parts: Some(1),
                checks: Kept { bounds, loops, zeroing },
                ..Trial::default()
            };
            let made = Made::of(gpu, &graph, &options, trial)?;
            let names = [(bounds, "bounds"), (loops, "loops"), (zeroing, "zeroing")];
            let names: Vec<&str> = names.iter().filter(|(kept, _)| *kept).map(|(_, name)| *name).collect();
            let what = if names.is_empty() { "none".to_owned() } else { names.join("+") };
            let rate = rate(gpu, &made, flops([size; 3]))?;
            fastest = fastest.max(rate);
            print!(" {what} {rate:.1},");
            let bits = made.bits(gpu, "y")?;
            ensure!(
                *first.get_or_insert_with(|| bits.clone()) == bits,
                "{what}: other bits than without checks"
            );
        }
        println!();
    }
    Ok(fastest)
}

/// A product with each tile, in one part and in several; and whether all tiles give the same bits.
fn parts(gpu: &Gpu, sizes: [usize; 3]) -> Result<()> {
    let [rows, inner, columns] = sizes;
    println!("  {rows}x{inner} by {inner}x{columns}:");
    let (graph, options) = product(sizes);
    // Sums differ between one, two and more parts.
    let mut first: Vec<Option<Vec<u32>>> = vec![None; 4];
    for tile in TileSize::ALL {
        print!("    {:<12}", format!("{tile:?}"));
        for (parts, first) in [1, 2, 4, 8].into_iter().zip(&mut first) {
            let trial = Trial { tile: Some(tile), parts: Some(parts), ..Trial::default() };
            let made = Made::of(gpu, &graph, &options, trial)?;
            print!(" {:>9.1}", rate(gpu, &made, flops(sizes))?);
            let bits = made.bits(gpu, "y")?;
            ensure!(
                *first.get_or_insert_with(|| bits.clone()) == bits,
                "{tile:?}: other bits than in other tiles"
            );
        }
        println!();
    }
    let chosen = Made::of(gpu, &graph, &options, Trial::default())?;
    let dispatches = chosen.plan.labels().count();
    println!(
        "    as chosen    {:>9.1} in {dispatches}; the same bits in each tile",
        rate(gpu, &chosen, flops(sizes))?
    );
    Ok(())
}

/// Each direction of a convolution with each tile; and whether all give the same bits.
fn convolution(gpu: &Gpu, shape: [usize; 4], channels: usize) -> Result<()> {
    let [images, inputs, height, width] = shape;
    println!("  {images}x{inputs}x{height}x{width} to {channels} channels:");
    let flops = 2.0 * (images * height * width * inputs * channels * 9) as f64;
    let graph = Graph::new();
    let x = graph.parameter("x", shape, Init::Normal { std: 1.0 });
    let loss = x.conv2d(Conv2d::new(channels, 3).padding(1)).square().sum();
    let options = PlanOptions::train(&loss);
    let mut first = None;
    for tile in TileSize::ALL.map(Some).into_iter().chain([None]) {
        let made = Made::of(gpu, &graph, &options, Trial { tile, ..Trial::default() })?;
        print!("    {:<12}", tile.map_or("as chosen".to_owned(), |tile| format!("{tile:?}")));
        let labels: Vec<String> = made.plan.labels().map(str::to_owned).collect();
        let tiled =
            |label: &String| label.contains("conv2d_tile") || label.contains("conv2d_weight_grad_tile");
        for number in (0..labels.len()).filter(|number| tiled(&labels[*number])) {
            let what = match &labels[number] {
                label if label.contains("weight_grad") => "weight",
                _ if labels[..number].iter().any(|label| label.contains("conv2d_tile")) => "input",
                _ => "forward",
            };
            print!(" {what} {:>9.1},", flops / time(gpu, &made.plan, number..number + 1)? / 1e6);
        }
        println!();
        let bits = made.bits(gpu, "loss")?;
        let same = *first.get_or_insert_with(|| bits.clone()) == bits;
        ensure!(same, "{tile:?}: other bits than in other tiles");
    }
    first.context("there are tiles")?;
    println!("    the same bits in each tile");
    Ok(())
}
