use super::{Dtype, Var};
use crate::gpu::Trial;

/// Whether a plan has a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Forward, then backward: gradients of the parameters that the root depends on are written into the store.
    Train,
    /// Forward only.
    Evaluate,
}

/// What a plan computes.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    pub(crate) mode: Mode,
    pub(crate) batch: Option<usize>,
    pub(crate) accumulate: bool,
    pub(crate) scaled: bool,
    pub(crate) autocast: Option<Dtype>,
    pub(crate) casts_all: bool,
    /// Whether running statistics become means over all batches, whatever the momenta are.
    pub(crate) cumulative: bool,
    pub(crate) root: Option<Var>,
    pub(crate) upstream: Option<String>,
    pub(crate) outputs: Vec<(String, Var)>,
    pub(crate) gradients: Vec<(String, Var)>,
    pub(crate) trial: Trial,
}

impl PlanOptions {
    /// Computes `loss`, a scalar, and the gradients of the parameters that it depends on. The loss is the output `loss`.
    pub fn train(loss: &Var) -> Self {
        Self { mode: Mode::Train, root: Some(loss.clone()), ..Self::evaluate() }
    }

    /// Computes the outputs that are asked for, and nothing else.
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

    /// Gives kernels for GPUs another tile, other parts or checks than are chosen, to measure them.
    #[doc(hidden)]
    #[must_use]
    pub fn trial(mut self, trial: Trial) -> Self {
        self.trial = trial;
        self
    }

    /// Computes the outputs that are asked for as a plan that trains does, without a backward pass, and moves running
    /// statistics to their means over all batches.
    pub(crate) fn statistics() -> Self {
        Self { mode: Mode::Train, cumulative: true, ..Self::evaluate() }
    }

    /// Another batch size than the one that the inputs were declared with.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Adds to the parameters' gradients instead of writing them, as torch does between two `zero_grad`.
    #[must_use]
    pub fn accumulate(mut self) -> Self {
        self.accumulate = true;
        self
    }

    /// Starts the backward pass with the factor of the loss that a [`GradScaler`](crate::grad::GradScaler) keeps in
    /// the store's gate, so that all gradients are multiplied by it. The loss itself is not.
    #[must_use]
    pub fn scaled(mut self) -> Self {
        self.scaled = true;
        self
    }

    /// Stores activations and their gradients in a type of half the size, as torch's `autocast`. Default: none, all is
    /// f32.
    ///
    /// Products, convolutions, attention, lookups and recurrent layers make f16, and what follows them is f16 too: functions
    /// of elements, normalisations, poolings, and all that moves elements. Where one reads inputs of the host or anything else
    /// that is f32 beside it, the result is f32, but parameters do not count. Reductions, softmax, losses, custom operations
    /// and the functions that torch computes in f32 (`exp`, `log`, `pow` and others) make f32.
    ///
    /// Only what is stored is rounded, to the nearest or towards zero as the device does, and numbers from 65,520 on
    /// become infinite. Kernels compute in f32, sums included, and parameters, their gradients, running statistics, inputs and
    /// outputs are f32. Gradients of activations below 6e-8 are lost, so that a plan that trains should be
    /// [scaled](PlanOptions::scaled), with a [`GradScaler`](crate::grad::GradScaler), which also skips the steps in which one
    /// becomes infinite.
    ///
    /// What compiles refuses it with [`Error::DeviceFeature`](crate::Error::DeviceFeature) on devices without `SHADER_F16`
    /// ([`Capabilities::has_f16`](crate::gpu::Capabilities::has_f16)).
    ///
    /// Differs from torch: weights are read as f32, normalisations and lookups make f16 and sums of f16 and of parameters do,
    /// and a gradient of f16 is rounded once a node, not once a function.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/amp.html>.
    #[must_use]
    pub fn autocast(mut self, dtype: Dtype) -> Self {
        self.autocast = Some(dtype);
        self
    }

    /// As [`PlanOptions::autocast`], of all values whose kernels allow it, whatever the operation: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn autocast_all(self, dtype: Dtype) -> Self {
        Self { casts_all: true, ..self.autocast(dtype) }
    }

    /// Also keeps the value of `var`, to be read under `name`.
    #[must_use]
    pub fn output(mut self, name: &str, var: &Var) -> Self {
        self.outputs.push((name.into(), var.clone()));
        self
    }

    /// Also keeps the gradient of the root with respect to `var`, which may be an input, to be read under `name` like an
    /// output; as `var.grad` of torch after `var.retain_grad()`. Of a scaled plan it is multiplied by the factor of the
    /// loss, and plans that accumulate do not add to it.
    ///
    /// What compiles refuses it for labels, for parameters (their gradients are in the store), without a backward pass,
    /// and where none reaches `var`.
    #[must_use]
    pub fn gradient(mut self, name: &str, var: &Var) -> Self {
        self.gradients.push((name.into(), var.clone()));
        self
    }

    /// Starts the backward pass with a gradient that is written under `name` like an input, so that the
    /// root need not be a scalar; as `y.backward(gradient)` of torch.
    ///
    /// [`Plan::record_forward`](super::Plan::record_forward) leaves time to compute it of the outputs on the device.
    #[must_use]
    pub fn upstream(mut self, name: &str) -> Self {
        self.upstream = Some(name.into());
        self
    }
}
