//! What golden data may ask for and the library does not have yet. It shrinks to nothing.

/// Names that a case may use and be counted as "not yet" for. An entry that works fails the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotYet {
    pub(crate) schedules: &'static [&'static str],
}

pub(crate) const NOT_YET: NotYet = NotYet {
    schedules: &[
        "ChainedScheduler",
        "CosineAnnealingWarmRestarts",
        "CosineDecay",
        "CosineDecayRestarts",
        "CyclicLR",
        "ExponentialDecay",
        "ExponentialDecayLR",
        "ExponentialLR",
        "InverseTimeDecay",
        "MultiStepLR",
        "PiecewiseConstantDecay",
        "PiecewiseConstantSchedule",
        "PolynomialDecay",
        "PolynomialLR",
        "ReduceLROnPlateau",
        "SequentialLR",
        "WarmupCosineSchedule",
        "WarmupLinearDecay",
        "WarmupScheduler",
    ],
};
