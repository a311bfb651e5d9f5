use super::recurrence::Carried;

/// The state of a tensor's step counters in a step.
///
/// ```
/// use gradus::optim::CustomRule;
///
/// let rule = CustomRule::builder(
///     "Decaying",
///     "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - call.lr * hyper.part * g; }",
/// )
/// .constant("part", |info, _| 1.0 / (info.step as f64).sqrt())
/// .build()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Steps of the tensor, including this one; since the last reset, if the rule's state was reset.
    pub step: u64,
    /// One bit for each slot that an earlier one of these steps has used.
    pub initialized: u32,
    /// Values carried from earlier steps.
    pub(crate) carried: Carried,
    /// For a rule that wraps another, the number of steps up to the latest reset of the inner rule's state.
    pub(crate) reset_at: u64,
    /// Slots whose values are from before the reset: they are reset when a step uses them.
    pub(crate) dropped: u32,
}

/// The evaluation parameters; see [`Optimizer::with_eval_params`](crate::optim::Optimizer::with_eval_params).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EvalParams {
    /// The values of a slot of [`Rule::SLOTS`](super::Rule::SLOTS).
    Slot(usize),
    /// On the line from the slot's values through the parameters, beyond the parameters by `by` times their distance.
    Beyond {
        /// Index of the slot.
        slot: usize,
        /// Factor of the distance.
        by: f64,
    },
}

/// When the state of a rule is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Number of steps of a tensor between resets, at least 1.
    pub every: u64,
    /// One bit for each slot that is reset.
    pub slots: u32,
}

impl StepInfo {
    /// The first step of a tensor.
    pub(crate) const FIRST: Self =
        Self { step: 1, initialized: 0, carried: Carried::Nothing, reset_at: 0, dropped: 0 };

    /// `1 - beta^step`: the sum of the weights in a moving average that started at zero.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.step as f64)
    }

    /// Whether this step is the first that uses a slot.
    pub fn is_first_use(&self, slot: usize) -> bool {
        self.initialized & (1 << slot) == 0
    }
}
