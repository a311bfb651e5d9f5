use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::OnceLock;

use crate::error::{Error, short};
use crate::gpu::Field;
use crate::optim::rule::{Slot, StepInfo};

/// The declaration that all copies of a rule share.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) lr: f64,
    /// The generated structs followed by the user's text.
    pub(crate) text: String,
    pub(crate) slots: Vec<Slot>,
    pub(crate) initial: Vec<f64>,
    pub(crate) hypers: Vec<Hyper>,
    pub(crate) constants: Vec<Constant>,
    /// The uniform block: hyperparameters, then constants.
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Hyper {
    pub(crate) name: String,
    pub(crate) default: f64,
    pub(crate) range: (Bound<f64>, Bound<f64>),
}

impl Hyper {
    pub(crate) fn check(&self, value: f64) -> Result<(), Error> {
        if value.is_finite() && self.range.contains(&value) {
            return Ok(());
        }
        let low = match self.range.0 {
            Bound::Included(low) => format!("[{}", short(low)),
            Bound::Excluded(low) => format!("({}", short(low)),
            Bound::Unbounded => "(-inf".into(),
        };
        let high = match self.range.1 {
            Bound::Included(high) => format!("{}]", short(high)),
            Bound::Excluded(high) => format!("{})", short(high)),
            Bound::Unbounded => "inf)".into(),
        };
        Err(Error::constant(&self.name, format!("in {low}, {high}"), value))
    }
}

pub(crate) type Compute = dyn Fn(&StepInfo, &Hypers<'_>) -> f64 + Send + Sync;

pub(crate) struct Constant {
    pub(crate) name: String,
    pub(crate) compute: Box<Compute>,
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The learning rate and the hyperparameters of a group, for computing a step's constants.
///
/// ```
/// use gradus::optim::CustomRule;
///
/// let rule = CustomRule::builder(
///     "Decayed",
///     "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return hyper.kept * p - call.lr * g; }",
/// )
/// .hyper("decay", 0.01, 0.0..1.0)
/// .constant("kept", |_, hypers| 1.0 - hypers.get("decay"))
/// .build()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Hypers<'a> {
    lr: f64,
    values: &'a [f64],
    declared: &'a Declared,
    /// An unknown name that was requested.
    pub(crate) unknown: OnceLock<String>,
}

impl<'a> Hypers<'a> {
    pub(crate) fn new(lr: f64, values: &'a [f64], declared: &'a Declared) -> Self {
        Self { lr, values, declared, unknown: OnceLock::new() }
    }

    /// The value of a hyperparameter, or of `lr`. NaN for an unknown name;
    /// [`CustomRuleBuilder::build`](crate::optim::CustomRuleBuilder::build) and every step refuse that.
    pub fn get(&self, name: &str) -> f64 {
        let place = self.declared.hypers.iter().position(|hyper| hyper.name == name);
        match place {
            _ if name == "lr" => self.lr,
            Some(place) => self.values[place],
            None => {
                self.unknown.get_or_init(|| name.into());
                f64::NAN
            }
        }
    }
}
