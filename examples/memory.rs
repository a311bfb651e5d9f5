//! Device memory per parameter that each optimizer needs: measured, and in theory.

#[path = "../benches/support/resnet18.rs"]
mod resnet18;

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gradus::optim::{self, Granularity, LBFGS, RULES, StatePrecision};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

/// Maximum number of elements of a tensor, and of all together.
const MOST: usize = 1 << 31;
/// Size of one value of a slot.
const BYTES: f64 = 4.0;

/// Size of one value of a slot at the state's precision. 256 codes of 8 bits share a scale of 4 bytes.
fn theory_of(options: &Value) -> Result<f64> {
    if options["state"].is_null() {
        return Ok(BYTES);
    }
    Ok(match optim::from_json_with_options(options)?.1.state {
        StatePrecision::F32 => BYTES,
        StatePrecision::Bf16 => 2.0,
        StatePrecision::Int8 => 1.0 + BYTES / 256.0,
    })
}

/// Prints the bytes of state per parameter that each optimizer allocates, and the bytes that its slots need: for each value
/// 4, or 2 in bf16 and 1.0156 in 8 bits. A slot has one value per parameter, per tensor, or per row and column. LBFGS has
/// two vectors per stored pair, and three more.
#[derive(Parser)]
struct Args {
    /// The tensors: resnet18, or shapes such as 256x784,256,10x256,10.
    #[arg(long, default_value = "resnet18")]
    shapes: String,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let is_resnet = args.shapes == "resnet18";
    let shapes = if is_resnet { resnet18::resnet18() } else { read_shapes(&args.shapes)? };
    let count: usize = shapes.iter().map(|shape| len(shape)).sum();
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut out = stdout().lock();
    writeln!(out, "{count} parameters in {} tensors on {}", shapes.len(), gpu.info().name)?;
    writeln!(out, "{:<38}{:>8}{:>14}{:>10}{:>10}", "optimizer", "slots", "bytes", "each", "theory")?;
    let rules = RULES.iter().flat_map(|entry| options(entry.name));
    let whole = json!({"name": LBFGS::NAME, "variant": "optax"});
    for options in rules.chain([whole]) {
        let measured = if options["name"] == LBFGS::NAME { measure_whole } else { measure };
        let Measured { slots, values, bytes } = measured(&gpu, &shapes, &options)?;
        let each = bytes as f64 / count as f64;
        let theory = (theory_of(&options)? * values as f64 / count as f64 * 1e4).round() / 1e4;
        let name = label(&options);
        writeln!(out, "{name:<38}{slots:>8}{bytes:>14}{each:>10.4}{theory:>10}")?;
        // Tables and the constants of steps in flight count as part of a slot, even if there is less than one slot.
        let most = theory + 0.05 * theory.max(BYTES);
        ensure!(!is_resnet || each <= most, "{name} keeps {each} bytes a parameter, over 1.05 of {theory}");
    }
    if is_resnet {
        writeln!(out, "nothing is over 1.05 of theory, nor over 0.05 of a slot where there is less")?;
    }
    Ok(())
}

/// A rule by its name: with its defaults, with options that add slots, and with state in fewer bits.
fn options(name: &str) -> Vec<Value> {
    let plain = json!({"name": name});
    match name {
        // For matrices only; convolution weights are not matrices.
        "Muon" => vec![json!({"name": name, "adamw": {}})],
        "SGD" => vec![plain, json!({"name": name, "momentum": 0.9})],
        "Adam" => vec![plain, json!({"name": name, "amsgrad": true})],
        "Adafactor" => vec![plain, json!({"name": name, "variant": "optax"})],
        "SM3" => vec![plain, json!({"name": name, "momentum": 0})],
        "RMSprop" => vec![plain, json!({"name": name, "momentum": 0.9, "centered": true})],
        "AdamW" => {
            vec![plain, json!({"name": name, "state": "bf16"}), json!({"name": name, "state": "8bit"})]
        }
        "Lookahead" => vec![json!({"name": name, "inner": {"name": "AdamW"}})],
        _ => vec![plain],
    }
}

