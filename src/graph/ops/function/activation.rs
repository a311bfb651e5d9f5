use super::function;
use crate::graph::Var;

impl Var {
    /// `max(x, 0)`, like torch's `relu`. The gradient at 0 is 0.
    #[must_use]
    pub fn relu(&self) -> Var {
        // Keeps NaN.
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

    /// `x * sigmoid(x)` of each element, as torch's `silu`, or swish.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SiLU.html>.
    #[must_use]
    pub fn silu(&self) -> Var {
        self.function(
            function!("silu", [OfInputs], Some(|x, _| x[0] / (1.0 + (-x[0]).exp())), keeps_nan: true),
            &[],
        )
    }

    /// `x` above 0 and `negative_slope * x` elsewhere (torch's default is 0.01).
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html>.
    #[must_use]
    pub fn leaky_relu(&self, negative_slope: f64) -> Var {
        self.function(function!("leaky_relu", [OfInputs], Some(|x, c| if x[0] > 0.0 { x[0] } else { c[0] * x[0] }), keeps_nan: true, constants: &["negative_slope"]), &[negative_slope])
    }

    /// `x` above 0 and `alpha * (exp(x) - 1)` elsewhere (torch's default is 1).
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html>.
    #[must_use]
    pub fn elu(&self, alpha: f64) -> Var {
        self.function(function!("elu", [OfInputs], Some(|x, c| if x[0] > 0.0 { x[0] } else { c[0] * x[0].exp_m1() }), keeps_nan: true, constants: &["alpha"]), &[alpha])
    }

    /// The self-normalising unit of Klambauer et al. 2017 (arXiv:1706.02515), as torch's `selu`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html>.
    #[must_use]
    pub fn selu(&self) -> Var {
        self.function(function!("selu", [OfInputs], Some(|x, _| selu(x[0])), keeps_nan: true), &[])
    }

    /// `ln(1 + exp(beta * x)) / beta`, and `x` where `beta * x` is above `threshold` (torch's defaults are 1 and 20).
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Softplus.html>.
    #[must_use]
    pub fn softplus(&self, beta: f64, threshold: f64) -> Var {
        self.function(
            function!("softplus", [OfInputs], Some(|x, c| softplus(x[0], c[0], c[1])), keeps_nan: true, constants: &["beta", "threshold"], is_single: true),
            &[beta, threshold],
        )
    }

    /// The logarithm of the sigmoid, accurate also where the sigmoid is close to 0 or 1.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSigmoid.html>.
    #[must_use]
    pub fn log_sigmoid(&self) -> Var {
        self.function(function!("log_sigmoid", [OfInputs], Some(|x, _| -softplus(-x[0], 1.0, f64::INFINITY)), keeps_nan: true), &[])
    }

    /// `x * min(max(x + 3, 0), 6) / 6` of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardswish.html>.
    #[must_use]
    pub fn hardswish(&self) -> Var {
        self.function(function!("hardswish", [OfInputs], Some(|x, _| x[0] * (x[0] + 3.0).clamp(0.0, 6.0) / 6.0), keeps_nan: true), &[])
    }

    /// `min(max(x + 3, 0), 6) / 6` of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html>.
    #[must_use]
    pub fn hardsigmoid(&self) -> Var {
        self.function(function!("hardsigmoid", [OfInputs], Some(|x, _| (x[0] + 3.0).clamp(0.0, 6.0) / 6.0), keeps_nan: true), &[])
    }

    /// Limits each element to at least `min_val` and at most `max_val` (torch's defaults are -1 and 1). The gradient
    /// at the bounds is 0.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html>.
    #[must_use]
    pub fn hardtanh(&self, min_val: f64, max_val: f64) -> Var {
        self.function(
            function!("hardtanh", [OfInputs], Some(|x, c| x[0].max(c[0]).min(c[1])), keeps_nan: true, constants: &["min_val", "max_val"]),
            &[min_val, max_val],
        )
    }

    /// `x * tanh(softplus(x))` of each element (Misra 2019, arXiv:1908.08681).
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Mish.html>.
    #[must_use]
    pub fn mish(&self) -> Var {
        self.function(function!("mish", [OfInputs], Some(|x, _| x[0] * softplus(x[0], 1.0, f64::INFINITY).tanh()), keeps_nan: true), &[])
    }

    /// `x` above 0 and `weight * x` elsewhere. The weight has one element per channel (shape `[C]` for `[N, C, ..]`)
    /// or one for all (`[1]`).
    pub(crate) fn prelu_of(&self, weight: &Var) -> Var {
        self.function_with(function!("prelu", [OfInputs, OfInputs], None), &[weight], &[])
    }
}

fn gelu_tanh(x: f64) -> f64 {
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    x / 2.0 * (1.0 + (root * (x + 0.044715 * x.powi(3))).tanh())
}

fn selu(x: f64) -> f64 {
    let (scale, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
    scale * if x > 0.0 { x } else { alpha * x.exp_m1() }
}

fn softplus(x: f64, beta: f64, threshold: f64) -> f64 {
    let z = x * beta;
    if z > threshold { x } else { (z.max(0.0) + (-z.abs()).exp().ln_1p()) / beta }
}
