//! Labelled samples in memory: splits, shuffles and batches.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

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
        Shuffled { data: self, order }
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

    fn gather(&self, indices: &[usize]) -> Batch {
        let size: usize = self.shape.iter().product();
        let mut x = Vec::with_capacity(indices.len() * size);
        for index in indices {
            x.extend_from_slice(&self.x[index * size..][..size]);
        }
        Batch { x, y: indices.iter().map(|&index| self.y[index]).collect() }
    }
}

/// A [`Dataset`] in the order of one epoch; see [`Dataset::shuffled`].
#[derive(Clone, Debug)]
pub struct Shuffled<'a> {
    data: &'a Dataset,
    order: Vec<usize>,
}

impl<'a> Shuffled<'a> {
    /// The index of each sample in the dataset, in the order of the epoch.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The samples in this order, `batch_size` at a time; the last batch may be smaller.
    ///
    /// # Errors
    /// [`Error::Constant`] if `batch_size` is 0.
    pub fn batches(self, batch_size: usize) -> Result<Batches<'a>, Error> {
        Batches::new(self.data, self.order, batch_size)
    }
}

/// Copies of some samples and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The samples, one after the other.
    pub x: Vec<f32>,
    /// Their labels.
    pub y: Vec<u32>,
}

/// The batches of one epoch: every sample once.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    data: &'a Dataset,
    order: Vec<usize>,
    batch_size: usize,
    next: usize,
}

