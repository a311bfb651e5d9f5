use serde::{Deserialize, Serialize};

use crate::Error;

/// Skips steps whose gradients are not all finite.
///
/// The check takes a pass over the gradients, which it shares with a clip by norm. A skipped step leaves parameters,
/// state and step counters unchanged, bit for bit, and is counted as skipped.
///
/// ```
/// use gradus::grad::{Skip, Transforms};
///
/// let skip = Skip { error_after: Some(10), ..Skip::default() };
/// assert!(Transforms { skip: Some(skip), ..Transforms::default() }.may_skip());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skip {
    /// Number of skipped steps in a row after which steps are refused; `None`, the default, for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_after: Option<u32>,
}

impl Skip {
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.error_after {
            Some(0) => Err(Error::constant("skip.error_after", "at least 1", 0)),
            _ => Ok(()),
        }
    }
}
