use std::fmt;

use serde::{Deserialize, Serialize};

use super::device::{Device, HISTORY, NO_KEY, Progress, loss_of};
use super::objective::Population;
use super::options::Options;
use crate::error::Error;
use crate::gpu::{Gpu, Recorder};

/// Generations of one submit, at most; the history on the device holds as many.
pub(super) const MOST_PER_SUBMIT: u64 = HISTORY as u64;

/// What a search has found.
///
/// ```
/// use gradus::search::SearchResult;
///
/// fn print(found: &SearchResult) {
///     println!("{} at {:?} after {} evaluations: {}", found.fun, found.x, found.nfev, found.message);
/// }
/// ```
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
pub struct Search {
    pub(super) options: Options,
    pub(super) device: Device,
    pub(super) generation: u64,
    /// Whether members were made that wait for their losses.
    pub(super) asked: bool,
    pub(super) history: Vec<f32>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, generation, asked, .. } = self;
        let members = self.members();
        f.debug_struct("Search")
            .field("options", options)
            .field("members", &members)
            .field("generation", generation)
            .field("asked", asked)
            .finish_non_exhaustive()
    }
}

impl Search {
    pub(super) fn new(options: Options, device: Device) -> Self {
        Self { options, device, generation: 0, asked: false, history: Vec::new() }
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
    #[cfg(not(target_arch = "wasm32"))]
    pub fn ask(&mut self) -> Result<Vec<f32>, Error> {
        self.gpu().clone().block_on(self.ask_async())
    }

    /// As [`Search::ask`], without blocking.
    ///
    /// # Errors
    /// As [`Search::ask`].
    pub async fn ask_async(&mut self) -> Result<Vec<f32>, Error> {
        self.submit("search ask", |search, recorder| {
            if !search.asked {
                search.device.record_proposal(recorder);
            }
            search.device.record_rows(recorder);
            Ok(())
        })?;
        self.asked = true;
        self.device.rows.read_async(&self.device.gpu, 0, self.device.rows.len()).await
    }

    /// Takes the losses of the members of the last [`Search::ask`], `[members]`. Those that are not a number rank last.
    ///
    /// # Errors
    /// [`Error::Config`] if nothing was asked; [`Error::Length`]; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn tell(&mut self, losses: &[f32]) -> Result<(), Error> {
        self.gpu().clone().block_on(self.tell_async(losses))
    }

    /// As [`Search::tell`], without blocking.
    ///
    /// # Errors
    /// As [`Search::tell`].
    pub async fn tell_async(&mut self, losses: &[f32]) -> Result<(), Error> {
        if !self.asked {
            let reason = "there are no members to tell of: ask first".into();
            return Err(Error::Config { what: "search".into(), reason });
        }
        if losses.len() != self.members() {
            let what = "losses of a generation".into();
            return Err(Error::Length { what, expected: self.members(), got: losses.len() });
        }
        self.make_room().await?;
        self.device.losses.write(&self.device.gpu, 0, losses)?;
        self.submit("search tell", |search, recorder| {
            search.device.record_told(recorder);
            search.device.record_end(recorder, search.generation);
            Ok(())
        })?;
        self.ended(1);
        Ok(())
    }

    pub(super) fn population(&self) -> Population<'_> {
        Population {
            members: self.members(),
            dimensions: self.dimensions(),
            rows: &self.device.rows,
            losses: &self.device.losses,
        }
    }

    pub(super) fn submit(
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

    /// Counts generations that were submitted.
    pub(super) fn ended(&mut self, count: u64) {
        self.asked = false;
        self.generation += count;
    }

    /// Generations that the history on the device has room for.
    pub(super) fn room(&self) -> u64 {
        MOST_PER_SUBMIT - (self.generation - self.history.len() as u64)
    }

    pub(super) async fn make_room(&mut self) -> Result<(), Error> {
        if self.room() == 0 {
            self.read().await?;
        }
        Ok(())
    }

    /// Waits, and takes over the history.
    pub(super) async fn read(&mut self) -> Result<Progress, Error> {
        let progress = self.device.read_progress().await?;
        for generation in self.history.len() as u64..self.generation {
            self.history.push(progress.best_after(generation));
        }
        Ok(progress)
    }

    /// What was found so far, with a loss of NaN if nothing was.
    pub(super) async fn look(&mut self) -> Result<SearchResult, Error> {
        let progress = self.read().await?;
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

    pub(super) async fn result(&mut self, message: &str) -> Result<SearchResult, Error> {
        let found = self.look().await?;
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
    #[cfg(not(target_arch = "wasm32"))]
    pub fn best(&mut self) -> Result<SearchResult, Error> {
        self.gpu().clone().block_on(self.best_async())
    }

    /// As [`Search::best`], without blocking.
    ///
    /// # Errors
    /// As [`Search::best`].
    pub async fn best_async(&mut self) -> Result<SearchResult, Error> {
        self.result("it goes on").await
    }
}
