//! A text as a task: batches from random positions, and the bits per character of the held-out part.

use anyhow::Result;
use gradus::train::Evaluation;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::args::Config;
use crate::model::IGNORED;
use crate::run::{Steps, Task, Trainer};
use crate::text::{Source, Text};

/// Contexts per evaluation step.
const EVALUATION_BATCH: usize = 64;

/// The settings that determine the results of a run, and the model's vocabulary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) text: Source,
}

pub(crate) struct Characters {
    config: Config,
    text: Text,
    held_out: [Vec<u32>; 2],
}

impl Characters {
    pub(crate) fn new(config: Config, text: Text) -> Self {
        let held_out = held_out(&text, config.context);
        Self { config, text, held_out }
    }

    pub(crate) fn is_of_genesis(&self) -> bool {
        self.text.is_genesis()
    }
}

/// Overlapping contexts, each half a context after the previous one, with their next characters. Each held-out
/// character is predicted once, from at least half a context.
fn held_out(text: &Text, context: usize) -> [Vec<u32>; 2] {
    let (half, all, first) = (context / 2, &text.tokens[..], text.train().len());
    let (mut tokens, mut next) = (Vec::new(), Vec::new());
    let mut done = first;
    while done < all.len() {
        // The labels of this context are the characters from `start + 1` on.
        let start = (done - 1).saturating_sub(half);
        let end = all.len().min(start + context + 1);
        for place in start..start + context {
            tokens.push(if place + 1 < end { all[place] } else { 0 });
            next.push(if place + 1 < end && place + 1 >= done { all[place + 1] } else { IGNORED });
        }
        done = end;
    }
    [tokens, next]
}

impl Task for Characters {
    type Settings = Settings;
    const METRICS: &'static [&'static str] = &["bits"];

    fn samples(&self, _: usize) -> usize {
        self.config.training.batch_size
    }

    fn steps(&self, trainer: &mut Trainer, _: u64, _: u64) -> Result<Steps<'_>> {
        let Config { context, ref training, .. } = self.config;
        let train = self.text.train();
        let seed = Pcg64::seed_from_u64(training.seed).random::<u64>();
        let mut step = trainer.steps();
        Ok(Box::new(move |trainer| {
            // A separate generator per step, so that a resumed run draws the same contexts.
            let random = &mut Pcg64::seed_from_u64(seed.wrapping_add(step));
            step += 1;
            let (mut tokens, mut next) = (Vec::<u32>::new(), Vec::<u32>::new());
            for _ in 0..training.batch_size {
                let start = random.random_range(0..train.len() - context);
                tokens.extend(&train[start..start + context]);
                next.extend(&train[start + 1..=start + context]);
            }
            Ok(trainer.step(&[("tokens", &tokens), ("next", &next)])?)
        }))
    }

    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation> {
        let [tokens, next] = &self.held_out;
        Ok(trainer.evaluate(&[("tokens", tokens), ("next", next)], EVALUATION_BATCH)?)
    }

    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String {
        let Config { width, layers, ref training, .. } = self.config;
        let (optimizer, schedule) = (trainer.optimizer().name(), training.schedule_name());
        let (characters, seed, bits) = (self.text.train().len(), training.seed, test.metrics[0]);
        format!(
            "transformer of depth {layers} and width {width} on {characters} characters, {optimizer}, {schedule}, seed {seed}: {bits:.3} bits"
        )
    }
}
