use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::dataset;
use crate::error::Error;
use crate::train::data::{
    Batch, BatchSource, DataLoader, Dataset, Position, Prefetch, Random, RandomSampler, Sampler,
    SubsetRandomSampler, from_epochs, from_fn,
};

/// All batches of `epochs` epochs, with the position before each.
fn stream<S: BatchSource>(source: &mut S, epochs: u64) -> Vec<(Position, S::Batch)> {
    let mut batches = Vec::new();
    while source.position().epoch < epochs {
        let (at, mut batch) = (source.position(), S::Batch::default());
        if source.next_batch(&mut batch).unwrap() {
            batches.push((at, batch));
        }
    }
    batches
}

/// Three batches an epoch, whose numbers tell their position.
fn fill(position: Position, batch: &mut Batch<f32>) -> Result<bool, Error> {
    batch.x.clear();
    batch.x.push(position.epoch as f32);
    batch.y.clear();
    batch.y.push(position.batch as f32);
    Ok(position.batch < 3)
}

/// A seek to any position continues the stream as if nothing had happened, whatever was read before.
fn resumes<S: BatchSource>(make: impl Fn() -> S)
where
    S::Batch: PartialEq + std::fmt::Debug,
{
    const EPOCHS: u64 = 3;
    let whole = stream(&mut make(), EPOCHS);
    assert!(whole.len() > 6);
    for (at, (position, _)) in whole.iter().enumerate() {
        for read_before in [0, 1, 5] {
            let mut source = make();
            let mut batch = S::Batch::default();
            for _ in 0..read_before {
                source.next_batch(&mut batch).unwrap();
            }
            source.seek(*position).unwrap();
            assert_eq!(source.position(), *position);
            assert_eq!(stream(&mut source, EPOCHS), whole[at..], "{position:?} after {read_before}");
        }
    }
    // After the last batch of an epoch, before its end was told.
    let mut source = make();
    let last =
        whole.iter().map(|(position, _)| *position).filter(|position| position.epoch == 1).max().unwrap();
    source.seek(Position { batch: last.batch + 1, ..last }).unwrap();
    assert!(!source.next_batch(&mut S::Batch::default()).unwrap());
    assert_eq!(source.position(), Position::start_of(2));
}

/// Whole numbers and their halves, to be predicted in pairs.
fn regression(samples: u16) -> Dataset<f32> {
    let x: Vec<f32> = (0..samples).map(f32::from).collect();
    let y = x.iter().flat_map(|x| [x / 2.0, -x]).collect();
    Dataset::regression(x, &[1], y, &[2]).unwrap()
}

#[test]
fn every_source_resumes_at_every_batch() {
    let (data, numbers) = (Arc::new(dataset(11)), Arc::new(regression(11)));
    resumes(|| DataLoader::new(&*data, 3).unwrap());
    resumes(|| DataLoader::new(&*data, 3).unwrap().shuffle(5).drop_last());
    resumes(|| DataLoader::new(&*numbers, 4).unwrap().shuffle(5));
    let jitter = |sample: &mut [f32], label: &mut [u32], random: &mut Random| {
        sample.iter_mut().for_each(|x| *x += random.normal());
        label[0] = random.below(3);
    };
    resumes(|| DataLoader::new(&*data, 3).unwrap().shuffle(5).augment(9, jitter));
    resumes(|| from_fn(fill));
    let epochs = |epoch| {
        Ok((0..4_u8).map(move |batch| Ok(Batch { x: vec![epoch as f32], y: vec![f32::from(batch)] })))
    };
    resumes(|| from_epochs(epochs));
    for depth in [1, 2, 7] {
        resumes(|| Prefetch::new(from_fn(fill), depth).unwrap());
        let data = || DataLoader::new(data.clone(), 3).unwrap().shuffle(5).augment(9, jitter);
        assert_eq!(stream(&mut Prefetch::new(data(), depth).unwrap(), 3), stream(&mut data(), 3));
        resumes(|| Prefetch::new(data(), depth).unwrap());
    }
}

#[test]
fn a_loader_gives_the_batches_of_a_shuffled_epoch() {
    let data = dataset(11);
    let mut loader = DataLoader::new(&data, 4).unwrap().shuffle(2);
    assert_eq!(loader.batches_per_epoch(), Some(3));
    let batches = stream(&mut loader, 2);
    for epoch in 0..2 {
        let of_epoch = batches.iter().filter(|(position, _)| position.epoch == epoch).map(|(_, batch)| batch);
        assert!(data.shuffled(2, epoch).batches(4).unwrap().eq(of_epoch.cloned()));
    }
    let mut even = DataLoader::new(&data, 4).unwrap().drop_last();
    assert_eq!(even.batches_per_epoch(), Some(2));
    assert!(stream(&mut even, 2).iter().all(|(_, batch)| batch.y.len() == 4));
    // A batch that is larger than the set, and one that is dropped.
    assert_eq!(stream(&mut DataLoader::new(&data, usize::MAX).unwrap(), 1)[0].1.x, data.numbers());
    let mut none = DataLoader::new(&data, 12).unwrap().drop_last();
    assert_eq!(none.batches_per_epoch(), Some(0));
    let message = "batch 0 of epoch 0: drop_last leaves nothing of 11 samples in batches of 12";
    assert_eq!(none.next_batch(&mut Batch::default()).unwrap_err().to_string(), message);
}

