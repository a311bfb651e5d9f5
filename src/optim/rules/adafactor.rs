mod fields;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::config::Variant;
use crate::error::{Error, above, at_least, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{Family, Reduced, Rule, Shader, Slot, Statistic, StepInfo, f32_of, scheduled};
use fields::Fields;

pub use fields::AdafactorEps;

/// Adafactor: a second moment of which only the means over rows and over columns are kept.
///
/// As torch has it, with `w = step^beta2_decay`, `row += w * (mean(g^2, -1) - row)`,
/// `col += w * (mean(g^2, -2) - col)` and `v = row * col / max(mean(row), eps[0])`:
/// `u = g / sqrt(max(v, eps[0]^2))`, `p -= lr * weight_decay * p + min(lr, 1 / sqrt(step)) * max(eps[1], rms(p)) /
/// max(1, rms(u) / d) * u`. The last two axes are the columns and rows, matrix by matrix; a tensor with fewer keeps `v`
/// itself, `v += w * (g^2 - v)`.
///
/// optax's form ([`Adafactor::optax`]) takes the two largest axes, if it is `factored` and the smaller of them has at
/// least `min_dim_size_to_factor`,
/// adds `eps` to the squares instead of bounding `v`, and has a momentum:
/// `u = lr * max(1e-3, rms(p)) / max(1, rms(u) / clipping_threshold) * u`, `m = momentum * m + (1 - momentum) * u`,
/// `p -= m + weight_decay * p`.
///
/// State: `row_var` and `col_var`, or `variance`; optax's `exp_avg` with a momentum. Each variant refuses the other's
/// fields.
///
/// Source: <https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html>; Shazeer and Stern 2018,
/// arXiv:1804.04235, Alg. 4 and 5. Beyond 4096 rows, their mean is taken over columns where these are fewer: it is the
/// same number.
///
/// ```
/// use gradus::optim::{self, Adafactor, AnyRule};
/// use gradus::serde_json::json;
///
/// let typed = Adafactor { d: 2.0, ..Adafactor::default() };
/// let named = optim::from_json(&json!({"name": "Adafactor", "d": 2.0}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Fields")]
pub struct Adafactor {
    /// Learning rate, at least 0; in torch's form a bound on the relative step. Default 1e-2.
    pub lr: f64,
    /// Exponent of the step in the weight of new squares, at most 0. Default -0.8. torch's.
    pub beta2_decay: f64,
    /// Default `(None, 1e-3)`, in optax's form 1e-30.
    pub eps: AdafactorEps,
    /// Bound on the root mean square of an update, at least 1. Default 1. torch's.
    pub d: f64,
    /// Share of the parameters that a step takes away, at least 0; in torch's form times the rate. Default 0, in optax's
    /// form `None`, which is the same.
    pub weight_decay: Option<f64>,
    /// Whether to go up. Default false. torch's.
    pub maximize: bool,
    /// As `-beta2_decay`, at least 0. Default 0.8. optax's.
    pub decay_rate: f64,
    /// Steps that the decay does not count; those count as the first. Default 0. optax's.
    pub decay_offset: u64,
    /// Bound on the root mean square of an update, above 0; `None` bounds nothing. Default 1. optax's.
    pub clipping_threshold: Option<f64>,
    /// Whether steps are relative to the parameters' root mean square. Default true. optax's.
    pub multiply_by_parameter_scale: bool,
    /// The least second largest axis of a tensor of which rows and columns are kept. Default 128. optax's.
    pub min_dim_size_to_factor: usize,
    /// Weight of the average of updates in itself, in `[0, 1)`; `None` keeps none. Default `None`. optax's.
    pub momentum: Option<f64>,
    /// Whether rows and columns are kept of any tensor; otherwise each keeps its second moment. Default true. optax's.
    pub factored: bool,
    /// Whose formula. Default [`Variant::Torch`].
    pub variant: Variant,
}

impl From<Fields> for Adafactor {
    fn from(fields: Fields) -> Self {
        let base = match fields.variant {
            Variant::Torch => Self::default(),
            Variant::Optax => Self::optax(),
        };
        Self {
            lr: fields.lr.unwrap_or(base.lr),
            beta2_decay: fields.beta2_decay.unwrap_or(base.beta2_decay),
            eps: fields.eps.unwrap_or(base.eps),
            d: fields.d.unwrap_or(base.d),
            weight_decay: fields.weight_decay.unwrap_or(base.weight_decay),
            maximize: fields.maximize,
            decay_rate: fields.decay_rate.unwrap_or(base.decay_rate),
            decay_offset: fields.decay_offset,
            clipping_threshold: fields.clipping_threshold.unwrap_or(base.clipping_threshold),
            multiply_by_parameter_scale: fields
                .multiply_by_parameter_scale
                .unwrap_or(base.multiply_by_parameter_scale),
            min_dim_size_to_factor: fields.min_dim_size_to_factor.unwrap_or(base.min_dim_size_to_factor),
            momentum: fields.momentum,
            factored: fields.factored.unwrap_or(base.factored),
            variant: base.variant,
        }
    }
}

impl Default for Adafactor {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            beta2_decay: -0.8,
            eps: AdafactorEps::Torch(None, 1e-3),
            d: 1.0,
            weight_decay: Some(0.0),
            maximize: false,
            decay_rate: 0.8,
            decay_offset: 0,
            clipping_threshold: Some(1.0),
            multiply_by_parameter_scale: true,
            min_dim_size_to_factor: 128,
            momentum: None,
            factored: true,
            variant: Variant::Torch,
        }
    }
}

