//! `optim/cases.json`: parameters after recorded gradients.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use gradus::gpu::Recorder;
use gradus::grad::{Accumulate, ClipGradNorm, Transforms};
use gradus::optim::{self, AnyRule, Optimizer, RULES};
use gradus::{Gpu, GpuOptions, ParamStore, schedule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report, Tensor, Tensors, Tolerance};
use crate::not_yet::NotYet;
use crate::schedules::uses_any;

pub(crate) fn run(folder: &Folder, not_yet: &NotYet) -> Report {
    Report::of(|report| {
        let gpu = match Gpu::new(GpuOptions::default()) {
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                println!("golden optim: SKIPPED, {error}");
                return Ok(());
            }
            gpu => gpu?,
        };
        let file = folder.json("optim/cases.json")?;
        let known: Vec<&str> = RULES.iter().map(|entry| entry.name).collect();
        report.refuse_stale("optimizer", not_yet.optimizers, &known);
        let waits = |body: &Map<String, Value>| {
            body.keys().any(|key| not_yet.keys.contains(&key.as_str()))
                || body.get("optimizer").is_some_and(|optimizer| uses_any(optimizer, not_yet.optimizers))
                || body.get("schedule").is_some_and(|schedule| uses_any(schedule, not_yet.schedules))
        };
        let cases = file.get("cases").context("optim/cases.json: no `cases`")?;
        report.check(cases, waits, |envelope, body| check(&gpu, folder, envelope, body))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    optimizer: Value,
    schedule: Option<Value>,
    groups: Option<Vec<GroupCase>>,
    accumulate: Option<Accumulate>,
    clip_grad_norm: Option<ClipGradNorm>,
    clip_grad_value: Option<f64>,
}

#[derive(Deserialize)]
struct GroupCase {
    tensors: Vec<usize>,
    #[serde(flatten)]
    overrides: Map<String, Value>,
}

fn check(gpu: &Gpu, folder: &Folder, envelope: &Envelope, body: Map<String, Value>) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body))?;
    let tolerance = envelope.tol.context("no tolerance")?;
    let problem = envelope.problem.as_ref().context("no problem")?;
    let problem = Problem::read(folder.tensors(&format!("optim/problem_{problem}.safetensors"))?)?;
    let want = folder.tensors(&format!("optim/{}", envelope.file.as_ref().context("no file")?))?;
    let schedule = case.schedule.as_ref().map(schedule::from_json).transpose()?;
    let (mut params, mut optimizer) = build(gpu, &problem, &case)?;
    let micro_batches = usize::try_from(case.accumulate.as_ref().map_or(1, |a| a.steps))?;
    let transforms = Transforms {
        accumulate: case.accumulate,
        clip_grad_norm: case.clip_grad_norm,
        clip_grad_value: case.clip_grad_value,
        ..Transforms::default()
    };
    optimizer.set_transforms(transforms, &params)?;
    let recorded = recorded_steps(&want, problem.params.len())?;
    for step in 1..=problem.steps {
        let grads = problem.dense_grads(&params, step - 1)?;
        if step % micro_batches == 1 % micro_batches {
            params.write_grads(&grads)?;
        } else {
            let mut encoder = gpu.encoder("accumulate");
            params.record_add_grads(&mut Recorder::new(gpu, &mut encoder), &grads)?;
            gpu.submit(encoder)?;
        }
        if step % micro_batches == 0 {
            if let Some(schedule) = &schedule {
                optimizer.schedule(schedule, (step / micro_batches) as u64 - 1)?;
            }
            optimizer.step(&mut params)?;
        }
        for &tensor in recorded.get(&step).into_iter().flatten() {
            let got = widened(&params.read(&name_of(tensor))?);
            compare(&problem, &want, tolerance, tensor, step, &got)?;
        }
    }
    let last = recorded.keys().next_back().copied().unwrap_or(0);
    ensure!(last <= problem.steps, "step {last} is recorded, but there are {} gradients", problem.steps);
    Ok(())
}

fn name_of(tensor: usize) -> String {
    format!("param.{tensor}")
}

fn build(gpu: &Gpu, problem: &Problem, case: &Case) -> Result<(ParamStore, Optimizer<Box<dyn AnyRule>>)> {
    let all = GroupCase { tensors: (0..problem.params.len()).collect(), overrides: Map::new() };
    let groups = case.groups.as_deref().unwrap_or(std::slice::from_ref(&all));
    let mut placed: Vec<usize> = groups.iter().flat_map(|group| group.tensors.iter().copied()).collect();
    placed.sort_unstable();
    ensure!(placed == all.tensors, "each tensor belongs to one group, got {placed:?}");
    let mut builder = ParamStore::builder();
    for (index, group) in groups.iter().enumerate() {
        builder = builder.group(index.to_string(), |mut store| {
            for &tensor in &group.tensors {
                let (shape, data) = &problem.params[tensor];
                store = store.tensor(name_of(tensor), shape.clone(), data);
            }
            store
        });
    }
    let params = builder.build(gpu)?;
    let names: Vec<String> = (0..groups.len()).map(|index| index.to_string()).collect();
    let overrides: Vec<(&str, Value)> = names
        .iter()
        .zip(groups)
        .map(|(name, group)| (name.as_str(), Value::Object(group.overrides.clone())))
        .collect();
    let optimizer = optim::from_json(&case.optimizer)?.build_with(&params, &overrides)?;
    Ok((params, optimizer))
}

