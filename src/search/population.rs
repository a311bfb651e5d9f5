use serde::{Deserialize, Serialize};

use super::builder::SearchBuilder;
use super::cma::HostStep;
use super::device::{Device, HISTORY, NO_KEY, Progress, loss_of};
use super::methods::Method;
use super::objective::{Kind, Objective, Population};
use super::saved::{Options, SavedSearch};
use super::space::Space;
use crate::error::Error;
use crate::gpu::{Gpu, Recorder};

/// Generations of one submit, at most; the history on the device holds as many.
const MOST_PER_SUBMIT: u64 = HISTORY as u64;

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SearchResult {
    /// The best point, in the units of the space.
    pub x: Vec<f32>,
    /// Its loss, as it was evaluated; of an objective with noise that of a lucky sample.
    pub fun: f32,
    /// Evaluations of the objective.
    pub nfev: u64,
    /// Generations.
    pub nit: u64,
    /// Whether the target was reached, where there is one; otherwise whether anything was found.
    pub success: bool,
    /// Why it stopped.
    pub message: String,
    /// The best loss after each generation; NaN before the first loss that is a number.
    pub history: Vec<f32>,
    /// Members whose loss was not a number.
    pub nan: u64,
}

/// A search without gradients: a population on the device, and a method that improves it.
///
/// [`Search::minimize`] drives it; [`Search::ask`] and [`Search::tell`] are its two halves, for losses that come from
/// anywhere. An objective in WGSL runs up to 256 generations in one submit, and nothing but how far the search is comes back.
/// The same seed gives the same bits on one adapter, whatever runs beside it.
///
/// ```no_run
/// use gradus::search::{CMA, Objective, Search, Space};
///
/// # fn main() -> Result<(), gradus::Error> {
/// let gpu = gradus::Gpu::new(Default::default())?;
/// let mut search = Search::builder(Space::cube(5, -5.0, 5.0), CMA::default()).budget(2000).build(&gpu)?;
/// let found = search.minimize(&mut Objective::each(|x| x.iter().map(|x| (x - 1.0).powi(2)).sum()))?;
/// assert!(found.fun < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Search {
    options: Options,
    device: Device,
    host: Option<HostStep>,
    generation: u64,
    /// Whether members were made that wait for their losses.
    asked: bool,
    history: Vec<f32>,
}

impl Search {
    /// A builder of a search in a space by a method.
    pub fn builder(space: Space, method: impl Into<Method>) -> SearchBuilder {
        SearchBuilder::new(space, method.into())
    }

    pub(super) fn new(options: Options, device: Device, host: Option<HostStep>) -> Result<Self, Error> {
        Ok(Self { options, device, host, generation: 0, asked: false, history: Vec::new() })
    }

    /// Members of a generation.
    pub fn members(&self) -> usize {
        self.device.shape.members
    }

    /// Dimensions of the space.
    pub fn dimensions(&self) -> usize {
        self.device.shape.dimensions
    }

    /// Generations whose losses are known.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Evaluations of the objective so far.
    pub fn evaluations(&self) -> u64 {
        self.generation * self.members() as u64 * u64::from(self.options.samples)
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.device.gpu
    }

