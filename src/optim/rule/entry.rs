use serde_json::{Map, Value};

use super::any::AnyRule;
use super::{Family, Rule, Shader, Slot};
use crate::error::Error;
use crate::gpu::{Block, Uniform};

/// A row of [`RULES`](crate::optim::RULES).
///
/// ```
/// use gradus::optim::RULES;
///
/// let names: Vec<&str> = RULES.iter().map(|entry| entry.name).collect();
/// assert!(names.contains(&"AdamW"));
/// ```
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name in JSON and of the type.
    pub name: &'static str,
    /// [`Rule::FAMILY`].
    pub family: Family,
    /// [`Rule::SHADER`].
    pub shader: Shader<'static>,
    /// [`Rule::SLOTS`].
    pub slots: &'static [Slot],
    /// The kernel's constants.
    #[doc(hidden)]
    pub hyper: Block,
    pub(crate) read: Reader,
    pub(crate) default_rule: fn() -> Box<dyn AnyRule>,
}

/// Reads a rule from its fields. The second argument reads the inner rule, if it wraps one.
pub(crate) type Reader = fn(&Map<String, Value>, FromJson) -> Result<Box<dyn AnyRule>, Error>;

/// As [`from_json`](crate::optim::from_json).
pub(crate) type FromJson = fn(&Value) -> Result<Box<dyn AnyRule>, Error>;

/// A rule with a row in the table.
pub(crate) trait Registered {
    const ENTRY: Entry;
}

impl<R: Rule> Registered for R {
    const ENTRY: Entry = Entry::of::<R>();
}

impl Entry {
    const fn of<R: Rule>() -> Self {
        assert!(!R::Hyper::FIELDS.is_empty());
        Self {
            name: R::NAME,
            family: R::FAMILY,
            shader: R::SHADER,
            slots: R::SLOTS,
            hyper: Block::of::<R::Hyper>("Hyper"),
            read: |fields, _| R::default().boxed_with(fields),
            default_rule: || Box::new(R::default()),
        }
    }

    /// The rule with all options at their defaults, wrapping [`SGD`](crate::optim::SGD) if it needs an inner rule.
    pub fn default_rule(&self) -> Box<dyn AnyRule> {
        (self.default_rule)()
    }
}
