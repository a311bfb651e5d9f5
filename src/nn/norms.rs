mod batch;

use crate::graph::ops::{Norm, Over, Tensors};
use crate::graph::{Init, Var, within};
pub use batch::BatchNorm;

/// The extents of the last axes that a normalisation covers: one or several.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::LayerNorm;
///
/// let x = Graph::new().input("x", [8, 16, 32]);
/// let last = x.layer_norm(32);
/// let both = x.layer_norm(LayerNorm::new([16, 32]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalizedShape(Vec<usize>);

impl From<usize> for NormalizedShape {
    fn from(last: usize) -> Self {
        Self(vec![last])
    }
}

impl<const N: usize> From<[usize; N]> for NormalizedShape {
    fn from(extents: [usize; N]) -> Self {
        Self(extents.to_vec())
    }
}

impl From<&[usize]> for NormalizedShape {
    fn from(extents: &[usize]) -> Self {
        Self(extents.to_vec())
    }
}

impl From<Vec<usize>> for NormalizedShape {
    fn from(extents: Vec<usize>) -> Self {
        Self(extents)
    }
}

/// Layer normalisation over the last axes (Ba et al. 2016, arXiv:1607.06450), like torch's `LayerNorm`.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight + bias` with the mean and the biased variance over
/// `normalized_shape`. The variance is computed from differences to the mean, so it is accurate also for elements far
/// from zero.
///
/// Shapes: input and output `[.., *normalized_shape]`; weight and bias `normalized_shape`, initially 1 and 0.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::LayerNorm;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 16, 128]);
/// assert_eq!(x.layer_norm(128).layer_norm(LayerNorm::new([16, 128]).eps(1e-6)).shape(), [8, 16, 128]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct LayerNorm {
    normalized_shape: Vec<usize>,
    eps: f64,
    elementwise_affine: bool,
    bias: bool,
    pub(super) name: Option<String>,
}

impl LayerNorm {
    /// A normalisation over the last axes, which must have these extents.
    pub fn new(normalized_shape: impl Into<NormalizedShape>) -> Self {
        let normalized_shape = normalized_shape.into().0;
        Self { normalized_shape, eps: 1e-5, elementwise_affine: true, bias: true, name: None }
    }

    /// Added to the variance; finite and at least 0. Default 1e-5.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether to have a weight and a bias. Default true.
    pub fn elementwise_affine(mut self, elementwise_affine: bool) -> Self {
        self.elementwise_affine = elementwise_affine;
        self
    }

    /// Omits the bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Names the layer; its parameters are `name.weight` and `name.bias`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<T: Into<NormalizedShape>> From<T> for LayerNorm {
    fn from(normalized_shape: T) -> Self {
        Self::new(normalized_shape)
    }
}

/// Root-mean-square normalisation over the last axes (Zhang and Sennrich 2019, arXiv:1910.07467), like torch's
/// `RMSNorm`.
///
/// `y = x / sqrt(mean(x^2) + eps) * weight` with the mean over `normalized_shape`.
///
/// Shapes: input and output `[.., *normalized_shape]`; weight `normalized_shape`, initially 1.
///
/// ```
/// use gradus::graph::Graph;
///
/// let x = Graph::new().input("x", [8, 16, 128]);
/// assert_eq!(x.rms_norm(128).shape(), [8, 16, 128]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct RMSNorm {
    normalized_shape: Vec<usize>,
    eps: Option<f64>,
    elementwise_affine: bool,
    pub(super) name: Option<String>,
}

impl RMSNorm {
    /// A normalisation over the last axes, which must have these extents.
    pub fn new(normalized_shape: impl Into<NormalizedShape>) -> Self {
        let normalized_shape = normalized_shape.into().0;
        Self { normalized_shape, eps: None, elementwise_affine: true, name: None }
    }

    /// Added to the mean of the squares; finite and at least 0. Default `None`, which is `f32::EPSILON`.
    pub fn eps(mut self, eps: impl Into<Option<f64>>) -> Self {
        self.eps = eps.into();
        self
    }

    /// Whether to have a weight. Default true.
    pub fn elementwise_affine(mut self, elementwise_affine: bool) -> Self {
        self.elementwise_affine = elementwise_affine;
        self
    }

