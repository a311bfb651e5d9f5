use serde::{Deserialize, Serialize};

use crate::error::{Error, above, at_least, open};
use crate::gpu::uniform;
use crate::optim::rule::{Rule, Shader, Slot, StepInfo, f32_of, scheduled};

/// Resilient backpropagation, as `torch.optim.Rprop` has it: steps of a size of their own, along signs.
///
/// Each element's size starts at `lr`, is multiplied by `etas.1` where the gradient's sign is that of the
/// step before and by `etas.0` where it has turned, and is held within `step_sizes`; then
/// `p -= size * sign(g)`. Where the sign has turned, the gradient counts as zero in this step and as the
/// previous one of the next.
///
/// Source: Riedmiller & Braun 1993, ICNN, without their way back after a turn, in the form of PyTorch.
/// Differs: signs are multiplied, not gradients, whose product would underflow; optax 0.2.8 makes each update
/// one step late.
///
/// ```
/// use gradus::optim::{self, AnyRule, Rprop};
/// use gradus::serde_json::json;
///
/// let typed = Rprop { lr: 0.02, ..Rprop::default() };
/// let named = optim::from_json(&json!({"name": "Rprop", "lr": 0.02}))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rprop {
    /// Size of the first step of each element, at least 0. Later changes, as by a schedule, matter only to
    /// tensors that have not begun. Default 1e-2.
    pub lr: f64,
    /// Factors of the size after a turn, in `(0, 1)`, and otherwise, above 1. Default `(0.5, 1.2)`.
    pub etas: (f64, f64),
    /// The smallest size, at least 0, and the largest, at least that. Default `(1e-6, 50)`.
    pub step_sizes: (f64, f64),
    /// Whether to go up the gradient. Default false.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }
    }
}

uniform! {
    /// The constants of one step of [`Rprop`].
    pub struct RpropHyper {
        eta_minus: f32,
        eta_plus: f32,
        step_size_min: f32,
        step_size_max: f32,
    }
}

impl Rule for Rprop {
    type Hyper = RpropHyper;
    const NAME: &'static str = "Rprop";
    const SHADER: Shader<'static> =
        Shader { stem: "rprop", text: include_str!("../../../shaders/optim/rules/rprop.wgsl") };
    const SLOTS: &'static [Slot] = &[Slot::bf16("prev"), Slot::f32("step_size")];

    scheduled! { lr, maximize }

    fn check(&self) -> Result<(), Error> {
        at_least("lr", self.lr, 0.0)?;
        open("etas[0]", self.etas.0, 0.0, 1.0)?;
        above("etas[1]", self.etas.1, 1.0)?;
        at_least("step_sizes[0]", self.step_sizes.0, 0.0)?;
        at_least("step_sizes[1]", self.step_sizes.1, self.step_sizes.0)
    }

    fn initial(&self, slot: usize) -> f64 {
        // The first step would clamp it: doing so here leaves sizes of zero to padding.
        [0.0, self.lr.clamp(self.step_sizes.0, self.step_sizes.1)][slot]
    }

    fn hyper(&self, _step: &StepInfo) -> RpropHyper {
        RpropHyper {
            eta_minus: f32_of(self.etas.0),
            eta_plus: f32_of(self.etas.1),
            step_size_min: f32_of(self.step_sizes.0),
            step_size_max: f32_of(self.step_sizes.1),
        }
    }
}
