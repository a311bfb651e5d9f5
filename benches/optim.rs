//! The cost of a step of each optimizer, relative to the bytes that it must move.
//!
//! Each rule steps over ten matrices of a million parameters each, alternating with a kernel that only copies. The
//! ratio is what counts, because the machine's speed varies. Then AdamW steps over the same parameters in 10 and in
//! 10,000 tensors. All ratios are medians of pairs. `cargo bench --bench optim -- SGD Lion` measures only these, and
//! AdamW.

#[path = "support/measure.rs"]
mod measure;

use anyhow::Result;
use gradus::optim::{self, AnyRule, Ema, Family, Granularity, LBFGS, Optimizer, RULES, StatePrecision};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use measure::{CopyKernel, each};

const PARAMETERS: usize = 10_000_000;
const PAIRS: usize = 5;

fn main() -> Result<()> {
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} ({:?}, {})", gpu.info().name, gpu.info().backend, gpu.info().driver_info);
    let copy = CopyKernel::new(&gpu, 16 << 20)?;
    println!(
        "rule                                dispatches  bytes a parameter   GB/s   time over copy   over AdamW"
    );
    let mut adamw = f64::NAN;
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let others = RULES.iter().map(|entry| entry.name).filter(|name| *name != "AdamW" && is_wanted(name));
    for options in ["AdamW"].into_iter().chain(others).flat_map(options) {
        let row = Row::measure(&gpu, &copy, &options)?;
        if options == json!({"name": "AdamW"}) {
            adamw = row.over_copy;
        }
        row.print(adamw);
    }
    if is_wanted("averages") {
        Row::averaged(&gpu, &copy)?.print(adamw);
    }
    if is_wanted(LBFGS::NAME) {
        Row::whole(&gpu, &copy)?.print(adamw);
    }
    if wanted.is_empty() { many_tensors(&gpu) } else { Ok(()) }
}

/// A rule by its name: with its defaults, with the options that need most state, and some with state in fewer bits.
fn options(name: &str) -> Vec<Value> {
    let plain = json!({"name": name});
    match name {
        "AdamW" => [plain].into_iter().chain(in_fewer_bits(&json!({"name": name}))).collect(),
        "Lion" => [plain].into_iter().chain(in_fewer_bits(&json!({"name": name}))).collect(),
        "SGD" => {
            let momentum = json!({"name": name, "momentum": 0.9});
            [plain, momentum.clone()].into_iter().chain(in_fewer_bits(&momentum)).collect()
        }
        "Adam" => vec![plain, json!({"name": name, "amsgrad": true})],
        "Adafactor" => vec![plain, json!({"name": name, "variant": "optax", "momentum": 0.9})],
        "SM3" => vec![plain, json!({"name": name, "momentum": 0})],
        // Without the matrix products, whose time depends on the cube of a side instead of bytes.
        "Muon" => vec![json!({"name": name, "ns_steps": 0})],
        "RMSprop" => vec![plain, json!({"name": name, "momentum": 0.9, "centered": true})],
        "Lookahead" => vec![json!({"name": name, "inner": {"name": "AdamW"}})],
        _ => vec![plain],
    }
}

/// The same rule with state in bf16 and in 8 bits.
fn in_fewer_bits(options: &Value) -> [Value; 2] {
    ["bf16", "8bit"].map(|state| {
        let mut options = options.clone();
        options["state"] = json!(state);
        options
    })
}

/// Minimum number of bytes per parameter that a step of a rule must move.
fn bytes(rule: &impl AnyRule, state: StatePrecision) -> f64 {
    let slots =
        rule.slots().iter().enumerate().filter(|(slot, own)| rule.uses(*slot) && own.precisions.allow(state));
    let saved = match state {
        StatePrecision::F32 => 0.0,
        StatePrecision::Bf16 => 4.0,
        // A scale for 256 elements.
        StatePrecision::Int8 => 8.0 - 2.0 * 65.0 / 64.0,
    };
    bytes_in_f32(rule) as f64 - saved * slots.count() as f64
}

fn bytes_in_f32(rule: &impl AnyRule) -> usize {
    let slots = rule.slots().iter().enumerate().filter(|(_, slot)| slot.granularity == Granularity::Element);
    let slots = slots.filter(|(slot, _)| rule.uses(*slot)).count();
    // Parameters, gradients and state are read; parameters and state are written.
    match rule.family() {
        Family::Element | Family::Around => 4 * (2 + slots) + 4 * (1 + slots),
        // Gradients, or parameters and gradients, are read a second time.
        Family::Tensor { early_state: false } if rule.name() == "Novograd" => 4 + 12 + 8 * slots,
        Family::Tensor { early_state: false } => 8 + 12 + 8 * slots,
        // Directions are written, and read with the parameters.
        Family::Matrix => 12 + 12 + 12,
        // Means need the gradient a second time; a ratio of sums needs both.
        Family::Factored { ratio: true } => 4 + 8 + 12 + 8 * slots,
        Family::Factored { ratio: false } => 12 + 8 * slots,
        // The state is written when the sums are measured, and the update reads it instead of gradients.
        Family::Tensor { early_state: true } => 8 + 8 * slots + 8 + 4 * slots,
    }
}

struct Row {
    name: String,
    dispatches: u64,
    bytes: f64,
    rate: f64,
    over_copy: f64,
}

