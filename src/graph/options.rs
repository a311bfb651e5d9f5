use super::{Dtype, Var};
use crate::gpu::Trial;

/// Whether a plan has a backward pass.
///
/// ```
/// use gradus::graph::Mode;
///
/// // A trainer's steps are plans of the first kind, its evaluations and predictions of the second.
/// assert_ne!(Mode::Train, Mode::Evaluate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Forward and backward pass. The gradients of the parameters that the root depends on are written to the store.
    Train,
    /// Forward pass only.
    Evaluate,
}

/// What a plan computes.
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::{Graph, PlanOptions, Workspace};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let graph = Graph::new();
/// let y = graph.input("x", [4, 3]).linear(2);
/// let params = graph.store(&gpu, 1)?;
/// let options = PlanOptions::train(&y.square().mean()).output("y", &y);
/// let plan = graph.compile(&params, &options, &mut Workspace::new())?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlanOptions {
    pub(crate) mode: Mode,
    pub(crate) batch: Option<usize>,
    pub(crate) accumulate: bool,
    pub(crate) scaled: bool,
    pub(crate) autocast: Option<Dtype>,
    pub(crate) casts_all: bool,
    /// Whether running statistics become means over all batches, regardless of the momenta.
    pub(crate) cumulative: bool,
    pub(crate) root: Option<Var>,
    pub(crate) upstream: Option<String>,
    pub(crate) outputs: Vec<(String, Var)>,
    pub(crate) gradients: Vec<(String, Var)>,
    pub(crate) trial: Trial,
}

impl PlanOptions {
    /// Computes `loss`, a scalar, and the gradients of the parameters that it depends on. The loss is the output
    /// named `loss`.
    pub fn train(loss: &Var) -> Self {
        Self { mode: Mode::Train, root: Some(loss.clone()), ..Self::evaluate() }
    }

    /// Computes only the requested outputs.
    pub fn evaluate() -> Self {
        Self {
            mode: Mode::Evaluate,
            batch: None,
            accumulate: false,
            scaled: false,
            autocast: None,
            casts_all: false,
            cumulative: false,
            root: None,
            upstream: None,
            outputs: Vec::new(),
            gradients: Vec::new(),
            trial: Trial::NONE,
        }
    }

    /// Overrides the tile, the parts or the run-time checks of kernels for GPUs, for a measurement.
    #[doc(hidden)]
    #[must_use]
    pub fn trial(mut self, trial: Trial) -> Self {
        self.trial = trial;
        self
    }

    /// Computes the requested outputs in training mode, without a backward pass, and updates running statistics to
    /// their means over all batches.
    pub(crate) fn statistics() -> Self {
        Self { mode: Mode::Train, cumulative: true, ..Self::evaluate() }
    }

    /// Sets a batch size other than that with which the inputs were declared.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Adds to the gradients of the parameters instead of overwriting them, as torch does without `zero_grad`.
    #[must_use]
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }

    /// Multiplies the gradient of the loss by the loss scale that a [`GradScaler`](crate::grad::GradScaler) keeps in
    /// the store's gate, so all gradients are scaled. The loss itself is not.
    #[must_use]
    pub fn scaled(mut self) -> Self {
        self.scaled = true;
        self
    }

    /// Stores activations and their gradients in a 16-bit type, like torch's `autocast`. Default: off, everything is
    /// f32.
    ///
    /// Results of products, convolutions, attention, embeddings and recurrent layers are f16. So are the results of
    /// pointwise functions, normalisations, poolings and data movement, if all their inputs are f16 (parameters are
    /// not considered); with an f32 input, such as one from the host, the result is f32. Reductions, softmax, losses,
    /// custom operations, and functions that torch computes in f32 (`exp`, `log`, `pow` and others) give f32.
    ///
    /// Only stored values are rounded: to nearest or toward zero, depending on the device. Numbers of 65,520 or more
    /// become infinite. Kernels compute in f32, including sums. Parameters, their gradients, running statistics,
    /// inputs and outputs are f32. Gradients of activations below 6e-8 are lost, so training plans should be
    /// [scaled](PlanOptions::scaled) with a [`GradScaler`](crate::grad::GradScaler), which also skips steps with
    /// infinite gradients.
    ///
    /// On devices without `SHADER_F16` ([`Capabilities::has_f16`](crate::gpu::Capabilities::has_f16)), compiling
    /// fails with [`Error::DeviceFeature`](crate::Error::DeviceFeature).
    ///
    /// Differs from torch: weights are read as f32; normalisations, embeddings, and sums of f16 values and parameters
    /// give f16; and a gradient in f16 is rounded once per node, not once per function.
    /// Source: <https://docs.pytorch.org/docs/stable/amp.html>.
    #[must_use]
    pub fn autocast(mut self, dtype: Dtype) -> Self {
        self.autocast = Some(dtype);
        self
    }

    /// Like [`PlanOptions::autocast`], for all values whose kernels support it, regardless of the operation. For
    /// tests.
    #[doc(hidden)]
    #[must_use]
    pub fn autocast_all(self, dtype: Dtype) -> Self {
        Self { casts_all: true, ..self.autocast(dtype) }
    }

    /// Also keeps the value of `var`, readable as output `name`.
    #[must_use]
    pub fn output(mut self, name: &str, var: &Var) -> Self {
        self.outputs.push((name.into(), var.clone()));
        self
    }

    /// Also keeps the gradient of the root with respect to `var`, readable as output `name`, like torch's `var.grad`
    /// after `var.retain_grad()`. `var` can be an input. In a scaled plan it includes the loss scale. It is never
    /// accumulated.
    ///
    /// Compiling refuses it for labels and for parameters (whose gradients are in the store), in plans without a
    /// backward pass, and if no gradient reaches `var`.
    #[must_use]
    pub fn gradient(mut self, name: &str, var: &Var) -> Self {
        self.gradients.push((name.into(), var.clone()));
        self
    }

    /// Starts the backward pass from a gradient that is written like an input called `name`, so that the root need
    /// not be a scalar; like torch's `y.backward(gradient)`.
    ///
    /// With [`Plan::record_forward`](super::Plan::record_forward), this gradient can be computed on the device from
    /// the outputs.
    #[must_use]
    pub fn upstream(mut self, name: &str) -> Self {
        self.upstream = Some(name.into());
        self
    }
}