impl<'a> Batches<'a> {
    fn new(data: &'a Dataset, order: Vec<usize>, batch_size: usize) -> Result<Self, Error> {
        if batch_size == 0 {
            return Err(Error::constant("batch_size", "at least 1", batch_size));
        }
        Ok(Self { data, order, batch_size, next: 0 })
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let rest = &self.order[self.next..];
        let taken = rest.len().min(self.batch_size);
        self.next += taken;
        (taken > 0).then(|| self.data.gather(&rest[..taken]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.order.len() - self.next).div_ceil(self.batch_size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

/// Splits samples into a training and a test set of `n_test`, with each class in proportion.
///
/// A class of `n` among `N` samples gives the whole part of `n_test * n / N` to the test set, and what
/// is then missing comes one each from the classes with the largest remainders, at a tie from the
/// smaller label. Of a class that gives `t`, the test set takes the samples at the places
/// `floor((2 i + 1) n / (2 t))`, `i` from 0, spread evenly over the class in its given order. So the
/// split is fixed: no seed changes it. Both lists of indices are sorted.
///
/// # Errors
/// [`Error::Constant`] unless `n_test` is at least 1 and below the number of samples.
///
/// ```
/// use gradus::train::data::stratified_split;
///
/// let (train, test) = stratified_split(&[0, 0, 0, 0, 1, 1], 3)?;
/// assert_eq!((train, test), (vec![0, 2, 4], vec![1, 3, 5]));
/// # Ok::<(), gradus::Error>(())
/// ```
pub fn stratified_split(labels: &[u32], n_test: usize) -> Result<(Vec<usize>, Vec<usize>), Error> {
    if n_test == 0 || n_test >= labels.len() {
        let allowed = format!("at least 1 and below the {} samples", labels.len());
        return Err(Error::constant("n_test", allowed, n_test));
    }
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (index, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(index);
    }
    let share = |class: &Vec<usize>| divide(n_test, class.len(), labels.len());
    let missing = n_test - classes.values().map(|class| share(class).0).sum::<usize>();
    let mut by_remainder: Vec<u32> = classes.keys().copied().collect();
    // The sort is stable, so that ties stay in the order of the labels.
    by_remainder.sort_by_key(|label| std::cmp::Reverse(share(&classes[label]).1));
    let lucky = &by_remainder[..missing];

    let mut is_test = vec![false; labels.len()];
    for (label, class) in &classes {
        let taken = share(class).0 + usize::from(lucky.contains(label));
        for i in 0..taken {
            is_test[class[divide(2 * i + 1, class.len(), 2 * taken).0]] = true;
        }
    }
    let (test, train) = (0..labels.len()).partition(|&index| is_test[index]);
    Ok((train, test))
}

/// The whole part and the remainder of `a * b / by`, where `a` is at most `by`.
fn divide(a: usize, b: usize, by: usize) -> (usize, u64) {
    let (product, by) = (a as u64 * b as u64, by as u64);
    (usize::try_from(product / by).expect("the part is at most b"), product % by)
}

/// Fisher-Yates with a generator of its own for each pair of `seed` and `stream`.
fn shuffle<T>(items: &mut [T], seed: u64, stream: u64) {
    let origin = Pcg64::seed_from_u64(seed).random::<u64>();
    let mut random = Pcg64::seed_from_u64(origin.wrapping_add(stream));
    for last in (1..items.len()).rev() {
        items.swap(last, random.random_range(0..=last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sample `i` is `[i, i + 0.5]` with the label `i % 3`.
    fn dataset(samples: u16) -> Dataset {
        let x = (0..samples).flat_map(|i| [f32::from(i), f32::from(i) + 0.5]).collect();
        Dataset::new(x, &[2], (0..samples).map(|i| u32::from(i) % 3).collect(), 3).unwrap()
    }

    #[test]
    fn refusals_carry_the_numbers() {
        let data = dataset(4);
        let rows = [
            (
                Dataset::new(vec![0.0; 7], &[2, 2], vec![0, 0], 1).map(drop),
                "x of 2 samples of shape [2, 2]: expected 8 elements, got 7",
            ),
            (
                Dataset::new(vec![0.0; 12], &[2, 2], vec![0, 0], 1).map(drop),
                "x of 2 samples of shape [2, 2]: expected 8 elements, got 12",
            ),
            (Dataset::new(vec![0.0; 3], &[1], vec![0, 2, 3], 3).map(drop), "label 2 must be below 3, got 3"),
            (Dataset::new(vec![], &[1], vec![], 3).map(drop), "dataset: needs at least one sample"),
            (
                Dataset::new(vec![], &[4, 0], vec![0], 3).map(drop),
                "dataset: samples of shape [4, 0] cannot be held",
            ),
            (
                Dataset::new(vec![], &[1 << 62, 4], vec![0], 3).map(drop),
                "dataset: samples of shape [4611686018427387904, 4] cannot be held",
            ),
            (data.subset(&[1, 4]).map(drop), "sample index must be below 4, got 4"),
            (data.subset(&[]).map(drop), "dataset: needs at least one sample"),
            (data.batches(0).map(drop), "batch_size must be at least 1, got 0"),
            (data.shuffled(1, 0).batches(0).map(drop), "batch_size must be at least 1, got 0"),
            (
                stratified_split(data.y(), 0).map(drop),
                "n_test must be at least 1 and below the 4 samples, got 0",
            ),
            (
                stratified_split(data.y(), 4).map(drop),
                "n_test must be at least 1 and below the 4 samples, got 4",
            ),
        ];
        for (result, message) in rows {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn batches_cover_every_sample_once_and_the_last_is_partial() {
        let data = dataset(7);
        let batches: Vec<Batch> = data.batches(3).unwrap().collect();
        assert_eq!(data.batches(3).unwrap().len(), 3);
        assert_eq!(batches.iter().map(|batch| batch.y.len()).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(batches[1].x, [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]);
        assert_eq!(batches[2], Batch { x: vec![6.0, 6.5], y: vec![0] });
        let whole: Vec<Batch> = data.batches(usize::MAX).unwrap().collect();
        assert_eq!(whole, [Batch { x: data.x().to_vec(), y: data.y().to_vec() }]);
    }

    #[test]
    fn an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone() {
        let data = dataset(100);
        let order = |seed, epoch| data.shuffled(seed, epoch).order().to_vec();
        let mut sorted = order(1, 2);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        assert_eq!(order(1, 2), order(1, 2));
        for other in [order(1, 1), order(2, 2), order(2, 1), order(0, 3), (0..100).collect()] {
            assert_ne!(order(1, 2), other);
        }
    }

    #[test]
    fn the_drawn_order_never_changes() {
        assert_eq!(dataset(8).shuffled(1, 0).order(), [2, 0, 7, 1, 3, 5, 4, 6]);
    }

    #[test]
    fn every_place_is_as_likely() {
        let data = dataset(5);
        let mut counts = [[0_u32; 5]; 5];
        for epoch in 0..5000 {
            for (place, &index) in data.shuffled(3, epoch).order().iter().enumerate() {
                counts[place][index] += 1;
            }
        }
        // 1000 expected, with a standard deviation of 28.
        assert!(counts.iter().flatten().all(|count| (860..1140).contains(count)), "{counts:?}");
    }

    #[test]
    fn samples_keep_their_labels_through_a_shuffle() {
        let data = dataset(50);
        for batch in data.shuffled(9, 4).batches(8).unwrap() {
            for (x, &label) in batch.x.chunks(2).zip(&batch.y) {
                let index = data.x().chunks(2).position(|sample| sample == x).unwrap();
                assert_eq!(data.y()[index], label);
            }
        }
    }

    #[test]
    fn shuffled_labels_keep_their_counts_and_leave_the_samples() {
        let data = dataset(99);
        let shuffled = data.clone().shuffle_labels(5);
        assert_eq!(shuffled, data.clone().shuffle_labels(5));
        assert_ne!(shuffled.y(), data.y());
        assert_eq!(shuffled.x(), data.x());
        let count = |labels: &[u32], label| labels.iter().filter(|&&l| l == label).count();
        assert!((0..3).all(|label| count(shuffled.y(), label) == 33));
    }

    #[test]
    fn a_subset_is_in_the_order_asked_for() {
        let subset = dataset(6).subset(&[5, 0, 5]).unwrap();
        assert_eq!(subset.x(), [5.0, 5.5, 0.0, 0.5, 5.0, 5.5]);
        assert_eq!((subset.y(), subset.len(), subset.n_classes()), (&[2, 0, 2][..], 3, 3));
        assert_eq!(subset.shape(), [2]);
    }

    #[test]
    fn remainders_go_to_the_largest_and_ties_to_the_smaller_label() {
        let counts = |labels: &[u32], n_test| {
            let (train, test) = stratified_split(labels, n_test).unwrap();
            assert_eq!(train.len() + test.len(), labels.len());
            assert!(train.is_sorted() && test.is_sorted() && test.iter().all(|i| !train.contains(i)));
            [0, 1, 2].map(|label| test.iter().filter(|&&i| labels[i] == label).count())
        };
        assert_eq!(counts(&[2, 2, 1, 1, 0, 0], 4), [2, 1, 1]);
        assert_eq!(counts(&[2, 2, 1, 1, 0, 0], 5), [2, 2, 1]);
        assert_eq!(counts(&[0, 1, 1, 1, 1, 2, 2, 2], 3), [0, 2, 1]);
    }

    #[test]
    fn a_class_gives_samples_spread_over_its_order() {
        assert_eq!(stratified_split(&[0; 10], 2).unwrap().1, [2, 7]);
        assert_eq!(stratified_split(&[0; 5], 4).unwrap().1, [0, 1, 3, 4]);
    }

    #[test]
    fn the_digits_split_into_1437_and_360() {
        let digits = smartcore::dataset::digits::load_dataset();
        let labels: Vec<u32> = (digits.target.iter())
            .map(|&target| (0..10_u8).find(|&label| f32::from(label) == target).unwrap().into())
            .collect();
        let (train, test) = stratified_split(&labels, 360).unwrap();
        assert_eq!((train.len(), test.len()), (1437, 360));
        for class in 0..10 {
            let count = |set: &[usize]| set.iter().filter(|&&i| labels[i] == class).count();
            let share = count(&test) as f64 / (count(&test) + count(&train)) as f64;
            assert!((share - 360.0 / 1797.0).abs() < 0.005, "{class}: {share}");
        }
    }
}
