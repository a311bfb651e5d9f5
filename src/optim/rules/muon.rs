use serde::{Deserialize, Serialize};

use crate::error::{Error, at_least, finite, half_open};
use crate::gpu::uniform;
use crate::optim::rule::{
    Family, NewtonSchulz, Precisions, Rule, Shader, Slot, StepInfo, check_moments, f32_of,
};

/// Muon, as `torch.optim.Muon`: steps along orthogonalized directions, for matrices.
///
/// `buf += (1 - momentum) * (g - buf)`, `u = (1 - momentum) * g + momentum * buf` with `nesterov`, else `buf`;
/// `x = u / max(|u|, eps)` with the norm over the matrix, then `ns_steps` times `a = x * x^T`,
/// `x = c0 * x + (c1 * a + c2 * a * a) * x` (with the shorter side of `x` on the left). `p *= 1 - lr * weight_decay`,
/// `p -= lr * k * x`, where `k` is of [`AdjustLr`].
///
/// Every tensor must be a matrix (two dimensions). Others are refused before anything is created. Those that training
/// needs beside (biases, norms, and, as its authors advise, embeddings and the last layer) go into groups that set
/// `adamw`, whose tensors AdamW steps in the same dispatches:
///
/// ```
/// use gradus::optim::{self, AnyRule};
/// use serde_json::json;
///
/// // As the fields of such a group: `Muon::default().build_with(&params, &[("rest", fields)])`.
/// let fields = json!({"adamw": {"lr": 3e-4, "weight_decay": 0}});
/// let rule = optim::from_json(&json!({"name": "Muon", "adamw": fields["adamw"]}))?;
/// assert_eq!(rule.lr(), 3e-4);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// The products of a step are recorded in its own submit. Another set of frozen tensors, or other options of the iteration,
/// compiles them anew; matrices of one shape and of equal options run in one batch.
///
/// Source: Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>;
/// <https://docs.pytorch.org/docs/2.15/generated/torch.optim.Muon.html>. Differs: the iteration runs in f32, where torch
/// rounds to bfloat16; in torch other tensors need an optimizer of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Muon {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Decoupled weight decay, at least 0. Default 0.1.
    pub weight_decay: f64,
    /// Weight of the average in itself, in `[0, 1)`. Default 0.95.
    pub momentum: f64,
    /// Whether the gradient counts once more. Default true.
    pub nesterov: bool,
    /// Of `x`, of `x x^T x` and of `x x^T x x^T x` in a round of the iteration. Default `[3.4445, -4.775, 2.0315]`.
    pub ns_coefficients: [f64; 3],
    /// The least norm that is divided by, at least 0. Default 1e-7.
    pub eps: f64,
    /// Rounds of the iteration, at most 99. Default 5.
    pub ns_steps: u64,
    /// What the rate of a matrix is multiplied by; none is [`AdjustLr::Original`]. Default none.
    pub adjust_lr_fn: Option<AdjustLr>,
    /// AdamW for the tensors of a group, whatever their shapes, in place of all options above. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adamw: Option<MuonAdamW>,
}

/// What the rate of [`Muon`] is multiplied by for a matrix of `rows` by `columns`.
///
/// ```
/// use gradus::optim::{AdjustLr, Muon};
///
/// let rule = Muon { adjust_lr_fn: Some(AdjustLr::MatchRmsAdamw), ..Muon::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `sqrt(max(1, rows / columns))`.
    Original,
    /// `0.2 * sqrt(max(rows, columns))`: steps as long as AdamW's, for its rates and decays.
    MatchRmsAdamw,
    /// `sqrt(rows / columns)`.
    SpectralUnclamped,
}

/// The options of [`AdamW`](crate::optim::AdamW) for groups of [`Muon`].
///
/// ```
/// use gradus::optim::{Muon, MuonAdamW, Rule};
///
/// # fn build(params: &gradus::ParamStore) -> Result<(), gradus::Error> {
/// let mut optimizer = Muon::default().build(params)?;
/// optimizer.group_mut("biases")?.adamw = Some(MuonAdamW { lr: 3e-4, ..MuonAdamW::default() });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonAdamW {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Weights of the two moments in themselves, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Added to the root of the second moment, at least 0. Default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, at least 0. Default 0.01.
    pub weight_decay: f64,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            ns_coefficients: [3.4445, -4.775, 2.0315],
            eps: 1e-7,
            ns_steps: 5,
            adjust_lr_fn: None,
            adamw: None,
        }
    }
}

