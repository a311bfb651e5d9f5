//! Batch normalisation.

use crate::graph::ops::{Batch, Norm, Over};
use crate::graph::{Init, Role, Var, within};

/// Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167), like torch's `BatchNorm1d` and `BatchNorm2d`.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight + bias`. A training plan uses the mean and the biased variance of
/// each channel over the batch and all axes after the channels, and updates the running statistics: `running <- (1 -
/// momentum) * running + momentum * batch`, with the unbiased variance. A plan of
/// [`Mode::Evaluate`](crate::graph::Mode::Evaluate) uses the running statistics.
///
/// Shapes: input and output `[N, C]`, `[N, C, L]` or `[N, C, H, W]`; weight and bias `[C]`, initially 1 and 0.
/// Buffers: `name.running_mean` and `name.running_var` `[C]`, initially 0 and 1, and `name.num_batches_tracked` `[]`,
/// the number of batches, initially 0 and exact up to 2^24.
///
/// A batch with one value per channel has no variance. If the batch statistics are needed,
/// [`Graph::compile`](crate::graph::Graph::compile) refuses it with [`Error::Shape`](crate::Error::Shape).
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{BatchNorm, Conv2d};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 3, 32, 32]).conv2d(Conv2d::new(16, 3).without_bias());
/// assert_eq!(x.batch_norm2d(BatchNorm::new().name("bn1")).relu().shape(), [8, 16, 30, 30]);
/// let names: Vec<String> = graph.buffers().into_iter().map(|buffer| buffer.name).collect();
/// assert_eq!(names, ["bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html>. Differs: the number of
/// channels is taken from the input, and batches are counted in f32.
#[derive(Clone, Debug)]
#[must_use]
pub struct BatchNorm {
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    track_running_stats: bool,
    training: bool,
    pub(in crate::nn) name: Option<String>,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchNorm {
    /// A normalisation with weight, bias and running statistics.
    pub fn new() -> Self {
        Self {
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            track_running_stats: true,
            training: true,
            name: None,
        }
    }

    /// Added to the variance; finite and at least 0. Default 1e-5.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Weight of the newest batch in the running statistics, in `[0, 1]`; `None` for the mean over all batches.
    /// Default 0.1.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Whether to have a weight and a bias. Default true.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether to have running statistics. Without them, all plans use the batch statistics. Default true.
    pub fn track_running_stats(mut self, track_running_stats: bool) -> Self {
        self.track_running_stats = track_running_stats;
        self
    }

    /// Whether training plans use the batch statistics. If not, they use the running statistics without updating
    /// them, as in torch after `eval()`. Default true.
    pub fn training(mut self, training: bool) -> Self {
        self.training = training;
        self
    }

    /// Names the layer; its parameters are `name.weight` and `name.bias`, its buffers `name.running_mean`,
    /// `name.running_var` and `name.num_batches_tracked`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Var {
    /// Normalises each channel of `[N, C]` or `[N, C, L]` over the batch.
    #[must_use]
    pub fn batch_norm1d(&self, layer: BatchNorm) -> Var {
        self.batch_norm("batch_norm1d", &[2, 3], layer)
    }

    /// Normalises each channel of images `[N, C, H, W]` over the batch.
    #[must_use]
    pub fn batch_norm2d(&self, layer: BatchNorm) -> Var {
        self.batch_norm("batch_norm2d", &[4], layer)
    }

    fn batch_norm(&self, kind: &'static str, ranks: &'static [usize], layer: BatchNorm) -> Var {
        let BatchNorm { eps, momentum, affine, track_running_stats, training, name } = layer;
        let (graph, channels) = (self.graph(), self.channels());
        let name = graph.layer_name(kind, name.as_deref());
        let (mut tensors, mut parameters) = self.affine_tensors(&name, &[channels], [affine; 2]);
        if track_running_stats {
            let mut declare = |tensor: &str, shape: Vec<usize>, init: f64| {
                let (name, init) = (within(&name, tensor), Init::Constant(init));
                parameters.push(graph.declare_as(Role::Buffer, &name, shape, init));
                Some(parameters.len() - 1)
            };
            tensors.running = declare("running_mean", vec![channels], 0.0);
            declare("running_var", vec![channels], 1.0);
            tensors.num_batches_tracked = declare("num_batches_tracked", Vec::new(), 0.0);
        }
        let over = Over::Batch(Batch { ranks, momentum, training });
        graph.push(Norm { over, eps, channels, tensors }, Some(&name), &[self], &parameters, None)
    }
}