    /// The members that are to be evaluated, `[members, dimensions]` row by row in the units of the space; the same again
    /// until they are told.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn ask(&mut self) -> Result<Vec<f32>, Error> {
        self.submit("search ask", |search, recorder| {
            if !search.asked {
                search.device.record_proposal(recorder);
            }
            search.device.record_rows(recorder);
            Ok(())
        })?;
        self.asked = true;
        self.device.rows.read(&self.device.gpu, 0, self.device.rows.len())
    }

    /// Takes the losses of the members of the last [`Search::ask`], `[members]`. Those that are not a number rank last.
    ///
    /// # Errors
    /// [`Error::Config`] if nothing was asked; [`Error::Length`]; [`Error::DeviceLost`].
    pub fn tell(&mut self, losses: &[f32]) -> Result<(), Error> {
        if !self.asked {
            let reason = "there are no members to tell of: ask first".into();
            return Err(Error::Config { what: "search".into(), reason });
        }
        if losses.len() != self.members() {
            let what = "losses of a generation".into();
            return Err(Error::Length { what, expected: self.members(), got: losses.len() });
        }
        self.make_room()?;
        self.device.losses.write(&self.device.gpu, 0, losses)?;
        self.submit("search tell", |search, recorder| {
            search.device.record_told(recorder);
            search.device.record_end(recorder, search.generation == 0);
            Ok(())
        })?;
        self.ended(1)?;
        Ok(())
    }

    /// Minimises until the budget is spent or the target reached, from where the search is.
    ///
    /// # Errors
    /// [`Error::Config`] without a budget and a target, and where no loss of the whole search was a number;
    /// [`Error::Wgsl`] for an objective in WGSL that is none, with line and reason, before anything ran; what a
    /// [`DeviceObjective`](super::DeviceObjective) refuses; [`Error::DeviceLost`].
    pub fn minimize(&mut self, objective: &mut Objective<'_>) -> Result<SearchResult, Error> {
        self.minimize_with(objective, |_| true)
    }

    /// As [`Search::minimize`], and calls `goes_on` after each submit with what was found so far; where that is false it
    /// stops.
    ///
    /// # Errors
    /// As [`Search::minimize`].
    pub fn minimize_with(
        &mut self,
        objective: &mut Objective<'_>,
        mut goes_on: impl FnMut(&SearchResult) -> bool,
    ) -> Result<SearchResult, Error> {
        if self.options.budget.is_none() && self.options.target.is_none() {
            let reason = "minimize needs a budget or a target to know when to stop".into();
            return Err(Error::Config { what: "search".into(), reason });
        }
        if let Kind::Wgsl(text) = &objective.kind {
            self.device.prepare_objective(text)?;
        }
        loop {
            let left = self.device.shape.generations.map(|all| all.saturating_sub(self.generation));
            if left == Some(0) {
                return self.result("the budget is spent");
            }
            self.advance(objective, left.unwrap_or(u64::MAX))?;
            let so_far = self.look()?;
            if self.is_reached(&so_far) {
                return self.result("the target is reached");
            }
            if !goes_on(&so_far) {
                return self.result("it was told to stop");
            }
        }
    }

    fn is_reached(&self, found: &SearchResult) -> bool {
        self.options.target.is_some_and(|target| f64::from(found.fun) <= target)
    }

    /// Runs one generation, or as many as fit a submit.
    fn advance(&mut self, objective: &mut Objective<'_>, most: u64) -> Result<(), Error> {
        self.make_room()?;
        match &mut objective.kind {
            Kind::Host(closure) => return self.advance_on_host(closure),
            Kind::Wgsl(_) => {}
            Kind::Device(_) if self.options.samples > 1 => {
                let allowed = "1 for an objective that records its own work";
                return Err(Error::constant("samples", allowed, self.options.samples));
            }
            Kind::Device(_) => {}
        }
        let together = match &objective.kind {
            _ if self.host.is_some() => 1,
            Kind::Device(own) => own.generations_per_submit() as u64,
            _ => MOST_PER_SUBMIT,
        };
        let count = together.clamp(1, self.room()).min(most);
        self.submit("search", |search, recorder| {
            for number in 0..count {
                if number > 0 || !search.asked {
                    search.device.record_proposal(recorder);
                }
                if let Kind::Device(own) = &mut objective.kind {
                    search.device.record_rows(recorder);
                    own.record(recorder, &search.population())?;
                    search.device.record_told(recorder);
                } else {
                    search.device.record_objective(recorder);
                }
                search.device.record_end(recorder, search.generation + number == 0);
            }
            Ok(())
        })?;
        self.ended(count)
    }

    fn advance_on_host(&mut self, closure: &mut dyn FnMut(&[f32], &mut [f32])) -> Result<(), Error> {
        let rows = self.ask()?;
        let mut losses = vec![f32::NAN; self.members()];
        closure(&rows, &mut losses);
        if self.options.samples > 1 {
            let mut sums: Vec<f64> = losses.iter().copied().map(f64::from).collect();
            for _ in 1..self.options.samples {
                losses.fill(f32::NAN);
                closure(&rows, &mut losses);
                sums.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += f64::from(*loss));
            }
            let samples = f64::from(self.options.samples);
            losses.iter_mut().zip(sums).for_each(|(loss, sum)| *loss = (sum / samples) as f32);
        }
        self.tell(&losses)
    }

    fn population(&self) -> Population<'_> {
        Population {
            members: self.members(),
            dimensions: self.dimensions(),
            rows: &self.device.rows,
            losses: &self.device.losses,
        }
    }

    fn submit(
        &mut self,
        label: &str,
        record: impl FnOnce(&Self, &mut Recorder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let gpu = self.device.gpu.clone();
        let mut encoder = gpu.encoder(label);
        let mut recorder = Recorder::new(&gpu, &mut encoder);
        record(self, &mut recorder)?;
        drop(recorder);
        gpu.submit(encoder)?;
        Ok(())
    }

    /// Counts generations that were submitted, and lets the host do its part.
    fn ended(&mut self, count: u64) -> Result<(), Error> {
        self.asked = false;
        self.generation += count;
        let Some(host) = &mut self.host else { return Ok(()) };
        let (gpu, shape) = (&self.device.gpu, self.device.shape);
        let first = shape.dimensions * (shape.dimensions + 1);
        let noise = self.device.state.read(gpu, first, shape.members * shape.dimensions)?;
        let order = self.device.ranks.read(gpu, shape.members, shape.members)?;
        host.update(bytemuck::cast_slice(&noise), &order);
        self.device.state.write(gpu, 0, &host.words())
    }

    /// Generations that the history on the device has room for.
    fn room(&self) -> u64 {
        MOST_PER_SUBMIT - (self.generation - self.history.len() as u64)
    }

    fn make_room(&mut self) -> Result<(), Error> {
        if self.room() == 0 {
            self.read()?;
        }
        Ok(())
    }

    /// Waits, and takes over the history.
    fn read(&mut self) -> Result<Progress, Error> {
        let progress = self.device.read_progress()?;
        for generation in self.history.len() as u64..self.generation {
            self.history.push(progress.best_after(generation));
        }
        Ok(progress)
    }

    /// What was found so far, with a loss of NaN if nothing was.
    fn look(&mut self) -> Result<SearchResult, Error> {
        let progress = self.read()?;
        let has_found = progress.best_key() != NO_KEY;
        let fun = loss_of(progress.best_key());
        let reached = self.options.target.is_none_or(|target| f64::from(fun) <= target);
        Ok(SearchResult {
            x: progress.best_x(),
            fun,
            nfev: self.evaluations(),
            nit: self.generation,
            success: has_found && reached,
            message: String::new(),
            history: self.history.clone(),
            nan: progress.nans(),
        })
    }

    fn result(&mut self, message: &str) -> Result<SearchResult, Error> {
        let found = self.look()?;
        if found.fun.is_nan() {
            let reason = format!(
                "none of {} losses is a number: the objective must return one for some members",
                found.nan
            );
            return Err(Error::Config { what: "search".into(), reason });
        }
        Ok(SearchResult { message: message.into(), ..found })
    }

    /// What was found so far.
    ///
    /// # Errors
    /// [`Error::Config`] if no loss so far is a number; [`Error::DeviceLost`].
    pub fn best(&mut self) -> Result<SearchResult, Error> {
        self.result("it goes on")
    }

    /// All that a search needs to go on elsewhere as if it had not been interrupted, also between [`Search::ask`] and
    /// [`Search::tell`].
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn save(&mut self) -> Result<SavedSearch, Error> {
        self.read()?;
        let Self { device, .. } = &*self;
        let gpu = &device.gpu;
        let points = device.points.read(gpu, 0, device.points.len())?;
        Ok(SavedSearch {
            options: self.options.clone(),
            generation: self.generation,
            asked: self.asked,
            history: self.history.iter().map(|loss| loss.to_bits()).collect(),
            host: self.host.clone(),
            progress: device.progress.read(gpu, 0, device.progress.len())?,
            points: points.into_iter().map(f32::to_bits).collect(),
            keys: device.keys.read(gpu, 0, device.keys.len())?,
            ranks: device.ranks.read(gpu, 0, device.ranks.len())?,
            state: device.state.read(gpu, 0, device.state.len())?,
        })
    }

    /// The search that was saved.
    ///
    /// # Errors
    /// As [`SearchBuilder::build`]; [`Error::Config`] if parts of what was saved do not fit each other.
    pub fn resume(gpu: &Gpu, saved: &SavedSearch) -> Result<Self, Error> {
        saved.check()?;
        let mut search = SearchBuilder { options: saved.options.clone() }.build(gpu)?;
        let device = &search.device;
        let lengths = [
            ("progress", saved.progress.len(), device.progress.len()),
            ("points", saved.points.len(), device.points.len()),
            ("keys", saved.keys.len(), device.keys.len()),
            ("ranks", saved.ranks.len(), device.ranks.len()),
            ("state", saved.state.len(), device.state.len()),
        ];
        for (part, got, expected) in lengths {
            if got != expected {
                return Err(Error::Length { what: format!("saved search: {part}"), expected, got });
            }
        }
        if search.host.is_some() != saved.host.is_some()
            || saved.host.as_ref().is_some_and(|host| !host.fits(device.shape))
        {
            let reason = "what the host keeps of it is of another method or of other sizes".into();
            return Err(Error::Config { what: "saved search".into(), reason });
        }
        let points: Vec<f32> = saved.points.iter().copied().map(f32::from_bits).collect();
        device.progress.write(gpu, 0, &saved.progress)?;
        device.points.write(gpu, 0, &points)?;
        device.keys.write(gpu, 0, &saved.keys)?;
        device.ranks.write(gpu, 0, &saved.ranks)?;
        device.state.write(gpu, 0, &saved.state)?;
        search.host.clone_from(&saved.host);
        search.generation = saved.generation;
        search.asked = saved.asked;
        search.history = saved.history.iter().copied().map(f32::from_bits).collect();
        Ok(search)
    }
}
