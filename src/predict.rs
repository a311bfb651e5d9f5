//! Inference without a trainer: evaluates outputs of a graph with given weights.

mod inference;
mod outputs;

use std::path::Path;

pub(crate) use self::inference::{Inference, Request};
pub use self::outputs::Outputs;
use crate::Error;
use crate::gpu::{Gpu, Staging};
use crate::graph::{Dtype, Graph, HostData, Var, Workspace};
use crate::params::{LoadReport, ParamStore, Weights};

/// Number of requests whose uploads can be in flight: the running one and the next.
const IN_FLIGHT: usize = 2;

/// Evaluates named outputs of a graph in evaluation mode: without dropout, and with running statistics.
///
/// A request has any number of samples and gives the inputs that the outputs depend on; logits need no labels. The
/// first request of a batch size compiles a plan, which is kept. Later requests of that size are one submit each and
/// create no buffer, pipeline or bind group.
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
    /// Default of [`Predictor::max_batch`], in samples.
    pub const MAX_BATCH: usize = 256;

    /// A predictor for the weights in a file of torch, or in a [`Checkpoint`](crate::train::Checkpoint), whose names
    /// are those of `graph`.
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

    /// A predictor for weights whose names are exactly those of `graph`. [`Weights::part`] and [`Weights::rename`]
    /// adapt other names.
    ///
    /// # Errors
    /// As [`Graph::check`] and [`Predictor::new`]; [`Error::Weights`] with all mismatches; [`Error::Limit`] for a
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

    /// A predictor for a store with the tensors of `graph`, for example one from [`Graph::store`], filled by
    /// [`ParamStore::load_state_dict`].
    ///
    /// # Errors
    /// As [`Graph::check`]; [`Error::Config`] if there are no outputs; [`Error::Duplicate`] for two with the same
    /// name; [`Error::Mismatch`] for an output of another graph, or for labels; [`Error::Shape`] for an output that
    /// does not have one row per sample, such as a parameter or a loss; [`Error::UnknownName`], [`Error::Shape`] or
    /// [`Error::Mismatch`] if the store lacks a tensor that the outputs depend on, or has it with another shape or
    /// role.
    pub fn new(graph: &Graph, params: ParamStore, outputs: &[(&str, &Var)]) -> Result<Self, Error> {
        let inference = Inference::new(graph, outputs)?;
        inference.check_store(&params)?;
        Ok(Self::of(params, inference))
    }

    fn of(params: ParamStore, inference: Inference) -> Self {
        let staging = Staging::new(params.gpu(), IN_FLIGHT);
        Self { params, inference, workspace: Workspace::new(), staging, max_batch: Self::MAX_BATCH }
    }

    /// Maximum number of samples computed at once; at least 1. Default [`Predictor::MAX_BATCH`]. A larger request is
    /// split into batches of this size and a remainder, with one submit and one wait each. An output whose rows have
    /// one element per sample, such as the products of all pairs of samples, cannot be split: such a request is
    /// limited to this size.
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

    /// Stores activations in a 16-bit type; outputs remain f32. See
    /// [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast). Default: off.
    ///
    /// # Errors
    /// [`Error::DeviceFeature`] if the device's kernels do not support the type.
    pub fn autocast(mut self, dtype: Dtype) -> Result<Self, Error> {
        dtype.check(self.params.gpu().capabilities())?;
        self.inference = self.inference.autocast(Some(dtype));
        Ok(self)
    }

    /// Computes all outputs for all samples of `data`, and waits for them.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the most similar name, for an input that the outputs do not depend on;
    /// [`Error::Config`] for a missing input; [`Error::Duplicate`] for an input given twice; [`Error::Length`] for no
    /// samples, an incomplete sample, or a number of samples that differs from the first input's; [`Error::Shape`]
    /// for more samples than [`Predictor::max_batch`] if an output cannot be split; [`Error::Mismatch`] for labels
    /// instead of numbers, or numbers instead of labels; [`Error::Constant`] for a label outside the range of
    /// classes. For a new batch size, also the errors of [`Graph::compile`]: for example [`Error::Limit`] for more
    /// samples than the device can bind, which a smaller [`Predictor::max_batch`] avoids. [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict(&mut self, data: &[(&str, &dyn HostData)]) -> Result<Outputs, Error> {
        self.params.gpu().clone().block_on(self.predict_async(data))
    }

    /// Like [`Predictor::predict`], without blocking. Dropping the future leaves the predictor usable.
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

    /// Replaces the weights for all later requests; see [`ParamStore::load_state_dict`].
    ///
    /// # Errors
    /// As [`ParamStore::load_state_dict`]; nothing has changed then.
    pub fn load_state_dict(&mut self, weights: &Weights, strict: bool) -> Result<LoadReport, Error> {
        self.params.load_state_dict(weights, strict)
    }
}
