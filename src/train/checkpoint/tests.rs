//! What is written is read again, and what could not be is refused before the earlier file goes.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::optim::{GroupState, TensorState};
use crate::schedule::{Best, ChainedScheduler, Schedule, StepLR};

fn tensor(shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product::<usize>()).map(|at| (at as f32 + 0.5).recip()).collect();
    Tensor { shape: shape.to_vec(), values }
}

fn checkpoint() -> Checkpoint {
    let slots = BTreeMap::from([
        ("exp_avg".to_owned(), Some(tensor(&[2, 3]).values)),
        ("total".to_owned(), Some(vec![7.0])),
        ("unused".to_owned(), None),
    ]);
    let scalars = [("eta".to_owned(), 0.125)].into();
    let mu_product = Some(0.25);
    let shape = vec![2, 3];
    let state = TensorState { step: 3, shape, mu_product, scalars, slots, ..TensorState::default() };
    let options = json!({"lr": 0.1, "betas": [0.9, 0.999]}).as_object().unwrap().clone();
    let groups =
        vec![GroupState { name: "all".into(), params: vec!["w".into()], initial_lr: Some(0.1), options }];
    let optimizer = StateDict {
        optimizer: "Own".into(),
        attempted: 4,
        state: [("w".into(), state)].into(),
        param_groups: groups,
        averages: None,
    };
    let mut checkpoint = Checkpoint::new(4, u64::MAX, optimizer, Some(json!({"name": "StepLR"})));
    checkpoint.params = [("b".into(), tensor(&[0])), ("w".into(), tensor(&[2, 3]))].into();
    checkpoint.gate = Some(GateState {
        loss_scale: 65536.0,
        growth_tracker: 1,
        applied: 3,
        skipped: 1,
        skipped_in_a_row: 0,
    });
    checkpoint.schedule_state = Some(json!({"best": "inf"}));
    checkpoint.run = json!({"rate": 0.1 + 0.2, "zero": -0.0, "most": u64::MAX, "text": "\u{0}\"\\\u{1f600}"})
        .as_object()
        .unwrap()
        .clone();
    checkpoint
}

/// An array in an array, so many times. Moved, where `json!` would copy what is inside at each level, by a recursion.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, level| match level % 2 {
        0 => Value::Array(vec![inner]),
        _ => Value::Object(Map::from_iter([("in".to_owned(), inner)])),
    })
}

fn comes_back(checkpoint: &Checkpoint) {
    assert!(Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap() == *checkpoint);
}

