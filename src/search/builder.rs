use super::device::{Device, Plan};
use super::methods::Method;
use super::options::Options;
use super::population::Search;
use super::space::Space;
use crate::error::Error;
use crate::gpu::Gpu;

impl Search {
    /// A builder of a search in a space by a method.
    pub fn builder(space: Space, method: impl Into<Method>) -> SearchBuilder {
        SearchBuilder::new(space, method.into())
    }
}

/// Makes a [`Search`]; see [`Search::builder`].
///
/// ```no_run
/// // Needs a device.
/// use gradus::search::{DE, Search, Space};
/// use gradus::{Gpu, GpuOptions};
///
/// let search = Search::builder(Space::cube(3, -1.0, 1.0), DE::default())
///     .members(32)
///     .seed(7)
///     .budget(10_000)
///     .build(&Gpu::new(GpuOptions::default())?)?;
/// assert_eq!(search.members(), 32);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SearchBuilder {
    pub(super) options: Options,
}

impl SearchBuilder {
    fn new(space: Space, method: Method) -> Self {
        let options = Options {
            space,
            method,
            members: None,
            seed: 0,
            budget: None,
            samples: 1,
            target: None,
            start: None,
        };
        Self { options }
    }

    /// Members of a generation, at most 262,144. Default: the method's, at most the budget.
    pub fn members(mut self, members: usize) -> Self {
        self.options.members = Some(members);
        self
    }

    /// Seed of all random numbers. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Evaluations of the objective at which [`Search::minimize`] stops: whole generations that fit. Methods that end
    /// narrower than they began take their pace from it.
    pub fn budget(mut self, evaluations: u64) -> Self {
        self.options.budget = Some(evaluations);
        self
    }

    /// Evaluations of which the loss of a member is the mean, for an objective with noise; each counts. In 1 to 1,024,
    /// default 1.
    pub fn samples(mut self, samples: u32) -> Self {
        self.options.samples = samples;
        self
    }

    /// A loss at which [`Search::minimize`] stops.
    pub fn target(mut self, loss: f64) -> Self {
        self.options.target = Some(loss);
        self
    }

    /// A point to start from, in the units of the space: the mean of a distribution, or one of the first members. Methods
    /// that only look around take no notice. Default: the middle of the box, or random members.
    pub fn start(mut self, x: &[f32]) -> Self {
        self.options.start = Some(x.to_vec());
        self
    }

    /// The search on a device.
    ///
    /// # Errors
    /// [`Error::Constant`] for an option, a constant of the method or a bound outside its range, for fewer members than the
    /// method needs, and for a budget below a generation; [`Error::Config`] for a space without bounds and a method that
    /// needs them; [`Error::Length`] for a start of other dimensions; [`Error::Limit`] for a population that the device
    /// cannot hold; [`Error::DeviceLost`].
    pub fn build(self, gpu: &Gpu) -> Result<Search, Error> {
        let options = self.options;
        let (algorithm, shape) = options.check()?;
        let start = options.start.as_ref().map(|start| options.space.encode(start)).transpose()?;
        let plan = Plan {
            method: options.method.name(),
            algorithm: &*algorithm,
            space: &options.space,
            shape,
            samples: options.samples,
            seed: options.seed,
            start: start.as_deref(),
        };
        let device = Device::new(gpu, &plan)?;
        Ok(Search::new(options, device))
    }
}