#[test]
fn targets_of_numbers_stay_with_their_samples() {
    let data = regression(50);
    assert_eq!((data.len(), data.target_shape()), (50, &[2][..]));
    for (_, batch) in stream(&mut DataLoader::new(&data, 8).unwrap().shuffle(1), 2) {
        for (x, y) in batch.x.iter().zip(batch.y.chunks(2)) {
            assert_eq!(y, [x / 2.0, -x]);
        }
    }
    let part = data.subset(&[7, 3]).unwrap();
    assert_eq!((part.numbers(), part.y()), (vec![7.0, 3.0], &[3.5, -7.0, 1.5, -3.0][..]));
}

#[test]
fn samplers_and_loaders_refuse_what_they_cannot_take() {
    #[derive(Debug)]
    struct Fixed(Vec<u32>);
    impl Sampler for Fixed {
        fn indices(&self, _: usize, epoch: u64) -> Result<Vec<u32>, Error> {
            Ok(if epoch == 2 { vec![9] } else { self.0.clone() })
        }
    }
    let data = dataset(4);
    let loader = |order: &[u32]| DataLoader::new(&data, 3).unwrap().sampler(Fixed(order.to_vec()));
    let mut of_two = loader(&[3, 3]).unwrap();
    let rows = [
        (DataLoader::new(&data, 0).map(drop), "batch_size must be at least 1, got 0"),
        (loader(&[1, 4]).map(drop), "sample 1 of a sampler's epoch 0 must be below 4, got 4"),
        (loader(&[]).map(drop), "sampler: names no sample in epoch 0"),
        (
            DataLoader::new(&data, 1).unwrap().sampler(SubsetRandomSampler::new(vec![0, 7], 1)).map(drop),
            "sample index must be below 4, got 7",
        ),
        (of_two.seek(Position { epoch: 1, batch: 2 }), "batch of epoch 1 must be at most 1, got 2"),
        (of_two.seek(Position::start_of(2)), "sample 0 of a sampler's epoch 2 must be below 4, got 9"),
        (
            Dataset::regression(vec![0.0; 3], &[1], vec![1.0, f32::NAN, 0.0], &[]).map(drop),
            "target 1 must be finite, got NaN",
        ),
        (
            Dataset::regression(vec![0.0; 3], &[1], vec![1.0; 3], &[2]).map(drop),
            "y of targets of shape [2]: expected 4 elements, got 3",
        ),
        (
            Dataset::regression(vec![0.0; 3], &[1], vec![1.0; 3], &[0]).map(drop),
            "dataset: targets of shape [0] must have elements and fit in memory",
        ),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    // A refused seek leaves the position and the order.
    assert_eq!(of_two.position(), Position::start_of(0));
    assert_eq!(stream(&mut of_two, 2).len(), 2);
    // An order that is refused later stops there.
    let mut batch = Batch::default();
    assert!(of_two.next_batch(&mut batch).is_err() && of_two.position() == Position::start_of(2));
    assert_eq!(RandomSampler::new(3).indices(9, 1).unwrap(), dataset(9).shuffled(3, 1).order());
}

#[test]
fn a_source_without_batches_or_with_too_few_is_refused() {
    let mut none = from_fn(|_, _: &mut Batch| Ok(false));
    let message = "batch 0 of epoch 0: the source has no batches in this epoch";
    assert_eq!(none.next_batch(&mut Batch::default()).unwrap_err().to_string(), message);
    let mut empty = from_epochs(|_| Ok(std::iter::empty::<Result<Batch, Error>>()));
    assert_eq!(empty.next_batch(&mut Batch::default()).unwrap_err().to_string(), message);
    let error = empty.seek(Position { epoch: 0, batch: 2 }).unwrap_err().to_string();
    assert_eq!(error, "batch of epoch 0 must be at most 0, got 2");
}

#[test]
fn an_error_comes_with_its_batch_and_may_pass() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = failures.clone();
    let source = from_fn(move |position, batch: &mut Batch<f32>| {
        // Fails twice, and then gets over it.
        if position.batch == 1 && counted.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(position.refuse("out of paper"));
        }
        fill(position, batch)
    });
    let mut source = Prefetch::new(source, 4).unwrap();
    let mut batch = Batch::default();
    assert!(source.next_batch(&mut batch).unwrap());
    for _ in 0..2 {
        let error = source.next_batch(&mut batch).unwrap_err();
        assert_eq!(error, Error::BatchSource { epoch: 0, batch: 1, reason: "out of paper".into() });
        assert_eq!(source.position(), Position { epoch: 0, batch: 1 });
    }
    assert!(source.next_batch(&mut batch).unwrap());
    assert_eq!((batch.x[0], batch.y[0]), (0.0, 1.0));
    assert!(Prefetch::new(from_fn(fill), 0).is_err() && Prefetch::new(from_fn(fill), 1025).is_err());
}