/// The tensors recorded at each step; each tensor must be recorded at least once.
fn recorded_steps(want: &Tensors, tensors: usize) -> Result<BTreeMap<usize, Vec<usize>>> {
    let mut steps = BTreeMap::<usize, Vec<usize>>::new();
    for name in want.names().filter(|name| !name.ends_with(".stats")) {
        let parsed = name.strip_prefix("param.").and_then(|rest| rest.split_once(".step"));
        let (tensor, step) = parsed.with_context(|| format!("unexpected tensor {name}"))?;
        steps.entry(step.parse()?).or_default().push(tensor.parse()?);
    }
    for tensor in 0..tensors {
        ensure!(steps.values().any(|list| list.contains(&tensor)), "param.{tensor} is not recorded");
    }
    Ok(steps)
}

fn compare(
    problem: &Problem,
    want: &Tensors,
    tolerance: Tolerance,
    tensor: usize,
    step: usize,
    got: &[f64],
) -> Result<()> {
    let place = format!("param.{tensor}.step{step}");
    let reference = &want[place.as_str()].data;
    let Some(sample) = problem.file.get(&format!("sample.{tensor}")) else {
        return tolerance.compare(&place, got, reference);
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices are whole")]
    let at = |index: &f64| {
        let value = got.get(*index as usize);
        value.copied().with_context(|| format!("sample.{tensor} holds the index {index}"))
    };
    let sampled: Vec<f64> = sample.data.iter().map(at).collect::<Result<_>>()?;
    tolerance.compare(&place, &sampled, reference)?;
    let Some(stats) = want.get(&format!("{place}.stats")) else { return Ok(()) };
    let fold = |f: fn(f64, f64) -> f64| got.iter().copied().reduce(f).unwrap_or(0.0);
    let squares = got.iter().map(|x| x * x).sum();
    let sums = [fold(|a, b| a + b), squares];
    let n = got.len() as f64;
    let wide = Tolerance { rtol: tolerance.rtol * n, atol: tolerance.atol * n };
    ensure!(stats.data.len() == 4, "{place}.stats: expected four numbers");
    wide.compare(&format!("{place}.stats sum, squares"), &sums, &stats.data[..2])?;
    let ends = [fold(f64::min), fold(f64::max)];
    tolerance.compare(&format!("{place}.stats min, max"), &ends, &stats.data[2..])
}

/// Initial parameters and recorded gradients.
struct Problem {
    file: Tensors,
    steps: usize,
    params: Vec<(Vec<usize>, Vec<f32>)>,
}

impl Problem {
    fn read(file: Tensors) -> Result<Self> {
        let steps = file.metadata("T")?;
        let params = (0..)
            .map_while(|tensor| file.get(&name_of(tensor)))
            .map(|tensor| (tensor.shape.clone(), narrowed(&tensor.data)))
            .collect();
        Ok(Self { file, steps, params })
    }

    /// The gradients of step `step` from 0, in the order in which the store has its tensors.
    fn dense_grads(&self, params: &ParamStore, step: usize) -> Result<Vec<f32>> {
        let mut dense = Vec::new();
        for span in params.layout().spans() {
            let tensor = span.name.strip_prefix("param.").expect("so named").parse()?;
            dense.extend(self.grad(tensor, span.len, step)?);
        }
        Ok(dense)
    }

    fn grad(&self, tensor: usize, len: usize, step: usize) -> Result<Vec<f32>> {
        if let Some(Tensor { data, .. }) = self.file.get(&format!("grad.{tensor}")) {
            let part = data.get(step * len..(step + 1) * len);
            return Ok(narrowed(part.with_context(|| format!("grad.{tensor} ends before step {step}"))?));
        }
        let Some(base) = self.file.get(&format!("grad_base.{tensor}")) else {
            bail!("there is neither grad.{tensor} nor grad_base.{tensor}");
        };
        let shift: Vec<usize> = self.file.metadata(&format!("shift.{tensor}"))?;
        let scale: Vec<f64> = self.file.metadata(&format!("scale.{tensor}"))?;
        let (shift, scale) = (shift.get(step).context("shift")?, scale.get(step).context("scale")?);
        let n = base.data.len();
        let moved: Vec<f64> = (0..n).map(|j| base.data[(j + shift) % n] * scale).collect();
        Ok(narrowed(&moved))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the files hold f32, or what is exact in f32")]
fn narrowed(data: &[f64]) -> Vec<f32> {
    data.iter().map(|x| *x as f32).collect()
}

fn widened(data: &[f32]) -> Vec<f64> {
    data.iter().map(|x| f64::from(*x)).collect()
}
