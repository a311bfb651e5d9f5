use serde::{Deserialize, Serialize};

/// Whose rule, where libraries disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// PyTorch's.
    #[default]
    Torch,
    /// That of optax.
    Optax,
}
