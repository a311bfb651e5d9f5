use super::recurrence::Carried;

/// Where a tensor stands when a step reaches it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Steps of the tensor, this one included; of a rule whose state began anew, those since then.
    pub step: u64,
    /// One bit for each slot that one of the earlier steps among these has used.
    pub initialized: u32,
    /// What earlier steps have left.
    pub(crate) carried: Carried,
    /// Of a rule around another, steps up to the latest one after which the other's state began anew.
    pub(crate) reset_at: u64,
    /// Slots whose values are from before that: they begin anew when a step uses them.
    pub(crate) dropped: u32,
}

/// The parameters to evaluate with; see [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EvalParams {
    /// A slot of [`Rule::SLOTS`](super::Rule::SLOTS) holds them.
    Slot(usize),
    /// They lie on the line from a slot through the parameters, beyond these by so many times the distance.
    Beyond {
        /// The slot's number.
        slot: usize,
        /// How far.
        by: f64,
    },
}

/// When the state of a rule begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// After every so many steps of a tensor, at least 1.
    pub every: u64,
    /// One bit for each slot that does.
    pub slots: u32,
}

impl StepInfo {
    /// Where every tensor stands at first.
    pub(crate) const FIRST: Self =
        Self { step: 1, initialized: 0, carried: Carried::Nothing, reset_at: 0, dropped: 0 };

    /// `1 - beta^step`: what a running average that began at zero has of its weights.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.step as f64)
    }

    /// Whether this step is the first that uses a slot.
    pub fn is_first_use(&self, slot: usize) -> bool {
        self.initialized & (1 << slot) == 0
    }
}
