use serde::{Deserialize, Serialize};

use super::{Dataset, Target, Values};
use crate::error::{Error, above, finite};

/// Maps stored values to the numbers of samples: `(value - mean) / std` of the value's channel.
///
/// Channels are the first dimension of samples of three dimensions, `[channel, height, width]`; samples of any other
/// shape have one channel. Samples of f32 may have a mean and deviation for each element instead, see
/// [`fit_features`](Self::fit_features). The number is computed in f64 and rounded once to f32. As in torchvision's [`Normalize`],
/// `mean` and `std` have the units of the values: for bytes, 0 to 255.
///
/// Deserializing checks it as [`new`](Self::new) does.
///
/// [`Normalize`]: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Normalize.html
///
/// ```
/// use gradus::train::data::{Dataset, Normalization};
///
/// let train = Dataset::from_u8(vec![0, 4, 8, 12], &[2], vec![0, 1], 2)?;
/// let fitted = Normalization::fit(&train)?;
/// assert_eq!((fitted.mean(), fitted.std()), (&[6.0][..], &[20_f64.sqrt()][..]));
///
/// let halved = Normalization::new(vec![0.0], vec![2.0])?;
/// assert_eq!(train.normalized(&halved)?.numbers(), [0.0, 2.0, 4.0, 6.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Normalization {
    mean: Vec<f64>,
    std: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl TryFrom<Fields> for Normalization {
    type Error = Error;

    fn try_from(Fields { mean, std }: Fields) -> Result<Self, Error> {
        Self::new(mean, std)
    }
}

impl Normalization {
    /// [`Error::Length`] if their numbers differ; [`Error::Config`] if there are none; [`Error::Constant`] unless all
    /// are finite and each `std` is above 0.
    /// # Errors
    /// [`Error::Length`] unless there are as many of both, [`Error::Config`] if there is none, and
    /// [`Error::Constant`] unless all are finite and each `std` is above 0.
    pub fn new(mean: Vec<f64>, std: Vec<f64>) -> Result<Self, Error> {
        if mean.is_empty() {
            return Err(Error::Config {
                what: "normalization".into(),
                reason: "needs at least one channel".into(),
            });
        }
        if mean.len() != std.len() {
            return Err(Error::Length {
                what: "std of a normalization".into(),
                expected: mean.len(),
                got: std.len(),
            });
        }
        for (channel, (&mean, &std)) in mean.iter().zip(&std).enumerate() {
            finite(&format!("mean[{channel}]"), mean)?;
            above(&format!("std[{channel}]"), std, 0.0)?;
        }
        Ok(Self { mean, std })
    }

