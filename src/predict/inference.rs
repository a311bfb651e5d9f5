//! Plans that evaluate chosen outputs of a graph, one plan per batch size.

use std::collections::HashMap;

use super::Outputs;
use crate::Error;
use crate::gpu::{ReadBuffer, Recorder, Staging};
use crate::graph::{Dtype, Graph, HostData, Plan, PlanOptions, Var, Workspace, samples_of};
use crate::params::{ParamStore, Tensor};

/// Evaluates chosen outputs of a graph for any number of samples.
#[derive(Debug)]
pub(crate) struct Inference {
    graph: Graph,
    outputs: Vec<(String, Var)>,
    /// The inputs that the outputs depend on, with their declared shapes.
    inputs: Vec<(String, Vec<usize>)>,
    /// The first output whose rows grow with the batch, such as the products of all pairs of samples.
    whole: Option<usize>,
    plans: HashMap<usize, Compiled>,
    /// The type of stored activations, if it is not f32.
    autocast: Option<Dtype>,
}

/// A plan with the read-back buffer of its outputs.
#[derive(Debug)]
struct Compiled {
    plan: Plan,
    read_buffer: ReadBuffer,
}

/// A request, together with resources that the caller reuses between requests.
pub(crate) struct Request<'a> {
    pub(crate) params: &'a ParamStore,
    pub(crate) workspace: &'a mut Workspace,
    pub(crate) staging: &'a mut Staging,
    pub(crate) data: &'a [(&'a str, &'a dyn HostData)],
    /// Maximum number of samples computed at once.
    pub(crate) batch: usize,
}

impl Inference {
    pub(crate) fn new(graph: &Graph, outputs: &[(&str, &Var)]) -> Result<Self, Error> {
        graph.check()?;
        if outputs.is_empty() {
            return Err(Error::Config { what: "outputs".into(), reason: "expected at least one".into() });
        }
        for (number, (name, var)) in outputs.iter().enumerate() {
            graph.check_owner(name, var)?;
            if outputs[..number].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Duplicate { kind: "output", name: (*name).into() });
            }
            if var.is_labels() {
                return Err(Error::Mismatch(format!("output {name}: expected a computed value, got labels")));
            }
            check_rows(graph, var)?;
        }
        let inputs = graph.inputs_of(outputs.iter().map(|(_, var)| *var));
        let whole = outputs.iter().position(|(_, var)| has_rows_of_batch(graph, var));
        let outputs = outputs.iter().map(|(name, var)| ((*name).to_owned(), (*var).clone())).collect();
        Ok(Self { graph: graph.clone(), outputs, inputs, whole, plans: HashMap::new(), autocast: None })
    }

    /// Stores activations as this type.
    pub(crate) fn autocast(self, autocast: Option<Dtype>) -> Self {
        Self { autocast, plans: HashMap::new(), ..self }
    }

    /// Refuses a store that lacks a tensor that the outputs depend on.
    pub(crate) fn check_store(&self, params: &ParamStore) -> Result<(), Error> {
        let needed = self.graph.parameters_of(self.outputs.iter().map(|(_, var)| var));
        self.graph.check_store(params, &needed)
    }

    /// Computes the outputs for all samples. Checks everything before the first submit.
    pub(crate) async fn run(&mut self, request: Request<'_>) -> Result<Outputs, Error> {
        let Request { params, workspace, staging, data, batch } = request;
        let gpu = params.gpu();
        gpu.check()?;
        let samples = samples_of(&self.inputs, data)?;
        self.check_whole(samples, batch)?;
        let whole = batch.min(samples);
        self.compile(whole, params, workspace).await?;
        self.plans[&whole].plan.check_inputs(data, samples)?;
        if !samples.is_multiple_of(whole) {
            self.compile(samples % whole, params, workspace).await?;
        }
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for first in (0..samples).step_by(whole) {
            let size = whole.min(samples - first);
            let Compiled { plan, read_buffer } = self.plans.get_mut(&size).expect("it was compiled");
            let mut encoder = gpu.encoder("predict");
            let mut recorder = Recorder::new(gpu, &mut encoder);
            staging.begin(plan.staged_bytes(data)).await?;
            plan.stage(data, first, staging)?;
            staging.record(&mut recorder);
            staging.end()?;
            plan.record(&mut recorder)?;
            plan.record_outputs(&mut recorder, read_buffer.target());
            drop(recorder);
            gpu.submit(encoder)?;
            staging.submitted();
            let bytes = read_buffer.read(gpu, plan.output_bytes()).await?;
            for (number, (name, _)) in self.outputs.iter().enumerate() {
                let (shape, values) = plan.dense_output(name, &bytes)?;
                match tensors.get_mut(number) {
                    Some((_, earlier)) => {
                        earlier.shape[0] += shape[0];
                        earlier.values.extend(values);
                    }
                    None => tensors.push((name.clone(), Tensor { shape, values })),
                }
            }
        }
        Ok(Outputs { tensors })
    }

    /// Refuses to split samples into batches if an output's rows depend on the number of samples.
    fn check_whole(&self, samples: usize, batch: usize) -> Result<(), Error> {
        let Some((_, var)) = self.whole.filter(|_| samples > batch).map(|number| &self.outputs[number])
        else {
            return Ok(());
        };
        let (layer, got) = (var.name(), self.graph.shape_at(var, samples)?);
        let expected = format!(
            "rows whose size does not depend on the number of samples, since at most {batch} are computed at once"
        );
        Err(Error::Shape { layer, expected, got })
    }

    async fn compile(
        &mut self,
        batch: usize,
        params: &ParamStore,
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        if !self.plans.contains_key(&batch) {
            let options = PlanOptions { autocast: self.autocast, ..PlanOptions::evaluate().batch(batch) };
            let options = self.outputs.iter().fold(options, |options, (name, var)| options.output(name, var));
            let plan = self.graph.compile_async(params, &options, workspace).await?;
            let read_buffer = ReadBuffer::new(params.gpu(), plan.output_bytes())?;
            self.plans.insert(batch, Compiled { plan, read_buffer });
        }
        Ok(())
    }
}

/// Whether the shape of an output's rows depends on the batch size. False if the graph supports only its declared
/// batch size.
fn has_rows_of_batch(graph: &Graph, var: &Var) -> bool {
    let larger = graph.shape_at(var, graph.batch().unwrap_or(1) + 1);
    larger.is_ok_and(|larger| larger[1..] != var.shape()[1..])
}

/// Refuses an output that does not have one row per sample.
fn check_rows(graph: &Graph, var: &Var) -> Result<(), Error> {
    let declared = graph.batch().unwrap_or(1);
    if var.shape().first() == Some(&declared) && var.is_in_rows() {
        return Ok(());
    }
    let expected = match declared {
        1 => "one row per sample at every batch size".into(),
        _ => format!("one row for each of the {declared} samples"),
    };
    Err(Error::Shape { layer: var.name(), expected, got: var.shape() })
}
