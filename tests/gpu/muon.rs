//! Muon against f64 over whole matrices, and what goes with it: groups of AdamW, batches of products, refusals.

use gradus::grad::{ClipGradNorm, Noise, Penalty, Skip, Transforms};
use gradus::optim::{self, AnyRule, Optimizer, StateDict};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gpus_with, noise, noises, padding, read_all};
use crate::network::gpus;

type Built = (ParamStore, Optimizer<Box<dyn AnyRule>>);

/// Wide, tall, square and thin; equal ones, which run in one batch, between others; one over several windows.
const SHAPES: [[usize; 2]; 11] =
    [[5, 3], [8, 8], [1, 7], [33, 65], [8, 8], [7, 1], [1, 1], [64, 12], [8, 8], [110, 128], [130, 150]];
/// From here on they are in the second group.
const SECOND: usize = 5;

fn small_windows() -> GpuOptions {
    GpuOptions { max_binding_bytes: Some(131_072), ..GpuOptions::default() }
}

fn build(gpu: &Gpu, rule: &Value, second: &Value) -> Built {
    let data: Vec<Vec<f32>> =
        (60..).zip(SHAPES).map(|(stream, [rows, columns])| noises(stream, rows * columns)).collect();
    let params = ParamStore::builder()
        .group("a", |mut g| {
            for i in 0..SECOND {
                g = g.tensor(format!("m{i}"), SHAPES[i], &data[i]);
            }
            g
        })
        .group("b", |mut g| {
            for i in SECOND..SHAPES.len() {
                g = g.tensor(format!("m{i}"), SHAPES[i], &data[i]);
            }
            g
        })
        .build(gpu)
        .unwrap();
    let optimizer = optim::from_json(rule).unwrap().build_with(&params, &[("b", second.clone())]).unwrap();
    (params, optimizer)
}

fn grads_at(step: usize) -> Vec<f32> {
    let all: usize = SHAPES.iter().map(|[rows, columns]| rows * columns).sum();
    (0..all).map(|i| noise(300 + step as u64, i) * [1.0, 1e-2, 5.0][i % 3]).collect()
}

/// A matrix in f64, as torch steps it with the iteration in its own type.
struct Matrix {
    shape: [usize; 2],
    p: Vec<f64>,
    buffer: Vec<f64>,
}

fn product(a: &[f64], b: &[f64], [rows, inner, columns]: [usize; 3]) -> Vec<f64> {
    let at = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum();
    (0..rows * columns).map(|e| at(e / columns, e % columns)).collect()
}

fn turned(x: &[f64], [rows, columns]: [usize; 2]) -> Vec<f64> {
    (0..rows * columns).map(|e| x[e % rows * columns + e / rows]).collect()
}

