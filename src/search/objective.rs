//! What a search minimizes.
//!
//! # A function of WGSL, a lane for each member
//!
//! [`Objective::wgsl`] takes the text of a function that the device calls once for each member of the population:
//!
//! ```wgsl
//! fn objective() -> f32 {
//!     var sum = 0.0;
//!     for (var i = 0u; i < DIMENSIONS; i++) {
//!         sum += x(i) * x(i);
//!     }
//!     return sum;
//! }
//! ```
//!
//! It has no arguments and reads its member through what the frame declares:
//!
//! | name | what it is |
//! |---|---|
//! | `x(i: u32) -> f32` | value of dimension `i` of the member, in the units of the [`Space`](super::Space): inside its bounds, a whole number for integers, the number of the choice for categories; beyond the last dimension, the last |
//! | `DIMENSIONS` | a `u32` constant: how many there are |
//! | `noise(i: u32) -> f32` | number `i` of a stream of standard normal numbers, another stream for each member, generation and sample of it |
//!
//! The text may declare constants, structs and functions of its own beside it. It is checked before a kernel is made of it:
//! its functions are pure, every loop is `for (var i = 0u; i < N; i++)` from, to and by numbers, constants that are
//! numbers, or `DIMENSIONS` (also `DIMENSIONS - 1u`, or with `+`, `*` or `/` and a number), and its loops make at most
//! 16,384 rounds together, shared by the samples of a member. Nothing else of the frame is visible to it, so that its value depends on its member alone.
//!
//! A result that is not a number ranks behind all others and is counted.
//!
//! # A function of WGSL, a workgroup for each member
//!
//! Where a member costs much, as a sum over data or many dimensions, [`Objective::wgsl_by_workgroup`] takes a function that
//! all 64 lanes of a workgroup call, each with its number; the sum of what they return is the loss of the member, added in
//! halves: lane `i` takes over that of `i + 32`, then of `i + 16`, and so on.
//!
//! ```wgsl
//! fn objective(lane: u32) -> f32 {
//!     var sum = 0.0;
//!     for (var i = lane; i < DIMENSIONS; i += LANES) {
//!         sum += x(i) * x(i);
//!     }
//!     return sum;
//! }
//! ```
//!
//! `LANES` is a `u32` constant, 64. Loops that go up may begin at `lane` as well, which is then the name of that argument alone; what
//! must count once, as a constant, belongs to one lane. All else is as above, and limits are those of a lane.

mod inspect;

use std::fmt;

use crate::error::Error;
use crate::gpu::{Buffer, Recorder};
pub(crate) use inspect::{check, prelude};

/// What a search minimizes: a function of WGSL, a closure on the host over the whole population, or whatever else writes
/// losses on the device.
///
/// ```
/// use gradus::search::Objective;
///
/// let on_the_device = Objective::wgsl("fn objective() -> f32 { return x(0u) * x(0u); }");
/// let on_the_host = Objective::each(|x| x.iter().map(|x| x * x).sum());
/// ```
pub struct Objective<'a> {
    pub(crate) kind: Kind<'a>,
}

/// A closure over all members.
type OfMembers<'a> = Box<dyn FnMut(&[f32], &mut [f32]) + 'a>;

/// What evaluates a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Lane,
    Workgroup,
}

/// Where it is evaluated.
pub(crate) enum Kind<'a> {
    Wgsl(String, Form),
    Host(OfMembers<'a>),
    Device(Box<dyn DeviceObjective + 'a>),
}

/// An objective that records its own work, as the loss of a graph.
///
/// ```
/// use gradus::search::{DeviceObjective, Objective};
///
/// fn boxed(objective: impl DeviceObjective + 'static) -> Objective<'static> {
///     Objective::device(objective) // or `Objective::wgsl`, or a graph's loss
/// }
/// ```
pub trait DeviceObjective {
    /// Records what writes the loss of each member of `population` into [`Population::losses`].
    ///
    /// # Errors
    /// Whatever it refuses; nothing of the generation is submitted then.
    fn record(&mut self, recorder: &mut Recorder<'_>, population: &Population<'_>) -> Result<(), Error>;

    /// The most generations that may be recorded into one submit. Default 1.
    fn generations_per_submit(&self) -> usize {
        1
    }
}

impl<T: DeviceObjective + ?Sized> DeviceObjective for &mut T {
    fn record(&mut self, recorder: &mut Recorder<'_>, population: &Population<'_>) -> Result<(), Error> {
        (**self).record(recorder, population)
    }

    fn generations_per_submit(&self) -> usize {
        (**self).generations_per_submit()
    }
}

/// The members of a generation, on the device.
///
/// ```
/// use gradus::search::Population;
///
/// fn bytes(population: &Population<'_>) -> usize {
///     4 * population.members * population.dimensions
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Population<'a> {
    /// Members.
    pub members: usize,
    /// Dimensions of each.
    pub dimensions: usize,
    /// `[members, dimensions]`, in the units of the space.
    pub rows: &'a Buffer<f32>,
    /// `[members]`, to be written.
    pub losses: &'a Buffer<f32>,
}

impl<'a> Objective<'a> {
    /// A function of WGSL, as the documentation of the module describes. It is checked where a search begins, because what
    /// it may do depends on the number of dimensions.
    pub fn wgsl(text: impl Into<String>) -> Self {
        Self { kind: Kind::Wgsl(text.into(), Form::Lane) }
    }

    /// A function of WGSL that the 64 lanes of a workgroup call for each member, and whose parts are added, as the
    /// documentation of the module describes. It is checked where a search begins.
    pub fn wgsl_by_workgroup(text: impl Into<String>) -> Self {
        Self { kind: Kind::Wgsl(text.into(), Form::Workgroup) }
    }

    /// A closure over a whole generation: of the members in the first slice, `[members, dimensions]` row by row in the
    /// units of the space, it writes the losses into the second, `[members]`. The slices can be cut for threads.
    pub fn host(closure: impl FnMut(&[f32], &mut [f32]) + 'a) -> Self {
        Self { kind: Kind::Host(Box::new(closure)) }
    }

    /// A function of one member, in the units of the space, called on the host for each.
    ///
    /// ```
    /// let mut sphere = gradus::search::Objective::each(|x| x.iter().map(|x| x * x).sum());
    /// ```
    pub fn each(mut function: impl FnMut(&[f32]) -> f32 + 'a) -> Self {
        Self::host(move |rows, losses| {
            let dimensions = rows.len() / losses.len().max(1);
            for (row, loss) in rows.chunks(dimensions.max(1)).zip(losses) {
                *loss = function(row);
            }
        })
    }

    /// What records its own work on the device.
    pub fn device(objective: impl DeviceObjective + 'a) -> Self {
        Self { kind: Kind::Device(Box::new(objective)) }
    }
}

impl fmt::Debug for Objective<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Wgsl(text, form) => f.debug_tuple("Wgsl").field(text).field(form).finish(),
            Kind::Host(_) => f.write_str("Host"),
            Kind::Device(_) => f.write_str("Device"),
        }
    }
}
