use super::device::{Device, Plan};
use super::method::Shape;
use super::methods::Method;
use super::population::Search;
use super::saved::Options;
use super::space::Space;
use crate::error::{Error, finite};
use crate::gpu::Gpu;

/// The most members of a population.
const MOST_MEMBERS: usize = 1 << 18;

/// The most evaluations that a member's loss may be the mean of.
const MOST_SAMPLES: u32 = 1024;

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
    pub(super) fn new(space: Space, method: Method) -> Self {
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

impl Options {
    /// Refuses options that do not go together; the algorithm and the sizes otherwise.
    pub(super) fn check(&self) -> Result<(Box<dyn super::method::Algorithm>, Shape), Error> {
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