impl Matrix {
    fn step(&mut self, options: &Value, grads: &[f32]) {
        let number = |key: &str| options[key].as_f64().unwrap();
        let mu = number("momentum");
        let mut u = Vec::new();
        for (buffer, g) in self.buffer.iter_mut().zip(grads) {
            let g = f64::from(*g);
            *buffer = mu * *buffer + (1.0 - mu) * g;
            u.push(if options["nesterov"] == true { (1.0 - mu) * g + mu * *buffer } else { *buffer });
        }
        let [rows, columns] = self.shape;
        let norm = u.iter().map(|x| x * x).sum::<f64>().sqrt().max(number("eps"));
        let mut x: Vec<f64> = u.iter().map(|x| x / norm).collect();
        let [short, long] = [rows.min(columns), rows.max(columns)];
        if rows > columns {
            x = turned(&x, self.shape);
        }
        let c: Vec<f64> = (0..3).map(|i| options["ns_coefficients"][i].as_f64().unwrap()).collect();
        for _ in 0..options["ns_steps"].as_u64().unwrap() {
            let a = product(&x, &turned(&x, [short, long]), [short, long, short]);
            let square = product(&a, &a, [short; 3]);
            let b: Vec<f64> = a.iter().zip(&square).map(|(a, square)| c[1] * a + c[2] * square).collect();
            let more = product(&b, &x, [short, short, long]);
            x = x.iter().zip(&more).map(|(x, more)| c[0] * x + more).collect();
        }
        if rows > columns {
            x = turned(&x, [short, long]);
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (of_rows, of_columns) = (rows as f64, columns as f64);
        let k = match options["adjust_lr_fn"].as_str() {
            None | Some("original") => (of_rows / of_columns).max(1.0).sqrt(),
            Some("match_rms_adamw") => 0.2 * of_rows.max(of_columns).sqrt(),
            Some(_) => (of_rows / of_columns).sqrt(),
        };
        let (lr, decay) = (number("lr"), number("weight_decay"));
        for (p, x) in self.p.iter_mut().zip(x) {
            *p = *p * (1.0 - lr * decay) - lr * k * x;
        }
    }
}

fn options() -> Vec<(Value, Value)> {
    let other = json!({"lr": 0.05, "weight_decay": 0, "momentum": 0.5, "nesterov": false, "eps": 1, "ns_steps": 3,
                       "ns_coefficients": [3, -3.2, 1.2], "adjust_lr_fn": "spectral_unclamped"});
    vec![
        (json!({"name": "Muon"}), json!({})),
        (json!({"name": "Muon", "lr": 0.02, "adjust_lr_fn": "match_rms_adamw"}), other),
        (json!({"name": "Muon", "lr": 0.02, "momentum": 0, "eps": 0, "ns_steps": 1}), json!({"ns_steps": 0})),
    ]
}

fn frozen_at(step: usize) -> [Option<&'static str>; 2] {
    [(1..3).contains(&step).then_some("m4"), (step == 2).then_some("m9")]
}

fn step((params, optimizer): &mut Built, number: usize) {
    for (name, frozen) in ["m4", "m9"].into_iter().zip(frozen_at(number)) {
        if frozen.is_some() { params.freeze(name) } else { params.thaw(name) }.unwrap();
    }
    params.write_grads(&grads_at(number)).unwrap();
    optimizer.step(params).unwrap();
}

#[test]
fn every_option_agrees_with_f64_on_every_kind_of_kernels_and_cut() {
    const STEPS: usize = 4;
    let devices: Vec<Gpu> = gpus().into_iter().chain(gpus_with(&small_windows())).collect();
    for (rule, second) in options() {
        for (number, gpu) in devices.iter().enumerate() {
            let mut built = build(gpu, &rule, &second);
            let mut matrices: Vec<Matrix> = SHAPES
                .iter()
                .enumerate()
                .map(|(i, shape)| {
                    let p = built.0.read(&format!("m{i}")).unwrap().into_iter().map(f64::from).collect();
                    Matrix { shape: *shape, p, buffer: vec![0.0; shape[0] * shape[1]] }
                })
                .collect();
            for at in 0..STEPS {
                step(&mut built, at);
                let grads = grads_at(at);
                let mut rest = &grads[..];
                for (i, matrix) in matrices.iter_mut().enumerate() {
                    let (own, after) = rest.split_at(matrix.p.len());
                    rest = after;
                    if !frozen_at(at).contains(&Some(&format!("m{i}"))) {
                        let group = if i < SECOND { "a" } else { "b" };
                        matrix.step(&built.1.group(group).unwrap().to_json(), own);
                    }
                }
            }
            let mut worst = 0f64;
            for (i, matrix) in matrices.iter().enumerate() {
                for (got, want) in built.0.read(&format!("m{i}")).unwrap().into_iter().zip(&matrix.p) {
                    worst = worst.max((f64::from(got) - want).abs());
                }
            }
            println!("{rule}, device {number}: off by {worst:.1e}");
            assert!(worst < 5e-6, "{rule}, device {number}: off by {worst:e}");
            assert!(padding(&built.0).iter().all(|x| *x == 0.0));
        }
    }
}

/// A group of AdamW is what AdamW makes of it; the same bits each time, also from a state dict on.
#[test]
fn a_group_of_adamw_and_matrices_go_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let adamw = json!({"lr": 0.02, "betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.1});
    let second = json!({"adamw": adamw});
    let rule = json!({"name": "Muon", "lr": 0.02});
    let mut built = build(&gpu, &rule, &second);
    let mut named = adamw.clone();
    named["name"] = json!("AdamW");
    let mut alone = build(&gpu, &named, &json!({}));
    for number in 0..4 {
        step(&mut built, number);
        step(&mut alone, number);
    }
    for name in ["m5", "m6", "m7", "m8", "m9", "m10"] {
        for (got, want) in built.0.read(name).unwrap().into_iter().zip(alone.0.read(name).unwrap()) {
            assert!((got - want).abs() <= 2e-7 * (0.1 + want.abs()), "{name}: got {got}, expected {want}");
        }
    }
    let dict = built.1.read_state_dict().unwrap();
    let keys = |name: &str| dict.state[name].slots.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys("m0"), keys("m8")),
        (vec!["momentum_buffer".to_owned()], vec!["exp_avg".into(), "exp_avg_sq".into()])
    );
    let text = serde_json::to_string(&dict).unwrap();
    let mut twin = build(&gpu, &rule, &second);
    for span in built.0.layout().spans() {
        twin.0.write(&span.name, &built.0.read(&span.name).unwrap()).unwrap();
    }
    twin.1.load_state_dict(&serde_json::from_str::<StateDict>(&text).unwrap()).unwrap();
    for number in 4..7 {
        step(&mut built, number);
        step(&mut twin, number);
    }
    assert_eq!(bits(&read_all(&twin.0)), bits(&read_all(&built.0)));
    assert_eq!(twin.1.read_state_dict().unwrap(), built.1.read_state_dict().unwrap());
}

