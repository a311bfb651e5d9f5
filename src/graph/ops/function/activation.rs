use super::function;
use crate::graph::Var;

impl Var {
    /// `max(x, 0)`; the gradient at 0 is 0, as torch's `relu`.
    #[must_use]
    pub fn relu(&self) -> Var {
        // NaN stays.
        self.function(function!("relu", [OfResult], Some(|x, _| if x[0] < 0.0 { 0.0 } else { x[0] })), &[])
    }

    /// `1 / (1 + exp(-x))` of each element, as torch's `sigmoid`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html>.
    #[must_use]
    pub fn sigmoid(&self) -> Var {
        let row = function!("sigmoid", [OfInputs], Some(|x, _| 1.0 / (1.0 + (-x[0]).exp())), keeps_nan: true);
        self.function(row, &[])
    }

    /// The hyperbolic tangent of each element, as torch's `tanh`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html>.
    #[must_use]
    pub fn tanh(&self) -> Var {
        self.function(function!("tanh", [OfInputs], Some(|x, _| x[0].tanh()), keeps_nan: true), &[])
    }

    /// `x / 2 * (1 + erf(x / sqrt(2)))` of each element, as torch's `gelu` with `approximate="none"`, its default.
    ///
    /// As there, minus infinity gives NaN.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.GELU.html>; Hendrycks and Gimpel 2016,
    /// arXiv:1606.08415.
    #[must_use]
    pub fn gelu(&self) -> Var {
        self.function(function!("gelu", [OfInputs], None, keeps_nan: true), &[])
    }

    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))` of each element, as torch's `gelu` with
    /// `approximate="tanh"`.
    ///
    /// As there, minus infinity gives NaN.
    ///
    /// Source: as [`Var::gelu`].
    #[must_use]
    pub fn gelu_tanh(&self) -> Var {
        let row = function!("gelu_tanh", [OfInputs], Some(|x, _| gelu_tanh(x[0])), keeps_nan: true);
        self.function(row, &[])
    }
}

fn gelu_tanh(x: f64) -> f64 {
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    x / 2.0 * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
}
