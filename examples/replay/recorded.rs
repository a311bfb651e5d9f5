//! One recorded case: gradients of each step go through the configuration, and parameters come out.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use gradus::gpu::Recorder;
use gradus::grad::{Accumulate, ClipGradNorm, Transforms};
use gradus::optim::{self, AnyRule, Averages, Optimizer};
use gradus::{Gpu, ParamStore, schedule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::{Envelope, Folder, Tensor, Tensors};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    optimizer: Value,
    schedule: Option<Value>,
    groups: Option<Vec<GroupCase>>,
    accumulate: Option<Accumulate>,
    clip_grad_norm: Option<ClipGradNorm>,
    clip_grad_value: Option<f64>,
    averages: Option<Value>,
}

#[derive(Deserialize)]
struct GroupCase {
    tensors: Vec<usize>,
    #[serde(flatten)]
    overrides: Map<String, Value>,
}

/// What came and what was recorded of one tensor after one step.
pub(crate) struct Check<'a> {
    pub(crate) place: Place,
    pub(crate) got: &'a [f64],
    pub(crate) want: &'a [f64],
    /// How many tolerances wide: sums are held against as many as they have terms.
    pub(crate) width: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tensor: usize,
    pub(crate) step: usize,
    /// Whether it is the tensor's average.
    pub(crate) averaged: bool,
    /// What was recorded in place of all elements of a large tensor.
    pub(crate) stats: Option<&'static str>,
}

/// As the tensor is called in the file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.averaged { "avg" } else { "param" };
        write!(f, "{kind}.{}.step{}", self.tensor, self.step)?;
        self.stats.map_or(Ok(()), |what| write!(f, ".stats {what}"))
    }
}

/// Runs a case whose files lie in `folder`, and gives `check` all that was recorded, step by step.
pub(crate) fn replay(
    gpu: &Gpu,
    folder: &Folder,
    envelope: &Envelope,
    body: Map<String, Value>,
    check: impl FnMut(&Check<'_>) -> Result<()>,
) -> Result<()> {
    replay_rule(gpu, folder, envelope, body, |json| Ok(optim::from_json(json)?), check)
}

/// As [`replay`], with the rule that `rule` makes of the case's JSON.
pub(crate) fn replay_rule(
    gpu: &Gpu,
    folder: &Folder,
    envelope: &Envelope,
    body: Map<String, Value>,
    rule: impl Fn(&Value) -> Result<Box<dyn AnyRule>>,
    mut check: impl FnMut(&Check<'_>) -> Result<()>,
) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body))?;
    let problem = envelope.problem.as_ref().context("no problem")?;
    let problem = Problem::read(folder.tensors(&format!("problem_{problem}.safetensors"))?)?;
    let want = folder.tensors(envelope.file.as_ref().context("no file")?)?;
    let schedule = case.schedule.as_ref().map(schedule::from_json).transpose()?;
    let (mut params, mut optimizer) = build(gpu, &problem, &case, rule(&case.optimizer)?)?;
    let micro_batches = usize::try_from(case.accumulate.as_ref().map_or(1, |a| a.steps))?;
    let transforms = Transforms {
        accumulate: case.accumulate,
        clip_grad_norm: case.clip_grad_norm,
        clip_grad_value: case.clip_grad_value,
        ..Transforms::default()
    };
    optimizer.set_transforms(transforms, &params)?;
    if let Some(averages) = &case.averages {
        optimizer.set_averages(Averages::from_json(averages)?, &params)?;
    }
    let recorded = recorded_steps(&want, "param", problem.params.len(), problem.steps)?;
    let averaged = match want.names().any(|name| name.starts_with("avg.")) {
        true => recorded_steps(&want, "avg", problem.params.len(), problem.steps)?,
        false => BTreeMap::new(),
    };
    let read = recorded.values().chain(averaged.values()).map(Vec::len).sum::<usize>();
    let there = want.names().filter(|name| !name.ends_with(".stats")).count();
    ensure!(read == there, "{there} tensors are recorded, of which the case says what {read} are");
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
            let place = Place { tensor, step, averaged: false, stats: None };
            compare(&problem, &want, place, &got, &mut check)?;
        }
        if let Some(tensors) = averaged.get(&step) {
            let read = |params: &mut ParamStore| -> Result<Vec<_>, gradus::Error> {
                tensors.iter().map(|tensor| params.read(&name_of(*tensor))).collect()
            };
            // Of the weights, if the case keeps averages; else what the rule means to be evaluated with.
            let averages = match case.averages {
                Some(_) => optimizer.with_averages(&mut params, read)?,
                None => optimizer.with_eval_params(&mut params, read)??,
            };
            for (&tensor, got) in tensors.iter().zip(averages) {
                let got = widened(&got);
                let place = Place { tensor, step, averaged: true, stats: None };
                compare(&problem, &want, place, &got, &mut check)?;
            }
        }
    }
    Ok(())
}

