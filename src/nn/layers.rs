use crate::graph::{Init, Var, ops};

/// A two-dimensional convolution (cross-correlation, as torch's `Conv2d`) with its weight and bias.
///
/// Shapes: input `[N, C, H, W]`, output `[N, out_channels, H', W']` with
/// `H' = (H + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, weight `[out_channels, C, kernel,
/// kernel]`, bias `[out_channels]`. Both are initialised as torch does: uniform within `1 / sqrt(fan_in)`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::Conv2d;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 3, 32, 32]);
/// assert_eq!(x.conv2d(Conv2d::new(16, 3).stride(2).padding(1)).shape(), [8, 16, 16, 16]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct Conv2d {
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    bias: bool,
    init: Init,
    name: Option<String>,
}

/// One number for both axes, or `[vertical, horizontal]`.
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

impl Conv2d {
    /// One with this many output channels and this kernel; stride 1, no padding, with a bias.
    pub fn new(out_channels: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into().0,
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            bias: true,
            init: Init::KaimingUniform { a: 5f64.sqrt() },
            name: None,
        }
    }

    /// Distance between the places of the kernel. Default 1.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Zeros around the image, on each side. Default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into().0;
        self
    }

    /// Distance between neighbours in the kernel. Default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into().0;
        self
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// First values of the weight.
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

/// An affine map of the last dimension, `y = x W^T + b`, as torch's `Linear`.
///
/// Shapes: input `[.., in]`, output `[.., out]`, weight `[out, in]`, bias `[out]`. Both are initialised as
/// torch does: uniform within `1 / sqrt(in)`.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct Linear {
    out_features: usize,
    bias: bool,
    init: Init,
    name: Option<String>,
}

impl Linear {
    /// One with this many output features and a bias.
    pub fn new(out_features: usize) -> Self {
        Self { out_features, bias: true, init: Init::KaimingUniform { a: 5f64.sqrt() }, name: None }
    }

    /// Leaves the bias out.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// First values of the weight.
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
    /// Convolves this image.
    #[must_use]
    pub fn conv2d(&self, layer: Conv2d) -> Var {
        let name = self.graph().layer_name("conv2d", layer.name.as_deref());
        let in_channels = self.shape().get(1).copied().unwrap_or(1);
        let shape = vec![layer.out_channels, in_channels, layer.kernel[0], layer.kernel[1]];
        let op = ops::Conv2d {
            stride: layer.stride,
            padding: layer.padding,
            dilation: layer.dilation,
            weight: [shape[0], shape[1], shape[2], shape[3]],
        };
        let fan_in = shape[1..].iter().map(|&extent| extent as f64).product();
        self.layer(&name, op, shape, fan_in, layer.init, layer.bias)
    }

    /// Maps the last dimension.
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
            layer.bias,
        )
    }

    fn layer(
        &self,
        name: &str,
        op: impl ops::Op + 'static,
        weight: Vec<usize>,
        fan_in: f64,
        init: Init,
        bias: bool,
    ) -> Var {
        let graph = self.graph();
        let outputs = weight[0];
        let mut parameters = vec![graph.declare(&format!("{name}.weight"), weight, init)];
        if bias {
            let bound = 1.0 / fan_in.max(1.0).sqrt();
            let bias = Init::Uniform { bound };
            parameters.push(graph.declare(&format!("{name}.bias"), vec![outputs], bias));
        }
        graph.push(op, Some(name), &[self], &parameters, None)
    }
}
