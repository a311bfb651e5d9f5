use serde::{Deserialize, Serialize};

use super::builder::SearchBuilder;
use super::options::Options;
use super::population::Search;
use crate::error::Error;
use crate::gpu::Gpu;

/// A search at rest, for serde: options, counts and all that the device holds, as bits, so that it goes on exactly.
///
/// ```
/// use gradus::search::{SavedSearch, Search};
///
/// fn moved(search: &mut Search) -> Result<Search, gradus::Error> {
///     let saved: SavedSearch = search.save()?; // serializes, for a file
///     Search::resume(search.gpu(), &saved)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedSearch {
    pub(super) options: Options,
    pub(super) generation: u64,
    pub(super) asked: bool,
    pub(super) history: Vec<u32>,
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

impl Search {
    /// All that a search needs to go on elsewhere as if it had not been interrupted, also between [`Search::ask`] and
    /// [`Search::tell`].
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&mut self) -> Result<SavedSearch, Error> {
        self.gpu().clone().block_on(self.save_async())
    }

    /// As [`Search::save`], without blocking.
    ///
    /// # Errors
    /// As [`Search::save`].
    pub async fn save_async(&mut self) -> Result<SavedSearch, Error> {
        self.read().await?;
        let Self { device, .. } = &*self;
        let gpu = &device.gpu;
        let points = device.points.read_async(gpu, 0, device.points.len()).await?;
        Ok(SavedSearch {
            options: self.options.clone(),
            generation: self.generation,
            asked: self.asked,
            history: self.history.iter().map(|loss| loss.to_bits()).collect(),
            progress: device.progress.read_async(gpu, 0, device.progress.len()).await?,
            points: points.into_iter().map(f32::to_bits).collect(),
            keys: device.keys.read_async(gpu, 0, device.keys.len()).await?,
            ranks: device.ranks.read_async(gpu, 0, 2 * device.shape.members).await?,
            state: device.state.read_async(gpu, 0, device.state.len()).await?,
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
            ("ranks", saved.ranks.len(), 2 * device.shape.members),
            ("state", saved.state.len(), device.state.len()),
        ];
        for (part, got, expected) in lengths {
            if got != expected {
                return Err(Error::Length { what: format!("saved search: {part}"), expected, got });
            }
        }
        let points: Vec<f32> = saved.points.iter().copied().map(f32::from_bits).collect();
        device.progress.write(gpu, 0, &saved.progress)?;
        device.points.write(gpu, 0, &points)?;
        device.keys.write(gpu, 0, &saved.keys)?;
        device.ranks.write(gpu, 0, &saved.ranks)?;
        device.state.write(gpu, 0, &saved.state)?;
        search.generation = saved.generation;
        search.asked = saved.asked;
        search.history = saved.history.iter().copied().map(f32::from_bits).collect();
        Ok(search)
    }
}