    /// Names the layer; its parameter is `name.weight`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl<T: Into<NormalizedShape>> From<T> for RMSNorm {
    fn from(normalized_shape: T) -> Self {
        Self::new(normalized_shape)
    }
}

/// Group normalisation (Wu and He 2018, arXiv:1803.08494), like torch's `GroupNorm`.
///
/// `y = (x - mean) / sqrt(variance + eps) * weight + bias` with the mean and the biased variance of each sample over
/// the channels of a group and all following axes. Weight and bias have one element per channel. With as many groups
/// as channels, it is instance normalisation.
///
/// Shapes: input and output `[N, C, ..]`, where `C` is a multiple of the number of groups; weight and bias `[C]`,
/// initially 1 and 0.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::GroupNorm;
///
/// let x = Graph::new().input("x", [8, 6, 10, 10]);
/// assert_eq!(x.group_norm(3).group_norm(GroupNorm::new(1).affine(false)).shape(), [8, 6, 10, 10]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct GroupNorm {
    num_groups: usize,
    eps: f64,
    affine: bool,
    pub(super) name: Option<String>,
}

impl GroupNorm {
    /// A normalisation with this number of groups.
    pub fn new(num_groups: usize) -> Self {
        Self { num_groups, eps: 1e-5, affine: true, name: None }
    }

    /// Added to the variance; finite and at least 0. Default 1e-5.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether to have a weight and a bias. Default true.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Names the layer; its parameters are `name.weight` and `name.bias`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl From<usize> for GroupNorm {
    fn from(num_groups: usize) -> Self {
        Self::new(num_groups)
    }
}

impl Var {
    /// Normalises over the last axes.
    #[must_use]
    pub fn layer_norm(&self, layer: impl Into<LayerNorm>) -> Var {
        let LayerNorm { normalized_shape, eps, elementwise_affine, bias, name } = layer.into();
        let affine = [elementwise_affine, elementwise_affine && bias];
        self.norm("layer_norm", name, Over::Last(normalized_shape.clone()), eps, &normalized_shape, affine)
    }

    /// Divides by the root mean square over the last axes.
    #[must_use]
    pub fn rms_norm(&self, layer: impl Into<RMSNorm>) -> Var {
        let RMSNorm { normalized_shape, eps, elementwise_affine, name } = layer.into();
        let (over, eps) = (Over::LastSquares(normalized_shape.clone()), eps.unwrap_or(f32::EPSILON.into()));
        self.norm("rms_norm", name, over, eps, &normalized_shape, [elementwise_affine, false])
    }

    /// Normalises groups of channels of each sample.
    #[must_use]
    pub fn group_norm(&self, layer: impl Into<GroupNorm>) -> Var {
        let GroupNorm { num_groups, eps, affine, name } = layer.into();
        self.norm("group_norm", name, Over::Groups(num_groups), eps, &[self.channels()], [affine; 2])
    }

    fn channels(&self) -> usize {
        self.shape().get(1).copied().unwrap_or(1)
    }

    fn norm(
        &self,
        kind: &'static str,
        name: Option<String>,
        over: Over,
        eps: f64,
        shape: &[usize],
        affine: [bool; 2],
    ) -> Var {
        let name = self.graph().layer_name(kind, name.as_deref());
        let (tensors, parameters) = self.affine_tensors(&name, shape, affine);
        let op = Norm { over, eps, channels: shape.first().copied().unwrap_or(1), tensors };
        self.graph().push(op, Some(&name), &[self], &parameters, None)
    }

    /// Declares a weight of ones and a bias of zeros, as `affine` says.
    fn affine_tensors(&self, name: &str, shape: &[usize], affine: [bool; 2]) -> (Tensors, Vec<usize>) {
        let mut parameters = Vec::new();
        let mut declare = |wanted: bool, tensor: &str, init: f64| {
            wanted.then(|| {
                let (name, init) = (within(name, tensor), Init::Constant(init));
                parameters.push(self.graph().declare(&name, shape.to_vec(), init));
                parameters.len() - 1
            })
        };
        let weight = declare(affine[0], "weight", 1.0);
        let bias = declare(affine[1], "bias", 0.0);
        (Tensors { weight, bias, ..Tensors::default() }, parameters)
    }
}