#[test]
fn a_panic_of_the_source_arrives_as_an_error() {
    let source = from_fn(|position, batch: &mut Batch<f32>| {
        assert!(position.batch < 2, "no page {}", position.batch);
        fill(position, batch)
    });
    let mut source = Prefetch::new(source, 2).unwrap();
    let mut batch = Batch::default();
    assert!(source.next_batch(&mut batch).unwrap() && source.next_batch(&mut batch).unwrap());
    let error = source.next_batch(&mut batch).unwrap_err();
    assert_eq!(error.to_string(), "batch 2 of epoch 0: the source panicked: no page 2");
    assert_eq!(source.next_batch(&mut batch).unwrap_err(), error);
    assert_eq!(source.seek(Position::start_of(0)).unwrap_err(), error);
    assert_eq!(source.position(), Position { epoch: 0, batch: 2 });
}

#[test]
fn a_refused_seek_leaves_the_stream() {
    let data = Arc::new(dataset(11));
    let mut source = Prefetch::new(DataLoader::new(data.clone(), 3).unwrap(), 2).unwrap();
    let mut batch = Batch::default();
    assert!(source.next_batch(&mut batch).unwrap());
    let error = source.seek(Position { epoch: 4, batch: 9 }).unwrap_err().to_string();
    assert_eq!(error, "batch of epoch 4 must be at most 4, got 9");
    assert_eq!(source.position(), Position { epoch: 0, batch: 1 });
    assert!(source.next_batch(&mut batch).unwrap());
    assert_eq!(batch.x[0], 3.0);
}

#[test]
fn the_thread_reads_no_further_than_its_depth_and_uses_memory_again() {
    let (made, places) = (Arc::new(AtomicUsize::new(0)), Arc::new(std::sync::Mutex::new(BTreeSet::new())));
    let (counted, seen) = (made.clone(), places.clone());
    let source = from_fn(move |position, batch: &mut Batch<f32>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let more = fill(position, batch)?;
        seen.lock().unwrap().insert(batch.x.as_ptr() as usize);
        Ok(more)
    });
    let mut source = Prefetch::new(source, 3).unwrap();
    let mut batch = Batch::default();
    for taken in 0..40 {
        thread::sleep(Duration::from_millis(1));
        assert!(made.load(Ordering::Relaxed) <= taken + 3, "{taken}");
        source.next_batch(&mut batch).unwrap();
    }
    let places = places.lock().unwrap().len();
    assert!(places <= 6, "{places}");
}

#[test]
fn dropping_ends_the_thread_wherever_it_is() {
    let until = |what: &str, mut done: Box<dyn FnMut() -> bool>| {
        let since = Instant::now();
        while !done() {
            assert!(since.elapsed() < Duration::from_secs(20), "{what}");
            thread::sleep(Duration::from_millis(1));
        }
    };
    // Waiting for room, waiting after an error, ended by a panic, and just started.
    for (what, fails_at, taken) in
        [("room", u64::MAX, 1), ("error", 1, 1), ("panic", 2, 1), ("start", u64::MAX, 0)]
    {
        let alive = Arc::new(());
        let (held, made) = (alive.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = made.clone();
        let source = from_fn(move |position, batch: &mut Batch<f32>| {
            let _ = &held;
            counted.fetch_add(1, Ordering::Relaxed);
            match position.batch {
                batch if batch == fails_at && what == "error" => return Err(position.refuse("no")),
                batch => assert!(batch != fails_at, "a panic"),
            }
            fill(position, batch)
        });
        let mut source = Prefetch::new(source, 2).unwrap();
        for _ in 0..taken {
            assert!(source.next_batch(&mut Batch::default()).unwrap());
        }
        if taken > 0 {
            until(what, Box::new(move || made.load(Ordering::Relaxed) >= 2));
        }
        drop(source);
        assert_eq!(Arc::strong_count(&alive), 1, "{what}");
    }
}
