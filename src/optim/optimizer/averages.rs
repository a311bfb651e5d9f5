//! Averages of the weights of an optimizer: setting, counting and checks.

mod look;
mod weights;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use look::look;
pub(crate) use look::look_async;

use super::Optimizer;
use crate::Error;
use crate::gpu::{Field, Uniform, UniformRing};
use crate::optim::averages::average::Average;
use crate::optim::averages::options::Averages;
use crate::optim::averages::text::{Averaging, BYTES, SLOT};
use crate::optim::rule::any::AnyRule;
use crate::params::{GateValues, ParamStore};

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Keeps an average of the weights from now on: an [`Ema`](crate::optim::Ema) or a [`Swa`](crate::optim::Swa),
    /// updated in the dispatch that updates the weights. Replaces an existing average; the new one starts from scratch.
    ///
    /// It takes 4 bytes per parameter, and each step reads and writes 8 more bytes per parameter. Steps need no
    /// additional dispatch, unless buffers are averaged too. State dicts and checkpoints include it.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{AdamW, Ema, Rule};
    /// use gradus::{Error, Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("w", [2], &[1.0; 2]).build(&gpu)?;
    /// let mut optimizer = AdamW::default().build(&params)?;
    /// optimizer.set_averages(Ema::new(0.99), &params)?;
    /// params.write_grads(&[0.5; 2])?;
    /// optimizer.step(&mut params)?;
    /// let averages = optimizer.with_averages(&mut params, |params| params.read("w"))?;
    /// assert_eq!((averages, optimizer.averaged("w")?), (params.read("w")?, 1));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Constant`] for an option out of range; [`Error::Config`] if the rule has a slot or constant with one of
    /// the average's names, while a recorded step is neither submitted nor abandoned, while results of steps that may
    /// be skipped are in flight (wait for them with [`Optimizer::read_step_results`]), and in
    /// [`Optimizer::with_averages`]; [`Error::Mismatch`] for another store; [`Error::DeviceLimit`] if the rule's kernel
    /// has no room for another buffer; [`Error::Limit`], [`Error::Kernel`], [`Error::DeviceLost`]. Then nothing was
    /// changed.
    pub fn set_averages(&mut self, averages: impl Into<Averages>, params: &ParamStore) -> Result<(), Error> {
        let averages = averages.into();
        averages.check()?;
        self.check_store(params)?;
        self.check_places()?;
        self.check_room()?;
        self.check_idle("averages")?;
        let steps = self.steps.counters.iter().map(|counter| counter.applied);
        let average = Average::new(averages, params, steps)?;
        let before = self.average.replace(average);
        self.device.rebind();
        // Reports errors of the kernel or the device now, not in the next step.
        let ready = self.describe(params).and_then(|spec| {
            let ready = self.prepare(&spec, params);
            self.steps.spare = spec;
            ready
        });
        if ready.is_err() {
            self.average = before;
            self.device.rebind();
        }
        ready
    }

    /// Stops keeping an average.
    ///
    /// # Errors
    /// [`Error::Config`] in [`Optimizer::with_averages`].
    pub fn remove_averages(&mut self) -> Result<(), Error> {
        self.check_places()?;
        if self.average.take().is_some() {
            self.device.rebind();
        }
        Ok(())
    }

    /// The options of the average, if one is kept.
    pub fn averages(&self) -> Option<&Averages> {
        self.average.as_ref().map(|average| &average.counts.options)
    }

    /// Number of updates of a tensor that have entered its average, counted as in [`Optimizer::applied`]: torch's
    /// `n_averaged`. 0 if no average is kept.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn averaged(&self, tensor: &str) -> Result<u64, Error> {
        let applied = self.applied(tensor)?;
        let index = self.layout.index(tensor)?;
        let of = |average: &Average| average.counts.options.counted(average.counts.updates(index, applied));
        Ok(self.average.as_ref().map_or(0, of))
    }

    /// Refuses while weights and averages are swapped.
    pub(crate) fn check_places(&self) -> Result<(), Error> {
        self.average.as_ref().map_or(Ok(()), Average::check_places)
    }

    /// Refuses while steps are neither submitted nor abandoned, or may yet turn out to have been skipped.
    fn check_idle(&mut self, what: &str) -> Result<(), Error> {
        self.poll()?;
        let unknown = self.steps.results.as_ref().is_some_and(|results| !results.is_idle());
        if unknown || !self.device.is_idle() {
            let reason = "some steps are in flight: submit them and call read_step_results first".into();
            return Err(Error::Config { what: what.into(), reason });
        }
        Ok(())
    }

    /// Refuses a rule whose names or constants conflict with those of an average.
    fn check_room(&self) -> Result<(), Error> {
        let rule = &self.groups[0].rule;
        let refuse = |what: &str, name: &str| {
            let reason = format!("{} has a {what} {name:?}, which is that of averages", rule.name());
            Err(Error::Config { what: "averages".into(), reason })
        };
        if rule.slots().iter().any(|slot| slot.name == SLOT) {
            return refuse("slot", SLOT);
        }
        let (bytes, fields) = rule.hyper_block();
        let taken = |field: &&Field| fields.iter().any(|own| own.name == field.name);
        if let Some(field) = Averaging::FIELDS.iter().find(taken) {
            return refuse("constant", &field.name);
        }
        let most = UniformRing::ALIGN - BYTES;
        if bytes > most {
            let what = format!("bytes of the constants of {} beside averages", rule.name());
            return Err(Error::constant(what, format!("at most {most}"), bytes));
        }
        Ok(())
    }

    /// For each tensor, the number of updates counted for its average, once all submitted steps are done.
    pub(crate) fn updates_after(&self, gate: Option<GateValues>) -> Vec<u64> {
        let Some(average) = &self.average else { return Vec::new() };
        let counters = self.steps.counters_after(&self.layout, gate);
        let tensors = counters.iter().enumerate();
        tensors.map(|(tensor, counter)| average.counts.updates(tensor, counter.applied)).collect()
    }

    /// The average, or an error if none is kept.
    pub(crate) fn kept_average(&self) -> Result<&Average, Error> {
        let reason = "none is kept: set_averages first";
        self.average.as_ref().ok_or(Error::Config { what: "averages".into(), reason: reason.into() })
    }
}
