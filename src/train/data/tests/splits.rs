use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::dataset;
use crate::train::data::{
    DataLoader, KFold, Sampler, Split, StratifiedKFold, TrainTestSplit, WeightedRandomSampler,
    stratified_split,
};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn tests(splits: &[Split]) -> Vec<&[usize]> {
    splits.iter().map(|split| &split.test[..]).collect()
}

/// Both parts are sorted and hold each sample once between them.
fn is_split(split: &Split, samples: usize) -> bool {
    let mut all = [&split.train[..], &split.test].concat();
    let sorted = split.train.is_sorted() && split.test.is_sorted();
    all.sort_unstable();
    sorted && all.into_iter().eq(0..samples)
}

/// Every sample is in one test set.
fn covers(splits: &[Split], samples: usize) -> bool {
    let mut all = tests(splits).concat();
    all.sort_unstable();
    all.into_iter().eq(0..samples) && splits.iter().all(|split| is_split(split, samples))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn folds_are_disjoint_and_complete(n_splits in 2..9_usize, more in 0..40_usize, seed: u64) {
        let samples = n_splits + more;
        let plain = KFold::new(n_splits).unwrap();
        for folds in [plain.split(samples).unwrap(), plain.shuffle(seed).split(samples).unwrap()] {
            prop_assert!(covers(&folds, samples));
            let size = |number: usize| samples / n_splits + usize::from(number < samples % n_splits);
            prop_assert!(folds.iter().enumerate().all(|(number, fold)| fold.test.len() == size(number)));
        }
        prop_assert_eq!(
            plain.shuffle(seed).split(samples).unwrap(), plain.shuffle(seed).split(samples).unwrap()
        );
    }

    #[test]
    fn stratified_folds_have_equal_shares(n_splits in 2..6_usize, labels in prop::collection::vec(0..4_u32, 25..60), seed: u64) {
        let plain = StratifiedKFold::new(n_splits).unwrap();
        for folds in [plain.split(&labels).unwrap(), plain.shuffle(seed).split(&labels).unwrap()] {
            prop_assert!(covers(&folds, labels.len()));
            for label in 0..4 {
                let counts = folds.iter().map(|fold| fold.test.iter().filter(|&&at| labels[at] == label).count());
                let (least, most) = counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
                prop_assert!(most - least <= 1);
            }
            let sizes = || folds.iter().map(|fold| fold.test.len());
            prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
        }
    }

    #[test]
    fn one_split_has_the_size_asked_for(samples in 2..60_usize, part in 0.01..0.99_f64, seed: u64) {
        let share = part * samples as f64;
        let n_test = (1..=samples).find(|&n| n as f64 >= share).unwrap();
        let labels: Vec<u32> = (0..samples).map(|at| u32::from(at % 3 == 0)).collect();
        for split in [TrainTestSplit::new(part), TrainTestSplit::new(part).shuffle(seed)] {
            if n_test >= samples {
                prop_assert!(split.split(samples).is_err());
                continue;
            }
            for split in [split.split(samples).unwrap(), split.split_stratified(&labels).unwrap()] {
                prop_assert!(is_split(&split, samples) && split.test.len() == n_test);
            }
            let split = split.split_stratified(&labels).unwrap();
            let ones = |set: &[usize]| set.iter().filter(|&&at| labels[at] == 1).count() as f64;
            let all: Vec<usize> = (0..samples).collect();
            let expected = ones(&all) * n_test as f64 / samples as f64;
            prop_assert!((ones(&split.test) - expected).abs() < 1.0);
        }
    }
}

#[test]
fn folds_without_a_seed_are_those_of_scikit_learn() {
    // KFold(3).split(range(8)), StratifiedKFold(3).split(X, y).
    let folds = KFold::new(3).unwrap().split(8).unwrap();
    assert_eq!(tests(&folds), [&[0, 1, 2][..], &[3, 4, 5], &[6, 7]]);
    let folds = StratifiedKFold::new(3).unwrap().split(&STRATIFIED_LABELS).unwrap();
    assert_eq!(tests(&folds), STRATIFIED_TESTS.map(|test| test));
    let split = TrainTestSplit::new(0.25).split(10).unwrap();
    assert_eq!(split.test, [7, 8, 9]);
}

const STRATIFIED_LABELS: [u32; 17] = [2, 0, 0, 1, 2, 2, 0, 1, 0, 0, 2, 1, 1, 0, 0, 2, 0];
const STRATIFIED_TESTS: [&[usize]; 3] = [&[0, 1, 2, 3, 4, 6], &[5, 7, 8, 9, 10, 11], &[12, 13, 14, 15, 16]];

#[test]
fn seeds_change_the_split_and_nothing_else_does() {
    let labels: Vec<u32> = (0..48).map(|at| at % 4).collect();
    let folds = |seed| KFold::new(4).unwrap().shuffle(seed).split(48).unwrap();
    let strata = |seed| StratifiedKFold::new(4).unwrap().shuffle(seed).split(&labels).unwrap();
    let halves = |seed| TrainTestSplit::new(20).shuffle(seed).split_stratified(&labels).unwrap();
    assert_ne!(folds(1), folds(2));
    assert_ne!(strata(1), strata(2));
    assert_ne!(halves(1), halves(2));
    assert_eq!((folds(1), strata(1), halves(1)), (folds(1), strata(1), halves(1)));
    assert_ne!(halves(1).test, stratified_split(&labels, 20).unwrap().1);
    // Each sample is as often in each fold: 2000 draws of one in four, with a standard deviation of 19.
    for at in [0, 17, 39] {
        let hits = (0..2000).filter(|&seed| folds(seed)[0].test.contains(&at)).count();
        assert!((400..600).contains(&hits), "{hits}");
        let hits = (0..2000).filter(|&seed| strata(seed)[0].test.contains(&at)).count();
        assert!((400..600).contains(&hits), "{hits}");
    }
}