fn label(options: &Value) -> String {
    let fields = options.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
    let name = options["name"].as_str().unwrap_or_default().to_owned();
    fields.fold(name, |text, (field, value)| format!("{text} {field}={value}"))
}

/// Slots in use, their values, and the bytes that remain allocated after building the optimizer and its first step.
struct Measured {
    slots: usize,
    values: usize,
    bytes: u64,
}

fn store(gpu: &Gpu, shapes: &[Vec<usize>]) -> Result<ParamStore> {
    let zeros = vec![0.0; shapes.iter().map(|shape| len(shape)).max().unwrap_or(0)];
    let params = ParamStore::builder().group("all", |mut group| {
        for (number, shape) in shapes.iter().enumerate() {
            group = group.tensor(format!("{number}"), shape.clone(), &zeros[..len(shape)]);
        }
        group
    });
    Ok(params.build(gpu)?)
}

/// Measures a rule after its first step.
fn measure(gpu: &Gpu, shapes: &[Vec<usize>], options: &Value) -> Result<Measured> {
    let mut params = store(gpu, shapes)?;
    let before = gpu.counters();
    let (rule, state) = optim::from_json_with_options(options)?;
    let mut optimizer = rule.build_with_options(&params, &[], &state)?;
    optimizer.step(&mut params)?;
    gpu.wait()?;
    let bytes = gpu.counters().since(&before).live_bytes;
    let rule = optimizer.rules().next().context("there is one group")?;
    let kept: Vec<Granularity> = rule.slots().iter().map(|slot| slot.granularity).collect();
    let used: Vec<Granularity> =
        (0..kept.len()).filter(|&slot| rule.uses(slot)).map(|slot| kept[slot]).collect();
    let values_of = |shape: &Vec<usize>, granularity: &Granularity| match granularity {
        Granularity::Element => len(shape),
        Granularity::Tensor => 1,
        Granularity::Statistics => rule.statistics(shape).iter().map(|factor| factor.len(shape)).sum(),
    };
    let values = shapes
        .iter()
        .flat_map(|shape| used.iter().map(move |granularity| values_of(shape, granularity)))
        .sum();
    Ok(Measured { slots: used.len(), values, bytes })
}

/// L-BFGS with a full history: two vectors per pair, the direction, and the starting point of the last step with its
/// gradient.
fn measure_whole(gpu: &Gpu, shapes: &[Vec<usize>], options: &Value) -> Result<Measured> {
    let mut params = store(gpu, shapes)?;
    let count = params.layout().parameters();
    let before = gpu.counters();
    let options = LBFGS::from_json(options)?;
    let mut optimizer = options.clone().build(&params)?;
    for step in 0..=options.history_size {
        params.write_grads(&vec![1.0 / (1.0 + step as f32); count])?;
        optimizer.step(&mut params, |_| Ok::<_, gradus::Error>(0.0))?;
    }
    gpu.wait()?;
    let bytes = gpu.counters().since(&before).live_bytes;
    let slots = 2 * options.history_size + 3;
    Ok(Measured { slots, values: slots * count, bytes })
}

fn len(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn read_shapes(text: &str) -> Result<Vec<Vec<usize>>> {
    let mut shapes = Vec::new();
    let mut count = 0_usize;
    for part in text.split(',') {
        let shape: Option<Vec<usize>> =
            part.split('x').map(|size| size.trim().parse().ok().filter(|&size| size > 0)).collect();
        let shape = shape.with_context(|| {
            format!(
                "--shapes: cannot read {part:?} in {text:?}: say resnet18, or as in 256x784,256,10x256,10"
            )
        })?;
        let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
        let total = elements.and_then(|elements| count.checked_add(elements)).filter(|&total| total <= MOST);
        count = total.with_context(|| format!("--shapes: {part:?} makes it more than {MOST} parameters"))?;
        shapes.push(shape);
    }
    Ok(shapes)
}
