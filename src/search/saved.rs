use serde::{Deserialize, Serialize};

use super::cma::HostStep;
use super::methods::Method;
use super::space::Space;
use crate::error::Error;

/// What a search was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    #[serde(with = "bounds")]
    pub(super) space: Space,
    pub(super) method: Method,
    pub(super) members: Option<usize>,
    pub(super) seed: u64,
    pub(super) budget: Option<u64>,
    pub(super) samples: u32,
    pub(super) target: Option<f64>,
    pub(super) start: Option<Vec<f32>>,
}

/// A space whose infinite bounds are `null`, which JSON has.
mod bounds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Space;
    use crate::search::space::Dimension;

    #[derive(Serialize, Deserialize)]
    struct Row(Option<f64>, Option<f64>, bool, bool);

    pub(super) fn serialize<S: Serializer>(space: &Space, serializer: S) -> Result<S::Ok, S::Error> {
        let bound = |value: f64| value.is_finite().then_some(value);
        let row = |d: &Dimension| Row(bound(d.lower), bound(d.upper), d.integer, d.log);
        space.as_slice().iter().map(row).collect::<Vec<Row>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Space, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        Ok(rows.into_iter().fold(Space::new(), |space, Row(lower, upper, integer, log)| {
            let lower = lower.unwrap_or(f64::NEG_INFINITY);
            let upper = upper.unwrap_or(f64::INFINITY);
            space.with(Dimension { lower, upper, integer, log })
        }))
    }
}

/// A search at rest, for serde: options, counts and all that the device holds, as bits, so that it goes on exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedSearch {
    pub(super) options: Options,
    pub(super) generation: u64,
    pub(super) asked: bool,
    pub(super) history: Vec<u32>,
    pub(super) host: Option<HostStep>,
    pub(super) progress: Vec<u32>,
    pub(super) points: Vec<u32>,
    pub(super) keys: Vec<u32>,
    pub(super) ranks: Vec<u32>,
    pub(super) state: Vec<u32>,
}

impl SavedSearch {
    /// Refuses counts that contradict each other, and ranks that are none.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Config { what: "saved search".into(), reason: reason.into() });
        if self.history.len() as u64 != self.generation {
            return refuse("its history is not of its generations");
        }
        if self.progress.first().copied().map(u64::from) != Some(self.generation) {
            return refuse("its progress is of another generation");
        }
        let members = self.ranks.len() / 2;
        if self.ranks.iter().any(|rank| *rank as usize >= members) {
            return refuse("its ranks are beyond its members");
        }
        Ok(())
    }
}
