use super::batches::{Batch, Batches, Shuffled, shuffle};
use super::{Normalization, Target, Values};
use crate::error::Error;

/// Samples of one shape, each with a target: a class label (`Dataset`, that is `Dataset<u32>`) or numbers to predict
/// (`Dataset<f32>`, made by [`Dataset::regression`]).
///
/// Values are stored as given, as f32 or bytes. The [`Normalization`] maps them to the numbers of a sample; it is
/// applied when numbers are read, in batches and by [`numbers`](Self::numbers).
///
/// ```
/// use gradus::train::data::Dataset;
///
/// let data = Dataset::new(vec![0.0, 0.1, 1.0, 1.1, 2.0, 2.1], &[2], vec![0, 1, 1], 2)?;
/// let mut seen = 0;
/// for batch in data.shuffled(7, 0).batches(2)? {
///     assert_eq!(batch.x.len(), 2 * batch.y.len());
///     seen += batch.y.len();
/// }
/// assert_eq!(seen, 3);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset<Y: Target = u32> {
    values: Values,
    shape: Vec<usize>,
    /// One target after the other.
    y: Vec<Y>,
    /// The shape of one target; empty for labels.
    target_shape: Vec<usize>,
    /// 0 unless the targets are labels.
    n_classes: u32,
    normalization: Normalization,
    /// Empty if the values are f32.
    table: Vec<f32>,
}

impl Dataset {
    /// A data set of f32 samples: the samples of `shape` one after the other in `x`, and a label below `n_classes` for
    /// each in `y`.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` and `y` have different numbers of samples; [`Error::Constant`] for a label out of range
    /// or more than `u32::MAX` samples; [`Error::Config`] if there are no samples or samples have no elements.
    pub fn new(x: Vec<f32>, shape: &[usize], y: Vec<u32>, n_classes: u32) -> Result<Self, Error> {
        Self::from_values(x.into(), shape, y, n_classes)
    }

    /// As [`new`](Self::new), for bytes. Until it is [`normalized`](Self::normalized), a byte's number is its value, 0
    /// to 255.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn from_u8(pixels: Vec<u8>, shape: &[usize], y: Vec<u32>, n_classes: u32) -> Result<Self, Error> {
        Self::from_values(pixels.into(), shape, y, n_classes)
    }

    /// As [`new`](Self::new) or [`from_u8`](Self::from_u8).
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub fn from_values(values: Values, shape: &[usize], y: Vec<u32>, n_classes: u32) -> Result<Self, Error> {
        let data = Self::of_parts(values, shape, (y, &[]), n_classes)?;
        match data.y.iter().enumerate().find(|&(_, &label)| label >= n_classes) {
            None => Ok(data),
            Some((index, &label)) => {
                Err(Error::constant(format!("label {index}"), format!("below {n_classes}"), label))
            }
        }
    }

    /// The number of classes: every label is below it.
    #[must_use]
    pub fn n_classes(&self) -> u32 {
        self.n_classes
    }

    /// The same samples with shuffled labels, for a control experiment that must learn nothing.
    ///
    /// The order depends only on `seed` and the number of samples. The number of samples in each class does not change.
    #[must_use]
    pub fn shuffle_labels(mut self, seed: u64) -> Self {
        // No epoch has this number.
        shuffle(&mut self.y, seed, u64::MAX);
        self
    }
}

