use std::collections::BTreeMap;

use super::batches::shuffle;
use crate::error::Error;

/// The two parts of a split: indices of samples, ascending, for [`Dataset::subset`](super::Dataset::subset) or a
/// [`SubsetRandomSampler`](super::SubsetRandomSampler).
///
/// ```
/// use gradus::train::data::{Split, TrainTestSplit};
///
/// let Split { train, test } = TrainTestSplit::new(2).split(5)?;
/// assert_eq!((train, test), (vec![0, 1, 2], vec![3, 4]));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The samples to train on.
    pub train: Vec<usize>,
    /// The samples to test on: all others.
    pub test: Vec<usize>,
}

impl Split {
    /// The split whose test set is the samples of which `is_test` holds.
    pub(super) fn by(is_test: &[bool]) -> Self {
        let (test, train) = (0..is_test.len()).partition(|&index| is_test[index]);
        Self { train, test }
    }
}

/// Cross-validation: `n_splits` splits in which each sample is in one test set, as scikit-learn's [`KFold`].
///
/// The first `samples % n_splits` test sets have one sample more than the others. Without
/// [`shuffle`](Self::shuffle), each is a run of neighbours.
///
/// ```
/// use gradus::train::data::{Dataset, KFold, Normalization};
///
/// let data = Dataset::regression(vec![0.0, 1.0, 2.0, 3.0, 4.0], &[1], vec![0.0; 5], &[])?;
/// for split in KFold::new(2)?.shuffle(7).split(data.len())? {
///     let (train, test) = (data.subset(&split.train)?, data.subset(&split.test)?);
///     let fitted = Normalization::fit_features(&train)?;
///     let (train, test) = (train.normalized(&fitted)?, test.normalized(&fitted)?);
///     assert_eq!(train.len() + test.len(), 5);
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// [`KFold`]: https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.KFold.html
#[derive(Clone, Copy, Debug)]
pub struct KFold {
    n_splits: usize,
    seed: Option<u64>,
}

/// Refuses fewer than two folds.
fn check_splits(n_splits: usize) -> Result<(), Error> {
    match n_splits {
        0 | 1 => Err(Error::constant("n_splits", "at least 2", n_splits)),
        _ => Ok(()),
    }
}

impl KFold {
    /// `n_splits` splits.
    ///
    /// # Errors
    /// [`Error::Constant`] for fewer than 2.
    pub fn new(n_splits: usize) -> Result<Self, Error> {
        check_splits(n_splits)?;
        Ok(Self { n_splits, seed: None })
    }

    /// Shuffles the samples first; the splits depend only on `seed` and the number of samples.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The splits of `samples` samples.
    ///
    /// # Errors
    /// [`Error::Constant`] if there are fewer samples than splits.
    pub fn split(&self, samples: usize) -> Result<Vec<Split>, Error> {
        if samples < self.n_splits {
            let allowed = format!("at most the {samples} samples");
            return Err(Error::constant("n_splits", allowed, self.n_splits));
        }
        let mut order: Vec<usize> = (0..samples).collect();
        if let Some(seed) = self.seed {
            shuffle(&mut order, seed, STREAM);
        }
        let mut rest = &order[..];
        let mut fold = |number: usize| {
            let size = samples / self.n_splits + usize::from(number < samples % self.n_splits);
            let (test, after) = rest.split_at(size);
            rest = after;
            let mut is_test = vec![false; samples];
            test.iter().for_each(|&index| is_test[index] = true);
            Split::by(&is_test)
        };
        Ok((0..self.n_splits).map(&mut fold).collect())
    }
}

/// The stream of random numbers for splits. No epoch has this number.
const STREAM: u64 = u64::MAX - 1;

/// Cross-validation in which each test set has the same share of each class, as scikit-learn's [`StratifiedKFold`]:
/// without [`shuffle`](Self::shuffle) the same splits, index for index.
///
/// The numbers of samples of a class in two test sets differ by at most 1, and so do the sizes of test sets.
///
/// ```
/// use gradus::train::data::StratifiedKFold;
///
/// let labels = [0, 0, 0, 0, 1, 1];
/// for split in StratifiedKFold::new(2)?.split(&labels)? {
///     let ones = split.test.iter().filter(|&&index| labels[index] == 1).count();
///     assert_eq!((split.test.len(), ones), (3, 1));
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// [`StratifiedKFold`]: https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.StratifiedKFold.html
#[derive(Clone, Copy, Debug)]
pub struct StratifiedKFold {
    n_splits: usize,
    seed: Option<u64>,
}

impl StratifiedKFold {
    /// `n_splits` splits.
    ///
    /// # Errors
    /// [`Error::Constant`] for fewer than 2.
    pub fn new(n_splits: usize) -> Result<Self, Error> {
        check_splits(n_splits)?;
        Ok(Self { n_splits, seed: None })
    }

    /// Shuffles the samples of each class; the splits depend only on `seed` and the labels.
    #[must_use]
    pub fn shuffle(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The splits of samples with these labels.
    ///
    /// # Errors
    /// [`Error::Constant`] if no class has as many samples as there are splits.
    pub fn split(&self, labels: &[u32]) -> Result<Vec<Split>, Error> {
        // Samples of each class, classes in the order in which they first appear.
        let mut numbers = BTreeMap::new();
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for (index, &label) in labels.iter().enumerate() {
            let class = *numbers.entry(label).or_insert(classes.len());
            if class == classes.len() {
                classes.push(Vec::new());
            }
            classes[class].push(index);
        }
        let most = classes.iter().map(Vec::len).max().unwrap_or(0);
        if most < self.n_splits {
            let allowed = format!("at most {most}, the samples of the largest class");
            return Err(Error::constant("n_splits", allowed, self.n_splits));
        }
        let mut fold_of = vec![0; labels.len()];
        let mut first = 0;
        for (number, class) in classes.iter().enumerate() {
            // Sorted by class, samples go to the folds in turn. So a class gives each fold as many as are in its places.
            let end = first + class.len();
            let before = |place: usize, fold: usize| (place + self.n_splits - 1 - fold) / self.n_splits;
            let share = |fold| before(end, fold) - before(first, fold);
            let mut folds: Vec<usize> =
                (0..self.n_splits).flat_map(|fold| std::iter::repeat_n(fold, share(fold))).collect();
            if let Some(seed) = self.seed {
                shuffle(&mut folds, seed, STREAM - 1 - number as u64);
            }
            class.iter().zip(folds).for_each(|(&index, fold)| fold_of[index] = fold);
            first = end;
        }
        let split = |fold| Split::by(&fold_of.iter().map(|of| *of == fold).collect::<Vec<_>>());
        Ok((0..self.n_splits).map(split).collect())
    }
}