fn name_of(tensor: usize) -> String {
    format!("param.{tensor}")
}

fn build(
    gpu: &Gpu,
    problem: &Problem,
    case: &Case,
    rule: Box<dyn AnyRule>,
) -> Result<(ParamStore, Optimizer<Box<dyn AnyRule>>)> {
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
    let optimizer = rule.build_with(&params, &overrides)?;
    Ok((params, optimizer))
}

/// The tensors whose `kind`, parameters or averages, was recorded at each step; each must be at least once.
fn recorded_steps(
    want: &Tensors,
    kind: &str,
    tensors: usize,
    last: usize,
) -> Result<BTreeMap<usize, Vec<usize>>> {
    let mut steps = BTreeMap::<usize, Vec<usize>>::new();
    let of_kind = |name: &str| name.split_once('.').is_some_and(|(begins, _)| begins == kind);
    for name in want.names().filter(|name| !name.ends_with(".stats") && of_kind(name)) {
        let parsed = name.split_once('.').and_then(|(_, rest)| rest.split_once(".step"));
        let (tensor, step) = parsed.with_context(|| format!("unexpected tensor {name}"))?;
        let step: usize = step.parse().with_context(|| format!("step of {name}"))?;
        let tensor = tensor.parse().with_context(|| format!("number of {name}"))?;
        ensure!((1..=last).contains(&step), "{name} is recorded, but the gradients are of steps 1 to {last}");
        ensure!(tensor < tensors, "{name} is recorded, but there are {tensors} tensors");
        steps.entry(step).or_default().push(tensor);
    }
    for tensor in 0..tensors {
        ensure!(steps.values().any(|list| list.contains(&tensor)), "{kind}.{tensor} is not recorded");
    }
    Ok(steps)
}

fn compare(
    problem: &Problem,
    want: &Tensors,
    place: Place,
    got: &[f64],
    check: &mut impl FnMut(&Check<'_>) -> Result<()>,
) -> Result<()> {
    let tensor = place.tensor;
    let name = place.to_string();
    let reference = &want.get(&name).with_context(|| format!("no tensor {name}"))?.data;
    let mut one = |place: Place, got: &[f64], want: &[f64], width: f64| {
        ensure!(got.len() == want.len(), "{place}: got {} values, expected {}", got.len(), want.len());
        check(&Check { place, got, want, width })
    };
    let Some(sample) = problem.file.get(&format!("sample.{tensor}")) else {
        return one(place, got, reference, 1.0);
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "indices are whole")]
    let at = |index: &f64| {
        let value = got.get(*index as usize);
        value.copied().with_context(|| format!("sample.{tensor} holds the index {index}"))
    };
    let sampled: Vec<f64> = sample.data.iter().map(at).collect::<Result<_>>()?;
    one(place, &sampled, reference, 1.0)?;
    let Some(stats) = want.get(&format!("{name}.stats")) else { return Ok(()) };
    let fold = |f: fn(f64, f64) -> f64| got.iter().copied().reduce(f).unwrap_or(0.0);
    let squares = got.iter().map(|x| x * x).sum();
    ensure!(stats.data.len() == 4, "{name}.stats: expected four numbers");
    let sums = Place { stats: Some("sum, squares"), ..place };
    one(sums, &[fold(|a, b| a + b), squares], &stats.data[..2], got.len() as f64)?;
    let ends = Place { stats: Some("min, max"), ..place };
    one(ends, &[fold(f64::min), fold(f64::max)], &stats.data[2..], 1.0)
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
        let params: Vec<_> = (0..)
            .map_while(|tensor| file.get(&name_of(tensor)))
            .map(|tensor| (tensor.shape.clone(), narrowed(&tensor.data)))
            .collect();
        for (tensor, (shape, data)) in params.iter().enumerate() {
            let Some(Tensor { shape: grad, .. }) = file.get(&format!("grad.{tensor}")) else { continue };
            let one = grad.get(1..).map(|one| one.iter().product::<usize>());
            let fits = one == Some(data.len()) && grad[0] >= steps;
            ensure!(fits, "grad.{tensor} has the shape {grad:?}, expected {steps} of {shape:?}, one a step");
        }
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
            return Ok(narrowed(part.with_context(|| format!("grad.{tensor} has no step {step}"))?));
        }
        let Some(base) = self.file.get(&format!("grad_base.{tensor}")) else {
            bail!("there is neither grad.{tensor} nor grad_base.{tensor}");
        };
        let shift: Vec<usize> = self.file.metadata(&format!("shift.{tensor}"))?;
        let scale: Vec<f64> = self.file.metadata(&format!("scale.{tensor}"))?;
        let (shift, scale) = (shift.get(step).context("shift")?, scale.get(step).context("scale")?);
        let n = base.data.len();
        let moved: Vec<f64> = (0..n).map(|j| base.data[(j + shift % n) % n] * scale).collect();
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
