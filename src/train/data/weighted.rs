use std::collections::BTreeMap;

use rand::RngExt;

use super::Sampler;
use super::batches::generator;
use crate::error::{Error, at_least};

/// Random samples, each drawn with a probability in proportion to its weight, as torch's [`WeightedRandomSampler`].
///
/// Samples are drawn with replacement: a sample may come several times in an epoch, or not at all. After
/// [`without_replacement`](Self::without_replacement), each draw is among the samples that are left. The draws depend
/// only on the seed, the epoch and the weights.
///
/// ```
/// use gradus::train::data::{DataLoader, Dataset, Sampler, WeightedRandomSampler};
///
/// let data = Dataset::new(vec![0.0, 0.1, 0.2, 0.3], &[1], vec![0, 0, 0, 1], 2)?;
/// let sampler = WeightedRandomSampler::balanced(data.y(), 7)?;
/// let ones = sampler.indices(4, 0)?.iter().filter(|&&index| index == 3).count();
/// let loader = DataLoader::new(&data, 2)?.sampler(sampler)?;
///
/// let never = WeightedRandomSampler::new(vec![0.0, 1.0, 2.0, 0.0], 100, 7)?;
/// assert!(never.indices(4, 0)?.iter().all(|index| [1, 2].contains(index)));
/// # let _ = (ones, loader);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// [`WeightedRandomSampler`]: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler
#[derive(Clone, Debug)]
pub struct WeightedRandomSampler {
    weights: Vec<f64>,
    num_samples: usize,
    replacement: bool,
    seed: u64,
}

impl WeightedRandomSampler {
    /// `num_samples` samples an epoch; `weights` has one weight for each sample of the data set, and need not add up to
    /// 1.
    ///
    /// # Errors
    /// [`Error::Constant`] for a weight that is negative or not finite, if all are 0 or their sum overflows, and for
    /// `num_samples` of 0 or above `u32::MAX`.
    pub fn new(weights: Vec<f64>, num_samples: usize, seed: u64) -> Result<Self, Error> {
        for (at, &weight) in weights.iter().enumerate() {
            at_least(&format!("weights[{at}]"), weight, 0.0)?;
        }
        // The sum of none is -0.
        let sum = weights.iter().sum::<f64>() + 0.0;
        if !(sum > 0.0 && sum.is_finite()) {
            return Err(Error::constant("the sum of weights", "finite and above 0", sum));
        }
        if num_samples == 0 {
            return Err(Error::constant("num_samples", "at least 1", num_samples));
        }
        if u32::try_from(num_samples).is_err() {
            return Err(Error::constant("num_samples", format!("at most {}", u32::MAX), num_samples));
        }
        Ok(Self { weights, num_samples, replacement: true, seed })
    }

    /// As many samples as there are labels, of each class as many on average: a sample has one part in the number of
    /// samples of its class as weight.
    ///
    /// # Errors
    /// [`Error::Constant`] without labels.
    pub fn balanced(labels: &[u32], seed: u64) -> Result<Self, Error> {
        let mut counts = BTreeMap::<u32, f64>::new();
        labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1.0);
        Self::new(labels.iter().map(|label| 1.0 / counts[label]).collect(), labels.len(), seed)
    }

    /// Draws no sample twice in an epoch.
    ///
    /// # Errors
    /// [`Error::Constant`] if there are fewer samples with a weight above 0 than are to be drawn.
    pub fn without_replacement(self) -> Result<Self, Error> {
        let most = self.weights.iter().filter(|weight| **weight > 0.0).count();
        if self.num_samples > most {
            let allowed = format!("at most the {most} samples with a weight above 0");
            return Err(Error::constant("num_samples", allowed, self.num_samples));
        }
        Ok(Self { replacement: false, ..self })
    }

    /// Draws by the sums of weights up to each sample.
    fn draw(&self, epoch: u64) -> Vec<usize> {
        let mut random = generator(self.seed, epoch);
        let sums: Vec<f64> = self
            .weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let total = sums.last().copied().unwrap_or(0.0);
        // Where the product is rounded up to the total.
        let last = self.weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
        let mut one = || {
            let place = random.random::<f64>() * total;
            // The first sum above it: a weight of 0 adds nothing, so its sample is never the first.
            sums.partition_point(|sum| *sum <= place).min(last)
        };
        (0..self.num_samples).map(|_| one()).collect()
    }

    /// Draws without replacement: of exponential times at the rates of the weights, the earliest in order (Efraimidis
    /// and Spirakis 2006).
    fn draw_apart(&self, epoch: u64) -> Vec<usize> {
        let mut random = generator(self.seed, epoch);
        // Logarithms of the times, which do not overflow.
        let mut time = |weight: &f64| (-(1.0 - random.random::<f64>()).ln()).ln() - weight.ln();
        let mut times: Vec<(f64, usize)> = self.weights.iter().map(&mut time).zip(0..).collect();
        times.retain(|(_, index)| self.weights[*index] > 0.0);
        times.sort_by(|(a, i), (b, j)| a.total_cmp(b).then(i.cmp(j)));
        times.into_iter().map(|(_, index)| index).take(self.num_samples).collect()
    }
}

impl Sampler for WeightedRandomSampler {
    fn indices(&self, samples: usize, epoch: u64) -> Result<Vec<u32>, Error> {
        if self.weights.len() != samples {
            let (what, got) = ("weights of a sampler".into(), self.weights.len());
            return Err(Error::Length { what, expected: samples, got });
        }
        let drawn = if self.replacement { self.draw(epoch) } else { self.draw_apart(epoch) };
        // A data set has at most `u32::MAX` samples.
        let number =
            |index| u32::try_from(index).map_err(|_| Error::constant("samples", "below 2^32", index));
        drawn.into_iter().map(number).collect()
    }
}