#[test]
fn all_that_is_written_comes_back() {
    let mut checkpoint = checkpoint();
    comes_back(&checkpoint);
    for schedule in [None, Some(Value::Null), Some(json!({"name": "FromFn", "closure": null}))] {
        checkpoint.schedule = schedule;
        comes_back(&checkpoint);
    }
    // A schedule of one's own may keep nothing but `null`.
    for state in [None, Some(Value::Null), Some(json!([null]))] {
        checkpoint.schedule_state = state;
        comes_back(&checkpoint);
    }
    for best in [None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(0.1 + 0.2)] {
        let best_weights = [("b".into(), vec![]), ("w".into(), tensor(&[6]).values)].into();
        for best_weights in [None, Some(best_weights)] {
            checkpoint.early_stopping = Some(EarlyStoppingState {
                epochs: 5,
                wait: 2,
                best: Best(best),
                best_epoch: Some(2),
                stopped_epoch: None,
                best_weights,
            });
            comes_back(&checkpoint);
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_their_place_and_the_earlier_file_stays() {
    let path: PathBuf =
        std::env::temp_dir().join(format!("gradus-finite-{}.safetensors", std::process::id()));
    checkpoint().write(&path).unwrap();
    let before = fs::read(&path).unwrap();
    type Change = fn(&mut Checkpoint);
    let stopping = |best: f64, weight: f32| {
        let best_weights = Some([("b".into(), vec![]), ("w".into(), vec![weight; 6])].into());
        Some(EarlyStoppingState { best: Best(Some(best)), best_weights, ..Default::default() })
    };
    let rows: [(Change, &str); 8] = [
        (
            |c| c.optimizer.param_groups[0].initial_lr = Some(f64::NAN),
            "optimizer.param_groups[0].initial_lr is NaN",
        ),
        (
            |c| c.optimizer.param_groups[0].initial_lr = Some(f64::INFINITY),
            "optimizer.param_groups[0].initial_lr is inf",
        ),
        (|c| c.gate.as_mut().unwrap().loss_scale = f32::NEG_INFINITY, "gate.loss_scale is -inf"),
        (|c| c.gate.as_mut().unwrap().loss_scale = f32::NAN, "gate.loss_scale is NaN"),
        (
            |c| c.optimizer.state.get_mut("w").unwrap().mu_product = Some(f64::NAN),
            "optimizer.state.w.mu_product is NaN",
        ),
        (|c| c.params.get_mut("w").unwrap().values[4] = f32::NAN, "params.w holds NaN at element 4"),
        (
            |c| {
                c.optimizer.state.get_mut("w").unwrap().slots.get_mut("exp_avg").unwrap().as_mut().unwrap()
                    [5] = f32::INFINITY
            },
            "optim.exp_avg.w holds inf at element 5",
        ),
        (
            |c| {
                c.optimizer.state.get_mut("w").unwrap().slots.get_mut("total").unwrap().as_mut().unwrap()[0] =
                    f32::NAN
            },
            "optim.total.w holds NaN at element 0",
        ),
    ];
    let refused = |checkpoint: &Checkpoint, place: &str| {
        let error = checkpoint.write(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {place}", path.display())), "{error}");
        assert!(fs::read(&path).unwrap() == before, "{place}");
    };
    for (change, place) in rows {
        let mut checkpoint = checkpoint();
        change(&mut checkpoint);
        refused(&checkpoint, place);
    }
    let with = |early_stopping| Checkpoint { early_stopping, ..checkpoint() };
    refused(&with(stopping(f64::NAN, 1.0)), "early_stopping.best is NaN");
    refused(&with(stopping(1.0, f32::NAN)), "best.w holds NaN at element 0");
    fs::remove_file(path).unwrap();
}

#[test]
fn what_a_reader_would_find_too_deep_is_refused_and_one_level_less_comes_back() {
    let with_option = |levels| {
        let mut checkpoint = checkpoint();
        checkpoint.optimizer.param_groups[0].options.insert("own".into(), nested(levels));
        checkpoint
    };
    let with_run = |levels| {
        let mut checkpoint = checkpoint();
        checkpoint.run.insert("history".into(), nested(levels));
        checkpoint
    };
    let with_schedule = |levels| Checkpoint { schedule: Some(nested(levels)), ..checkpoint() };
    let with_state = |levels| Checkpoint { schedule_state: Some(nested(levels)), ..checkpoint() };
    type With<'a> = &'a dyn Fn(usize) -> Checkpoint;
    let rows: [(With<'_>, usize, &str); 4] = [
        (&with_schedule, 126, "schedule"),
        (&with_state, 126, "schedule_state"),
        (&with_run, 125, "run.history"),
        (&with_option, 123, "option own of group \"all\""),
    ];
    for (with, most, place) in rows {
        comes_back(&with(1));
        comes_back(&with(most));
        // serde_json drops a value by a recursion, which must fit the stack of a test.
        for levels in [most + 1, 140, 1000] {
            let message = format!("{place} is nested deeper than {most} arrays and objects");
            assert_eq!(with(levels).to_bytes().unwrap_err(), message, "{levels}");
        }
    }
    // Each chain is an object with a list.
    let chain = |times| {
        (0..times).fold(Box::new(StepLR::new(3)) as Box<dyn Schedule>, |inner, _| {
            Box::new(ChainedScheduler::of(vec![inner]))
        })
    };
    for (times, fits) in [(1, true), (62, true), (63, false), (70, false), (200, false)] {
        let written = Checkpoint { schedule: Some(chain(times).identity()), ..checkpoint() }.to_bytes();
        assert_eq!(written.is_ok(), fits, "{times}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    type Change = fn(&mut Checkpoint);
    let rows: [(Change, &str); 9] = [
        (|c| drop(c.params.remove("w")), "optimizer: params.w is missing"),
        (
            |c| c.optimizer.state.get_mut("w").unwrap().shape = vec![3, 2],
            "optimizer: w has the shape [3, 2], params.w has [2, 3]",
        ),
        (
            |c| c.params.get_mut("w").unwrap().shape = vec![2, 4],
            "params.w has 6 elements and the shape [2, 4]",
        ),
        (
            |c| c.params.get_mut("b").unwrap().shape = vec![1 << 62, 4],
            "params.b has 0 elements and the shape [4611686018427387904, 4]",
        ),
        (
            // Both would be `optim.a.b.c`.
            |c| {
                let state = |slot: &str| TensorState {
                    step: 1,
                    shape: vec![1],
                    slots: [(slot.to_owned(), Some(vec![1.0]))].into(),
                    ..TensorState::default()
                };
                c.params.extend([("c".into(), tensor(&[1])), ("b.c".into(), tensor(&[1]))]);
                c.optimizer.state.extend([("c".into(), state("a.b")), ("b.c".into(), state("a"))]);
            },
            "two tensors would be called optim.a.b.c",
        ),
        (
            |c| drop(c.optimizer.param_groups[0].options.insert("initial_lr".into(), json!(0.5))),
            "option initial_lr of group \"all\" is called as one of its fields",
        ),
        (
            |c| drop(c.optimizer.param_groups[0].options.insert("params".into(), json!([]))),
            "option params of group \"all\" is called as one of its fields",
        ),
        (
            |c| {
                let best_weights = Some([("w".into(), tensor(&[6]).values)].into());
                c.early_stopping = Some(EarlyStoppingState { best_weights, ..Default::default() });
            },
            "early_stopping: the best parameters are those of another model",
        ),
        (
            |c| {
                let best_weights = Some([("b".into(), vec![]), ("w".into(), vec![1.0; 5])].into());
                c.early_stopping = Some(EarlyStoppingState { best_weights, ..Default::default() });
            },
            "best.w has 5 elements and the shape [2, 3]",
        ),
    ];
    for (change, message) in rows {
        let mut checkpoint = checkpoint();
        change(&mut checkpoint);
        let reason = checkpoint.to_bytes().unwrap_err();
        assert!(reason.starts_with(message), "{reason}");
    }
}

#[test]
fn best_parameters_of_any_size_are_tensors_and_those_in_the_run_still_load() {
    let values: Vec<f32> =
        (0..6_000_000_u32).map(|at| f32::from_bits(at.wrapping_mul(2_654_435_761) & 0xbfff_ffff)).collect();
    let params = |values: &[f32]| Tensor { shape: vec![2000, 3000], values: values.to_vec() };
    let mut checkpoint = checkpoint();
    checkpoint.optimizer.state.clear();
    checkpoint.params = [("w".into(), params(&values))].into();
    let best: Vec<f32> = values.iter().map(|value| -value).collect();
    let state = EarlyStoppingState {
        epochs: 3,
        best: Best(Some(0.5)),
        best_epoch: Some(1),
        best_weights: Some([("w".into(), best.clone())].into()),
        ..Default::default()
    };
    checkpoint.early_stopping = Some(state);
    let bytes = checkpoint.to_bytes().unwrap();
    let read = Checkpoint::from_bytes(&bytes).unwrap().early_stopping.unwrap();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert!(bits(&read.best_weights.as_ref().unwrap()["w"]) == bits(&best));
    assert_eq!((read.epochs, read.best, read.best_epoch), (3, Best(Some(0.5)), Some(1)));
    let header = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    println!("{} bytes, of which {header} are the header", bytes.len());
    assert!(header < 2000 && bytes.len() < 48_002_000);
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("best.w").unwrap().shape(), [2000, 3000]);
    // The checksum covers them: they lie at the beginning of the tensors.
    for place in [header + 8 + 5, header + 8 + 23_999_999] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(Checkpoint::from_bytes(&changed).unwrap_err().contains("its checksum does not fit"));
    }

    // As JSON in the run, which is how it was kept before, a small one loads and a large one is told its size.
    let mut small = super::tests::checkpoint();
    let state = EarlyStoppingState { best_weights: Some([("w".into(), vec![0.1; 6])].into()), ..read };
    small.run.insert("early_stopping".into(), serde_json::to_value(&state).unwrap());
    let run = Checkpoint::from_bytes(&small.to_bytes().unwrap()).unwrap().run;
    assert_eq!(serde_json::from_value::<EarlyStoppingState>(run["early_stopping"].clone()).unwrap(), state);
    small.run = [("log".to_owned(), Value::from("x".repeat(100_000_000)))].into_iter().collect();
    let reason = small.to_bytes().unwrap_err();
    let message =
        "its header would be larger than the 100000000 bytes that safetensors allows: of the record's ";
    assert!(reason.starts_with(message) && reason.ends_with("`run` has 100000010"), "{reason}");
}
