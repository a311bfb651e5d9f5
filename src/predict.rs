//! Inference without a trainer: a graph and its weights, and a call a request.

mod inference;
mod outputs;

use std::path::Path;

pub(crate) use self::inference::{Inference, Request};
pub use self::outputs::Outputs;
use crate::Error;
use crate::gpu::{Gpu, Staging};
use crate::graph::{Dtype, Graph, HostData, Var, Workspace};
use crate::params::{LoadReport, ParamStore, Weights};

/// Requests whose uploads may be on their way: the one that runs, and the next one.
const IN_FLIGHT: usize = 2;

/// Evaluates outputs of a graph by their names, in evaluation mode: without dropout, and by running statistics.
///
/// A request has any number of samples and names the inputs that the outputs depend on; for logits no labels. The first
/// request of a batch size compiles a plan, which is kept: those that follow are one submit each, with no allocation,
/// pipeline or bind group.
///
/// ```no_run
/// // Needs a device and a file.
/// use gradus::graph::Graph;
/// use gradus::nn::Linear;
/// use gradus::predict::Predictor;
/// use gradus::{Gpu, GpuOptions};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [1, 784]);
/// let hidden = x.linear(Linear::new(128).name("fc1")).relu();
/// let logits = hidden.linear(Linear::new(10).name("fc2"));
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let outputs = [("logits", &logits), ("hidden", &hidden)];
/// let mut predictor = Predictor::open(&gpu, &graph, "model.safetensors", &outputs)?;
/// let images = vec![0.5; 3 * 784];
/// let made = predictor.predict(&[("x", &images)])?;
/// assert_eq!(made.get("logits")?.shape, [3, 10]);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>.
#[derive(Debug)]
pub struct Predictor {
    params: ParamStore,
    inference: Inference,
    workspace: Workspace,
    staging: Staging,
    max_batch: usize,
}

impl Predictor {
    /// Samples of a request that are computed at once where [`Predictor::max_batch`] does not say otherwise.
    pub const MAX_BATCH: usize = 256;

    /// For the weights in a file, of torch's or a [`Checkpoint`](crate::train::Checkpoint), under the names of `graph`.
    ///
    /// # Errors
    /// As [`Weights::read`] and [`Predictor::from_weights`].
    pub fn open(
        gpu: &Gpu,
        graph: &Graph,
        path: impl AsRef<Path>,
        outputs: &[(&str, &Var)],
    ) -> Result<Self, Error> {
        Self::from_weights(gpu, graph, &Weights::read(path)?, outputs)
    }

    /// For weights that are those of `graph`, no fewer and no more; [`Weights::part`] and [`Weights::rename`] help where
    /// they are not.
    ///
    /// # Errors
    /// As [`Graph::check`] and [`Predictor::new`]; [`Error::Weights`] with all that does not fit; [`Error::Limit`] for a
    /// parameter that the device cannot bind; [`Error::DeviceLost`].
    pub fn from_weights(
        gpu: &Gpu,
        graph: &Graph,
        weights: &Weights,
        outputs: &[(&str, &Var)],
    ) -> Result<Self, Error> {
        let inference = Inference::new(graph, outputs)?;
        let mut params = graph.zeroed_store(gpu)?;
        params.load_state_dict(weights, true)?;
        Ok(Self::of(params, inference))
    }

    /// For a store that has the tensors of `graph`, such as [`Graph::store`] makes and
    /// [`ParamStore::load_state_dict`] fills.
    ///
    /// # Errors
    /// As [`Graph::check`]; [`Error::Config`] for no outputs; [`Error::Duplicate`] for two of one name;
    /// [`Error::Mismatch`] for one of another graph, or for labels; [`Error::Shape`] for one that has not one row a
    /// sample, as a parameter, or a loss; [`Error::UnknownName`], [`Error::Shape`] or [`Error::Mismatch`] if the store lacks
    /// a tensor that they depend on, or has it in another shape or role.
    pub fn new(graph: &Graph, params: ParamStore, outputs: &[(&str, &Var)]) -> Result<Self, Error> {
        let inference = Inference::new(graph, outputs)?;
        inference.check_store(&params)?;
        Ok(Self::of(params, inference))
    }

    fn of(params: ParamStore, inference: Inference) -> Self {
        let staging = Staging::new(params.gpu(), IN_FLIGHT);
        Self { params, inference, workspace: Workspace::new(), staging, max_batch: Self::MAX_BATCH }
    }

    /// Samples that are computed at once, at least 1: a request of more is computed in batches of these and a rest,
    /// with a submit and a wait each. Default [`Predictor::MAX_BATCH`]. An output whose rows have an element for each
    /// sample, as the products of samples with one another, is computed for so many at most.
    ///
    /// # Errors
    /// [`Error::Constant`] for 0.
    pub fn max_batch(mut self, samples: usize) -> Result<Self, Error> {
        if samples == 0 {
            return Err(Error::constant("max_batch", "at least 1", samples));
        }
        self.max_batch = samples;
        Ok(self)
    }

    /// Stores activations in a type of half the size; outputs stay f32: see
    /// [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast). Default: none.
    ///
    /// # Errors
    /// [`Error::DeviceFeature`] on a device whose kernels lack the type.
    pub fn autocast(mut self, dtype: Dtype) -> Result<Self, Error> {
        dtype.check(self.params.gpu().capabilities())?;
        self.inference = self.inference.autocast(Some(dtype));
        Ok(self)
    }

    /// All outputs for all samples of `data`, waited for.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for an input that the outputs do not depend on, with the nearest; [`Error::Config`] for one
    /// that is missing; [`Error::Duplicate`]; [`Error::Length`] for parts of a sample, none, or other numbers of samples
    /// than the first input has; [`Error::Shape`] for more samples than [`Predictor::max_batch`] where rows grow with the
    /// batch; [`Error::Mismatch`] for labels in place of numbers or the other way round;
    /// [`Error::Constant`] for a label that names no class. For a batch size that was not seen before also those of
    /// [`Graph::compile`], as [`Error::Limit`] for more samples than the device can bind, for which
    /// [`Predictor::max_batch`] helps. [`Error::DeviceLost`].
    pub fn predict(&mut self, data: &[(&str, &dyn HostData)]) -> Result<Outputs, Error> {
        self.params.gpu().clone().block_on(self.predict_async(data))
    }

    /// As [`Predictor::predict`], without blocking. A future that is dropped leaves the predictor as it was.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub async fn predict_async(&mut self, data: &[(&str, &dyn HostData)]) -> Result<Outputs, Error> {
        let Self { params, inference, workspace, staging, max_batch } = self;
        inference.run(Request { params, workspace, staging, data, batch: *max_batch }).await
    }

    /// The parameters and buffers.
    pub fn params(&self) -> &ParamStore {
        &self.params
    }

    /// Takes other weights from the next request on: [`ParamStore::load_state_dict`].
    ///
    /// # Errors
    /// As [`ParamStore::load_state_dict`]; then nothing has changed.
    pub fn load_state_dict(&mut self, weights: &Weights, strict: bool) -> Result<LoadReport, Error> {
        self.params.load_state_dict(weights, strict)
    }
}
