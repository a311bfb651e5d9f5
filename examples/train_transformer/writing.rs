//! Text generation, one character at a time.

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::options::positive;
use crate::text::Vocabulary;

#[derive(clap::Args)]
pub(crate) struct Writing {
    /// Number of characters to generate.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "400")]
    generate: usize,
    /// Text before the generated text, at most one context long. Default: the start of a line.
    #[arg(long)]
    prompt: Option<String>,
    /// Divisor of the logits; 0 always selects the most likely character.
    #[arg(long, value_parser = temperature, default_value = "0.8")]
    temperature: f64,
    /// Seed for sampling.
    #[arg(long, default_value = "1")]
    sample_seed: u64,
}

fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it must be a finite number of at least 0".into())
}

impl Writing {
    /// The prompt as character indices.
    pub(crate) fn prompt(&self, vocabulary: &Vocabulary, context: usize) -> Result<Vec<u32>> {
        let prompt = match &self.prompt {
            Some(prompt) => prompt.clone(),
            None => vocabulary.beginning().into_iter().collect(),
        };
        let characters = prompt.chars().count();
        ensure!(
            (1..=context).contains(&characters),
            "--prompt must have from 1 to {context} characters, as many as the model's context, got {characters}"
        );
        vocabulary.encode(&prompt).context("--prompt")
    }

    /// The prompt, if given, followed by generated text. `logits` computes the logits of one context.
    pub(crate) fn write(
        &self,
        mut logits: impl FnMut(&Vec<u32>) -> Result<Vec<f32>>,
        vocabulary: &Vocabulary,
        prompt: &[u32],
        context: usize,
    ) -> Result<String> {
        let kinds = vocabulary.len();
        let mut random = Pcg64::seed_from_u64(self.sample_seed);
        let mut written = prompt.to_vec();
        let mut text = self.prompt.clone().unwrap_or_default();
        for _ in 0..self.generate {
            let mut window = written[written.len().saturating_sub(context)..].to_vec();
            let last = window.len() - 1;
            // Later positions are not seen.
            window.resize(context, 0);
            let all = logits(&window)?;
            let chosen = self.choose(&all[last * kinds..][..kinds], random.random());
            text.extend(vocabulary.character(chosen));
            written.push(u32::try_from(chosen)?);
        }
        Ok(text)
    }

    /// Selects a character from its logits, for a uniform random number in `[0, 1)`.
    fn choose(&self, logits: &[f32], uniform: f64) -> usize {
        let best = (0..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
        if self.temperature == 0.0 {
            return best;
        }
        let weight = |logit: &f32| (f64::from(logit - logits[best]) / self.temperature).exp();
        let mut left = uniform * logits.iter().map(weight).sum::<f64>();
        let passed = |logit| {
            left -= weight(logit);
            left < 0.0
        };
        logits.iter().position(passed).unwrap_or(best)
    }
}