uniform! {
    /// The constants of one step of [`Adafactor`].
    pub struct AdafactorHyper {
        beta: f32,
        one_minus_beta: f32,
        eps: f32,
        mean_floor: f32,
        variance_floor: f32,
        clip: f32,
        rate: f32,
        scaled: u32,
        scale_floor: f32,
        decay: f32,
        momentum: f32,
        one_minus_momentum: f32,
    }
}

impl Rule for Adafactor {
    type Hyper = AdafactorHyper;
    const NAME: &'static str = "Adafactor";
    const FAMILY: Family = Family::Factored { ratio: true };
    const SHADER: Shader<'static> =
        Shader { stem: "adafactor", text: include_str!("../../../shaders/optim/rules/adafactor.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::statistics("statistics"), Slot::bf16("exp_avg")];

    scheduled! { lr, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("weight_decay", self.weight_decay.unwrap_or(0.0), 0.0)?;
        match self.eps {
            AdafactorEps::Torch(first, second) if self.variant == Variant::Torch => {
                at_least("eps[0]", first.unwrap_or(0.0), 0.0)?;
                at_least("eps[1]", second, 0.0)?;
            }
            AdafactorEps::Optax(eps) if self.variant == Variant::Optax => at_least("eps", eps, 0.0)?,
            AdafactorEps::Torch(..) => return refuse("eps: the variant optax has one number"),
            AdafactorEps::Optax(_) => return refuse("eps: the variant torch has two numbers"),
        }
        let Self { lr, eps, weight_decay, .. } = *self;
        match self.variant {
            Variant::Torch => {
                if !(self.beta2_decay.is_finite() && self.beta2_decay <= 0.0) {
                    return Err(Error::constant("beta2_decay", "finite and at most 0", self.beta2_decay));
                }
                at_least("d", self.d, 1.0)?;
                if !self.factored {
                    return Err(Error::constant("factored", "true in the variant torch", self.factored));
                }
                let Self { beta2_decay, d, maximize, .. } = *self;
                if *self != (Self { lr, eps, weight_decay, beta2_decay, d, maximize, ..Self::default() }) {
                    return refuse("the variant torch has none of optax's fields");
                }
                weight_decay
                    .map_or_else(|| refuse("weight_decay: the variant torch needs a number"), |_| Ok(()))
            }
            Variant::Optax => {
                at_least("decay_rate", self.decay_rate, 0.0)?;
                above("clipping_threshold", self.clipping_threshold.unwrap_or(1.0), 0.0)?;
                half_open("momentum", self.momentum.unwrap_or(0.0), 0.0, 1.0)?;
                let Self { beta2_decay, d, maximize, .. } = Self::default();
                if (self.beta2_decay, self.d, self.maximize) != (beta2_decay, d, maximize) {
                    return refuse("the variant optax has neither beta2_decay, d nor maximize");
                }
                Ok(())
            }
        }
    }

    fn absent(&self) -> &'static [&'static str] {
        match self.variant {
            Variant::Torch => &[
                "decay_rate",
                "decay_offset",
                "clipping_threshold",
                "multiply_by_parameter_scale",
                "min_dim_size_to_factor",
                "momentum",
                "factored",
            ],
            Variant::Optax => &["beta2_decay", "d", "maximize"],
        }
    }

    fn uses(&self, slot: usize) -> bool {
        slot == 0 || self.momentum.is_some_and(|momentum| momentum != 0.0)
    }

    fn statistics(&self, shape: &[usize]) -> Vec<Statistic> {
        let statistic = |key, reduced| Statistic { key: Cow::Borrowed(key), reduced };
        match self.axes(shape) {
            Some((rows, columns)) => {
                vec![statistic("row_var", Reduced::Axis(columns)), statistic("col_var", Reduced::Axis(rows))]
            }
            None => vec![statistic("variance", Reduced::None)],
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    fn hyper(&self, step: &StepInfo) -> AdafactorHyper {
        let decay = self.weight_decay.unwrap_or(0.0);
        let common = AdafactorHyper { one_minus_momentum: 1.0, scaled: 1, ..Default::default() };
        match self.eps {
            AdafactorEps::Torch(first, scale_floor) => {
                let floor = first.unwrap_or(f64::from(f32::EPSILON));
                let weight = (step.step as f64).powf(self.beta2_decay);
                AdafactorHyper {
                    beta: f32_of(1.0 - weight),
                    one_minus_beta: f32_of(weight),
                    mean_floor: f32_of(floor),
                    variance_floor: f32_of(floor * floor),
                    clip: f32_of(self.d),
                    rate: f32_of(self.lr.min(1.0 / (step.step as f64).sqrt())),
                    scale_floor: f32_of(scale_floor),
                    decay: f32_of(self.lr * decay),
                    ..common
                }
            }
            AdafactorEps::Optax(eps) => {
                let weight =
                    (step.step.saturating_sub(self.decay_offset).max(1) as f64).powf(-self.decay_rate);
                let momentum = self.momentum.unwrap_or(0.0);
                AdafactorHyper {
                    beta: f32_of(1.0 - weight),
                    one_minus_beta: f32_of(weight),
                    eps: f32_of(eps),
                    clip: f32_of(self.clipping_threshold.unwrap_or(0.0)),
                    rate: f32_of(self.lr),
                    scaled: u32::from(self.multiply_by_parameter_scale),
                    scale_floor: 1e-3,
                    decay: f32_of(decay),
                    momentum: f32_of(momentum),
                    one_minus_momentum: f32_of(1.0 - momentum),
                    ..common
                }
            }
        }
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        self.momentum.as_mut()
    }
}

impl Adafactor {
    /// optax's form with its defaults.
    pub fn optax() -> Self {
        Self {
            eps: AdafactorEps::Optax(1e-30),
            weight_decay: None,
            variant: Variant::Optax,
            ..Self::default()
        }
    }

    /// The axes of rows and of columns, where a tensor has them. Of equal axes the later one counts as the larger.
    fn axes(&self, shape: &[usize]) -> Option<(usize, usize)> {
        let last = shape.len().checked_sub(1).filter(|last| *last > 0)?;
        match self.variant {
            Variant::Torch => Some((last - 1, last)),
            Variant::Optax => {
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                axes.sort_by_key(|axis| shape[*axis]);
                let (rows, columns) = (axes[last - 1], axes[last]);
                (self.factored && shape[rows] >= self.min_dim_size_to_factor).then_some((rows, columns))
            }
        }
    }
}

fn refuse<T>(reason: &str) -> Result<T, Error> {
    Err(Error::Config { what: "optimizer Adafactor".into(), reason: reason.into() })
}
