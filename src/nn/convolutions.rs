use super::layers::fan_in;
use super::{Padding, Pair};
use crate::Error;
use crate::graph::{Init, Var, ops, shown};

/// A one-dimensional convolution (cross-correlation, like torch's `Conv1d`) with its weight and bias.
///
/// Shapes: input `[N, C, L]`, output `[N, out_channels, L']` with
/// `L' = (L + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1`, weight `[out_channels, C / groups, kernel]`,
/// bias `[out_channels]`. Both are initialised as in torch: uniform within `1 / sqrt(fan_in)`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{Conv1d, Padding};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 6, 100]);
/// assert_eq!(x.conv1d(Conv1d::new(16, 5).stride(2).padding(2)).shape(), [8, 16, 50]);
/// assert_eq!(x.conv1d(Conv1d::new(12, 4).padding(Padding::SAME).groups(6)).shape(), [8, 12, 100]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct Conv1d {
    out_channels: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
    dilation: usize,
    groups: usize,
    bias: bool,
    init: Init,
    pub(super) name: Option<String>,
}

impl Conv1d {
    /// A convolution with these output channels and this kernel size; stride 1, no padding, with a bias.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            out_channels,
            kernel,
            stride: 1,
            padding: Padding::VALID,
            dilation: 1,
            groups: 1,
            bias: true,
            init: Init::KaimingUniform { a: 5f64.sqrt() },
            name: None,
        }
    }

    /// Stride of the kernel. Default 1.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Zero padding on each side. Default 0.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Spacing between kernel elements. Default 1.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    /// Number of channel groups, as for [`Conv2d::groups`](super::Conv2d::groups). Default 1.
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

/// A transposed two-dimensional convolution, like torch's `ConvTranspose2d`, with its weight and bias. It is the
/// gradient of a convolution with respect to its input, and enlarges images.
///
/// Shapes: input `[N, C, H, W]`, output `[N, out_channels, H', W']` with `H' = (H - 1) * stride - 2 * padding +
/// dilation * (kernel - 1) + output_padding + 1`, weight `[C, out_channels / groups, kernel, kernel]`, bias
/// `[out_channels]`. Both are initialised as in torch: uniform within `1 / sqrt(fan_in)`, with torch's fan-in for
/// this weight, `out_channels / groups * kernel * kernel`.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::ConvTranspose2d;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [8, 16, 7, 7]);
/// let y = x.conv_transpose2d(ConvTranspose2d::new(4, 3).stride(2).padding(1).output_padding(1));
/// assert_eq!(y.shape(), [8, 4, 14, 14]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html>.
#[derive(Clone, Debug)]
#[must_use]
pub struct ConvTranspose2d {
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    output_padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
    init: Init,
    pub(super) name: Option<String>,
}

impl ConvTranspose2d {
    /// A transposed convolution with these output channels and this kernel size; stride 1, no padding, with a bias.
    pub fn new(out_channels: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into().0,
            stride: [1; 2],
            padding: [0; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
            bias: true,
            init: Init::KaimingUniform { a: 5f64.sqrt() },
            name: None,
        }
    }

    /// Distance in the output between the kernels of neighbouring inputs. Default 1.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Number of rows and columns removed from each side of the output. Default 0.
    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        self.padding = padding.into().0;
        self
    }

    /// Number of rows and columns added at the end of the output; less than the stride or the dilation. Default 0.
    pub fn output_padding(mut self, output_padding: impl Into<Pair>) -> Self {
        self.output_padding = output_padding.into().0;
        self
    }

    /// Spacing between kernel elements. Default 1.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.dilation = dilation.into().0;
        self
    }

    /// Number of channel groups, as for [`Conv2d::groups`](super::Conv2d::groups). Default 1.
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

impl Var {
    /// Convolves this sequence `[N, C, L]`.
    #[must_use]
    pub fn conv1d(&self, layer: Conv1d) -> Var {
        let name = self.graph().layer_name("conv1d", layer.name.as_deref());
        let in_channels = self.shape().get(1).copied().unwrap_or(1);
        let padding = match layer.padding.0 {
            ops::Padding::Zeros([first, second]) if first != second => {
                let pair = format!("[{first}, {second}]");
                self.graph().refuse(Error::constant(
                    format!("{}: padding", shown("conv1d", &name)),
                    "one number",
                    pair,
                ));
                ops::Padding::Zeros([0; 2])
            }
            ops::Padding::Zeros([both, _]) => ops::Padding::Zeros([0, both]),
            ops::Padding::Same => ops::Padding::Same,
        };
        let channels = in_channels / layer.groups.max(1);
        let op = ops::Conv2d {
            axes: 1,
            stride: [1, layer.stride],
            padding,
            dilation: [1, layer.dilation],
            groups: layer.groups,
            weight: [layer.out_channels, channels, 1, layer.kernel],
        };
        self.check_groups(shown("conv1d", &name), layer.groups, layer.out_channels);
        let bias = layer.bias.then_some(layer.out_channels);
        let weight = vec![layer.out_channels, channels, layer.kernel];
        self.layer(&name, op, weight, fan_in(&op.weight), layer.init, bias)
    }

    /// Applies a transposed convolution to this image `[N, C, H, W]`.
    #[must_use]
    pub fn conv_transpose2d(&self, layer: ConvTranspose2d) -> Var {
        let name = self.graph().layer_name("conv_transpose2d", layer.name.as_deref());
        let in_channels = self.shape().get(1).copied().unwrap_or(1);
        let [height, width] = layer.kernel;
        let op = ops::ConvTranspose2d {
            stride: layer.stride,
            padding: layer.padding,
            output_padding: layer.output_padding,
            dilation: layer.dilation,
            groups: layer.groups,
            out_channels: layer.out_channels,
            weight: [in_channels, layer.out_channels / layer.groups.max(1), height, width],
        };
        self.check_groups(shown("conv_transpose2d", &name), layer.groups, layer.out_channels);
        let bias = layer.bias.then_some(layer.out_channels);
        self.layer(&name, op, op.weight.to_vec(), fan_in(&op.weight), layer.init, bias)
    }
}