impl Default for MuonAdamW {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }
}

impl AdjustLr {
    #[expect(clippy::cast_precision_loss, reason = "dimensions stay far below 2^53")]
    fn factor(self, rows: usize, columns: usize) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        match self {
            Self::Original => (rows / columns).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
            Self::SpectralUnclamped => (rows / columns).sqrt(),
        }
    }
}

uniform! {
    /// The constants of one step of [`Muon`].
    pub struct MuonHyper {
        momentum: f32,
        one_minus_momentum: f32,
        nesterov: u32,
        eps: f32,
        lr: f32,
        lr_weight_decay: f32,
        adamw: u32,
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        step_size: f32,
        root_scale: f32,
        adamw_eps: f32,
    }
}

impl Rule for Muon {
    type Hyper = MuonHyper;
    const NAME: &'static str = "Muon";
    const FAMILY: Family = Family::Matrix;
    const SHADER: Shader<'static> =
        Shader { stem: "muon", text: include_str!("../../../shaders/optim/rules/muon.wgsl") };
    const SLOTS: &'static [Slot] = &[
        Slot::signed("momentum_buffer"),
        Slot::apart("exp_avg", Precisions::Signed),
        Slot::apart("exp_avg_sq", Precisions::Unsigned),
    ];

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        at_least("weight_decay", self.weight_decay, 0.0)?;
        half_open("momentum", self.momentum, 0.0, 1.0)?;
        at_least("eps", self.eps, 0.0)?;
        for (number, coefficient) in self.ns_coefficients.into_iter().enumerate() {
            finite(&format!("ns_coefficients[{number}]"), coefficient)?;
        }
        if self.ns_steps > 99 {
            return Err(Error::constant("ns_steps", "at most 99", self.ns_steps));
        }
        match &self.adamw {
            None => Ok(()),
            Some(MuonAdamW { lr, betas, eps, weight_decay }) => {
                check_moments(*lr, *betas, *eps, *weight_decay)
            }
        }
    }

    fn uses(&self, slot: usize) -> bool {
        (slot == 0) == self.adamw.is_none()
    }

    fn newton_schulz(&self, shape: &[usize]) -> Result<Option<NewtonSchulz>, Error> {
        match shape {
            _ if self.adamw.is_some() => Ok(None),
            [rows, columns] => Ok(Some(NewtonSchulz {
                coefficients: self.ns_coefficients,
                steps: self.ns_steps,
                scale: self
                    .adjust_lr_fn
                    .unwrap_or(AdjustLr::Original)
                    .factor((*rows).max(1), (*columns).max(1)),
            })),
            _ => Err(Error::Shape {
                layer: "Muon".into(),
                expected: "a matrix, or adamw for its group".into(),
                got: shape.to_vec(),
            }),
        }
    }

    fn hyper(&self, step: &StepInfo) -> MuonHyper {
        let common = MuonHyper {
            momentum: f32_of(self.momentum),
            one_minus_momentum: f32_of(1.0 - self.momentum),
            nesterov: self.nesterov.into(),
            eps: f32_of(self.eps),
            lr: f32_of(self.lr),
            lr_weight_decay: f32_of(self.lr * self.weight_decay),
            ..MuonHyper::default()
        };
        let Some(MuonAdamW { lr, betas, eps, weight_decay }) = self.adamw.clone() else { return common };
        MuonHyper {
            adamw: 1,
            lr_weight_decay: f32_of(lr * weight_decay),
            beta1: f32_of(betas.0),
            one_minus_beta1: f32_of(1.0 - betas.0),
            beta2: f32_of(betas.1),
            one_minus_beta2: f32_of(1.0 - betas.1),
            step_size: f32_of(lr / step.correction(betas.0)),
            root_scale: f32_of(1.0 / step.correction(betas.1).sqrt()),
            adamw_eps: f32_of(eps),
            ..common
        }
    }

    fn lr(&self) -> f64 {
        self.adamw.as_ref().map_or(self.lr, |adamw| adamw.lr)
    }

    fn lr_mut(&mut self) -> &mut f64 {
        match &mut self.adamw {
            Some(adamw) => &mut adamw.lr,
            None => &mut self.lr,
        }
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        Some(match &mut self.adamw {
            Some(adamw) => &mut adamw.betas.0,
            None => &mut self.momentum,
        })
    }
}