impl Dataset<f32> {
    /// A data set for regression: the samples of `shape` one after the other in `x`, f32 or bytes, and for each the
    /// numbers of `target_shape` in `y`; `&[]` for one number, as an input `y` of shape `[N]` takes it, and `&[k]` for
    /// `k`, as one of shape `[N, k]` does.
    ///
    /// ```
    /// use gradus::train::data::Dataset;
    ///
    /// let data = Dataset::regression(vec![0.0, 0.1, 1.0, 1.1], &[2], vec![3.5, -1.0], &[])?;
    /// assert_eq!((data.len(), data.y()), (2, &[3.5, -1.0][..]));
    /// let batch = data.shuffled(7, 0).batches(2)?.next();
    /// assert_eq!(batch.map(|batch| batch.y.len()), Some(2));
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`new`](Dataset::new), and [`Error::Constant`] for a target that is not finite.
    pub fn regression(
        x: impl Into<Values>,
        shape: &[usize],
        y: Vec<f32>,
        target_shape: &[usize],
    ) -> Result<Self, Error> {
        if let Some((at, value)) = y.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::constant(format!("target {at}"), "finite", value));
        }
        Self::of_parts(x.into(), shape, (y, target_shape), 0)
    }
}

impl<Y: Target> Dataset<Y> {
    /// Checks everything but the targets themselves.
    fn of_parts(
        values: Values,
        shape: &[usize],
        (y, target_shape): (Vec<Y>, &[usize]),
        n_classes: u32,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config { what: "dataset".into(), reason };
        let elements = |what: &str, shape: &[usize]| {
            let size = shape.iter().try_fold(1, |size: usize, &extent| size.checked_mul(extent));
            size.filter(|&size| size > 0).ok_or_else(|| {
                refuse(format!("{what} of shape {shape:?} must have elements and fit in memory"))
            })
        };
        let (size, target_size) = (elements("samples", shape)?, elements("targets", target_shape)?);
        if y.is_empty() {
            return Err(refuse("needs at least one sample".into()));
        }
        let samples = y.len() / target_size;
        if !y.len().is_multiple_of(target_size) {
            return Err(Error::Length {
                what: format!("y of targets of shape {target_shape:?}"),
                expected: y.len().next_multiple_of(target_size),
                got: y.len(),
            });
        }
        check_count(samples)?;
        if size.checked_mul(samples) != Some(values.len()) {
            return Err(Error::Length {
                what: format!("x of {samples} samples of shape {shape:?}"),
                expected: samples.saturating_mul(size),
                got: values.len(),
            });
        }
        let normalization = Normalization::identity(channels(shape));
        let data = Self {
            values,
            shape: shape.to_vec(),
            y,
            target_shape: target_shape.to_vec(),
            n_classes,
            normalization: normalization.clone(),
            table: Vec::new(),
        };
        data.normalized(&normalization)
    }

    /// The same samples with another normalisation, which replaces the current one.
    ///
    /// It holds one mean and deviation for each [channel](Self::channels) or, if the samples are f32, for each element
    /// of a sample, as [`Normalization::fit_features`] makes it.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of them.
    pub fn normalized(mut self, normalization: &Normalization) -> Result<Self, Error> {
        let numbers = normalization.mean().len();
        let of_elements = matches!(self.values, Values::F32(_)) && numbers == self.sample_size();
        if numbers != self.channels() && !of_elements {
            return Err(Error::Length {
                what: format!("normalization of samples of shape {:?}", self.shape),
                expected: self.channels(),
                got: normalization.mean().len(),
            });
        }
        self.normalization = normalization.clone();
        if let Values::U8(_) = self.values {
            self.table = normalization.table();
        }
        Ok(self)
    }

