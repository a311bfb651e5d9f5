//! The crate's error type.

mod names;
mod range;
mod weights;

pub(crate) use names::{listed, nearest, nearest_few};
pub(crate) use range::{above, at_least, closed, countable, finite, half_open, open};
pub use weights::{ShapeMismatch, WeightsMismatch};

/// Every way in which a call of this crate can fail.
///
/// A message names the parameter, the value and what is allowed, so that a caller can act on it without
/// reading the source.
///
/// ```
/// use gradus::Error;
/// use gradus::optim::{AdamW, Rule};
///
/// let refused = AdamW { betas: (1.0, 0.999), ..AdamW::default() }.check().unwrap_err();
/// assert!(matches!(refused, Error::Constant { .. }));
/// assert_eq!(refused.to_string(), "betas[0] must be in [0, 1), got 1");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter matches. Install a driver, or relax `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`.
    #[error(
        "no graphics adapter found ({looked_for}); on Debian or Ubuntu `apt-get install mesa-vulkan-drivers` \
         installs a software Vulkan driver"
    )]
    NoAdapter {
        /// What was searched for: backends, adapter name, and wgpu's answer.
        looked_for: String,
    },
    /// The adapter could not create a device.
    #[error("adapter {adapter} could not create a device: {reason}")]
    NoDevice {
        /// Name of the adapter.
        adapter: String,
        /// Reason given by the driver or by wgpu.
        reason: String,
    },
    /// The device was lost. Commands recorded since then have not run. Create a new [`Gpu`](crate::gpu::Gpu).
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// wgpu refused a request to the device. The device itself is not lost.
    #[error("the device refused {what}: {reason}")]
    Device {
        /// The request, such as `submitted commands`.
        what: String,
        /// wgpu's reason.
        reason: String,
    },
    /// A compute pipeline could not be created from a kernel.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// Message of the WGSL compiler or of the driver.
        reason: String,
    },
    /// An error in the WGSL of a custom rule or custom operation, with its position.
    #[error("{of}, line {line}, column {column}: {reason}")]
    Wgsl {
        /// What the text belongs to, such as `rule Lion`.
        of: String,
        /// Line of the user's text, counted from 1.
        line: usize,
        /// Character in that line, counted from 1.
        column: usize,
        /// What is wrong, and what is expected at this position.
        reason: String,
    },
    /// The backward pass of a custom operation disagrees with finite differences of its forward pass.
    #[error(
        "op {op}: element {element} of the gradient of {input}: backward_{input} gives {}, differences of the forward \
         pass {}", short(.gives), short(.difference)
    )]
    Gradient {
        /// Name of the operation.
        op: String,
        /// Name of the input.
        input: String,
        /// Index of the element in row-major order, as in torch.
        element: usize,
        /// Gradient computed by the backward pass.
        gives: f64,
        /// Gradient estimated by finite differences of the forward pass.
        difference: f64,
    },
    /// A number outside its allowed range.
    #[error("{name} must be {allowed}, got {value}")]
    Constant {
        /// The parameter, such as `betas[0]`.
        name: String,
        /// The allowed range, such as `in [0, 1)`.
        allowed: String,
        /// The refused value.
        value: String,
    },
    /// An unknown name, with the most similar known name.
    #[error("unknown {kind} {name:?}{}; known: {known}", did_you_mean(.nearest))]
    UnknownName {
        /// What the name refers to, such as `optimizer` or `field of AdamW`.
        kind: String,
        /// The refused name.
        name: String,
        /// The most similar known name, if one is similar enough.
        nearest: Option<String>,
        /// The known names, separated by commas. Of more than 32, the eight most similar and the number of
        /// the others.
        known: String,
    },
    /// A configuration that cannot be parsed, is incomplete, or contradicts itself.
    #[error("{what}: {reason}")]
    Config {
        /// The part of the configuration, such as `schedule OneCycleLR`.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor or input with an unexpected shape.
    #[error("{layer}: expected {expected}, got {got:?}")]
    Shape {
        /// The layer, tensor or input.
        layer: String,
        /// The expected shape, or a condition on it.
        expected: String,
        /// The given shape.
        got: Vec<usize>,
    },
    /// A slice with an unexpected length.
    #[error("{what}: expected {expected} elements, got {got}")]
    Length {
        /// What the slice is for.
        what: String,
        /// Expected number of elements.
        expected: usize,
        /// Given number of elements.
        got: usize,
    },
    /// Two tensors, inputs or groups with the same name.
    #[error("duplicate {kind} {name:?}{}", how_to_share(.kind))]
    Duplicate {
        /// What has the name, such as `tensor`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A tensor that needs more bytes than one binding or one buffer of this device can hold.
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
    /// A kernel that exceeds a limit of this device other than the sizes of bindings and buffers. Create the
    /// device with [`Gpu::required_limits`](crate::gpu::Gpu::required_limits).
    #[error(
        "{what}: needs a {limit_name} of at least {needed}, but this device was created with {limit}; request \
         Gpu::required_limits when creating it"
    )]
    DeviceLimit {
        /// What needs it, such as `kernel adam`.
        what: String,
        /// The limit's name in wgpu.
        limit_name: &'static str,
        /// The value needed.
        needed: u64,
        /// The value of this device.
        limit: u64,
    },
    /// A feature that is needed but that the device was created without. If the adapter has it, create the
    /// device with [`Gpu::optional_features`](crate::gpu::Gpu::optional_features).
    #[error(
        "{what}: needs the feature {feature}, but this device was created without it; request \
         Gpu::optional_features when creating it"
    )]
    DeviceFeature {
        /// What needs it, such as `autocast to f16`.
        what: String,
        /// The feature's name in wgpu.
        feature: &'static str,
    },
    /// A buffer that cannot be adopted, created, read or written.
    #[error("buffer for {what}: {reason}")]
    Buffer {
        /// What the buffer is for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// All slots of a ring are held by work that has been recorded but not yet submitted or read.
    #[error("all {slots} slots of the {ring} ring are in use: {advice}")]
    RingFull {
        /// Which ring.
        ring: &'static str,
        /// Number of slots.
        slots: usize,
        /// How to free a slot.
        advice: &'static str,
    },
    /// A state dict of another optimizer, or one with other tensors or shapes. Nothing was changed.
    #[error("state dict: {0}")]
    StateDict(String),
    /// Weights whose names or shapes do not match the store. Nothing was written.
    #[error("{0}")]
    Weights(Box<WeightsMismatch>),
    /// Objects of different devices, stores or graphs were used together.
    #[error("{0}")]
    Mismatch(String),
    /// The gradients or their norm are not finite, and the configuration treats this as an error.
    #[error("{0}: lower the learning rate, clip the gradients, or look for what makes them so")]
    NonFinite(String),
    /// A callback that failed and ended the run. Files that it and others wrote before stay.
    #[error("callback {callback}: {error}")]
    Callback {
        /// Name of the callback.
        callback: String,
        /// What it failed with.
        error: Box<Error>,
    },
    /// A folder that is locked by another run.
    #[error(
        "{folder}: another run keeps its files in this folder: wait until it has ended, or name another folder"
    )]
    Locked {
        /// The folder.
        folder: String,
    },
    /// A source of batches that failed: an error of its own, or a panic on a thread that prefetches.
    #[error("batch {batch} of epoch {epoch}: {reason}")]
    BatchSource {
        /// The epoch, counted from 0.
        epoch: u64,
        /// The batch of the epoch, counted from 0.
        batch: u64,
        /// What went wrong.
        reason: String,
    },
    /// A file that is missing, cannot be read or written, or whose name or content has the wrong format.
    #[error("{path}: {reason}")]
    File {
        /// The file or folder.
        path: String,
        /// Which part of the file is wrong, and why.
        reason: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!(", did you mean {n:?}?")).unwrap_or_default()
}

