use std::collections::BTreeMap;

use super::Split;
use super::batches::shuffle;
use crate::error::{Error, open};

/// The size of a test set: a number of samples, or a share of all, which is rounded up to whole samples.
///
/// ```
/// use gradus::train::data::TestSize;
///
/// assert_eq!((TestSize::from(360), TestSize::from(0.2)), (TestSize::Samples(360), TestSize::Share(0.2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TestSize {
    /// This many samples.
    Samples(usize),
    /// This share of the samples, in (0, 1).
    Share(f64),
}

impl From<usize> for TestSize {
    fn from(samples: usize) -> Self {
        Self::Samples(samples)
    }
}

impl From<f64> for TestSize {
    fn from(share: f64) -> Self {
        Self::Share(share)
    }
}

/// One split in two, as scikit-learn's [`train_test_split`].
///
/// Without [`shuffle`](Self::shuffle), the last samples are the test set or, if the split is stratified, samples spread
/// over each class.
///
/// ```
/// use gradus::train::data::TrainTestSplit;
///
/// let split = TrainTestSplit::new(0.25).shuffle(7).split(10)?;
/// assert_eq!((split.train.len(), split.test.len()), (7, 3));
///
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1];
/// let split = TrainTestSplit::new(4).shuffle(7).split_stratified(&labels)?;
/// assert_eq!(split.test.iter().filter(|&&index| labels[index] == 1).count(), 1);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// [`train_test_split`]: https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.train_test_split.html
#[derive(Clone, Copy, Debug)]
pub struct TrainTestSplit {
    test_size: TestSize,
    seed: Option<u64>,
}

impl TrainTestSplit {
    /// A test set of `test_size`: a number of samples, or a share of all, such as 0.25.
    #[must_use]
    pub fn new(test_size: impl Into<TestSize>) -> Self {
        Self { test_size: test_size.into(), seed: None }
    }

    /// Takes random samples as test set; which ones depends only on `seed`, the size and the number of samples or the
    /// labels.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Splits `samples` samples.
    ///
    /// # Errors
    /// [`Error::Constant`] for a share outside (0, 1), or if no sample would be left to train or to test on.
    pub fn split(&self, samples: usize) -> Result<Split, Error> {
        let n_test = self.n_test(samples)?;
        let mut order: Vec<usize> = (0..samples).collect();
        if let Some(seed) = self.seed {
            shuffle(&mut order, seed, 0);
        }
        let mut is_test = vec![false; samples];
        order[samples - n_test..].iter().for_each(|&index| is_test[index] = true);
        Ok(Split::by(&is_test))
    }

    /// Splits samples with these labels, so that both parts have the same shares of the classes, as
    /// [`stratified_split`] counts them.
    ///
    /// # Errors
    /// As of [`split`](Self::split).
    pub fn split_stratified(&self, labels: &[u32]) -> Result<Split, Error> {
        let n_test = self.n_test(labels.len())?;
        let (train, test) = stratified(labels, n_test, self.seed)?;
        Ok(Split { train, test })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded up, between 0 and samples"
    )]
    fn n_test(&self, samples: usize) -> Result<usize, Error> {
        let n_test = match self.test_size {
            TestSize::Samples(n_test) => n_test,
            TestSize::Share(share) => {
                open("test_size", share, 0.0, 1.0)?;
                (share * samples as f64).ceil() as usize
            }
        };
        check_test(n_test, samples)?;
        Ok(n_test)
    }
}

fn check_test(n_test: usize, samples: usize) -> Result<(), Error> {
    if n_test == 0 || n_test >= samples {
        let allowed = format!("at least 1 and below the {samples} samples");
        return Err(Error::constant("n_test", allowed, n_test));
    }
    Ok(())
}

/// Splits samples into a training set and a test set of `n_test` samples, keeping the proportions of the classes.
///
/// A class with `n` of the `N` samples gives `floor(n_test * n / N)` samples to the test set. The missing samples come
/// one each from the classes with the largest remainders; in a tie, the smaller label goes first. Of a class that gives
/// `t` samples, the test set takes those at positions `floor((2 i + 1) n / (2 t))`, `i` from 0, spread evenly over the
/// class in the given order. The split is deterministic: there is no seed. Both lists of indices are sorted.
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
    stratified(labels, n_test, None)
}

/// Takes random samples of each class with a seed, else samples spread over it.
fn stratified(labels: &[u32], n_test: usize, seed: Option<u64>) -> Result<(Vec<usize>, Vec<usize>), Error> {
    check_test(n_test, labels.len())?;
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (index, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(index);
    }
    let share = |class: &Vec<usize>| divide(n_test, class.len(), labels.len());
    let missing = n_test - classes.values().map(|class| share(class).0).sum::<usize>();
    let mut by_remainder: Vec<u32> = classes.keys().copied().collect();
    // The sort is stable, so ties keep the order of labels.
    by_remainder.sort_by_key(|label| std::cmp::Reverse(share(&classes[label]).1));
    let lucky = &by_remainder[..missing];

    let mut is_test = vec![false; labels.len()];
    for (label, class) in &classes {
        let taken = share(class).0 + usize::from(lucky.contains(label));
        let mut class = class.clone();
        if let Some(seed) = seed {
            shuffle(&mut class, seed, u64::from(*label));
            class[..taken].iter().for_each(|&index| is_test[index] = true);
            continue;
        }
        for i in 0..taken {
            is_test[class[divide(2 * i + 1, class.len(), 2 * taken).0]] = true;
        }
    }
    let (test, train) = (0..labels.len()).partition(|&index| is_test[index]);
    Ok((train, test))
}

/// The quotient and the remainder of `a * b / by`, where `a` is at most `by`.
fn divide(a: usize, b: usize, by: usize) -> (usize, u64) {
    let (product, by) = (a as u64 * b as u64, by as u64);
    (usize::try_from(product / by).expect("the part is at most b"), product % by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_carry_the_numbers() {
        for n_test in [0, 4] {
            assert_eq!(
                stratified_split(&[0, 1, 2, 0], n_test).unwrap_err().to_string(),
                format!("n_test must be at least 1 and below the 4 samples, got {n_test}")
            );
        }
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
