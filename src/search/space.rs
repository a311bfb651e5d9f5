use serde::{Deserialize, Serialize};

use super::method::narrow;
use crate::error::{Error, finite};

/// One dimension of a [`Space`].
///
/// ```
/// use gradus::search::Space;
///
/// let space = Space::new().integer(1, 8);
/// assert!(space.as_slice()[0].integer);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Least value.
    pub lower: f64,
    /// Largest value.
    pub upper: f64,
    /// Whether values are whole numbers.
    #[serde(default)]
    pub integer: bool,
    /// Whether it is searched by the logarithm of its values.
    #[serde(default)]
    pub log: bool,
}

/// The box that a search looks in: a list of dimensions, each a real number, a whole number or a choice.
///
/// ```
/// use gradus::search::Space;
///
/// let space = Space::new().log(1e-5, 1e-1).integer(1, 8).category(3).real(-1.0, 1.0);
/// assert_eq!(space.dimensions(), 4);
/// assert!(Space::new().real(2.0, 1.0).check().is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space {
    dimensions: Vec<Dimension>,
}

/// Words of a dimension in the table that kernels read.
pub(crate) const BOX_WORDS: usize = 8;

/// The most dimensions of a search.
pub(crate) const MOST_DIMENSIONS: usize = 1 << 20;

/// Whole numbers up to here are exact in f32.
const MOST_INTEGER: f64 = 16_777_216.0;

impl Space {
    /// A space without dimensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// A space of `dimensions` real numbers between the same bounds.
    pub fn cube(dimensions: usize, lower: f64, upper: f64) -> Self {
        Self { dimensions: vec![Dimension { lower, upper, integer: false, log: false }; dimensions] }
    }

    /// A space of `dimensions` real numbers without bounds, for methods that need none.
    pub fn unbounded(dimensions: usize) -> Self {
        Self::cube(dimensions, f64::NEG_INFINITY, f64::INFINITY)
    }

    /// One more real number, in `[lower, upper]`. Infinite bounds are for methods that need none, and only both of them.
    pub fn real(self, lower: f64, upper: f64) -> Self {
        self.with(Dimension { lower, upper, integer: false, log: false })
    }

    /// One more real number, in `[lower, upper]` above 0, of which factors matter and not differences.
    pub fn log(self, lower: f64, upper: f64) -> Self {
        self.with(Dimension { lower, upper, integer: false, log: true })
    }

    /// One more whole number, in `[lower, upper]`.
    pub fn integer(self, lower: i32, upper: i32) -> Self {
        self.with(Dimension { lower: lower.into(), upper: upper.into(), integer: true, log: false })
    }

    /// One more choice among so many, numbered from 0.
    pub fn category(self, choices: u32) -> Self {
        self.with(Dimension { lower: 0.0, upper: f64::from(choices) - 1.0, integer: true, log: false })
    }

    /// One more dimension.
    pub fn with(mut self, dimension: Dimension) -> Self {
        self.dimensions.push(dimension);
        self
    }

    /// How many dimensions there are.
    pub fn dimensions(&self) -> usize {
        self.dimensions.len()
    }

    /// All dimensions, in order.
    pub fn as_slice(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Refuses a space that cannot be searched.
    ///
    /// # Errors
    /// [`Error::Constant`] for bounds that are not ordered, not finite where they must be, or beyond f32; and for no
    /// dimension or too many.
    pub fn check(&self) -> Result<(), Error> {
        if !(1..=MOST_DIMENSIONS).contains(&self.dimensions.len()) {
            let allowed = format!("1 to {MOST_DIMENSIONS}");
            return Err(Error::constant("dimensions", allowed, self.dimensions.len()));
        }
        self.dimensions.iter().enumerate().try_for_each(|(number, dimension)| dimension.check(number))
    }

    /// The first dimension without bounds.
    pub(crate) fn first_unbounded(&self) -> Option<usize> {
        self.dimensions.iter().position(|dimension| !dimension.is_bounded())
    }

    /// Whether all are real numbers that are not searched by their logarithms.
    pub(crate) fn is_plain(&self) -> bool {
        self.dimensions.iter().all(|dimension| !dimension.integer && !dimension.log)
    }

    /// The table that kernels read: center, half width, lower and upper bound, kind, whether it is bounded.
    pub(crate) fn table(&self) -> Vec<f32> {
        self.dimensions.iter().flat_map(Dimension::words).collect()
    }

    /// A point in the user's units, in those of the kernels.
    pub(crate) fn encode(&self, x: &[f32]) -> Result<Vec<f32>, Error> {
        if x.len() != self.dimensions() {
            let what = "start of a search".into();
            return Err(Error::Length { what, expected: self.dimensions(), got: x.len() });
        }
        let all = self.dimensions.iter().zip(x).enumerate();
        all.map(|(number, (dimension, x))| dimension.encode(number, f64::from(*x))).collect()
    }
}

impl Dimension {
    fn is_bounded(&self) -> bool {
        self.lower.is_finite() && self.upper.is_finite()
    }

