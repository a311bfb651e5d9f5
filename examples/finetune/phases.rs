//! The two phases on the other half of the classes.

use anyhow::{Context, Result, ensure};
use gradus::params::Weights;
use gradus::train::Evaluation;

use crate::args::Finetuning;
use crate::images::{Classify, Settings};
use crate::run::{Steps, Task, Trainer};

/// Trains the head for some epochs, then everything.
pub(crate) struct Finetune {
    pub(crate) task: Classify<Finetuning>,
    pub(crate) head_epochs: u64,
    /// The values of the body until it is unfrozen.
    pub(crate) body: Weights,
}

impl Finetune {
    /// Checks that the body is still bitwise what was loaded.
    fn check_body(&self, trainer: &Trainer) -> Result<()> {
        for (name, loaded) in self.body.iter() {
            let now = trainer.params().read(name)?;
            ensure!(now == loaded.values, "{name} has changed while it was frozen");
        }
        Ok(())
    }

    /// Dispatches of a step with a frozen body, and of a step that trains everything. Leaves the trainer unchanged.
    pub(crate) fn dispatches(&self, trainer: &mut Trainer) -> Result<[u64; 2]> {
        let before = trainer.read_checkpoint()?;
        let mut counted = [0; 2];
        for (count, epoch) in counted.iter_mut().zip([0, self.head_epochs]) {
            let mut step = self.steps(trainer, epoch, 0)?;
            let counters = trainer.params().gpu().counters();
            step(trainer)?;
            *count = trainer.params().gpu().counters().since(&counters).dispatches;
        }
        trainer.load_checkpoint(&before).context("the trainer's own checkpoint")?;
        Ok(counted)
    }
}

impl Task for Finetune {
    type Settings = Settings<Finetuning>;
    const METRICS: &'static [&'static str] = <Classify<Finetuning> as Task>::METRICS;

    fn samples(&self, step: usize) -> usize {
        self.task.samples(step)
    }

    fn steps(&self, trainer: &mut Trainer, epoch: u64, from: u64) -> Result<Steps<'_>> {
        if epoch < self.head_epochs {
            trainer.params_mut().freeze("body")?;
        } else {
            if epoch == self.head_epochs && from == 0 {
                self.check_body(trainer)?;
            }
            trainer.params_mut().thaw("body")?;
        }
        self.task.steps(trainer, epoch, from)
    }

    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation> {
        self.task.evaluate(trainer)
    }

    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String {
        self.task.title(trainer, test)
    }
}