    /// Keeps the values of `channels` channels as they are. With 0 channels it fits no dataset.
    #[must_use]
    pub fn identity(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Fits the mean and standard deviation of each channel to all stored values of `data`, whatever its current
    /// normalisation is.
    ///
    /// It is the population's standard deviation (torch's `correction=0`, numpy's `ddof=0`). A channel of equal values
    /// gets a standard deviation of 1. Sums are in f64, in the order of the samples.
    ///
    /// # Errors
    /// [`Error::Constant`] if a value is infinite or NaN.
    pub fn fit<Y: Target>(data: &Dataset<Y>) -> Result<Self, Error> {
        Self::fit_planes(data, data.channels())
    }

    /// As [`fit`](Self::fit), for each element of a sample, such as the columns of a table: scikit-learn's
    /// [`StandardScaler`].
    ///
    /// [`StandardScaler`]: https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.StandardScaler.html
    ///
    /// ```
    /// use gradus::train::data::{Dataset, Normalization};
    ///
    /// let data = Dataset::regression(vec![1.0, 500.0, 3.0, 700.0], &[2], vec![0.0, 1.0], &[])?;
    /// let fitted = Normalization::fit_features(&data)?;
    /// assert_eq!((fitted.mean(), fitted.std()), (&[2.0, 600.0][..], &[1.0, 100.0][..]));
    /// assert_eq!(data.normalized(&fitted)?.numbers(), [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`fit`](Self::fit); and [`Error::Config`] for samples of bytes that have more elements than channels.
    pub fn fit_features<Y: Target>(data: &Dataset<Y>) -> Result<Self, Error> {
        let size = data.sample_size();
        if matches!(data.values(), Values::U8(_)) && size != data.channels() {
            let reason = "samples of bytes are normalised by channel: store them as f32";
            return Err(Error::Config { what: "normalization of features".into(), reason: reason.into() });
        }
        Self::fit_planes(data, size)
    }

    /// The mean and deviation of each of `channels` equal parts of the samples.
    fn fit_planes<Y: Target>(data: &Dataset<Y>, channels: usize) -> Result<Self, Error> {
        let size = data.sample_size();
        let plane = size / channels;
        let n = (data.len() * plane) as f64;
        let fit = |channel| {
            let values = || {
                (0..data.len()).flat_map(move |sample| {
                    (0..plane).map(move |at| data.values().at(sample * size + channel * plane + at))
                })
            };
            // Sums of differences from one value, so that equal values have a deviation of exactly 0.
            let first = data.values().at(channel * plane);
            let mean = first + values().map(|value| value - first).sum::<f64>() / n;
            let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            (mean, if variance == 0.0 { 1.0 } else { variance.sqrt() })
        };
        let (mean, std) = (0..channels).map(fit).unzip();
        Self::new(mean, std)
    }

    /// The mean of each channel.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each channel.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The number for each byte value in each channel, one channel after the other: `channels x 256`.
    #[must_use]
    pub fn table(&self) -> Vec<f32> {
        let channels = 0..self.mean.len();
        channels
            .flat_map(|channel| (0..=u8::MAX).map(move |byte| self.number(channel, byte.into())))
            .collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    pub(super) fn number(&self, channel: usize, value: f64) -> f32 {
        ((value - self.mean[channel]) / self.std[channel]) as f32
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MEAN: [f64; 3] = [125.3, 0.0, -1e-3];
    const STD: [f64; 3] = [63.0, 1.0, 1.0 / 3.0];

    /// Two samples of `[3, 16, 16]` that together hold every byte in every channel.
    fn bytes() -> Dataset {
        let pixels = (0..6).flat_map(|plane| (0..=255_u8).map(move |at| at.wrapping_mul(plane * 2 + 1)));
        Dataset::from_u8(pixels.collect(), &[3, 16, 16], vec![1, 0], 2).unwrap()
    }

    fn as_f32(data: &Dataset) -> Dataset {
        Dataset::new(data.numbers(), data.shape(), data.y().to_vec(), data.n_classes()).unwrap()
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is tested")]
    fn bytes_and_floats_give_the_numbers_of_the_formula() {
        let raw = bytes();
        let normalization = Normalization::new(MEAN.to_vec(), STD.to_vec()).unwrap();
        let expected: Vec<f32> = (raw.numbers().iter().enumerate())
            .map(|(at, &value)| ((f64::from(value) - MEAN[at / 256 % 3]) / STD[at / 256 % 3]) as f32)
            .collect();
        for data in [raw.clone(), as_f32(&raw)] {
            let data = data.normalized(&normalization).unwrap();
            assert_eq!(data.numbers(), expected);
            let batch = data.shuffled(3, 0).batches(2).unwrap().next().unwrap();
            let second_first = batch.y == [0, 1];
            let expected =
                if second_first { [&expected[768..], &expected[..768]].concat() } else { expected.clone() };
            assert_eq!(batch.x, expected);
        }
    }

    #[test]
    fn the_table_belongs_to_bytes() {
        let data = bytes();
        let identity: Vec<f32> = (0..3).flat_map(|_| (0..=255_u8).map(f32::from)).collect();
        assert_eq!(data.table(), Some(&identity[..]));
        let normalization = Normalization::new(MEAN.to_vec(), STD.to_vec()).unwrap();
        let table = normalization.table();
        assert_eq!(as_f32(&data).normalized(&normalization).unwrap().table(), None);
        assert_eq!(data.normalized(&normalization).unwrap().table(), Some(&table[..]));
        assert_eq!((table.len(), table[0], table[256 + 7]), (768, -1.988_888_9, 7.0));
    }

    #[test]
    fn nothing_is_normalised_twice() {
        let raw = bytes();
        let fitted = Normalization::fit(&raw).unwrap();
        let once = raw.clone().normalized(&fitted).unwrap();
        assert_eq!(once.clone().normalized(&fitted).unwrap(), once);
        assert_eq!(Normalization::fit(&once).unwrap(), fitted);
        assert_eq!((once.values(), once.normalization()), (raw.values(), &fitted));
        assert_eq!(once.subset(&[0, 1]).unwrap(), once);
        assert_eq!(once.subset(&[1]).unwrap().numbers(), once.numbers()[768..]);
        assert_eq!(once.normalized(&Normalization::identity(3)).unwrap(), raw);
    }

    #[test]
    fn fitted_samples_have_no_mean_and_a_deviation_of_one() {
        let raw = bytes();
        for data in [raw.clone(), as_f32(&raw)] {
            let fitted = Normalization::fit(&data).unwrap();
            // Every byte as often as any other: the variance is (256^2 - 1) / 12.
            assert_eq!(fitted.mean(), [127.5; 3]);
            assert_eq!(fitted.std(), [(65535.0_f64 / 12.0).sqrt(); 3]);
            let again = Normalization::fit(&as_f32(&data.normalized(&fitted).unwrap())).unwrap();
            assert!(again.mean().iter().all(|mean| mean.abs() < 1e-8), "{again:?}");
            assert!(again.std().iter().all(|std| (std - 1.0).abs() < 1e-8), "{again:?}");
        }
    }

    #[test]
    fn a_channel_of_one_value_has_a_deviation_of_one() {
        let data = Dataset::new(vec![0.1; 21], &[3, 1, 1], vec![0; 7], 1).unwrap();
        let fitted = Normalization::fit(&data).unwrap();
        assert_eq!((fitted.mean(), fitted.std()), (&[f64::from(0.1_f32); 3][..], &[1.0; 3][..]));
        assert_eq!(data.normalized(&fitted).unwrap().numbers(), [0.0; 21]);
    }

    #[test]
    fn only_three_dimensions_have_channels() {
        for (shape, channels) in [(&[6][..], 1), (&[2, 3], 1), (&[3, 1, 2], 3), (&[3, 1, 2, 1], 1)] {
            let data = Dataset::new(vec![0.0; 6], shape, vec![0], 1).unwrap();
            assert_eq!(Normalization::fit(&data).unwrap().mean().len(), channels, "{shape:?}");
        }
    }

    #[test]
    fn json_keeps_every_bit_and_is_checked() {
        let fitted = Normalization::new(vec![0.1 + 0.2, 1e-310], vec![f64::MIN_POSITIVE, 1.0 / 3.0]).unwrap();
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<Normalization>(&text).unwrap(), fitted);
        let rows = [
            (json!({"mean": [0.0], "std": [0.0]}), "std[0] must be finite and above 0, got 0"),
            (json!({"mean": [0.0], "std": [1, 2]}), "std of a normalization: expected 1 elements, got 2"),
            (json!({"mean": [], "std": []}), "normalization: needs at least one channel"),
            (json!({"mean": [0.0]}), "missing field `std`"),
            (json!({"mean": [0], "std": [1], "n": 1}), "unknown field `n`, expected `mean` or `std`"),
        ];
        for (json, message) in rows {
            assert_eq!(serde_json::from_value::<Normalization>(json).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let rows = [
            (Normalization::new(vec![0.0, f64::NAN], vec![1.0; 2]), "mean[1] must be finite, got NaN"),
            (
                Normalization::new(vec![0.0], vec![f64::INFINITY]),
                "std[0] must be finite and above 0, got inf",
            ),
            (
                Normalization::fit(&Dataset::new(vec![0.0, f32::NAN], &[1], vec![0, 0], 1).unwrap()),
                "mean[0] must be finite, got NaN",
            ),
        ];
        for (result, message) in rows {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
    }
}
