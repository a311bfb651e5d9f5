use crate::graph::{Init, Var, ops, shown, within};

/// A two-dimensional convolution (cross-correlation, like torch's `Conv2d`) with its weight and bias.
///
/// Shapes: input `[N, C, H, W]`, output `[N, out_channels, H', W']` with
/// `H' = (H + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, weight `[out_channels, C / groups, kernel, kernel]`,
/// bias `[out_channels]`. Both are initialised as in torch: uniform within `1 / sqrt(fan_in)`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{Conv2d, Padding};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 3, 32, 32]);
/// assert_eq!(x.conv2d(Conv2d::new(16, 3).stride(2).padding(1)).shape(), [8, 16, 16, 16]);
/// // Each channel by itself.
/// assert_eq!(x.conv2d(Conv2d::new(3, 5).padding(Padding::SAME).groups(3)).shape(), [8, 3, 32, 32]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct Conv2d {
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
    init: Init,
    pub(super) name: Option<String>,
}

/// One number for both axes, or `[vertical, horizontal]`.
///
/// ```
/// use gradus::nn::Conv2d;
///
/// let square = Conv2d::new(16, 3).stride(2);
/// let wide = Conv2d::new(16, [3, 5]).stride([1, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub(super) [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

/// Zero padding of a convolution: the number of zeros on each side, for both axes or as `[vertical, horizontal]`, or
/// torch's `same` or `valid`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{Conv2d, Padding};
///
/// let x = Graph::new().input("x", [1, 1, 28, 28]);
/// assert_eq!(x.conv2d(Conv2d::new(4, 3).padding(Padding::SAME)).shape(), [1, 4, 28, 28]);
/// assert_eq!(x.conv2d(Conv2d::new(4, 3).padding(Padding::VALID)).shape(), [1, 4, 26, 26]);
/// assert_eq!(x.conv2d(Conv2d::new(4, 3).padding([2, 0])).shape(), [1, 4, 30, 26]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding(pub(super) ops::Padding);

impl Padding {
    /// Makes the output as large as the input, at stride 1. If the total is odd, the extra zero is at the end.
    pub const SAME: Self = Self(ops::Padding::Same);
    /// No padding.
    pub const VALID: Self = Self(ops::Padding::Zeros([0; 2]));
}

impl<T: Into<Pair>> From<T> for Padding {
    fn from(zeros: T) -> Self {
        Self(ops::Padding::Zeros(zeros.into().0))
    }
}

impl Conv2d {
    /// A convolution with these output channels and this kernel size; stride 1, no padding, with a bias.
    pub fn new(out_channels: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into().0,
            stride: [1; 2],
            padding: Padding::VALID,
            dilation: [1; 2],
            groups: 1,
            bias: true,
            init: Init::KaimingUniform { a: 5f64.sqrt() },
            name: None,
        }
    }

    /// Stride of the kernel. Default 1.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Zero padding on each side. Default 0.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Spacing between kernel elements. Default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into().0;
        self
    }

    /// Number of channel groups. Each output channel depends only on the input channels of its group. Must divide the
    /// numbers of input and output channels; if it equals the number of channels, the convolution is depthwise.
    /// Default 1.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Omits the bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Initial values of the weight. Default: as in torch.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Names the layer; its parameters are `name.weight` and `name.bias`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// A linear layer, `y = x W^T + b` over the last dimension, like torch's `Linear`.
///
/// Shapes: input `[.., in]`, output `[.., out]`, weight `[out, in]`, bias `[out]`. Both are initialised as in torch:
/// uniform within `1 / sqrt(in)`.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html>.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Linear;
///
/// let x = Graph::new().input("x", [8, 784]);
/// assert_eq!(x.linear(Linear::new(10).without_bias()).shape(), [8, 10]);
/// assert_eq!(x.linear(10).shape(), [8, 10]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Linear {
    out_features: usize,
    bias: bool,
    init: Init,
    pub(super) name: Option<String>,
}

impl Linear {
    /// A layer with this number of output features and a bias.
    pub fn new(out_features: usize) -> Self {
        Self { out_features, bias: true, init: Init::KaimingUniform { a: 5f64.sqrt() }, name: None }
    }

    /// Omits the bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Initial values of the weight. Default: as in torch.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Names the layer; its parameters are `name.weight` and `name.bias`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl From<usize> for Linear {
    fn from(out_features: usize) -> Self {
        Self::new(out_features)
    }
}

impl Var {
    /// Convolves this image `[N, C, H, W]`.
    #[must_use]
    pub fn conv2d(&self, layer: Conv2d) -> Var {
        let name = self.graph().layer_name("conv2d", layer.name.as_deref());
        let in_channels = self.shape().get(1).copied().unwrap_or(1);
        let [height, width] = layer.kernel;
        let op = ops::Conv2d {
            axes: 2,
            stride: layer.stride,
            padding: layer.padding.0,
            dilation: layer.dilation,
            groups: layer.groups,
            weight: [layer.out_channels, in_channels / layer.groups.max(1), height, width],
        };
        self.check_groups(shown("conv2d", &name), layer.groups, layer.out_channels);
        let bias = layer.bias.then_some(layer.out_channels);
        self.layer(&name, op, op.weight.to_vec(), fan_in(&op.weight), layer.init, bias)
    }

    /// Applies a linear layer to the last dimension.
    #[must_use]
    pub fn linear(&self, layer: impl Into<Linear>) -> Var {
        let layer = layer.into();
        let name = self.graph().layer_name("linear", layer.name.as_deref());
        let in_features = self.shape().last().copied().unwrap_or(1);
        let op = ops::Linear { weight: [layer.out_features, in_features] };
        self.layer(
            &name,
            op,
            vec![layer.out_features, in_features],
            in_features as f64,
            layer.init,
            layer.bias.then_some(layer.out_features),
        )
    }

    /// Refuses groups that do not divide the channels, before parameters without elements would be declared.
    pub(super) fn check_groups(&self, name: &str, groups: usize, out_channels: usize) {
        if let Err(error) = ops::check_groups(name, groups, &self.shape(), out_channels) {
            self.graph().refuse(error);
        }
    }

    /// Adds a layer with a weight and a bias of `bias` elements.
    pub(super) fn layer(
        &self,
        name: &str,
        op: impl ops::Op + 'static,
        weight: Vec<usize>,
        fan_in: f64,
        init: Init,
        bias: Option<usize>,
    ) -> Var {
        let graph = self.graph();
        let mut parameters = vec![graph.declare(&within(name, "weight"), weight, init)];
        if let Some(len) = bias {
            let bound = 1.0 / fan_in.max(1.0).sqrt();
            let bias = Init::Uniform { bound };
            parameters.push(graph.declare(&within(name, "bias"), vec![len], bias));
        }
        graph.push(op, Some(name), &[self], &parameters, None)
    }
}

/// torch's fan-in of a convolution weight: the product of all extents but the first.
pub(super) fn fan_in(weight: &[usize]) -> f64 {
    weight[1..].iter().map(|&extent| extent as f64).product()
}