fn dispatches(gpu: &Gpu, matrices: usize, shape: [usize; 2]) -> (u64, u64) {
    let data = noises(1, shape[0] * shape[1]);
    let mut builder = ParamStore::builder();
    for i in 0..matrices {
        builder = builder.tensor(format!("m{i}"), shape, &data);
    }
    let mut params = builder.build(gpu).unwrap();
    let mut optimizer = optim::from_json(&json!({"name": "Muon"})).unwrap().build(&params).unwrap();
    params.write_grads(&data.repeat(matrices)).unwrap();
    optimizer.step(&mut params).unwrap();
    let before = gpu.counters();
    optimizer.step(&mut params).unwrap();
    let spent = gpu.counters().since(&before);
    assert_eq!((spent.submits, spent.allocations, spent.pipelines, spent.bind_groups), (1, 0, 0, 0));
    // Rows that are no whole quads are packed by one that is not listed.
    let packs = u64::from(!shape[1].is_multiple_of(4));
    assert_eq!(optimizer.dispatches().len() as u64 + packs, spent.dispatches);
    (spent.dispatches, spent.submits)
}

/// Three products a round, each with its sum; norms, directions and the update once for all.
#[test]
fn equal_matrices_take_as_many_dispatches_as_one() {
    let Some(gpu) = gpu() else { return };
    for shape in [[32, 48], [48, 32], [16, 16]] {
        let counts = [1, 2, 20].map(|matrices| dispatches(&gpu, matrices, shape).0);
        println!("{shape:?}: {counts:?} dispatches of 1, 2 and 20 matrices");
        assert_eq!(counts, [counts[0]; 3]);
        assert!(counts[0] <= 4 + 15 + 1, "{shape:?}: {counts:?}");
    }
    // Rows that are no whole quads are padded and packed around the products.
    assert!(dispatches(&gpu, 20, [5, 7]).0 <= 4 + 15 + 3);
}

#[test]
fn what_is_no_matrix_is_refused_before_anything_is_made() {
    let Some(gpu) = gpu() else { return };
    let store = || {
        let (w, b) = (noises(1, 6), noises(2, 3));
        ParamStore::builder()
            .group("matrices", |g| g.tensor("w", [2, 3], &w))
            .group("rest", |g| g.tensor("b", [3], &b))
            .build(&gpu)
            .unwrap()
    };
    let mut params = store();
    let rule = optim::from_json(&json!({"name": "Muon"})).unwrap();
    let before = gpu.counters();
    let refused = rule.clone().build(&params).unwrap_err().to_string();
    assert_eq!(refused, "b of Muon: expected a matrix, or adamw for its group, got [3]");
    assert_eq!(gpu.counters().since(&before).allocations, 0);
    let around = json!({"name": "Lookahead", "inner": {"name": "Muon"}});
    assert!(optim::from_json(&around).unwrap().build(&params).is_err());
    let groups = [("rest", json!({"adamw": {}}))];
    let mut optimizer = rule.build_with(&params, &groups).unwrap();
    params.write_grads(&noises(3, 9)).unwrap();
    optimizer.step(&mut params).unwrap();
    let values = bits(&read_all(&params));
    *optimizer.group_mut("rest").unwrap() = optim::from_json(&json!({"name": "Muon"})).unwrap();
    let refused = optimizer.step(&mut params).unwrap_err().to_string();
    assert_eq!(refused, "b of Muon: expected a matrix, or adamw for its group, got [3]");
    assert_eq!((bits(&read_all(&params)), optimizer.attempted()), (values, 1));
    *optimizer.group_mut("rest").unwrap() = optim::from_json(&json!({"name": "Muon", "adamw": {}})).unwrap();
    let added =
        optimizer.add_param_group(&mut params, "image", &json!({}), |g| g.tensor("k", [1, 2, 2], &[0.0; 4]));
    assert!(added.unwrap_err().to_string().starts_with("k of Muon: expected a matrix"));
    // And the other way round, in the middle of a run: no tensor had a direction before.
    let all = [("matrices", json!({"adamw": {}})), ("rest", json!({"adamw": {}}))];
    let rule = optim::from_json(&json!({"name": "Muon"})).unwrap();
    let mut params = store();
    let mut optimizer = rule.clone().build_with(&params, &all).unwrap();
    params.write_grads(&noises(3, 9)).unwrap();
    optimizer.step(&mut params).unwrap();
    *optimizer.group_mut("matrices").unwrap() = rule;
    let before = params.read("w").unwrap();
    optimizer.step(&mut params).unwrap();
    assert_ne!(params.read("w").unwrap(), before);
}

