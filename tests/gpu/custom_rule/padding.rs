//! Whatever a rule makes of zeros, with as many slots as it may have.

use gradus::grad::{ClipGradNorm, Noise, Skip, Transforms};
use gradus::optim::{AnyRule, CustomRule, Lookahead, Optimizer};
use gradus::{GpuOptions, ParamStore};
use serde_json::json;

use super::adam;
use crate::common::{bits, gpu, gpu_with, noises, padding, read_all, store};

/// NaN for zeros.
const SIGN: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    (*s).square = hyper.decay * (*s).square + g * g;
    (*s).inverse = 1.0 / (*s).square;
    return p * sqrt((*s).square) / sqrt((*s).square) - call.lr * g / sqrt((*s).square);
}";

fn sign() -> CustomRule {
    let builder = CustomRule::builder("Sign", SIGN).lr(0.01).slot("square").slot("inverse");
    builder.hyper("decay", 0.5, 0.0..=1.0).build().unwrap()
}

/// Gradients without zeros.
fn nonzero(step: usize, len: usize) -> Vec<f32> {
    noises(step as u64, len).iter().map(|x| if x.abs() < 1e-3 { 0.5 } else { *x }).collect()
}

fn steps<R: AnyRule + Clone>(
    optimizer: &mut Optimizer<R>,
    params: &mut ParamStore,
    steps: std::ops::Range<usize>,
) {
    for step in steps {
        params.write_grads(&nonzero(step, params.layout().parameters())).unwrap();
        optimizer.step(params).unwrap();
    }
}

/// What a rule would make of zeros reaches nothing, whatever it stands in.
#[test]
fn padding_stays_zero_under_a_rule_that_is_nan_for_zeros() {
    let small = GpuOptions { max_binding_bytes: Some(65_536), ..Default::default() };
    for options in [GpuOptions::default(), small] {
        let Some(gpu) = gpu_with(options) else { return };
        let transforms: [fn() -> Transforms; 4] = [
            Transforms::default,
            || {
                let (clip_grad_norm, skip) = (Some(ClipGradNorm::new(3.0)), Some(Skip::default()));
                Transforms { clip_grad_norm, skip, ..Default::default() }
            },
            || Transforms { clip_grad_value: Some(0.25), ..Default::default() },
            || Transforms { noise: Some(Noise { eta: 1e-6, gamma: 0.55, seed: 3 }), ..Default::default() },
        ];
        for transforms in transforms {
            for ahead in [false, true] {
                let rule: Box<dyn AnyRule> =
                    if ahead { Lookahead::new(sign()).into() } else { sign().into() };
                let lens = [1, 3, 4, 63, 64, 65, 20_000, 256, 1025];
                let data: Vec<Vec<f32>> = (0..).zip(lens).map(|(i, len)| noises(i, len)).collect();
                let mut params = ParamStore::builder()
                    .group("a", |g| {
                        lens.iter()
                            .zip(&data)
                            .take(5)
                            .fold(g, |g, (len, data)| g.tensor(format!("t{len}"), [*len], data))
                    })
                    .group("b", |g| {
                        lens.iter()
                            .zip(&data)
                            .skip(5)
                            .fold(g, |g, (len, data)| g.tensor(format!("t{len}"), [*len], data))
                    })
                    .build(&gpu)
                    .unwrap();
                let mut optimizer = rule.build(&params).unwrap();
                optimizer.set_transforms(transforms(), &params).unwrap();
                steps(&mut optimizer, &mut params, 0..7);
                assert!(padding(&params).iter().all(|value| value.to_bits() == 0));
                assert!(read_all(&params).iter().all(|value| value.is_finite()));
                let dict = optimizer.read_state_dict().unwrap();
                let slots = dict.state.values().flat_map(|state| state.slots.values()).flatten().flatten();
                assert!(slots.clone().all(|value| value.is_finite()));
                assert_eq!(slots.count(), (2 + usize::from(ahead)) * lens.iter().sum::<usize>());
            }
        }
    }
}

