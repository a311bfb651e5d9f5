//! The one error type of the crate.

/// Everything that can be refused or can go wrong.
///
/// Messages name the parameter, the value and what is allowed, so that they can be acted upon
/// without reading the source.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter fits. Install a driver, or loosen `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`.
    #[error(
        "no graphics adapter found ({looked_for}); on Debian or Ubuntu `apt-get install mesa-vulkan-drivers` \
         installs a software Vulkan driver"
    )]
    NoAdapter {
        /// What was looked for: backends, name, and what the instance answered.
        looked_for: String,
    },
    /// The adapter refused to give a device.
    #[error("{adapter} gave no device: {reason}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// The driver's or wgpu's reason.
        reason: String,
    },
    /// The device was lost; nothing recorded after that has run. Make a new [`Gpu`](crate::gpu::Gpu).
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// A pipeline could not be made from a kernel.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What the compiler or the driver said.
        reason: String,
    },
    /// A line of a rule's WGSL that is not accepted.
    #[error("rule {rule}, line {line}: {reason}")]
    Wgsl {
        /// Name of the rule.
        rule: String,
        /// Line of the text that was given, from 1.
        line: usize,
        /// What is wrong, and what is expected there.
        reason: String,
    },
    /// A number is outside its range.
    #[error("{name} must be {allowed}, got {value}")]
    Constant {
        /// The parameter, as in `betas[0]`.
        name: String,
        /// The range, as in `in [0, 1)`.
        allowed: String,
        /// The refused value.
        value: String,
    },
    /// A name that is not known, with the nearest one that is.
    #[error("unknown {kind} {name:?}{}; known: {known}", did_you_mean(.nearest))]
    UnknownName {
        /// What was named, as in `optimizer` or `field of AdamW`.
        kind: String,
        /// The refused name.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<String>,
        /// All known names, separated by commas.
        known: String,
    },
    /// A configuration that cannot be read, or that misses or contradicts something.
    #[error("{what}: {reason}")]
    Config {
        /// The part of the configuration, as in `schedule OneCycleLR`.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor or input of another shape than is needed.
    #[error("{layer}: expected {expected}, got {got:?}")]
    Shape {
        /// The layer, tensor or input.
        layer: String,
        /// What was expected, usually a shape.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// A slice of another length than is needed.
    #[error("{what}: expected {expected} elements, got {got}")]
    Length {
        /// What the slice was for.
        what: String,
        /// Elements expected.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// Two tensors, inputs or groups of one name.
    #[error("duplicate {kind} {name:?}")]
    Duplicate {
        /// What was named, as in `tensor`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// More bytes than one binding or buffer of this device can hold.
    #[error("{tensor}: {bytes} bytes exceed the {limit_name} of {limit} bytes on this device")]
    Limit {
        /// The tensor or activation.
        tensor: String,
        /// Bytes needed.
        bytes: u64,
        /// The limit's name in wgpu.
        limit_name: &'static str,
        /// Its value in bytes.
        limit: u64,
    },
    /// A foreign buffer cannot be adopted.
    #[error("buffer for {what}: {reason}")]
    Buffer {
        /// What the buffer was for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Every slot of a ring is held by work that was recorded and not yet submitted or read.
    #[error("all {slots} slots of the {ring} ring are in use: {advice}")]
    RingFull {
        /// Which ring.
        ring: &'static str,
        /// Its size.
        slots: usize,
        /// How to free a slot.
        advice: &'static str,
    },
    /// A state dict of another optimizer, of other tensors or of other shapes. Nothing was changed.
    #[error("state dict: {0}")]
    StateDict(String),
    /// Two things that belong to different devices, stores or graphs were used together.
    #[error("{0}")]
    Mismatch(String),
    /// Gradients or their norm are not finite, and the configuration says that this is an error.
    #[error("{0}: lower the learning rate, clip the gradients, or look for what makes them so")]
    NonFinite(String),
    /// A file that is missing, cannot be read or written, or is not what its name or format says.
    #[error("{path}: {reason}")]
    File {
        /// The file or folder.
        path: String,
        /// The part of it, and what is wrong.
        reason: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default()
}

/// The one of `known` that is most like `name`, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &&str| strsim::jaro_winkler(&k.to_lowercase(), &name.to_lowercase());
    known.into_iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|k| near(k) > 0.7)
}

impl Error {
    /// An [`Error::UnknownName`] that suggests the nearest of `known`.
    pub(crate) fn unknown<'a>(
        kind: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
        Self::UnknownName { kind: kind.into(), name: name.into(), nearest, known: known.join(", ") }
    }

    /// An [`Error::Constant`].
    pub(crate) fn constant(
        name: impl Into<String>,
        allowed: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        Self::Constant { name: name.into(), allowed: allowed.into(), value: value.to_string() }
    }
}

/// Refuses a value under `min`, infinite or NaN.
pub(crate) fn at_least(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value >= min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and at least {min}"), value))
}

/// Refuses a count so far that leaves no room to count on: what a signed 64-bit number, as torch has, does not hold.
pub(crate) fn countable(name: &str, count: u64) -> Result<(), Error> {
    if i64::try_from(count).is_ok() {
        return Ok(());
    }
    Err(Error::constant(name, format!("at most {}", i64::MAX), count))
}

/// Refuses a value that is infinite or NaN.
pub(crate) fn finite(name: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::constant(name, "finite", value))
}

/// Refuses a value that is not finite and above `min`.
pub(crate) fn above(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value > min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and above {min}"), value))
}

/// Refuses a value outside `[low, high)`.
pub(crate) fn half_open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{low}, {high})"), value))
}

/// Refuses a value outside `(low, high)`.
pub(crate) fn open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if value > low && value < high {
        return Ok(());
    }
    Err(Error::constant(name, format!("in ({low}, {high})"), value))
}

/// Refuses a value outside `[low, high]`.
pub(crate) fn closed(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{low}, {high}]"), value))
}