/// Skipped steps leave nothing, and what rides in the frame is the same where the direction is measured and written.
#[test]
fn transforms_and_skipped_steps_act_as_on_other_rules() {
    let Some(gpu) = gpu() else { return };
    let second = json!({"adamw": {"lr": 0.01}});
    let rule = json!({"name": "Muon", "lr": 0.02});
    let transforms = || Transforms {
        skip: Some(Skip::default()),
        clip_grad_norm: Some(ClipGradNorm::new(1.0)),
        clip_grad_value: Some(0.5),
        noise: Some(Noise { seed: 3, ..Noise::default() }),
        penalties: vec![Penalty { l2: 0.01, ..Penalty::default() }],
        ..Transforms::default()
    };
    let runs = [false, true].map(|skips| {
        let mut built = build(&gpu, &rule, &second);
        built.1.set_transforms(transforms(), &built.0).unwrap();
        for number in 0..4 {
            if skips && number > 0 {
                built.0.write_grads(&vec![f32::NAN; grads_at(0).len()]).unwrap();
                built.1.step(&mut built.0).unwrap();
            }
            step(&mut built, number);
        }
        built
    });
    let [plain, skipping] = runs;
    assert!(read_all(&plain.0).iter().all(|p| p.is_finite()));
    let dicts = [&plain, &skipping].map(|built| built.1.read_state_dict().unwrap());
    assert_eq!(dicts[1].attempted, dicts[0].attempted + 3);
    // Noise depends on the number of the step, skipped ones counted, so only counts are the same.
    let steps = |dict: &StateDict| dict.state.values().map(|tensor| tensor.step).collect::<Vec<_>>();
    assert_eq!(steps(&dicts[0]), steps(&dicts[1]));
    assert!(read_all(&skipping.0).iter().all(|p| p.is_finite()));
}

/// Around matrices, by hand.
#[test]
fn lookahead_is_around_matrices_too() {
    let Some(gpu) = gpu() else { return };
    let inner = json!({"name": "Muon", "lr": 0.05});
    let ahead = json!({"name": "Lookahead", "inner": inner, "sync_period": 2, "alpha": 0.75});
    let mut built = build(&gpu, &ahead, &json!({}));
    let mut fast = build(&gpu, &inner, &json!({}));
    let mut slow = read_all(&fast.0);
    for number in 0..4 {
        step(&mut built, number + 10);
        step(&mut fast, number + 10);
        if number % 2 == 1 {
            let now = read_all(&fast.0);
            slow.iter_mut().zip(&now).for_each(|(slow, fast)| *slow += 0.75 * (fast - *slow));
            let mut rest = &slow[..];
            for span in fast.0.layout().clone().spans() {
                let (part, after) = rest.split_at(span.len);
                fast.0.write(&span.name, part).unwrap();
                rest = after;
            }
        }
    }
    for (got, want) in read_all(&built.0).into_iter().zip(read_all(&fast.0)) {
        assert!((got - want).abs() < 4e-6 * (0.1 + want.abs()), "got {got}, expected {want}");
    }
}
