mod diagnosis;
mod observed;
mod rules;

use serde_json::Value;

use super::{BatchEnd, Callback, Control, EpochEnd, Reads, RunInfo, TrainEnd, read_state, to_state};
use crate::error::Error;
use crate::optim::Norms;
pub use diagnosis::{Diagnosis, Problem};
use observed::Observed;

/// Logs norms of gradients, parameters and updates, and says in words what is wrong with a run.
///
/// | logged | at | what it is |
/// |---|---|---|
/// | `gradient_norm`, `parameter_norm`, `update_norm` | reported steps, epochs | 2-norms over all trained parameters, see [`Norms`] |
/// | `update_ratio` | reported steps, epochs | norm of the update over that of the parameters; about 1e-3 is usual |
/// | the same with `/<tensor>` | with [`per_tensor`](Self::per_tensor) | those of one parameter |
/// | `dead_units` | epochs | the fraction of units whose weights had no gradient in the epoch's last step |
/// | `dead_units/<tensor>` | epochs, with [`per_tensor`](Self::per_tensor) | those of one weight |
///
/// An epoch's norms are those of its last reported step, NaN before the first. A unit is a row of a weight, its first dimension:
/// an output of a linear layer, a channel of a convolution, a token of an embedding, where rows without gradient are
/// usual. List the monitor before the callbacks that write logs.
///
/// At the end of each epoch and of the run it makes a [`Diagnosis`] from what it has seen, each [`Problem`] once, and
/// [notes](Control::note) it with the figures and with what helps. A step whose norms are reported copies and reads all
/// parameters on the device, see [`Trainer::report_norms`](crate::train::Trainer::report_norms); no step waits.
///
/// ```
/// use gradus::train::callbacks::GradientMonitor;
///
/// let monitor = GradientMonitor::new(50).per_tensor(false);
/// assert!(monitor.diagnoses().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GradientMonitor {
    every: u64,
    per_tensor: bool,
    dead_units: bool,
    observed: Observed,
    run: RunInfo,
}

impl Default for GradientMonitor {
    fn default() -> Self {
        Self::new(10)
    }
}

impl GradientMonitor {
    /// Reports the norms of steps 0, `every`, 2 `every` and so on, at least 1; 10 by default.
    #[must_use]
    pub fn new(every: u64) -> Self {
        Self {
            every,
            per_tensor: true,
            dead_units: true,
            observed: Observed::default(),
            run: RunInfo::default(),
        }
    }

    /// Whether values of each parameter are logged too. Default true.
    #[must_use]
    pub fn per_tensor(mut self, logged: bool) -> Self {
        self.per_tensor = logged;
        self
    }

    /// Whether dead units are counted, for which all gradients are read at the end of each epoch. Default true.
    #[must_use]
    pub fn dead_units(mut self, counted: bool) -> Self {
        self.dead_units = counted;
        self
    }

    /// What was diagnosed so far, in that order.
    #[must_use]
    pub fn diagnoses(&self) -> &[Diagnosis] {
        &self.observed.diagnoses
    }

    fn log(&self, control: &mut Control) {
        let latest = self.observed.latest.as_ref();
        let all = latest.map(|latest| latest.total.into());
        log_norms("", all, control);
        if self.per_tensor {
            for (name, _) in &self.run.tensors {
                let of = latest.and_then(|latest| latest.tensors.get(name)).map(|norms| (*norms).into());
                log_norms(&format!("/{name}"), of, control);
            }
        }
    }

    fn log_dead_units(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) {
        let Some(gradients) = epoch.gradients else { return };
        let (mut dead, mut all) = (0, 0);
        for (name, shape) in self.run.tensors.iter().filter(|(_, shape)| shape.len() > 1) {
            let Some(values) = gradients.get(name).filter(|values| !values.is_empty()) else { continue };
            let units = shape[0];
            let zero = |row: &&[f32]| row.iter().all(|value| *value == 0.0);
            let without = values.chunks_exact(values.len() / units).filter(zero).count();
            (dead, all) = (dead + without, all + units);
            if self.per_tensor {
                control.log(format!("dead_units/{name}"), without as f64 / units as f64);
            }
        }
        let fraction = dead as f64 / all as f64;
        control.log("dead_units", fraction);
        self.observed.dead_units = Some(fraction).filter(|fraction| fraction.is_finite());
    }

    fn diagnose(&mut self, step: u64, control: &mut Control) {
        for diagnosis in rules::of(&self.observed, &self.run, step) {
            if self.diagnoses().iter().all(|known| known.problem != diagnosis.problem) {
                control.note(diagnosis.to_string());
                self.observed.diagnoses.push(diagnosis);
            }
        }
    }
}

fn log_norms(of: &str, norms: Option<Norms>, control: &mut Control) {
    let nan = Norms { gradient: f64::NAN, parameter: f64::NAN, update: f64::NAN };
    let norms = norms.unwrap_or(nan);
    control.log(format!("gradient_norm{of}"), norms.gradient);
    control.log(format!("parameter_norm{of}"), norms.parameter);
    control.log(format!("update_norm{of}"), norms.update);
    control.log(format!("update_ratio{of}"), norms.update_ratio());
}

impl Callback for GradientMonitor {
    fn name(&self) -> &str {
        "GradientMonitor"
    }

    fn check(&self, _: &RunInfo) -> Result<(), Error> {
        if self.every == 0 { Err(Error::constant("every", "at least 1", 0)) } else { Ok(()) }
    }

    fn norms_every(&self) -> u64 {
        self.every
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        if !run.resumed {
            self.observed = Observed::default();
        }
        self.run = run.clone();
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.observed.loss(batch.report.step, batch.report.loss, batch.samples);
        if let Some(norms) = batch.norms.filter(|norms| norms.step.is_multiple_of(self.every)) {
            self.observed.norms(norms, &self.run);
            self.log(control);
        }
        Ok(())
    }

    fn reads(&self, _: u64, _: &Control) -> Result<Reads, Error> {
        Ok(Reads { gradients: self.dead_units, ..Reads::default() })
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.log(control);
        if self.dead_units {
            self.log_dead_units(epoch, control);
        }
        self.diagnose(epoch.step, control);
        Ok(())
    }

    fn on_train_end(&mut self, end: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.diagnose(end.step, control);
        Ok(())
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        Ok(to_state(&self.observed))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        self.observed = read_state(self.name(), state)?;
        Ok(())
    }
}
