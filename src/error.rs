//! The crate's error type.

use std::fmt;

/// Every way in which a call of this crate can fail.
///
/// A message names the parameter, the value and what is allowed, so that a caller can act on it without
/// reading the source.
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
    /// A folder that is locked by another run.
    #[error(
        "{folder}: another run keeps its files in this folder: wait until it has ended, or name another folder"
    )]
    Locked {
        /// The folder.
        folder: String,
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

/// All differences between weights and the store they were to be loaded into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightsMismatch {
    /// The weights: their file, or `weights`.
    pub weights: String,
    /// Tensors of the store that the weights lack, in the store's order. Empty where missing tensors are
    /// allowed.
    pub missing: Vec<String>,
    /// Names in the weights that the store lacks, sorted. Empty where unexpected names are allowed.
    pub unexpected: Vec<String>,
    /// Tensors whose shapes differ.
    pub shapes: Vec<ShapeMismatch>,
    /// Pairs of names of one tied tensor for which the weights hold different values.
    pub tied: Vec<(String, String)>,
}

/// A tensor whose shape in the weights differs from its shape in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// The tensor.
    pub name: String,
    /// Its shape in the store.
    pub expected: Vec<usize>,
    /// Its shape in the weights.
    pub got: Vec<usize>,
}

impl WeightsMismatch {
    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.shapes.is_empty()
            && self.tied.is_empty()
    }

    /// Writes the missing and the unexpected names. Each unexpected name is followed by a likely missing one:
    /// one that differs only by a module prefix, or else the most similar one.
    pub(crate) fn write_names(
        f: &mut fmt::Formatter<'_>,
        missing: &[String],
        unexpected: &[String],
    ) -> fmt::Result {
        if !missing.is_empty() {
            write!(f, "; missing: {}", missing.join(", "))?;
        }
        for (number, name) in unexpected.iter().enumerate() {
            let ends =
                |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
            let known = || missing.iter().map(String::as_str);
            let moved = known().find(|known| ends(name, known) || ends(known, name));
            let before = if number == 0 { "; unexpected: " } else { ", " };
            write!(f, "{before}{name}")?;
            if let Some(nearest) = moved.or_else(|| nearest(name, known())) {
                write!(f, " (did you mean {nearest:?}?)")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for WeightsMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: these weights do not fit", self.weights)?;
        Self::write_names(f, &self.missing, &self.unexpected)?;
        for (number, ShapeMismatch { name, expected, got }) in self.shapes.iter().enumerate() {
            let before = if number == 0 { "; of other shapes: " } else { ", " };
            write!(f, "{before}{name} (expected {expected:?}, got {got:?})")?;
        }
        for (number, (one, other)) in self.tied.iter().enumerate() {
            let before = if number == 0 { "; one tensor with different values: " } else { ", " };
            write!(f, "{before}{one} and {other}")?;
        }
        Ok(())
    }
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

/// The name of `known` that is most similar to `name`, if one is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &&str| likeness(name, k);
    known.into_iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|k| near(k) > 0.7)
}

/// Up to three names of `known` that are similar to `name`, the most similar first.
pub(crate) fn nearest_few<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near = by_likeness(name, known);
    let best = near.first().map_or(0.0, |(likeness, _)| *likeness);
    near.retain(|(likeness, _)| *likeness > 0.75 && *likeness > best - 0.1);
    near.truncate(3);
    near.into_iter().map(|(_, known)| known).collect()
}

/// The names, separated by commas. Of a long list, only the most similar to `name`.
pub(crate) fn listed(name: &str, known: &[&str]) -> String {
    const ALL: usize = 32;
    const FEW: usize = 8;
    if known.len() <= ALL {
        return known.join(", ");
    }
    let near = by_likeness(name, known.iter().copied());
    let few: Vec<&str> = near.iter().take(FEW).map(|(_, known)| *known).collect();
    format!("{} and {} more", few.join(", "), known.len() - few.len())
}

/// Distinct names, the most similar first.
fn by_likeness<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(f64, &'a str)> {
    let mut all: Vec<(f64, &str)> = known.into_iter().map(|known| (likeness(name, known), known)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.dedup_by_key(|(_, known)| *known);
    all
}

/// Similarity from 0 (nothing in common) to 1 (equal), ignoring case.
fn likeness(one: &str, other: &str) -> f64 {
    strsim::jaro_winkler(&one.to_lowercase(), &other.to_lowercase())
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

    /// As [`Error::in_group`], for the group at index `number`. A single group is not named.
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

/// Refuses a value that is below `min`, infinite or NaN.
pub(crate) fn at_least(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value >= min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and at least {}", short(min)), value))
}

/// Refuses a count above `i64::MAX`, the largest that torch's signed 64-bit counters can hold.
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

/// Refuses a value that is not above `min`, or is infinite or NaN.
pub(crate) fn above(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value > min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and above {}", short(min)), value))
}

/// Refuses a value outside `[low, high)`.
pub(crate) fn half_open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{}, {})", short(low), short(high)), value))
}

/// Refuses a value outside `(low, high)`.
pub(crate) fn open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if value > low && value < high {
        return Ok(());
    }
    Err(Error::constant(name, format!("in ({}, {})", short(low), short(high)), value))
}

/// Refuses a value outside `[low, high]`.
pub(crate) fn closed(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{}, {}]", short(low), short(high)), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_short() {
        let rows: [(String, &str); 14] = [
            (short(-1e-30), "-1e-30"),
            (short(1e-6), "1e-6"),
            (short(1e-5), "0.00001"),
            (short(1.25e-7_f32), "1.25e-7"),
            (short(0.0), "0"),
            (short(-0.0), "-0"),
            (short(0.1 + 0.2), "0.30000000000000004"),
            (short(1e20), "1e20"),
            (short(f64::MAX), "1.7976931348623157e308"),
            (short(f32::MAX), "3.4028235e38"),
            (short(5e-324), "5e-324"),
            (short(u64::MAX), "18446744073709551615"),
            (short(f64::NEG_INFINITY), "-inf"),
            (short("no number, however long it may be"), "no number, however long it may be"),
        ];
        for (got, want) in rows {
            assert_eq!(got, want);
        }
        assert_eq!(
            half_open("beta", -1e-30, 1e-12, 1.0).unwrap_err().to_string(),
            "beta must be in [1e-12, 1), got -1e-30"
        );
        assert_eq!(
            at_least("lr", f64::MIN, 0.0).unwrap_err().to_string(),
            "lr must be finite and at least 0, got -1.7976931348623157e308"
        );
    }

    #[test]
    fn a_long_list_of_names_is_cut_to_the_nearest() {
        let names: Vec<String> = (0..50).map(|i| format!("layer{i}.weight")).collect();
        let known = |len: usize| names[..len].iter().map(String::as_str);
        let message = Error::unknown("tensor", "layer7.wieght", known(50)).to_string();
        assert_eq!(
            message,
            "unknown tensor \"layer7.wieght\", did you mean \"layer7.weight\"?; known: layer7.weight, layer17.weight, \
             layer27.weight, layer37.weight, layer47.weight, layer0.weight, layer1.weight, layer2.weight and 42 more"
        );
        assert!(Error::unknown("tensor", "x", known(32)).to_string().ends_with("layer31.weight"));
        assert!(Error::unknown("tensor", "x", known(33)).to_string().ends_with(" and 25 more"));
        assert_eq!(nearest_few("beta", ["beta2", "eps", "beta1", "beta1"]), ["beta1", "beta2"]);
        assert!(nearest_few("qqq", ["beta1"]).is_empty());
    }
}
