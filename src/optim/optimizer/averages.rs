//! Averages of the weights: set, counted, and with the weights changed places.

mod look;
mod weights;

pub(crate) use look::{look, look_async};

use super::Optimizer;
use crate::Error;
use crate::gpu::{Field, Uniform, UniformRing};
use crate::optim::averages::average::Average;
use crate::optim::averages::options::Averages;
use crate::optim::averages::text::{Averaging, BYTES, SLOT};
use crate::optim::rule::any::AnyRule;
use crate::params::{GateValues, ParamStore};

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Keeps an average of the weights from now on: an [`Ema`](crate::optim::Ema), which is moved in the dispatch that
    /// updates the weights, or a [`Swa`](crate::optim::Swa). In place of one that there was; it begins anew.
    ///
    /// It takes 4 bytes a parameter, and 8 more that each step moves. No step needs another dispatch for it, unless
    /// buffers are averaged too. It is in state dicts and checkpoints.
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
    /// [`Error::Constant`] for an option out of its range; [`Error::Config`] where the rule has a slot or a constant of the
    /// average's names, while a recorded step is neither submitted nor abandoned, while results of steps that may be
    /// skipped are on their way, for which [`Optimizer::read_step_results`] waits, and in [`Optimizer::with_averages`];
    /// [`Error::Mismatch`] for another store; [`Error::DeviceLimit`] where the rule leaves no room for another buffer in
    /// its kernel; [`Error::Limit`], [`Error::Kernel`], [`Error::DeviceLost`]. Then nothing was changed.
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
        // What is wrong with kernel or device is said here, not in the next step.
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

    /// Keeps no average any longer.
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

    /// The average that is kept, if there is one.
    pub fn averages(&self) -> Option<&Averages> {
        self.average.as_ref().map(|average| &average.counts.options)
    }

    /// Updates of a tensor that have entered its average, as [`Optimizer::applied`] counts: torch's `n_averaged`. 0 where
    /// no average is kept.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn averaged(&self, tensor: &str) -> Result<u64, Error> {
        let applied = self.applied(tensor)?;
        let index = self.layout.index(tensor)?;
        let of = |average: &Average| average.counts.options.counted(average.counts.updates(index, applied));
        Ok(self.average.as_ref().map_or(0, of))
    }

    /// Refuses where weights and averages have changed places.
    pub(crate) fn check_places(&self) -> Result<(), Error> {
        self.average.as_ref().map_or(Ok(()), Average::check_places)
    }

    /// Refuses while steps are neither submitted nor abandoned, or it is not known whether they were skipped.
    fn check_idle(&mut self, what: &str) -> Result<(), Error> {
        self.poll()?;
        let unknown = self.steps.results.as_ref().is_some_and(|results| !results.is_idle());
        if unknown || !self.device.is_idle() {
            let reason = "some steps are on their way: submit these, and read_step_results first".into();
            return Err(Error::Config { what: what.into(), reason });
        }
        Ok(())
    }

    /// Refuses a rule whose names or constants leave no room for those of an average.
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

    /// The updates of each tensor that its average knows of, once all submitted steps are done.
    pub(crate) fn updates_after(&self, gate: Option<GateValues>) -> Vec<u64> {
        let Some(average) = &self.average else { return Vec::new() };
        let counters = self.steps.counters_after(&self.layout, gate);
        let tensors = counters.iter().enumerate();
        tensors.map(|(tensor, counter)| average.counts.updates(tensor, counter.applied)).collect()
    }

    /// The average, or a refusal where none is kept.
    pub(crate) fn kept_average(&self) -> Result<&Average, Error> {
        let reason = "none is kept: set_averages first";
        self.average.as_ref().ok_or(Error::Config { what: "averages".into(), reason: reason.into() })
    }
}
