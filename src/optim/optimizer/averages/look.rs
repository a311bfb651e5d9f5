use std::ops::Range;

use crate::Error;
use crate::gpu::{Buffer, Recorder};
use crate::optim::averages::average::Swapped;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::AnyRule;
use crate::params::{Flat, ParamStore};

/// The most elements that lie between weights and averages while they change places: 16 MiB.
const BETWEEN: usize = 4 << 20;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Gives `look` the store with the averages in place of the weights, and puts these back, all bits as they were, also
    /// where `look` fails or panics. Steps that follow are what they would have been.
    ///
    /// Buffers are the averaged ones where these are averaged, and else as they are; what happens to them in `look` is
    /// undone. What is written to a parameter that has an average is written to this. It waits for steps whose results
    /// are not known, and submits copies of all weights before and after, through at most 16 MiB.
    ///
    /// # Errors
    /// What `look` says; [`Error::Config`] where no average is kept, and while a recorded step is neither submitted nor
    /// abandoned; [`Error::Mismatch`] for another store; [`Error::Buffer`] where the device has no memory left;
    /// [`Error::DeviceLost`]. Where the weights cannot be put back, the optimizer takes no further step.
    pub fn with_averages<T, E: From<Error>>(
        &mut self,
        params: &mut ParamStore,
        read: impl FnOnce(&mut ParamStore) -> Result<T, E>,
    ) -> Result<T, E> {
        self.gpu.clone().block_on(self.swap_in(params))?;
        let back = |(optimizer, params): &mut (&mut Self, &mut ParamStore)| optimizer.swap_out(params);
        look(&mut (self, params), back, |(_, params)| read(params))
    }

    /// As [`Optimizer::with_averages`], without blocking. The weights are put back also where the future is dropped.
    ///
    /// # Errors
    /// As [`Optimizer::with_averages`].
    pub async fn with_averages_async<T, E: From<Error>>(
        &mut self,
        params: &mut ParamStore,
        read: impl AsyncFnOnce(&mut ParamStore) -> Result<T, E>,
    ) -> Result<T, E> {
        self.swap_in(params).await?;
        let back = |(optimizer, params): &mut (&mut Self, &mut ParamStore)| optimizer.swap_out(params);
        look_async(&mut (self, params), back, async |(_, params)| read(params).await).await
    }

    /// Puts the averages in place of the weights, once it is known which steps were applied.
    pub(crate) async fn swap_in(&mut self, params: &ParamStore) -> Result<(), Error> {
        self.gpu.check()?;
        self.check_store(params)?;
        self.check_places()?;
        self.check_no_eval_params("averages")?;
        self.steps.abandon_dropped(&mut self.device)?;
        if !self.device.is_idle() {
            let reason = "a recorded step is not submitted: submit it and give its ticket back first";
            return Err(Error::Config { what: "averages".into(), reason: reason.into() });
        }
        let gate = self.read_unresolved_gate().await?;
        let updates = self.updates_after(gate);
        let average = self.kept_average()?;
        let ranges = self.averaged_ranges(&updates);
        let kept = params
            .buffers()
            .map(|buffers| Flat::zeroed(&self.gpu, "buffers of the weights", buffers.layout()));
        let kept = kept.transpose()?;
        let mut encoder = self.gpu.encoder("averages in place of weights");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        self.record_swap(&mut recorder, params, &ranges)?;
        if let (Some(buffers), Some(kept)) = (params.buffers(), &kept) {
            kept.record_copy(&mut recorder, buffers);
            if let (Some(averages), true) = (&average.buffers, average.counts.has_entered(updates.iter())) {
                buffers.record_copy(&mut recorder, &averages.flat);
            }
        }
        drop(recorder);
        self.gpu.submit(encoder)?;
        if let Some(average) = &mut self.average {
            average.swapped = Some(Swapped { ranges, buffers: kept });
        }
        Ok(())
    }

    /// Puts the weights back.
    pub(crate) fn swap_out(&mut self, params: &ParamStore) -> Result<(), Error> {
        let Some(Swapped { ranges, buffers }) = self.average.as_ref().and_then(|a| a.swapped.as_ref()) else {
            return Ok(());
        };
        let mut encoder = self.gpu.encoder("weights in their place");
        let mut recorder = Recorder::new(&self.gpu, &mut encoder);
        self.record_swap(&mut recorder, params, ranges)?;
        if let (Some(buffers), Some(kept)) = (params.buffers(), buffers) {
            buffers.record_copy(&mut recorder, kept);
        }
        drop(recorder);
        self.gpu.submit(encoder)?;
        if let Some(average) = &mut self.average {
            average.swapped = None;
        }
        Ok(())
    }

    fn record_swap(
        &self,
        recorder: &mut Recorder<'_>,
        params: &ParamStore,
        ranges: &[Range<usize>],
    ) -> Result<(), Error> {
        let longest = ranges.iter().map(Range::len).max().unwrap_or(1);
        let between = Buffer::storage(&self.gpu, "between weights and averages", longest.min(BETWEEN))?;
        let average = self.kept_average()?;
        params.params().record_swap(recorder, &average.params, ranges, &between);
        Ok(())
    }

    /// Elements of the tensors that have an average: of one without an update it is the tensor itself.
    fn averaged_ranges(&self, updates: &[u64]) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (span, _) in self.layout.spans().iter().zip(updates).filter(|(_, updates)| **updates > 0) {
            let end = span.first + span.padded_len();
            match ranges.last_mut() {
                Some(last) if last.end == span.first => last.end = end,
                _ => ranges.push(span.first..end),
            }
        }
        ranges
    }
}

/// What changes something back.
type Back<S> = fn(&mut S) -> Result<(), Error>;

/// Lets somebody look at what has been changed, and changes it back, also where that panics.
pub(crate) fn look<S, T, E: From<Error>>(
    changed: &mut S,
    back: Back<S>,
    look: impl FnOnce(&mut S) -> Result<T, E>,
) -> Result<T, E> {
    let guard = Changed { changed, back: Some(back) };
    let seen = look(guard.changed);
    guard.end(seen)
}

/// As [`look`], of somebody who waits without blocking; also where the future is dropped.
pub(crate) async fn look_async<S, T, E: From<Error>>(
    changed: &mut S,
    back: Back<S>,
    look: impl AsyncFnOnce(&mut S) -> Result<T, E>,
) -> Result<T, E> {
    let guard = Changed { changed, back: Some(back) };
    let seen = look(guard.changed).await;
    guard.end(seen)
}

/// What is changed back when this is dropped.
struct Changed<'a, S> {
    changed: &'a mut S,
    back: Option<Back<S>>,
}

impl<S> Changed<'_, S> {
    /// Changes it back, and gives what was seen unless that or this has failed.
    fn end<T, E: From<Error>>(mut self, seen: Result<T, E>) -> Result<T, E> {
        let is_back = self.back.take().map_or(Ok(()), |back| back(self.changed));
        let seen = seen?;
        is_back?;
        Ok(seen)
    }
}

impl<S> Drop for Changed<'_, S> {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // There is nobody to tell: what goes on refuses to step.
            let _ = back(self.changed);
        }
    }
}
