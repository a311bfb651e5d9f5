use std::ops::Range;

use crate::Error;
use crate::gpu::{Buffer, Recorder};
use crate::optim::averages::average::Swapped;
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::any::AnyRule;
use crate::params::{Flat, ParamStore};

/// Size of the buffer for swapping weights and averages, in elements: 16 MiB.
const BETWEEN: usize = 4 << 20;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Calls `look` with the averages in the store in place of the weights. Then restores the weights bit for bit, also
    /// if `look` fails or panics, so later steps are not affected.
    ///
    /// Buffers hold their averages if they are averaged, and otherwise their current values; changes that `look` makes
    /// to them are undone. Writes to a parameter that has an average change the average. Waits for steps whose results
    /// are not known, and submits copies of all weights before and after, through a buffer of at most 16 MiB.
    ///
    /// # Errors
    /// Errors of `look`; [`Error::Config`] if no average is kept, and while a recorded step is neither submitted nor
    /// abandoned; [`Error::Mismatch`] for another store; [`Error::Buffer`] if the device is out of memory;
    /// [`Error::DeviceLost`]. If the weights cannot be restored, the optimizer refuses further steps.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_averages<T, E: From<Error>>(
        &mut self,
        params: &mut ParamStore,
        read: impl FnOnce(&mut ParamStore) -> Result<T, E>,
    ) -> Result<T, E> {
        self.gpu.clone().block_on(self.swap_in(params))?;
        let back = |(optimizer, params): &mut (&mut Self, &mut ParamStore)| optimizer.swap_out(params);
        look(&mut (self, params), back, |(_, params)| read(params))
    }

    /// As [`Optimizer::with_averages`], without blocking. The weights are also restored if the future is dropped.
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

    /// Swaps the averages in, once it is known which steps were applied.
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

    /// Swaps the weights back in.
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

    /// Element ranges of the tensors that have an average. For a tensor without an update, the average is the tensor
    /// itself.
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

/// Undoes a change.
type Back<S> = fn(&mut S) -> Result<(), Error>;

/// Calls a closure on a changed value and undoes the change, also if the closure panics.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn look<S, T, E: From<Error>>(
    changed: &mut S,
    back: Back<S>,
    look: impl FnOnce(&mut S) -> Result<T, E>,
) -> Result<T, E> {
    let guard = Changed { changed, back: Some(back) };
    let seen = look(guard.changed);
    guard.end(seen)
}

/// As [`look`], for an async closure. The change is also undone if the future is dropped.
pub(crate) async fn look_async<S, T, E: From<Error>>(
    changed: &mut S,
    back: Back<S>,
    look: impl AsyncFnOnce(&mut S) -> Result<T, E>,
) -> Result<T, E> {
    let guard = Changed { changed, back: Some(back) };
    let seen = look(guard.changed).await;
    guard.end(seen)
}

/// A changed value. Dropping it undoes the change.
struct Changed<'a, S> {
    changed: &'a mut S,
    back: Option<Back<S>>,
}

impl<S> Changed<'_, S> {
    /// Undoes the change. Returns the closure's result, or the first error of both.
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
            // A drop cannot return an error; the optimizer refuses further steps instead.
            let _ = back(self.changed);
        }
    }
}
