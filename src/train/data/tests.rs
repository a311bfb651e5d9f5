#[cfg(feature = "csv")]
mod csv;
mod sources;
mod splits;

use super::{Batch, Dataset, Normalization};

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
            "dataset: samples of shape [4, 0] must have elements and fit in memory",
        ),
        (
            Dataset::new(vec![], &[1 << 62, 4], vec![0], 3).map(drop),
            "dataset: samples of shape [4611686018427387904, 4] must have elements and fit in memory",
        ),
        (data.subset(&[1, 4]).map(drop), "sample index must be below 4, got 4"),
        (data.subset(&[]).map(drop), "dataset: needs at least one sample"),
        (data.batches(0).map(drop), "batch_size must be at least 1, got 0"),
        (data.batches(3).unwrap().skip_to(3).map(drop), "batch must be at most 2, got 3"),
        (
            data.clone().normalized(&Normalization::identity(3)).map(drop),
            "normalization of samples of shape [2]: expected 1 elements, got 3",
        ),
        (data.shuffled(1, 0).batches(0).map(drop), "batch_size must be at least 1, got 0"),
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
    assert_eq!(whole, [Batch { x: data.numbers(), y: data.y().to_vec() }]);
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
            counts[place][index as usize] += 1;
        }
    }
    // 1000 expected, with a standard deviation of 28.
    assert!(counts.iter().flatten().all(|count| (860..1140).contains(count)), "{counts:?}");
}

#[test]
fn samples_keep_their_labels_through_a_shuffle() {
    let data = dataset(50);
    let samples = data.numbers();
    for batch in data.shuffled(9, 4).batches(8).unwrap() {
        for (x, &label) in batch.x.chunks(2).zip(&batch.y) {
            let index = samples.chunks(2).position(|sample| sample == x).unwrap();
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
    assert_eq!(shuffled.values(), data.values());
    let count = |labels: &[u32], label| labels.iter().filter(|&&l| l == label).count();
    assert!((0..3).all(|label| count(shuffled.y(), label) == 33));
}

#[test]
fn a_subset_is_in_the_order_asked_for() {
    let subset = dataset(6).subset(&[5, 0, 5]).unwrap();
    assert_eq!(subset.numbers(), [5.0, 5.5, 0.0, 0.5, 5.0, 5.5]);
    assert_eq!((subset.y(), subset.len(), subset.n_classes()), (&[2, 0, 2][..], 3, 3));
    assert_eq!(subset.shape(), [2]);
}

#[test]
fn a_run_resumes_in_the_middle_of_an_epoch() {
    let data = dataset(11);
    let batches = || data.shuffled(2, 3).batches(4).unwrap();
    let whole: Vec<Batch> = batches().collect();
    for at in 0..=3 {
        let rest = batches().skip_to(at).unwrap();
        assert_eq!(rest.len(), 3 - at);
        assert!(rest.eq(whole[at..].iter().cloned()), "{at}");
    }
    let mut moved = batches();
    moved.nth(2);
    assert!(moved.skip_to(1).unwrap().eq(whole[1..].iter().cloned()));
    assert_eq!(data.batches(usize::MAX).unwrap().skip_to(1).unwrap().next(), None);
}

#[test]
fn indices_are_those_of_the_batches() {
    let data = dataset(11);
    let batches = data.shuffled(2, 3).batches(4).unwrap().skip_to(1).unwrap();
    let indices: Vec<Vec<u32>> = batches.indices().map(<[u32]>::to_vec).collect();
    assert_eq!(indices.concat(), data.shuffled(2, 3).order()[4..]);
    let numbers = data.numbers();
    for (batch, indices) in batches.zip(indices) {
        let gathered: Vec<f32> =
            indices.iter().flat_map(|&index| &numbers[2 * index as usize..][..2]).copied().collect();
        assert_eq!(batch.x, gathered);
    }
}
