use crate::Error;
use crate::graph::{Init, Role, Var, within};

/// A ReLU with a trained slope for negative inputs, like torch's `PReLU`: `x` above 0 and `weight * x` elsewhere.
///
/// The weight has one element, or one per channel (axis 1 of `[N, C, ..]`).
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::PReLU;
///
/// let x = Graph::new().input("x", [8, 3, 32, 32]);
/// assert_eq!(x.prelu(PReLU::new().num_parameters(3)).shape(), [8, 3, 32, 32]);
/// ```
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html>; He et al. 2015, arXiv:1502.01852.
#[derive(Clone, Debug)]
#[must_use]
pub struct PReLU {
    num_parameters: usize,
    init: f64,
    pub(super) name: Option<String>,
}

impl Default for PReLU {
    fn default() -> Self {
        Self::new()
    }
}

impl PReLU {
    /// One slope for all channels, initially 0.25.
    pub fn new() -> Self {
        Self { num_parameters: 1, init: 0.25, name: None }
    }

    /// Number of slopes: the number of channels, or 1. Default 1.
    pub fn num_parameters(mut self, num_parameters: usize) -> Self {
        self.num_parameters = num_parameters;
        self
    }

    /// Initial value of the slopes. Default 0.25.
    pub fn init(mut self, init: f64) -> Self {
        self.init = init;
        self
    }

    /// Names the layer; its parameter is `name.weight`.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Var {
    /// Applies a PReLU.
    ///
    /// Refused unless the number of slopes is 1 or the number of channels.
    #[must_use]
    pub fn prelu(&self, layer: PReLU) -> Var {
        let PReLU { num_parameters, init, name } = layer;
        let name = self.graph().layer_name("prelu", name.as_deref());
        let (weight, init) = (within(&name, "weight"), Init::Constant(init));
        let weight = self.graph().tensor(Role::Trained, &weight, vec![num_parameters], init);
        let channels_at = self.shape().len().saturating_sub(2);
        let weight = if num_parameters > 1 && channels_at > 0 {
            weight.reshape(&[vec![-1], vec![1; channels_at]].concat())
        } else {
            weight
        };
        let rectified = self.prelu_of(&weight);
        // Slopes broadcast, but must not enlarge the value.
        if rectified.shape() != self.shape() {
            let expected = format!("one slope, or one for each channel of {:?}", self.shape());
            let layer = rectified.name();
            self.graph().refuse(Error::Shape { layer, expected, got: vec![num_parameters] });
        }
        rectified
    }
}
