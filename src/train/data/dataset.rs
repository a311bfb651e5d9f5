use super::batches::{Batch, Batches, Shuffled, shuffle};
use crate::error::Error;

/// Samples of one shape, each with the label of its class.
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
pub struct Dataset {
    x: Vec<f32>,
    shape: Vec<usize>,
    y: Vec<u32>,
    n_classes: u32,
}

impl Dataset {
    /// Samples of `shape` one after the other in `x`, and a label below `n_classes` for each in `y`.
    ///
    /// # Errors
    /// [`Error::Length`] if `x` and `y` are not of the same number of samples, [`Error::Constant`] for
    /// a label out of range, [`Error::Config`] if there is no sample or a sample has no elements.
    pub fn new(x: Vec<f32>, shape: &[usize], y: Vec<u32>, n_classes: u32) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config { what: "dataset".into(), reason };
        let size = shape
            .iter()
            .try_fold(1, |size: usize, &extent| size.checked_mul(extent))
            .filter(|&size| size > 0)
            .ok_or_else(|| refuse(format!("samples of shape {shape:?} cannot be held")))?;
        if y.is_empty() {
            return Err(refuse("needs at least one sample".into()));
        }
        if size.checked_mul(y.len()) != Some(x.len()) {
            return Err(Error::Length {
                what: format!("x of {} samples of shape {shape:?}", y.len()),
                expected: y.len().saturating_mul(size),
                got: x.len(),
            });
        }
        if let Some((index, &label)) = y.iter().enumerate().find(|&(_, &label)| label >= n_classes) {
            return Err(Error::constant(format!("label {index}"), format!("below {n_classes}"), label));
        }
        Ok(Self { x, shape: shape.to_vec(), y, n_classes })
    }

    /// The number of samples, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// The shape of one sample.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All samples, one after the other.
    #[must_use]
    pub fn x(&self) -> &[f32] {
        &self.x
    }

    /// The label of each sample.
    #[must_use]
    pub fn y(&self) -> &[u32] {
        &self.y
    }

    /// The number of classes: every label is below it.
    #[must_use]
    pub fn n_classes(&self) -> u32 {
        self.n_classes
    }

    /// A copy of the samples with these indices, in their order; an index may come again.
    ///
    /// # Errors
    /// [`Error::Constant`] for an index past the end, [`Error::Config`] if there is none.
    pub fn subset(&self, indices: &[usize]) -> Result<Self, Error> {
        if let Some(index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::constant("sample index", format!("below {}", self.len()), index));
        }
        let Batch { x, y } = self.gather(indices);
        Self::new(x, &self.shape, y, self.n_classes)
    }

    /// The samples in an order drawn for one epoch.
    ///
    /// The order is a Fisher-Yates shuffle that depends on nothing but `seed`, `epoch` and the number of
    /// samples, so that a run resumed at any epoch goes on as it would have.
    #[must_use]
    pub fn shuffled(&self, seed: u64, epoch: u64) -> Shuffled<'_> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        shuffle(&mut order, seed, epoch);
        Shuffled::new(self, order)
    }

    /// The samples in their own order, `batch_size` at a time; the last batch may be smaller.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn batches(&self, batch_size: usize) -> Result<Batches<'_>, Error> {
        Batches::new(self, (0..self.len()).collect(), batch_size)
    }

    /// The same samples with the labels dealt out anew, for a control that must learn nothing.
    ///
    /// The order depends on nothing but `seed` and the number of samples; how often a label occurs stays.
    #[must_use]
    pub fn shuffle_labels(mut self, seed: u64) -> Self {
        // No epoch reaches this number.
        shuffle(&mut self.y, seed, u64::MAX);
        self
    }

    pub(super) fn gather(&self, indices: &[usize]) -> Batch {
        let size: usize = self.shape.iter().product();
        let mut x = Vec::with_capacity(indices.len() * size);
        for index in indices {
            x.extend_from_slice(&self.x[index * size..][..size]);
        }
        Batch { x, y: indices.iter().map(|&index| self.y[index]).collect() }
    }
}
