use serde::{Deserialize, Serialize};

use crate::Error;

/// What happens to a step whose gradients are not all finite.
///
/// Looking for them costs a pass over the gradients, which a clip by norm takes anyway. A step that is skipped
/// leaves parameters, state and counts as they are, bit for bit, and is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Skip {
    /// Refuse to go on after this many skipped steps in a row; `None`, the default, never does.
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