fn how_to_share(kind: &str) -> &'static str {
    match kind {
        "layer" | "parameter" => {
            ": each needs its own name; use `Graph::tie` to share one parameter between two layers"
        }
        _ => "",
    }
}

/// A value as it appears in messages. Very small and very large floats use scientific notation: `1e-30`,
/// where `Display` would print a long row of zeros.
pub(crate) fn short(value: impl ToString) -> String {
    // No integer type has as many digits.
    const LONG: usize = 21;
    let text = value.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.len() < LONG && !digits.starts_with("0.00000") {
        return text;
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => format!("{number:e}"),
        _ => text,
    }
}

impl Error {
    /// An [`Error::UnknownName`] that suggests the most similar of `known`.
    pub(crate) fn unknown<'a>(
        kind: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
        Self::UnknownName { kind: kind.into(), name: name.into(), nearest, known: listed(name, &known) }
    }

    /// Adds the name of the parameter group to an error about one of its options.
    pub(crate) fn in_group(self, group: &str) -> Self {
        let place = format!("group {group:?}");
        match self {
            Self::Constant { name, allowed, value } => {
                Self::Constant { name: format!("{place}: {name}"), allowed, value }
            }
            Self::UnknownName { kind, name, nearest, known } => {
                Self::UnknownName { kind: format!("{kind} ({place})"), name, nearest, known }
            }
            Self::Config { what, reason } if !what.contains(&place) => {
                Self::Config { what: format!("{place}: {what}"), reason }
            }
            other => other,
        }
    }

    /// Like [`Error::in_group`], for the group at index `number`. A single group is not named.
    pub(crate) fn in_group_of(self, groups: &[String], number: usize) -> Self {
        match groups {
            [_] => self,
            _ => self.in_group(&groups[number]),
        }
    }

    /// An [`Error::Constant`].
    pub(crate) fn constant(
        name: impl Into<String>,
        allowed: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        Self::Constant { name: name.into(), allowed: allowed.into(), value: short(value) }
    }
}

#[cfg(test)]
mod tests;