    /// The number of samples, from 1 to `u32::MAX`.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.y.len() / self.target_size()
    }

    /// The shape of one sample.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of channels of a sample: its first dimension if it has three, else 1.
    #[must_use]
    pub fn channels(&self) -> usize {
        channels(&self.shape)
    }

    /// All stored values, one sample after the other, not normalised.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The normalisation of the samples.
    #[must_use]
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The number for each byte value in each channel, `channels x 256`; `None` if the samples are f32.
    #[must_use]
    pub fn table(&self) -> Option<&[f32]> {
        (!self.table.is_empty()).then_some(&self.table)
    }

    /// A copy of all samples, one after the other, normalised.
    #[must_use]
    pub fn numbers(&self) -> Vec<f32> {
        let mut x = Vec::with_capacity(self.values.len());
        for sample in 0..self.len() {
            self.append(sample, &mut x);
        }
        x
    }

    /// The target of each sample, one after the other: a label, or the numbers of [`target_shape`](Self::target_shape).
    #[must_use]
    pub fn y(&self) -> &[Y] {
        &self.y
    }

    /// The shape of one target; empty for one number and for a label.
    #[must_use]
    pub fn target_shape(&self) -> &[usize] {
        &self.target_shape
    }

    /// A copy of the samples with these indices, in this order. Indices may repeat.
    ///
    /// # Errors
    /// [`Error::Constant`] for an index past the end; [`Error::Config`] without indices.
    pub fn subset(&self, indices: &[usize]) -> Result<Self, Error> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::constant("sample index", format!("below {}", self.len()), index));
        }
        let values = self.values.runs(self.sample_size(), indices);
        let y = indices.iter().flat_map(|&index| self.target(index)).copied().collect();
        let subset = Self::of_parts(values, &self.shape, (y, &self.target_shape), self.n_classes)?;
        subset.normalized(&self.normalization)
    }

    /// The samples in a random order for one epoch.
    ///
    /// The order is a Fisher-Yates shuffle that depends only on `seed`, `epoch` and the number of samples, so a resumed
    /// run sees the same order.
    #[must_use]
    pub fn shuffled(&self, seed: u64, epoch: u64) -> Shuffled<'_, Y> {
        let mut order = self.order();
        shuffle(&mut order, seed, epoch);
        Shuffled::new(self, order)
    }

    /// The samples in stored order, `batch_size` at a time; the last batch may be smaller.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn batches(&self, batch_size: usize) -> Result<Batches<'_, Y>, Error> {
        Batches::new(self, self.order(), batch_size)
    }

    fn order(&self) -> Vec<u32> {
        (0..).take(self.len()).collect()
    }

    /// Replaces a batch with the samples of these indices, in its own memory.
    pub(super) fn gather_into(&self, indices: &[u32], batch: &mut Batch<Y>) {
        batch.x.clear();
        batch.y.clear();
        batch.x.reserve(indices.len() * self.sample_size());
        for &index in indices {
            self.append(index as usize, &mut batch.x);
            batch.y.extend(self.target(index as usize));
        }
    }

    /// Elements of one sample.
    pub(super) fn sample_size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements of one target.
    pub(super) fn target_size(&self) -> usize {
        self.target_shape.iter().product()
    }

    fn target(&self, index: usize) -> &[Y] {
        let size = self.target_size();
        &self.y[index * size..][..size]
    }

    fn append(&self, sample: usize, x: &mut Vec<f32>) {
        let (size, channels) = (self.sample_size(), self.normalization.mean().len());
        let plane = size / channels;
        let planes = (0..channels).map(|channel| (channel, sample * size + channel * plane));
        for (channel, start) in planes {
            match &self.values {
                Values::U8(bytes) => {
                    let table = &self.table[channel * 256..][..256];
                    x.extend(bytes[start..][..plane].iter().map(|&byte| table[usize::from(byte)]));
                }
                Values::F32(values) => x.extend(
                    (values[start..][..plane].iter())
                        .map(|&value| self.normalization.number(channel, value.into())),
                ),
            }
        }
    }
}

fn channels(shape: &[usize]) -> usize {
    if let [channels, _, _] = shape { *channels } else { 1 }
}

/// Sample indices are u32, as on the device.
fn check_count(samples: usize) -> Result<(), Error> {
    if u32::try_from(samples).is_ok() {
        return Ok(());
    }
    Err(Error::constant("the number of samples", format!("at most {}", u32::MAX), samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn more_samples_than_u32_numbers_are_refused() {
        assert_eq!(check_count(u32::MAX as usize), Ok(()));
        let message = "the number of samples must be at most 4294967295, got 4294967296";
        assert_eq!(check_count(1 << 32).unwrap_err().to_string(), message);
    }
}