/// Elements get the same bits whether or not the kernel holds padding at zero.
#[test]
fn a_layout_without_padding_has_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    let data = noises(1, 128);
    let built = |extra: &[f32]| {
        let mut builder = ParamStore::builder().tensor("w", [128], &data);
        if !extra.is_empty() {
            builder = builder.tensor("x", [extra.len()], extra);
        }
        builder.build(&gpu).unwrap()
    };
    let [want, got] = [built(&[]), built(&[0.5; 3])].map(|mut params| {
        let mut optimizer = sign().build(&params).unwrap();
        for step in 0..9 {
            let mut grads = nonzero(step, 128);
            grads.resize(params.layout().parameters(), 0.25);
            params.write_grads(&grads).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        let dict = optimizer.read_state_dict().unwrap();
        (bits(&params.read("w").unwrap()), json!(dict.state["w"]))
    });
    assert_eq!(want, got);
}

/// A store that gets its first padding, or more of it, in a group that is added.
#[test]
fn padding_of_a_group_that_is_added_stays_zero() {
    let Some(gpu) = gpu() else { return };
    let data = noises(1, 128);
    let mut params = ParamStore::builder().tensor("w", [128], &data).build(&gpu).unwrap();
    let mut optimizer = sign().build(&params).unwrap();
    steps(&mut optimizer, &mut params, 0..3);
    optimizer.add_param_group(&mut params, "more", &json!({}), |g| g.tensor("x", [3], &data[..3])).unwrap();
    steps(&mut optimizer, &mut params, 3..6);
    assert!(padding(&params).iter().all(|value| value.to_bits() == 0));
    assert!(read_all(&params).iter().all(|value| value.is_finite()));
}

/// Rates, hyperparameters and constants of zero.
#[test]
fn constants_of_zero_leave_padding_zero_and_elements_finite() {
    let Some(gpu) = gpu() else { return };
    for zero in ["lr", "beta1", "beta2", "eps"] {
        let mut params = store(&gpu);
        let before = read_all(&params);
        let mut rule = adam();
        rule.set(zero, 0.0).unwrap();
        let mut optimizer = rule.build(&params).unwrap();
        steps(&mut optimizer, &mut params, 0..3);
        assert!(padding(&params).iter().all(|value| value.to_bits() == 0), "{zero}");
        let after = read_all(&params);
        assert!(after.iter().all(|value| value.is_finite()), "{zero}");
        assert_eq!(after == before, zero == "lr", "{zero}");
    }
}

/// From none to the most slots, with all that binds a buffer beside them.
#[test]
fn every_number_of_slots_fits_the_bindings_of_every_device() {
    let Some(gpu) = gpu() else { return };
    for count in 0..=CustomRule::MOST_SLOTS {
        let names: Vec<String> = (0..count).map(|i| format!("slot{i}")).collect();
        let sums: String =
            names.iter().map(|name| format!("(*s).{name} += g; sum += (*s).{name};\n")).collect();
        let text = format!(
            "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {{ var sum = g; {sums} return p - call.lr * sum; }}"
        );
        let declared = CustomRule::builder("Sums", text).lr(0.5);
        let rule =
            names.iter().fold(declared, |builder, name| builder.slot_from(name, 0.25)).build().unwrap();
        for noise in [None, Some(Noise { eta: 0.0, gamma: 0.55, seed: 3 })] {
            let mut around = Lookahead::new(rule.clone());
            (around.sync_period, around.alpha) = (2, 0.5);
            let mut params = ParamStore::builder().tensor("w", [3], &[1.0, 2.0, 3.0]).build(&gpu).unwrap();
            let mut optimizer = around.build(&params).unwrap();
            optimizer.set_transforms(Transforms { noise, ..Default::default() }, &params).unwrap();
            for _ in 0..2 {
                params.write_grads(&[0.5; 3]).unwrap();
                optimizer.step(&mut params).unwrap();
            }
            // Two steps by 0.5 (0.5 + count (0.25 + 0.5)) and 0.5 (0.5 + count (0.25 + 1)), of which half stays.
            let moved = 0.5 * (0.5 + count as f32);
            assert_eq!(params.read("w").unwrap(), [1.0 - moved, 2.0 - moved, 3.0 - moved], "{count}");
            let dict = optimizer.read_state_dict().unwrap();
            assert_eq!(dict.state["w"].slots.len(), count + 1);
        }
    }
}
