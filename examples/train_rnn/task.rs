//! The adding problem (Hochreiter and Schmidhuber 1997), generated on the fly.

use anyhow::Result;
use gradus::train::Evaluation;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::args::Config;
use crate::run::{Steps, Task, Trainer};

/// Number of held-out sequences.
const TEST: usize = 2000;

/// Sequences per evaluation step.
const EVALUATION_BATCH: usize = 200;

/// Sequences `[N, seq_len, 2]` of numbers in `[0, 1)` and markers, and the sums `[N, 1]` of the two marked numbers,
/// one in each half.
struct Sequences {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Sequences {
    fn draw(samples: usize, seq_len: usize, random: &mut Pcg64) -> Self {
        let (mut x, mut y) = (Vec::with_capacity(samples * seq_len * 2), Vec::with_capacity(samples));
        for _ in 0..samples {
            let half = seq_len / 2;
            let marked = [random.random_range(0..half), random.random_range(half..seq_len)];
            let mut sum = 0.0;
            for step in 0..seq_len {
                let (number, marker) = (random.random::<f32>(), f32::from(marked.contains(&step)));
                x.extend([number, marker]);
                sum += number * marker;
            }
            y.push(sum);
        }
        Self { x, y }
    }
}

pub(crate) struct Adding {
    config: Config,
    test: Sequences,
}

impl Adding {
    pub(crate) fn new(config: Config) -> Self {
        // The same for all seeds.
        let test = Sequences::draw(TEST, config.seq_len, &mut Pcg64::seed_from_u64(u64::MAX));
        Self { config, test }
    }

    /// The mean squared error of always predicting the mean.
    pub(crate) fn baseline(&self) -> f64 {
        let each = || self.test.y.iter().map(|y| f64::from(*y));
        let mean = each().sum::<f64>() / TEST as f64;
        each().map(|y| (y - mean).powi(2)).sum::<f64>() / TEST as f64
    }
}

impl Task for Adding {
    type Settings = Config;
    const METRICS: &'static [&'static str] = &[];

    fn samples(&self, _: usize) -> usize {
        self.config.training.batch_size
    }

    fn steps(&self, trainer: &mut Trainer, _: u64, _: u64) -> Result<Steps<'_>> {
        let Config { seq_len, ref training, .. } = self.config;
        let seed = Pcg64::seed_from_u64(training.seed).random::<u64>();
        let mut step = trainer.steps();
        Ok(Box::new(move |trainer| {
            // A separate generator per step, so that a resumed run draws the same sequences.
            let random = &mut Pcg64::seed_from_u64(seed.wrapping_add(step));
            step += 1;
            let Sequences { x, y } = Sequences::draw(training.batch_size, seq_len, random);
            Ok(trainer.step(&[("x", &x), ("y", &y)])?)
        }))
    }

    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation> {
        Ok(trainer.evaluate(&[("x", &self.test.x), ("y", &self.test.y)], EVALUATION_BATCH)?)
    }

    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String {
        let Config { cell, seq_len, ref training, .. } = self.config;
        let (optimizer, schedule) = (trainer.optimizer().name(), training.schedule_name());
        let (seed, error) = (training.seed, test.loss);
        format!(
            "{cell} on sums over {seq_len} steps, {optimizer}, {schedule}, seed {seed}: squared error {error:.5}"
        )
    }
}
