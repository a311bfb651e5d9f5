use serde::{Deserialize, Serialize};

use super::method::{Algorithm, Shape};
use super::methods::Method;
use super::space::Space;
use crate::error::{Error, finite};

/// The most members of a population.
const MOST_MEMBERS: usize = 1 << 18;

/// The most evaluations that a member's loss may be the mean of.
const MOST_SAMPLES: u32 = 1024;

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

impl Options {
    /// Refuses options that do not go together; the algorithm and the sizes otherwise.
    pub(super) fn check(&self) -> Result<(Box<dyn Algorithm>, Shape), Error> {
        self.space.check()?;
        let dimensions = self.space.dimensions();
        let algorithm = self.method.algorithm(dimensions);
        algorithm.check()?;
        let name = self.method.name();
        let most = algorithm.most_dimensions();
        if dimensions > most {
            return Err(Error::constant("dimensions", format!("at most {most} for {name}"), dimensions));
        }
        if algorithm.needs_bounds()
            && let Some(dimension) = self.space.first_unbounded()
        {
            let reason =
                format!("it needs finite bounds in every dimension, and dimension {dimension} has none");
            return Err(Error::Config { what: format!("search method {name}"), reason });
        }
        if !(1..=MOST_SAMPLES).contains(&self.samples) {
            return Err(Error::constant("samples", format!("in 1 to {MOST_SAMPLES}"), self.samples));
        }
        if let Some(target) = self.target {
            finite("target", target)?;
        }
        let least = algorithm.least_members();
        let members = self.members.unwrap_or_else(|| {
            algorithm
                .default_members(dimensions, self.budget.map(|all| all / u64::from(self.samples)))
                .max(least)
        });
        if members < least || members > MOST_MEMBERS {
            let allowed = format!("in {least} to {MOST_MEMBERS} for {name}");
            return Err(Error::constant("members", allowed, members));
        }
        let a_generation = members as u64 * u64::from(self.samples);
        let generations = self.budget.map(|budget| budget / a_generation);
        if let (Some(0), Some(budget)) = (generations, self.budget) {
            let allowed = format!(
                "at least a generation, which is {members} members of {} samples: {a_generation} evaluations",
                self.samples
            );
            return Err(Error::constant("budget", allowed, budget));
        }
        // Kernels count elements and generations in 32 bits, and some keep three columns of an element.
        if members.saturating_mul(dimensions) > 1 << 28 {
            let allowed = format!("at most {} in {dimensions} dimensions", (1 << 28) / dimensions);
            return Err(Error::constant("members", allowed, members));
        }
        if generations.is_some_and(|generations| generations > u64::from(u32::MAX)) {
            let allowed = format!("at most {} generations", u32::MAX);
            return Err(Error::constant("budget", allowed, self.budget.unwrap_or_default()));
        }
        Ok((algorithm, Shape { members, dimensions, generations }))
    }
}
