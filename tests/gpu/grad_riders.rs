//! What rides in the optimizer's dispatch: clip by value, noise, penalties, and the order of all.

use gradus::grad::{ClipGradNorm, Noise, Penalty, Transforms};
use gradus::optim::{Optimizer, Rule, SGD};
use gradus::{Gpu, GpuOptions, ParamStore};

use crate::common::{bits, gpu, gpu_with, noises};
use crate::grad::negated;

/// Odd lengths, so that every kind of padding occurs.
const LENS: [usize; 6] = [1, 3, 65, 30_011, 70_000, 127];

fn store(gpu: &Gpu, maximize: bool) -> (ParamStore, Optimizer<SGD>) {
    let zeros = vec![0.0; 70_000];
    let mut builder = ParamStore::builder();
    for (index, len) in LENS.into_iter().enumerate() {
        builder = builder.tensor(format!("t{index}"), [len], &zeros[..len]);
    }
    let params = builder.build(gpu).unwrap();
    let optimizer = SGD { lr: 1.0, maximize, ..SGD::default() }.build(&params).unwrap();
    (params, optimizer)
}

/// The noise of some steps, from zero parameters and gradients; padding is looked at.
fn noise_of(gpu: &Gpu, noise: &Noise, steps: usize) -> Vec<Vec<f32>> {
    let (mut params, mut optimizer) = store(gpu, true);
    let transforms = Transforms { noise: Some(noise.clone()), ..Transforms::default() };
    optimizer.set_transforms(transforms, &params).unwrap();
    (0..steps)
        .map(|_| {
            for (index, len) in LENS.into_iter().enumerate() {
                params.write(&format!("t{index}"), &vec![0.0; len]).unwrap();
            }
            optimizer.step(&mut params).unwrap();
            let mut all = params.params().read_all(gpu).unwrap();
            let mut real = Vec::new();
            for span in params.layout().spans() {
                let part = &mut all[span.first..span.first + span.len];
                real.extend_from_slice(part);
                part.fill(0.0);
            }
            assert!(all.iter().all(|p| *p == 0.0), "noise reached padding");
            real
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// Numbers that should have a mean of zero and a deviation of one: their moments, and how many are how far out.
fn looks_normal(values: &[f64]) {
    let n = values.len() as f64;
    let moment = |power| mean(values.iter().map(|x: &f64| x.powi(power)));
    let near = |what: &str, got: f64, want: f64, deviation: f64| {
        assert!((got - want).abs() < 4.5 * deviation / n.sqrt(), "{what}: got {got}, expected {want}");
    };
    near("mean", moment(1), 0.0, 1.0);
    near("variance", moment(2), 1.0, 2f64.sqrt());
    near("skewness", moment(3), 0.0, 15f64.sqrt());
    near("kurtosis", moment(4), 3.0, 96f64.sqrt());
    for (within, share) in [(0.5, 0.382_925), (1.0, 0.682_689), (2.0, 0.954_500), (3.0, 0.997_300)] {
        let got = values.iter().filter(|x| x.abs() < within).count() as f64 / n;
        near("share", got, share, (share * (1.0 - share)).sqrt());
    }
}

fn independent(a: &[f64], b: &[f64]) {
    let product = mean(a.iter().zip(b).map(|(a, b)| a * b));
    assert!(product.abs() < 4.5 / (a.len().min(b.len()) as f64).sqrt(), "correlation {product}");
    // So are their sizes.
    let sizes = mean(a.iter().zip(b).map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)));
    assert!(sizes.abs() < 4.5 * 2.0 / (a.len().min(b.len()) as f64).sqrt(), "correlation of squares {sizes}");
}

#[test]
fn noise_is_normal_and_independent() {
    let Some(gpu) = gpu() else { return };
    let noise = Noise { eta: 0.5, gamma: 0.55, seed: 11 };
    let steps: Vec<Vec<f64>> = noise_of(&gpu, &noise, 4)
        .into_iter()
        .enumerate()
        .map(|(t, values)| {
            let deviation = 0.5 / (1.0 + t as f64).powf(0.55);
            values.into_iter().map(|x| f64::from(x) / deviation).collect()
        })
        .collect();
    for values in &steps {
        looks_normal(values);
        for apart in [1, 2, 3, 4, 64, 256] {
            independent(values, &values[apart..]);
        }
    }
    for pair in steps.windows(2) {
        independent(&pair[0], &pair[1]);
        independent(&pair[0], &pair[1][1..]);
    }
    // Of two tensors.
    independent(&steps[0][69..30_080], &steps[0][30_080..60_091]);
    let other: Vec<f64> =
        noise_of(&gpu, &Noise { seed: 12, ..noise }, 1)[0].iter().map(|x| f64::from(*x) / 0.5).collect();
    independent(&steps[0], &other);
}

#[test]
fn the_seed_the_step_and_the_place_make_the_noise() {
    let Some(gpu) = gpu() else { return };
    let noise = Noise { eta: 1.0, gamma: 0.0, seed: u64::MAX - 3 };
    let once = noise_of(&gpu, &noise, 2);
    assert!(once == noise_of(&gpu, &noise, 2));
    let other = noise_of(&gpu, &Noise { seed: noise.seed ^ (1 << 40), ..noise.clone() }, 1);
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    assert!(same(&once[0], &other[0]) < 20 && same(&once[0], &once[1]) < 20);
    // Nor do windows.
    let Some(cut) = gpu_with(GpuOptions { max_binding_bytes: Some(1 << 16), ..GpuOptions::default() }) else {
        return;
    };
    assert!(bits(&noise_of(&cut, &noise, 1)[0]) == bits(&once[0]));
    assert!(noise_of(&gpu, &Noise { eta: 0.0, ..noise }, 1)[0].iter().all(|x| *x == 0.0));
}

fn penalised(gpu: &Gpu) -> (ParamStore, Optimizer<SGD>) {
    let w: Vec<f32> = noises(5, 70).iter().map(|p| if p.abs() < 0.1 { 0.0 } else { *p }).collect();
    let params = ParamStore::builder()
        .group("a", |g| g.tensor("w", [7, 10], &w).tensor("b", [3], &[0.0, -2.0, 3.0]))
        .group("c", |g| g.tensor("x", [5], &[1.0, -1.0, 0.5, -0.25, 0.0]).tensor("y", [2], &[4.0, -4.0]))
        .build(gpu)
        .unwrap();
    let optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
    (params, optimizer)
}

#[test]
fn penalties_add_their_gradients() {
    let Some(gpu) = gpu() else { return };
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<String>>();
    let (all, a, x) = (
        Penalty { l2: 0.01, ..Penalty::default() },
        Penalty { l1: 0.1, groups: names(&["a"]), ..Penalty::default() },
        Penalty { l1: 0.25, l2: 0.5, tensors: names(&["x", "b"]), ..Penalty::default() },
    );
    for some in [vec![], vec![all.clone()], vec![a.clone()], vec![x.clone()], vec![all, a, x]] {
        let (mut params, mut optimizer) = penalised(&gpu);
        let factors = |group: &str, tensor: &str| {
            let holds = |penalty: &&Penalty| {
                let everywhere = penalty.groups.is_empty() && penalty.tensors.is_empty();
                everywhere
                    || penalty.groups.iter().any(|name| name == group)
                    || penalty.tensors.iter().any(|name| name == tensor)
            };
            some.iter().filter(holds).fold((0.0, 0.0), |(l1, l2), p| (l1 + p.l1, l2 + p.l2))
        };
        let transforms = Transforms { penalties: some.clone(), ..Transforms::default() };
        optimizer.set_transforms(transforms, &params).unwrap();
        let (mut value, mut want) = (0.0, Vec::new());
        for (group, tensor) in [("a", "w"), ("a", "b"), ("c", "x"), ("c", "y")] {
            let (l1, l2) = factors(group, tensor);
            for p in params.read(tensor).unwrap().into_iter().map(f64::from) {
                value += l1 * p.abs() + l2 * p * p;
                let sign = if p == 0.0 { 0.0 } else { p.signum() };
                want.push(p - (l1 * sign + 2.0 * l2 * p) - 0.125);
            }
        }
        let got = optimizer.read_penalty(&params).unwrap();
        assert!((got - value).abs() <= 1e-12 * value, "got {got}, expected {value}");
        params.write_grads(&[0.125; 80]).unwrap();
        optimizer.step(&mut params).unwrap();
        for (got, want) in negated(&params).into_iter().zip(want) {
            assert!((f64::from(-got) - want).abs() < 1e-6, "{some:?}: got {}, expected {want}", -got);
        }
        let mut raw = params.params().read_all(&gpu).unwrap();
        params.layout().spans().iter().for_each(|span| raw[span.first..span.first + span.len].fill(0.0));
        assert!(raw.iter().all(|p| *p == 0.0), "padding");
    }
}

#[test]
fn values_are_clipped_and_nan_stays() {
    let Some(gpu) = gpu() else { return };
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let rows: [(Transforms, [f32; 6]); 3] = [
        (
            Transforms { clip_grad_value: Some(0.5), ..Transforms::default() },
            [0.25, -0.25, 0.5, -0.5, 0.5, -0.5],
        ),
        (Transforms { clip_grad_value: Some(0.0), ..Transforms::default() }, [0.0; 6]),
        // A penalty alone does not clip.
        (
            Transforms {
                penalties: vec![Penalty { l1: 1.0, ..Penalty::default() }],
                ..Transforms::default()
            },
            [0.25, -0.25, 2.0, -2.0, inf, -inf],
        ),
    ];
    for (transforms, want) in rows {
        let mut params = ParamStore::builder().tensor("w", [7], &[0.0; 7]).build(&gpu).unwrap();
        let mut optimizer = SGD { lr: 1.0, ..SGD::default() }.build(&params).unwrap();
        optimizer.set_transforms(transforms, &params).unwrap();
        params.write_grads(&[0.25, -0.25, 2.0, -2.0, inf, -inf, nan]).unwrap();
        optimizer.step(&mut params).unwrap();
        let got = negated(&params);
        assert!(got[..6] == want && got[6].is_nan(), "{got:?}");
    }
}

#[test]
fn every_other_order_would_give_another_number() {
    let Some(gpu) = gpu() else { return };
    let step = |transforms: Transforms, start: [f32; 2], grads: [f32; 2]| {
        let mut params = ParamStore::builder().tensor("w", [2], &start).build(&gpu).unwrap();
        let mut optimizer = SGD { lr: 1.0, maximize: true, ..SGD::default() }.build(&params).unwrap();
        optimizer.set_transforms(transforms, &params).unwrap();
        params.write_grads(&grads).unwrap();
        optimizer.step(&mut params).unwrap();
        params.read("w").unwrap()
    };
    let noise = || Some(Noise { eta: 4.0, gamma: 0.55, seed: 2 });
    let random = step(Transforms { noise: noise(), ..Transforms::default() }, [0.0; 2], [0.0; 2]);
    assert!(random.iter().all(|x| x.abs() > 0.5), "{random:?}");
    let all = Transforms {
        clip_grad_norm: Some(ClipGradNorm::new(10.0)),
        clip_grad_value: Some(7.0),
        noise: noise(),
        penalties: vec![Penalty { l2: 0.25, ..Penalty::default() }],
        ..Transforms::default()
    };
    let start = [2.0, -4.0];
    let got = step(all, start, [30.0, 40.0]);
    // 30 and 40 have the norm 50: clipped to 6 and 8, then to 6 and 7; half of each parameter is added, and the
    // whole goes up.
    let in_order = [2.0 + (6.0 + random[0] + 1.0), -4.0 + (7.0 + random[1] - 2.0)];
    let off = |other: [f32; 2]| (got[0] - other[0]).abs().max((got[1] - other[1]).abs());
    assert!(off(in_order) < 1e-5, "got {got:?}, expected {in_order:?}");
    let clip = |x: f32, most: f32| x.clamp(-most, most);
    let by_norm = |g: [f32; 2]| {
        let factor = (10.0 / g[0].hypot(g[1])).min(1.0);
        g.map(|g| g * factor)
    };
    let (a, b) = (random[0], random[1]);
    let others = [
        // Values first; noise before the values, before the norm; penalty before the values, before the norm;
        // negated before the penalty.
        by_norm([7.0, 7.0]).map(|g| g - 0.0),
        [clip(6.0 + a, 7.0) - a, clip(8.0 + b, 7.0) - b],
        by_norm([30.0 + a, 40.0 + b]).map(|g| clip(g, 7.0)),
        [clip(6.0 + 1.0, 7.0) - 1.0, clip(8.0 - 2.0, 7.0) + 2.0],
        by_norm([31.0, 38.0]).map(|g| clip(g, 7.0)),
        [6.0 - 2.0, 7.0 + 4.0],
    ];
    for [x, y] in others {
        assert!(off([2.0 + x + a + 1.0, -4.0 + y + b - 2.0]) > 1e-2, "{x} {y}");
    }
}
