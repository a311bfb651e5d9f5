//! Mismatches between weights and a store.

use std::fmt;

use super::nearest;

/// All differences between weights and the store they were to be loaded into.
///
/// ```
/// use gradus::Error;
/// use gradus::graph::Graph;
/// use gradus::params::Weights;
///
/// # fn load(params: &mut gradus::ParamStore, weights: &Weights) {
/// if let Err(Error::Weights(mismatch)) = params.load_state_dict(weights, true) {
///     println!("missing: {}, unexpected: {}", mismatch.missing.join(", "), mismatch.unexpected.join(", "));
/// }
/// # }
/// ```
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
///
/// ```
/// # fn print(mismatch: &gradus::error::WeightsMismatch) {
/// for shape in &mismatch.shapes {
///     println!("{}: expected {:?}, got {:?}", shape.name, shape.expected, shape.got);
/// }
/// # }
/// ```
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