#[test]
fn weights_are_the_shares_of_the_draws() {
    let weights = vec![0.0, 1.0, 0.0, 3.0, 6.0, 0.0];
    let sampler = WeightedRandomSampler::new(weights, 20_000, 5).unwrap();
    let drawn = sampler.indices(6, 0).unwrap();
    let count = |index: u32| drawn.iter().filter(|&&drawn| drawn == index).count();
    assert_eq!([0, 2, 5].map(count), [0, 0, 0]);
    // Standard deviations of 42, 65 and 69.
    for (index, expected) in [(1, 2000), (3, 6000), (4, 12_000)] {
        assert!(count(index).abs_diff(expected) < 350, "{index}: {}", count(index));
    }
    assert_eq!(drawn, sampler.indices(6, 0).unwrap());
    assert_ne!(drawn, sampler.indices(6, 1).unwrap());
    let tiny = WeightedRandomSampler::new(vec![5e-324, 0.0], 50, 1).unwrap();
    assert_eq!(tiny.indices(2, 0).unwrap(), [0; 50]);
}

#[test]
fn draws_without_replacement_follow_the_weights_that_are_left() {
    let weights = vec![1.0, 2.0, 0.0, 5.0];
    let sampler = WeightedRandomSampler::new(weights.clone(), 3, 9).unwrap().without_replacement().unwrap();
    let mut counts = std::collections::BTreeMap::<Vec<u32>, f64>::new();
    let epochs = 20_000_u32;
    for epoch in 0..epochs {
        *counts.entry(sampler.indices(4, epoch.into()).unwrap()).or_default() += 1.0;
    }
    assert_eq!(counts.len(), 6);
    for (order, count) in counts {
        // The chance of an order is that of its first draw times that of the second among the others.
        let weight = |at: usize| weights[order[at] as usize];
        let chance = weight(0) / 8.0 * weight(1) / (8.0 - weight(0));
        let deviation = (chance * (1.0 - chance) * f64::from(epochs)).sqrt();
        assert!((count - chance * f64::from(epochs)).abs() < 5.0 * deviation, "{order:?}: {count}, {chance}");
    }
    let extreme =
        WeightedRandomSampler::new(vec![1e-320, 1e300, 1.0], 3, 9).unwrap().without_replacement().unwrap();
    assert_eq!(extreme.indices(3, 0).unwrap(), [1, 2, 0]);
}

#[test]
fn balanced_weights_give_each_class_its_share() {
    let labels: Vec<u32> = (0..1000).map(|at| u32::from(at % 10 == 0)).collect();
    let drawn = WeightedRandomSampler::balanced(&labels, 3).unwrap().indices(1000, 0).unwrap();
    let ones = drawn.iter().filter(|&&at| labels[at as usize] == 1).count();
    // 500 expected, with a standard deviation of 16.
    assert!((420..580).contains(&ones), "{ones}");
}

#[test]
fn splits_and_weights_that_cannot_be_are_refused() {
    let data = dataset(4);
    let weighted = |weights: &[f64], n| WeightedRandomSampler::new(weights.to_vec(), n, 1);
    let rows = [
        (KFold::new(1).map(drop), "n_splits must be at least 2, got 1"),
        (StratifiedKFold::new(0).map(drop), "n_splits must be at least 2, got 0"),
        (KFold::new(5).unwrap().split(4).map(drop), "n_splits must be at most the 4 samples, got 5"),
        (
            StratifiedKFold::new(3).unwrap().split(&[0, 1, 0, 1]).map(drop),
            "n_splits must be at most 2, the samples of the largest class, got 3",
        ),
        (
            TrainTestSplit::new(0).split(4).map(drop),
            "n_test must be at least 1 and below the 4 samples, got 0",
        ),
        (
            TrainTestSplit::new(4).split(4).map(drop),
            "n_test must be at least 1 and below the 4 samples, got 4",
        ),
        (TrainTestSplit::new(1.0).split(4).map(drop), "test_size must be in (0, 1), got 1"),
        (
            TrainTestSplit::new(f64::NAN).split_stratified(&[0, 1]).map(drop),
            "test_size must be in (0, 1), got NaN",
        ),
        (weighted(&[1.0, -1.0], 1).map(drop), "weights[1] must be finite and at least 0, got -1"),
        (weighted(&[f64::INFINITY], 1).map(drop), "weights[0] must be finite and at least 0, got inf"),
        (weighted(&[0.0, 0.0], 1).map(drop), "the sum of weights must be finite and above 0, got 0"),
        (weighted(&[1e308, 1e308], 1).map(drop), "the sum of weights must be finite and above 0, got inf"),
        (weighted(&[1.0], 0).map(drop), "num_samples must be at least 1, got 0"),
        (weighted(&[1.0], 1 << 32).map(drop), "num_samples must be at most 4294967295, got 4294967296"),
        (
            weighted(&[1.0, 0.0], 2).unwrap().without_replacement().map(drop),
            "num_samples must be at most the 1 samples with a weight above 0, got 2",
        ),
        (
            DataLoader::new(&data, 2).unwrap().sampler(weighted(&[1.0; 3], 4).unwrap()).map(drop),
            "weights of a sampler: expected 4 elements, got 3",
        ),
        (
            WeightedRandomSampler::balanced(&[], 1).map(drop),
            "the sum of weights must be finite and above 0, got 0",
        ),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}
