//! The one error type of the crate.

use std::fmt;

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
    /// wgpu refused what was asked of the device, which is not lost.
    #[error("the device refused {what}: {reason}")]
    Device {
        /// What was asked, as in `submitted commands`.
        what: String,
        /// wgpu's reason.
        reason: String,
    },
    /// A pipeline could not be made from a kernel.
    #[error("kernel {kernel}: {reason}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What the compiler or the driver said.
        reason: String,
    },
    /// A place in the WGSL of a rule or an operation of the user's own that is not accepted.
    #[error("{of}, line {line}, column {column}: {reason}")]
    Wgsl {
        /// What it is the text of, as in `rule Lion`.
        of: String,
        /// Line of the text that was given, from 1.
        line: usize,
        /// Character of that line, from 1.
        column: usize,
        /// What is wrong, and what is expected there.
        reason: String,
    },
    /// The backward pass of an op of the user's own disagrees with differences of its forward pass.
    #[error(
        "op {op}: element {element} of the gradient of {input}: backward_{input} gives {}, differences of the forward \
         pass {}", short(.gives), short(.difference)
    )]
    Gradient {
        /// The op.
        op: String,
        /// The input.
        input: String,
        /// The element, in torch's order.
        element: usize,
        /// What the backward pass gives.
        gives: f64,
        /// What differences of the forward pass give.
        difference: f64,
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
        /// All known names, separated by commas; of more than 32 the nearest eight and how many more there are.
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
    #[error("duplicate {kind} {name:?}{}", how_to_share(.kind))]
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
    /// A kernel needs more than a limit of this device allows, other than sizes of bindings and buffers. Make the
    /// device with [`Gpu::required_limits`](crate::gpu::Gpu::required_limits).
    #[error(
        "{what}: it needs a {limit_name} of {needed}, and this device was made with {limit}: \
         Gpu::required_limits says what to ask for"
    )]
    DeviceLimit {
        /// What needs it, as in `kernel adam`.
        what: String,
        /// The limit's name in wgpu.
        limit_name: &'static str,
        /// What is needed.
        needed: u64,
        /// What the device has.
        limit: u64,
    },
    /// What is asked for needs a feature that this device was made without. Make the device with
    /// [`Gpu::optional_features`](crate::gpu::Gpu::optional_features), if the adapter has it.
    #[error(
        "{what}: it needs {feature}, and this device was made without: Gpu::optional_features says what to ask for"
    )]
    DeviceFeature {
        /// What needs it, as in `autocast to f16`.
        what: String,
        /// The feature's name in wgpu.
        feature: &'static str,
    },
    /// A foreign buffer cannot be adopted, or a buffer cannot be made, read or written.
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
    /// Weights that do not fit the tensors of a store. Nothing was written.
    #[error("{0}")]
    Weights(Box<WeightsMismatch>),
    /// Two things that belong to different devices, stores or graphs were used together.
    #[error("{0}")]
    Mismatch(String),
    /// Gradients or their norm are not finite, and the configuration says that this is an error.
    #[error("{0}: lower the learning rate, clip the gradients, or look for what makes them so")]
    NonFinite(String),
    /// A folder in which another run keeps its files.
    #[error(
        "{folder}: another run keeps its files in this folder: wait until it has ended, or name another folder"
    )]
    Locked {
        /// The folder.
        folder: String,
    },
    /// A file that is missing, cannot be read or written, or is not what its name or format says.
    #[error("{path}: {reason}")]
    File {
        /// The file or folder.
        path: String,
        /// The part of it, and what is wrong.
        reason: String,
    },
}

/// All that differs between weights and the tensors of a store that they were to be loaded into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightsMismatch {
    /// The weights: their file, or `weights`.
    pub weights: String,
    /// Tensors of the store that the weights lack, in the store's order; none where that is allowed.
    pub missing: Vec<String>,
    /// Names of the weights that the store lacks, in alphabetical order; none where that is allowed.
    pub unexpected: Vec<String>,
    /// Tensors of other shapes.
    pub shapes: Vec<ShapeMismatch>,
    /// Two names of one tensor, under which the weights hold different values.
    pub tied: Vec<(String, String)>,
}

/// A tensor of another shape than the store's.
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

    /// Missing names and unexpected ones, each of these with the nearest that is missing: the same within another module,
    /// or one spelt alike.
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
            ": each has a name of its own; `Graph::tie` lets the parameters of two layers be one tensor"
        }
        _ => "",
    }
}

/// The one of `known` that is most like `name`, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &&str| likeness(name, k);
    known.into_iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|k| near(k) > 0.7)
}

/// The few of `known` that are most like `name`, the nearest first; none if none is near.
pub(crate) fn nearest_few<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near = by_likeness(name, known);
    let best = near.first().map_or(0.0, |(likeness, _)| *likeness);
    near.retain(|(likeness, _)| *likeness > 0.75 && *likeness > best - 0.1);
    near.truncate(3);
    near.into_iter().map(|(_, known)| known).collect()
}

/// Names, separated by commas. Of many only those most like `name`.
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

/// Different names, the most alike first.
fn by_likeness<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(f64, &'a str)> {
    let mut all: Vec<(f64, &str)> = known.into_iter().map(|known| (likeness(name, known), known)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.dedup_by_key(|(_, known)| *known);
    all
}

/// 1 for the same, 0 for nothing in common.
fn likeness(one: &str, other: &str) -> f64 {
    strsim::jaro_winkler(&one.to_lowercase(), &other.to_lowercase())
}

/// A value as messages have it: `1e-30` in place of a row of zeros, which is what `Display` makes of a float.
pub(crate) fn short(value: impl ToString) -> String {
    // No integer has as many digits.
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
    /// An [`Error::UnknownName`] that suggests the nearest of `known`.
    pub(crate) fn unknown<'a>(
        kind: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
        Self::UnknownName { kind: kind.into(), name: name.into(), nearest, known: listed(name, &known) }
    }

    /// This refusal of an option, with the group whose option it is.
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

    /// As [`Error::in_group`], for group `number` of `groups`; one that is the only one needs no name.
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

/// Refuses a value under `min`, infinite or NaN.
pub(crate) fn at_least(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value >= min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and at least {}", short(min)), value))
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
