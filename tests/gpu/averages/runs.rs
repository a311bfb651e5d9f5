//! Steps that are skipped, abandoned or held back, tensors that are frozen and added.

use gradus::grad::{Skip, Transforms};
use gradus::optim::{Averages, Ema, Swa};
use gradus::params::Weights;
use serde_json::json;

use super::{Run, adamw, averages_of, build, small_windows, step};
use crate::common::{bits, gpu, gpu_with, gradients, noises, read_all, store};

fn skip() -> Transforms {
    Transforms { skip: Some(Skip::default()), ..Transforms::default() }
}

#[test]
fn a_skipped_step_is_no_update_whatever_the_host_knows() {
    let Some(gpu) = gpu() else { return };
    let all: [Averages; 2] = [
        Ema { warmup: true, start: 2, every: 2, ..Ema::new(0.9) }.into(),
        Swa { start: 1, ..Swa::default() }.into(),
    ];
    for averages in all {
        for waits in [true, false] {
            let mut skipping = build(store(&gpu), adamw(), Some(&averages));
            skipping.1.set_transforms(skip(), &skipping.0).unwrap();
            let mut plain = build(store(&gpu), adamw(), Some(&averages));
            let len = plain.0.layout().parameters();
            for number in 0..30 {
                let mut grads = gradients(number, len);
                let is_bad = [0, 3, 4, 11, 12, 13, 20].contains(&number);
                if is_bad {
                    grads[number] = f32::NAN;
                }
                let (params, optimizer) = &mut skipping;
                params.write_grads(&grads).unwrap();
                optimizer.step(params).unwrap();
                if waits {
                    optimizer.read_step_results().unwrap();
                }
                if !is_bad {
                    step(&mut plain, number);
                }
                if number % 7 == 0 {
                    // Steps whose results are not known are on their way.
                    assert_eq!(bits(&averages_of(&skipping)), bits(&averages_of(&plain)), "step {number}");
                    let (params, optimizer) = &mut skipping;
                    let read = |params: &mut _| Ok::<_, gradus::Error>(read_all(params));
                    let seen = optimizer.with_averages(params, read).unwrap();
                    assert_eq!(bits(&seen), bits(&averages_of(&plain)), "step {number}");
                }
            }
            assert_eq!(bits(&read_all(&skipping.0)), bits(&read_all(&plain.0)));
            let [ours, theirs] = [&skipping, &plain].map(|run| run.1.read_state_dict().unwrap().averages);
            assert_eq!(ours, theirs);
            skipping.1.read_step_results().unwrap();
            assert_eq!(skipping.1.averaged("t0").unwrap(), plain.1.averaged("t0").unwrap());
        }
    }
}

#[test]
fn an_abandoned_step_is_no_update() {
    let Some(gpu) = gpu() else { return };
    let averages = Swa::default().into();
    let (mut some, mut all) =
        (build(store(&gpu), adamw(), Some(&averages)), build(store(&gpu), adamw(), Some(&averages)));
    for number in 0..5 {
        step(&mut some, number);
        step(&mut all, number);
        let mut encoder = gpu.encoder("never submitted");
        let ticket = some.1.record(&mut encoder, &mut some.0).unwrap();
        if number % 2 == 0 {
            some.1.abandoned(ticket).unwrap();
        }
    }
    assert_eq!(bits(&averages_of(&some)), bits(&averages_of(&all)));
    assert_eq!(some.1.averaged("t3").unwrap(), 5);
}

/// By name, in order.
fn named(run: &Run, name: &str) -> Vec<u32> {
    let weights: Weights = run.1.read_averages(&run.0).unwrap();
    bits(&weights.get(name).unwrap().values)
}

#[test]
fn frozen_and_added_tensors_are_counted_by_themselves() {
    let Some(gpu) = gpu_with(small_windows()) else { return };
    let averages = Averages::from(Swa::default());
    let (w, x, y) = (noises(1, 20_000), noises(2, 70), noises(3, 30_000));
    let store = |with_y: bool| {
        let mut builder =
            gradus::ParamStore::builder().group("a", |g| g.tensor("w", [20_000], &w).tensor("x", [70], &x));
        if with_y {
            builder = builder.group("y", |g| g.tensor("y", [30_000], &y));
        }
        builder.build(&gpu).unwrap()
    };
    let mut run = build(store(false), adamw(), Some(&averages));
    let take = |run: &mut Run, number: usize| {
        for (stream, name, len) in [(1, "w", 20_000), (2, "x", 70), (3, "y", 30_000)] {
            if run.0.layout().index(name).is_ok() {
                run.0.write_grad(name, &noises(100 * stream + number as u64, len)).unwrap();
            }
        }
        run.1.step(&mut run.0).unwrap();
    };
    run.0.freeze("x").unwrap();
    take(&mut run, 0);
    assert_eq!(named(&run, "x"), bits(&x), "a tensor without an update");
    run.0.thaw("x").unwrap();
    run.0.freeze("w").unwrap();
    let w_average = named(&run, "w");
    take(&mut run, 1);
    take(&mut run, 2);
    assert_eq!(named(&run, "w"), w_average, "that of a frozen tensor stays");
    run.0.thaw("w").unwrap();
    run.1.add_param_group(&mut run.0, "y", &json!({}), |g| g.tensor("y", [30_000], &y)).unwrap();
    assert_eq!(named(&run, "y"), bits(&y));
    assert_eq!(named(&run, "w"), w_average);
    take(&mut run, 3);
    let counts = ["w", "x", "y"].map(|name| run.1.averaged(name).unwrap());
    assert_eq!(counts, [2, 3, 1]);
    assert_eq!(named(&run, "y"), bits(&run.0.read("y").unwrap()), "the first is copied");
    // The others as if each had been alone.
    let mut alone = build(store(true), adamw(), Some(&averages));
    for number in [1, 2, 3] {
        ["w", "y"].into_iter().for_each(|name| alone.0.freeze(name).unwrap());
        take(&mut alone, number);
    }
    assert_eq!(named(&alone, "x"), named(&run, "x"));
    let seen = run.1.with_averages(&mut run.0, |params| params.read("x")).unwrap();
    assert_eq!(bits(&seen), named(&run, "x"));
}

#[test]
fn averages_that_begin_late_count_from_there() {
    let Some(gpu) = gpu() else { return };
    let mut run = build(store(&gpu), adamw(), None);
    for number in 0..4 {
        step(&mut run, number);
    }
    run.1.set_averages(Swa { start: 1, ..Swa::default() }, &run.0).unwrap();
    let start = read_all(&run.0);
    assert_eq!(averages_of(&run), start);
    step(&mut run, 4);
    assert_eq!((averages_of(&run), run.1.averaged("t0").unwrap()), (start, 0));
    step(&mut run, 5);
    assert_eq!((averages_of(&run), run.1.averaged("t0").unwrap()), (read_all(&run.0), 1));
    step(&mut run, 6);
    assert_eq!(run.1.averaged("t0").unwrap(), 2);
    run.1.remove_averages().unwrap();
    assert_eq!((run.1.averages(), run.1.averaged("t0").unwrap()), (None, 0));
    step(&mut run, 7);
    assert!(run.1.read_averages(&run.0).is_err());
}