    fn check(&self, number: usize) -> Result<(), Error> {
        let name = |bound: &str| format!("{bound}[{number}]");
        let (lower, upper) = (self.lower, self.upper);
        if lower.is_nan() || upper.is_nan() || lower > upper || (lower == upper && !self.integer) {
            let allowed = format!("above lower[{number}], which is {lower}");
            return Err(Error::constant(name("upper"), allowed, upper));
        }
        if self.is_bounded() {
            let most = f64::from(f32::MAX) / 4.0;
            for (bound, value) in [("lower", lower), ("upper", upper)] {
                if value.abs() > most {
                    return Err(Error::constant(name(bound), format!("in [-{most:e}, {most:e}]"), value));
                }
            }
        } else if lower.is_finite() || upper.is_finite() || self.integer || self.log {
            let bound = if lower.is_finite() { "upper" } else { "lower" };
            let allowed = "finite: only a real dimension may have infinite bounds, and then both";
            let value = if lower.is_finite() { upper } else { lower };
            return Err(Error::constant(name(bound), allowed, value));
        }
        if self.log && lower < f64::from(f32::MIN_POSITIVE) {
            return Err(Error::constant(
                name("lower"),
                "above 0, because the dimension is logarithmic",
                lower,
            ));
        }
        if self.integer {
            for (bound, value) in [("lower", lower), ("upper", upper)] {
                finite(&name(bound), value)?;
                if value.fract() != 0.0 || value.abs() >= MOST_INTEGER {
                    let allowed = format!("a whole number between -{MOST_INTEGER} and {MOST_INTEGER}");
                    return Err(Error::constant(name(bound), allowed, value));
                }
            }
        } else if self.is_bounded() && self.halved() <= 0.0 {
            let allowed = format!("so far above lower[{number}] that f32 tells them apart");
            return Err(Error::constant(name("upper"), allowed, upper));
        }
        Ok(())
    }

    /// Half the width in f32, after the logarithm.
    fn halved(&self) -> f32 {
        if narrow(self.lower) < narrow(self.upper) { self.words()[1] } else { 0.0 }
    }

    /// The ends of what `[-1, 1]` stands for: of whole numbers, each has the same share.
    fn ends(&self) -> (f64, f64) {
        let upper = if self.integer { self.upper + 1.0 } else { self.upper };
        if self.log { (self.lower.ln(), upper.ln()) } else { (self.lower, upper) }
    }

    fn words(&self) -> [f32; BOX_WORDS] {
        let kind = u8::from(self.log) + 2 * u8::from(self.integer);
        if !self.is_bounded() {
            return [0.0, 1.0, f32::MIN, f32::MAX, 0.0, 0.0, 0.0, 0.0];
        }
        let (low, high) = self.ends();
        let (center, half) = (0.5 * (low + high), 0.5 * (high - low));
        [narrow(center), narrow(half), narrow(self.lower), narrow(self.upper), f32::from(kind), 1.0, 0.0, 0.0]
    }

    fn encode(&self, number: usize, x: f64) -> Result<f32, Error> {
        // Bounds as the kernels have them.
        let (lower, upper) = (f64::from(narrow(self.lower)), f64::from(narrow(self.upper)));
        if !(x.is_finite() && x >= lower && x <= upper) {
            let allowed = format!("finite and in [{}, {}]", self.lower, self.upper);
            return Err(Error::constant(format!("start[{number}]"), allowed, x));
        }
        if !self.is_bounded() {
            return Ok(narrow(x));
        }
        let (low, high) = self.ends();
        // The middle of what stands for a whole number.
        let x = if self.integer { x + 0.5 } else { x };
        let place = if self.log { x.ln() } else { x };
        Ok(narrow((2.0 * (place - low) / (high - low) - 1.0).clamp(-1.0, 1.0)))
    }
}