impl Row {
    fn measure(gpu: &Gpu, copy: &CopyKernel, options: &Value) -> Result<Self> {
        let mut run = Run::new(gpu, options, 10)?;
        let state = optim::from_json_with_options(options)?.1.state;
        let bytes = run.optimizer.rules().next().map_or(0.0, |rule| bytes(rule, state));
        let name = options["name"].as_str().unwrap_or_default();
        let others = options.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
        let name = others.fold(name.to_owned(), |text, (field, value)| format!("{text} {field} {value}"));
        Self::of(name, bytes, gpu, copy, |times| run.steps(gpu, times))
    }

    /// AdamW with an average of the weights, which is read and written in addition to its state.
    fn averaged(gpu: &Gpu, copy: &CopyKernel) -> Result<Self> {
        let mut run = Run::new(gpu, &json!({"name": "AdamW"}), 10)?;
        run.optimizer.set_averages(Ema::default(), &run.params)?;
        let bytes = run.optimizer.rules().next().map_or(0.0, |rule| bytes(rule, StatePrecision::F32)) + 8.0;
        Self::of("AdamW averages ema".into(), bytes, gpu, copy, |times| run.steps(gpu, times))
    }

    /// An iteration of L-BFGS with ten stored pairs and no line search. Its closure costs nothing.
    fn whole(gpu: &Gpu, copy: &CopyKernel) -> Result<Self> {
        let mut params = store(gpu, 10)?;
        let options = LBFGS::optax();
        let mut optimizer = options.clone().build(&params)?;
        for step in 0..=options.history_size {
            params.write_grads(&vec![1.0 / (1.0 + step as f32); PARAMETERS])?;
            optimizer.step(&mut params, |_| Ok::<_, gradus::Error>(0.0))?;
        }
        // All pairs are read twice, for their inner products and for the direction, and the newest one is written.
        // The gradient, the previous gradient, the direction and the parameters are read and written in between.
        let bytes = 16.0 * options.history_size as f64 + 68.0;
        let name = format!("LBFGS history_size {}", options.history_size);
        Self::of(name, bytes, gpu, copy, |times| {
            for _ in 0..times {
                optimizer.step(&mut params, |_| Ok::<_, gradus::Error>(0.0))?;
            }
            Ok(gpu.wait()?)
        })
    }

    fn of(
        name: String,
        bytes: f64,
        gpu: &Gpu,
        copy: &CopyKernel,
        mut steps: impl FnMut(usize) -> Result<()>,
    ) -> Result<Self> {
        steps(1)?;
        let before = gpu.counters();
        steps(1)?;
        let dispatches = gpu.counters().since(&before).dispatches;
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let took = each(gpu, &mut steps)?;
            let copied = copy.time(gpu)? * bytes * PARAMETERS as f64 / copy.bytes as f64;
            pairs.push((took / copied, took));
        }
        let (over_copy, took) = median(pairs);
        let rate = bytes * PARAMETERS as f64 / took / 1e6;
        Ok(Self { name, dispatches, bytes, rate, over_copy })
    }

    fn print(&self, adamw: f64) {
        let Self { name, dispatches, bytes, rate, over_copy } = self;
        let over_adamw = over_copy / adamw;
        println!("{name:<36}{dispatches:>10}{bytes:>19.2}{rate:>7.1}{over_copy:>17.2}{over_adamw:>13.2}");
    }
}

fn many_tensors(gpu: &Gpu) -> Result<()> {
    let options = json!({"name": "AdamW"});
    let (mut few, mut many) = (Run::new(gpu, &options, 10)?, Run::new(gpu, &options, 10_000)?);
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let one = each(gpu, |times| few.steps(gpu, times))?;
        let other = each(gpu, |times| many.steps(gpu, times))?;
        pairs.push((other / one, other));
    }
    let (ratio, _) = median(pairs);
    println!("adamw: {PARAMETERS} parameters in 10,000 tensors take {ratio:.2} of what they take in 10");
    Ok(())
}

fn median(mut pairs: Vec<(f64, f64)>) -> (f64, f64) {
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs[pairs.len() / 2]
}

/// As many parameters in equal matrices.
fn store(gpu: &Gpu, tensors: usize) -> Result<ParamStore> {
    let values = vec![0.5; PARAMETERS / tensors];
    let columns = if values.len() == 1_000_000 { 1000 } else { 40 };
    let shape = [values.len() / columns, columns];
    let params = ParamStore::builder()
        .group("all", |mut group| {
            for number in 0..tensors {
                group = group.tensor(format!("{number}"), shape, &values);
            }
            group
        })
        .build(gpu)?;
    Ok(params)
}

/// An optimizer over as many parameters in equal tensors.
struct Run {
    params: ParamStore,
    optimizer: Optimizer<Box<dyn AnyRule>>,
}

impl Run {
    fn new(gpu: &Gpu, options: &Value, tensors: usize) -> Result<Self> {
        let mut params = store(gpu, tensors)?;
        let (rule, state) = optim::from_json_with_options(options)?;
        let optimizer = rule.build_with_options(&params, &[], &state)?;
        // Zeros are stored in 8 bits faster than numbers.
        params
            .write_grads(&(0..PARAMETERS).map(|i| (i % 1009) as f32 / 504.5 - 1.0).collect::<Vec<f32>>())?;
        Ok(Self { params, optimizer })
    }

    /// Takes so many steps, and waits.
    fn steps(&mut self, gpu: &Gpu, times: usize) -> Result<()> {
        for _ in 0..times {
            self.optimizer.step(&mut self.params)?;
        }
        Ok(gpu.wait()?)
    }
}
