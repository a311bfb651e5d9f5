use serde::{Deserialize, Serialize};

use crate::error::{Error, closed};
use crate::gpu::uniform;
use crate::search::method::{Algorithm, Hyper, Memory, Over, Shape, Stage, narrow, scale};

/// The (1 + 1) evolution strategy with the one-fifth rule (nevergrad's `OnePlusOne`), or (1 + members).
///
/// The parent is the best point so far; where a generation improves it, mutations grow by `grows`, elsewhere they shrink
/// by `shrinks`. The first parent is the start, by default the middle of the box; further members of the first generation are
/// random. Members by default: 1.
///
/// Source: Schumer and Steiglitz 1968; Rechenberg 1973. Differs from nevergrad in its constants, which keep the width where a
/// fifth of the mutations succeed as well, and change it less at once (nevergrad: 2 and 0.84).
///
/// ```
/// use gradus::search::{Method, OnePlusOne};
///
/// let method: Method = OnePlusOne { sigma: 0.1, ..OnePlusOne::default() }.into();
/// assert_eq!(Method::named("OnePlusOne")?, OnePlusOne::default().into());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnePlusOne {
    /// First standard deviation of mutations, in half widths of the box (in units of a dimension without bounds), above
    /// 0. Default 1.
    pub sigma: f64,
    /// Factor of `sigma` where a generation improves the best, in `[1, 100]`. Default 1.5.
    pub grows: f64,
    /// Factor of `sigma` where it does not, in `[0.01, 1]`. Default 0.9.
    pub shrinks: f64,
}

impl Default for OnePlusOne {
    fn default() -> Self {
        Self { sigma: 1.0, grows: 1.5, shrinks: 0.9 }
    }
}

uniform! {
    struct OnePlusOneHyper { grows: f32, shrinks: f32, least: f32, most: f32 }
}

impl Algorithm for OnePlusOne {
    fn text(&self) -> &'static str {
        include_str!("../../../shaders/search/methods/one_plus_one.wgsl")
    }

    fn check(&self) -> Result<(), Error> {
        scale("sigma", self.sigma)?;
        closed("grows", self.grows, 1.0, 100.0)?;
        closed("shrinks", self.shrinks, 0.01, 1.0)
    }

    fn default_members(&self, _: usize, _: Option<u64>) -> usize {
        1
    }

    fn hyper(&self, _: Shape, _: bool) -> Hyper {
        // Below this mutations change nothing.
        let (least, most) = (1e-9, 1e9);
        Hyper::of(OnePlusOneHyper { grows: narrow(self.grows), shrinks: narrow(self.shrinks), least, most })
    }

    fn memory(&self, _: Shape, start: &[f32]) -> Memory {
        Memory::default().numbers(self.sigma, 1).floats(start.iter().copied())
    }

    fn after(&self) -> &'static [Stage] {
        const AFTER: &[Stage] = &[Stage::new("adapt", Over::Total)];
        AFTER
    }
}
