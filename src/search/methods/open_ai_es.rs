use serde::{Deserialize, Serialize};

use super::ga::{check_scale, decay};
use super::snes::log_weights;
use crate::error::{Error, closed, half_open};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, MOST, Memory, Over, Shape, Stage, narrow, scale};

/// Weights of ranks in [`OpenAIES`].
///
/// ```
/// use gradus::search::{OpenAIES, RankWeights};
///
/// let method = OpenAIES { weights: RankWeights::Log, ..OpenAIES::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RankWeights {
    /// From 0.5 for the best to -0.5 for the worst, in equal steps.
    #[default]
    Centered,
    /// `max(0, ln(members / 2 + 1) - ln(rank))`, with a sum of 1: the better half alone.
    Log,
}

/// The evolution strategy of OpenAI: a gradient from mirrored noise, weighted by rank, that Adam follows.
///
/// `g = -sum(w * z) / (members * sigma)`; Adam moves the mean. Members by default: 64; at least 2. An odd one is the mean
/// itself.
///
/// Source: Salimans et al. 2017, Evolution strategies as a scalable alternative to reinforcement learning,
/// arXiv:1703.03864, Alg. 1 and section 2. Adam takes no notice of the factor of `g`, which is left out.
///
/// ```
/// use gradus::search::{Method, OpenAIES};
///
/// let method: Method = OpenAIES { lr: 0.05, ..OpenAIES::default() }.into();
/// assert_eq!(Method::named("OpenAIES")?, OpenAIES::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAIES {
    /// Standard deviation of the noise, in half widths of the box (in units of a dimension without bounds), above 0. Default
    /// 0.1.
    pub sigma: f64,
    /// Learning rate in the same units, at least 0. Default 0.05.
    pub lr: f64,
    /// Adam's, each in `[0, 1)`. Default `(0.9, 0.999)`.
    pub betas: (f64, f64),
    /// Pull of the mean to zero, at least 0. Default 0.
    pub weight_decay: f64,
    /// Weights by rank. Default [`RankWeights::Centered`].
    pub weights: RankWeights,
    /// What `sigma` and `lr` are multiplied by over the generations of the budget, in `[1e-9, 1]`. Default 1.
    pub final_scale: f64,
}

impl Default for OpenAIES {
    fn default() -> Self {
        Self {
            sigma: 0.1,
            lr: 0.05,
            betas: (0.9, 0.999),
            weight_decay: 0.0,
            weights: RankWeights::Centered,
            final_scale: 1.0,
        }
    }
}

uniform! {
    struct OpenAIESHyper {
        sigma: f32, lr: f32, beta1: f32, beta2: f32, log_beta1: f32, log_beta2: f32, weight_decay: f32, shrinks: f32
    }
}

impl Algorithm for OpenAIES {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/open_ai_es.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        scale("sigma", self.sigma)?;
        closed("lr", self.lr, 0.0, MOST)?;
        half_open("betas[0]", self.betas.0, 0.0, 1.0)?;
        half_open("betas[1]", self.betas.1, 0.0, 1.0)?;
        closed("weight_decay", self.weight_decay, 0.0, MOST)?;
        check_scale(self.final_scale)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        64
    }

    fn least_members(&self) -> usize {
        2
    }

    fn hyper(&self, shape: Shape, _: bool) -> Hyper {
        // The logarithm of 0 times a step is beyond f32, and its exponential is 0.
        let log = |beta: f64| narrow(beta.ln().max(-1e4));
        Hyper::of(OpenAIESHyper {
            sigma: narrow(self.sigma),
            lr: narrow(self.lr),
            beta1: narrow(self.betas.0),
            beta2: narrow(self.betas.1),
            log_beta1: log(self.betas.0),
            log_beta2: log(self.betas.1),
            weight_decay: narrow(self.weight_decay),
            shrinks: decay(self.final_scale, shape.generations),
        })
    }

    fn memory(&self, shape: Shape, start: &[f32]) -> Memory {
        let Shape { members, dimensions, .. } = shape;
        let last = (members - 1) as f64;
        let weights: Vec<f64> = match self.weights {
            RankWeights::Centered => (0..members).map(|rank| 0.5 - rank as f64 / last).collect(),
            RankWeights::Log => log_weights(members),
        };
        let memory = Memory::default().floats(start.iter().copied()).zeros(2 * dimensions);
        memory.floats(weights.into_iter().map(narrow)).zeros(members * dimensions)
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[Stage::RANKS, Stage::new("follow", Over::Sums)];
        AFTER
    }
}
