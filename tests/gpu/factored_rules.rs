//! Rules that keep a few values of each tensor: against f64 over whole tensors, in every way that tensors are cut.

use std::collections::BTreeMap;

use gradus::grad::{ClipGradNorm, Noise, Penalty, Skip, Transforms};
use gradus::optim::{self, Adafactor, AnyRule, Optimizer, Rule, SM3, StateDict};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, gpu_with, gradients, noises, padding};
use crate::network::gpus;

const SMALL: [&[usize]; 12] = [
    &[],
    &[1],
    &[7],
    &[1, 9],
    &[9, 1],
    &[3, 5],
    &[8, 12],
    &[5, 16, 8],
    &[4, 3, 3],
    &[3, 20, 2, 4],
    &[2, 3, 4, 5, 6],
    &[130, 140],
];

pub(crate) fn options() -> Vec<Value> {
    vec![
        json!({"name": "Adafactor"}),
        json!({"name": "Adafactor", "lr": 0.5, "beta2_decay": -0.5, "eps": [1e-4, 0.1], "d": 2, "weight_decay": 0.1,
               "maximize": true}),
        json!({"name": "Adafactor", "variant": "optax"}),
        json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 2}),
        json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 0, "decay_rate": 0.5,
               "decay_offset": 3, "clipping_threshold": null, "eps": 1e-8}),
        json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 3, "momentum": 0.9,
               "weight_decay": 0.01, "multiply_by_parameter_scale": false, "clipping_threshold": 0.5}),
        json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 2, "factored": false,
               "momentum": 0.5}),
        json!({"name": "SM3", "lr": 0.1}),
        json!({"name": "SM3", "lr": 0.1, "momentum": 0, "b2": 0.9, "weight_decay": 0.1, "eps": 1e-4}),
    ]
}

/// Whether small tensors keep a value for each element, and so all of them more than a small binding holds.
fn keeps_all(json: &Value) -> bool {
    let is_optax = json["variant"] == "optax";
    is_optax && (json["min_dim_size_to_factor"].is_null() || json["factored"] == false)
}

fn index(shape: &[usize], element: usize, axis: usize) -> usize {
    element / shape[axis + 1..].iter().product::<usize>() % shape[axis]
}

/// The index where one axis is left out.
fn without(shape: &[usize], element: usize, axis: usize) -> usize {
    let within: usize = shape[axis + 1..].iter().product();
    element / within / shape[axis] * within + element % within
}

/// A tensor in f64.
pub(crate) struct Tensor {
    shape: Vec<usize>,
    pub(crate) p: Vec<f64>,
    step: i32,
    state: BTreeMap<String, Vec<f64>>,
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
}

impl Tensor {
    pub(crate) fn new(shape: &[usize], p: &[f32]) -> Self {
        let p = p.iter().map(|x| f64::from(*x)).collect();
        Self { shape: shape.to_vec(), p, step: 0, state: BTreeMap::new() }
    }

    fn kept(&mut self, key: &str, len: usize) -> &mut Vec<f64> {
        self.state.entry(key.into()).or_insert_with(|| vec![0.0; len])
    }

    fn average(&mut self, key: &str, weight: f64, new: &[f64]) -> Vec<f64> {
        let kept = self.kept(key, new.len());
        kept.iter_mut().zip(new).for_each(|(old, new)| *old = (1.0 - weight) * *old + weight * new);
        kept.clone()
    }

    pub(crate) fn step(&mut self, rule: &Value, g: &[f32]) {
        let sign = if rule["maximize"] == true { -1.0 } else { 1.0 };
        let g: Vec<f64> = g.iter().map(|g| sign * f64::from(*g)).collect();
        self.step += 1;
        match rule["name"].as_str().unwrap() {
            "SM3" => self.sm3(rule, &g),
            _ => self.adafactor(rule, &g),
        }
    }

    fn axes(&self, rule: &Value) -> Option<(usize, usize)> {
        let last = self.shape.len().checked_sub(1).filter(|last| *last > 0)?;
        if rule["variant"] == "torch" {
            return Some((last - 1, last));
        }
        if rule["factored"] == false {
            return None;
        }
        let mut order: Vec<usize> = (0..=last).collect();
        order.sort_by_key(|axis| self.shape[*axis]);
        let least = usize::try_from(rule["min_dim_size_to_factor"].as_u64().unwrap()).unwrap();
        (self.shape[order[last - 1]] >= least).then_some((order[last - 1], order[last]))
    }

    fn mean_over(&self, axis: usize, values: &[f64]) -> Vec<f64> {
        let mut means = vec![0.0; values.len() / self.shape[axis]];
        for (element, value) in values.iter().enumerate() {
            means[without(&self.shape, element, axis)] += value / self.shape[axis] as f64;
        }
        means
    }

    fn adafactor(&mut self, rule: &Value, g: &[f64]) {
        let number = |key: &str| rule[key].as_f64();
        let is_torch = rule["variant"] == "torch";
        let step = f64::from(self.step);
        let weight = if is_torch {
            step.powf(number("beta2_decay").unwrap())
        } else {
            (step - number("decay_offset").unwrap()).max(1.0).powf(-number("decay_rate").unwrap())
        };
        let eps = if is_torch { 0.0 } else { number("eps").unwrap() };
        let first = rule["eps"][0].as_f64().unwrap_or(f64::from(f32::EPSILON));
        let squares: Vec<f64> = g.iter().map(|g| g * g + eps).collect();
        let variance: Vec<f64> = match self.axes(rule) {
            Some((rows, columns)) => {
                let row = self.average("row_var", weight, &self.mean_over(columns, &squares));
                let column = self.average("col_var", weight, &self.mean_over(rows, &squares));
                let mut less = self.shape.clone();
                less.remove(columns);
                let axis = rows - usize::from(rows > columns);
                let mut means = vec![0.0; row.len() / less[axis]];
                for (index, value) in row.iter().enumerate() {
                    means[without(&less, index, axis)] += value / less[axis] as f64;
                }
                (0..g.len())
                    .map(|element| {
                        let at = without(&self.shape, element, columns);
                        let mean = means[without(&less, at, axis)];
                        let mean = if is_torch { mean.max(first) } else { mean };
                        row[at] * column[without(&self.shape, element, rows)] / mean
                    })
                    .collect()
            }
            None => self.average("variance", weight, &squares),
        };
        let floor = if is_torch { first * first } else { 0.0 };
        let mut u: Vec<f64> = g.iter().zip(variance).map(|(g, v)| g / v.max(floor).sqrt()).collect();
        let clip = if is_torch { number("d") } else { number("clipping_threshold") };
        let size = clip.map_or(1.0, |clip| (rms(&u) / clip).max(1.0));
        let lr = number("lr").unwrap();
        let decay = number("weight_decay").unwrap_or(0.0);
        let (rate, decay) = if is_torch {
            let least = rule["eps"][1].as_f64().unwrap();
            (lr.min(1.0 / step.sqrt()) * rms(&self.p).max(least), lr * decay)
        } else {
            let scales = rule["multiply_by_parameter_scale"] == true;
            (lr * if scales { rms(&self.p).max(1e-3) } else { 1.0 }, decay)
        };
        u.iter_mut().for_each(|u| *u *= rate / size);
        if let Some(momentum) = number("momentum") {
            u = self.average("exp_avg", 1.0 - momentum, &u);
        }
        self.p.iter_mut().zip(u).for_each(|(p, u)| *p -= decay * *p + u);
    }

    fn sm3(&mut self, rule: &Value, g: &[f64]) {
        let number = |key: &str| rule[key].as_f64().unwrap();
        let shape = if self.shape.is_empty() { vec![1] } else { self.shape.clone() };
        let key = |axis: usize| format!("accumulator.{axis}");
        for (axis, size) in shape.iter().enumerate() {
            self.kept(&key(axis), *size);
        }
        let b2 = number("b2");
        let weight = if b2 == 1.0 { 1.0 } else { 1.0 - b2 };
        let mut u = Vec::new();
        let mut new: Vec<Vec<f64>> = shape.iter().map(|size| vec![0.0; *size]).collect();
        for (element, g) in g.iter().enumerate() {
            let g = g + number("weight_decay") * self.p[element];
            let own = (0..shape.len()).map(|axis| self.state[&key(axis)][index(&shape, element, axis)]);
            let sum = weight * g * g + b2 * own.fold(f64::INFINITY, f64::min);
            u.push(if sum > 0.0 { g / (sum + number("eps")).sqrt() } else { 0.0 });
            for (axis, new) in new.iter_mut().enumerate() {
                let place = &mut new[index(&shape, element, axis)];
                *place = place.max(sum);
            }
        }
        for (axis, new) in new.into_iter().enumerate() {
            self.state.insert(key(axis), new);
        }
        if number("momentum") != 0.0 {
            u = self.average("momentum_buffer", 1.0 - number("momentum"), &u);
        }
        self.p.iter_mut().zip(u).for_each(|(p, u)| *p -= number("lr") * u);
    }
}

fn len(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// A store of tensors `0`, `1`, … of some shapes, the first half in group `a`, the others in `b`.
fn store(gpu: &Gpu, shapes: &[&[usize]]) -> ParamStore {
    let data: Vec<Vec<f32>> = (30..).zip(shapes).map(|(stream, shape)| noises(stream, len(shape))).collect();
    let half = shapes.len() / 2;
    let mut builder = ParamStore::builder();
    for (name, range) in [("a", 0..half), ("b", half..shapes.len())] {
        builder = builder.group(name, |group| {
            range.fold(group, |group, number| {
                group.tensor(format!("{number}"), shapes[number].to_vec(), &data[number])
            })
        });
    }
    builder.build(gpu).unwrap()
}

fn build(params: &ParamStore, json: &Value) -> Optimizer<Box<dyn AnyRule>> {
    let other = ("b", json!({"lr": 0.03, "weight_decay": 0.05}));
    optim::from_json(json).unwrap().build_with(params, &[other]).unwrap()
}

fn near(what: &str, got: &[f32], want: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let off = (f64::from(*got) - want).abs();
        assert!(off <= absolute + relative * want.abs(), "{what}[{index}]: got {got}, expected {want}");
    }
}

/// Steps over tensors of these shapes, of which some are frozen now and then, against f64.
fn agrees(gpu: &Gpu, shapes: &[&[usize]], json: &Value, steps: usize) {
    let mut params = store(gpu, shapes);
    let mut optimizer = build(&params, json);
    let rules = ["a", "b"].map(|group| optimizer.group(group).unwrap().to_json());
    let names: Vec<String> = params.layout().spans().iter().map(|span| span.name.clone()).collect();
    let mut tensors: Vec<Tensor> = names
        .iter()
        .zip(shapes)
        .map(|(name, shape)| Tensor::new(shape, &params.read(name).unwrap()))
        .collect();
    for step in 0..steps {
        let all = gradients(step, params.layout().parameters());
        let frozen = |tensor: usize| (step == 2 && tensor % 5 == 1) || (step == 4 && tensor == 0);
        for (number, name) in names.iter().enumerate() {
            if frozen(number) { params.freeze(name).unwrap() } else { params.thaw(name).unwrap() }
        }
        params.write_grads(&all).unwrap();
        optimizer.step(&mut params).unwrap();
        let mut rest = &all[..];
        for (number, tensor) in tensors.iter_mut().enumerate() {
            let (own, after) = rest.split_at(len(&tensor.shape));
            rest = after;
            if !frozen(number) {
                tensor.step(&rules[usize::from(number >= shapes.len() / 2)], own);
            }
        }
    }
    let state = optimizer.read_state_dict().unwrap().state;
    for (name, tensor) in names.iter().zip(&tensors) {
        let what = format!("{json}, {:?}, {:?} kernels", tensor.shape, gpu.kernel_kind());
        near(&what, &params.read(name).unwrap(), &tensor.p, 1e-6 * steps as f64, 3e-7 * steps as f64);
        let slots = &state[name].slots;
        assert!(slots.keys().eq(tensor.state.keys()), "{what}: {:?}", slots.keys());
        for (key, want) in &tensor.state {
            let got = slots[key].as_ref().unwrap();
            // A gradient that a decay has all but cancelled has lost digits, and is divided by its own size.
            let is_average = ["exp_avg", "momentum_buffer"].contains(&key.as_str());
            near(&format!("{what}: {key}"), got, want, 2e-5, if is_average { 1e-5 } else { 1e-14 });
        }
    }
    assert!(padding(&params).iter().all(|p| *p == 0.0), "{json}: padding");
}

#[test]
fn whole_tensors_agree_with_f64_in_both_classes_of_kernels() {
    for gpu in gpus() {
        for json in options() {
            agrees(&gpu, &SMALL, &json, 6);
        }
    }
}

#[test]
fn tensors_may_lie_in_several_windows_and_buffers() {
    let caps = [
        (65_536, 262_144, &SMALL[..]),
        (524_288, 1 << 20, &[&[9], &[128, 3, 3, 129], &[300, 1001], &[5, 4]]),
    ];
    for (binding, buffer, shapes) in caps {
        let options_of = GpuOptions {
            max_binding_bytes: Some(binding),
            max_buffer_bytes: Some(buffer),
            ..GpuOptions::default()
        };
        let Some(gpu) = gpu_with(options_of) else { return };
        for json in options() {
            if json["factored"] == false && binding > 65_536 {
                agrees(&gpu, &[&[9], &[140, 700], &[5, 4]], &json, 4);
            } else if keeps_all(&json) && binding > 65_536 {
                agrees(&gpu, &[&[9], &[128, 3, 3, 129], &[5, 4]], &json, 4);
            } else if binding == 65_536 && keeps_all(&json) {
                // All 18,200 of the largest tensor.
                let params = store(&gpu, &[&[3], &[100, 182]]);
                let refused = optim::from_json(&json).unwrap().build(&params).unwrap_err();
                assert!(matches!(refused, Error::Limit { limit: 65_536, .. }), "{refused}");
            } else {
                agrees(&gpu, shapes, &json, 4);
            }
        }
    }
}

/// Shapes for which there are kernels without branches.
#[test]
fn plain_matrices_and_vectors_agree_too() {
    const PLAIN: [&[usize]; 6] = [&[8], &[12, 16], &[9, 100], &[], &[64, 512], &[40, 300]];
    let cut = GpuOptions { max_binding_bytes: Some(65_536), ..GpuOptions::default() };
    for (gpu, binding) in
        gpus().into_iter().map(|gpu| (gpu, None)).chain(gpu_with(cut).map(|gpu| (gpu, Some(65_536))))
    {
        for json in options() {
            let is_sm3 = json["name"] == "SM3";
            let deep: &[usize] = if is_sm3 { &[12, 4] } else { &[3, 12, 20] };
            let mut shapes: Vec<&[usize]> = PLAIN.into_iter().chain([deep]).collect();
            // Four must follow each other in SM3's vectors too.
            shapes.retain(|shape| !(is_sm3 && shape.is_empty()));
            if binding.is_none() || !keeps_all(&json) {
                agrees(&gpu, &shapes, &json, 4);
            }
        }
    }
}

#[test]
fn long_and_slim_tensors_agree_too() {
    let Some(gpu) = gpu() else { return };
    for json in [&options()[0], &options()[3], &options()[6]] {
        agrees(&gpu, &[&[100_000, 1], &[1, 70_001], &[20_000, 3], &[6000, 8], &[4, 5000]], json, 3);
    }
}

#[test]
fn zero_gradients_and_a_global_clip() {
    let Some(gpu) = gpu() else { return };
    for json in options() {
        let mut params = store(&gpu, &SMALL);
        let mut optimizer = build(&params, &json);
        params.write_grads(&vec![0.0; params.layout().parameters()]).unwrap();
        optimizer.step(&mut params).unwrap();
        let decays = |group: &str| optimizer.group(group).unwrap().to_json()["weight_decay"] != 0.0;
        assert!(decays("b"));
        for (number, shape) in SMALL.iter().enumerate().filter(|(number, _)| *number < SMALL.len() / 2) {
            let (got, start) =
                (params.read(&number.to_string()).unwrap(), noises(30 + number as u64, len(shape)));
            assert!(got.iter().all(|p| p.is_finite()), "{json}");
            if json["weight_decay"].is_null() {
                assert_eq!(bits(&got), bits(&start), "{json}");
            }
        }
        // Clipped gradients are gradients times a factor.
        let clip = ClipGradNorm::new(0.5);
        let all = gradients(1, params.layout().parameters());
        let norm = all.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let (mut one, mut two) = (store(&gpu, &SMALL), store(&gpu, &SMALL));
        let (mut clipped, mut plain) = (build(&one, &json), build(&two, &json));
        let transforms = Transforms { clip_grad_norm: Some(clip), ..Transforms::default() };
        clipped.set_transforms(transforms, &one).unwrap();
        one.write_grads(&all).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        let factor = (0.5 / (norm + 1e-6)) as f32;
        two.write_grads(&all.iter().map(|g| g * factor).collect::<Vec<_>>()).unwrap();
        clipped.step(&mut one).unwrap();
        plain.step(&mut two).unwrap();
        for span in one.layout().spans() {
            let want: Vec<f64> = two.read(&span.name).unwrap().into_iter().map(f64::from).collect();
            near(&format!("{json} {:?}", span.shape), &one.read(&span.name).unwrap(), &want, 1e-6, 1e-6);
        }
    }
}

#[test]
fn a_skipped_step_changes_no_bit_and_repeats_are_the_same() {
    let Some(gpu) = gpu() else { return };
    for json in options() {
        let runs: Vec<_> = [false, true, true]
            .into_iter()
            .map(|skips| {
                let mut params = store(&gpu, &SMALL);
                let mut optimizer = build(&params, &json);
                let transforms = Transforms {
                    skip: Some(Skip::default()),
                    clip_grad_value: Some(0.5),
                    penalties: vec![Penalty { l1: 0.0, l2: 0.01, groups: Vec::new(), tensors: Vec::new() }],
                    ..Transforms::default()
                };
                optimizer.set_transforms(transforms, &params).unwrap();
                for step in 0..4 {
                    let mut all = gradients(step, params.layout().parameters());
                    if skips {
                        let kept = all[900];
                        all[900] = f32::NAN;
                        params.write_grads(&all).unwrap();
                        optimizer.step(&mut params).unwrap();
                        all[900] = kept;
                    }
                    params.write_grads(&all).unwrap();
                    optimizer.step(&mut params).unwrap();
                }
                optimizer.read_step_results().unwrap();
                let dict = optimizer.read_state_dict().unwrap();
                (bits(&params.params().read_all(&gpu).unwrap()), dict.state)
            })
            .collect();
        assert!(runs[0] == runs[1] && runs[1] == runs[2], "{json}");
    }
}

#[test]
fn noise_is_the_same_in_every_stage() {
    let Some(gpu) = gpu() else { return };
    // Alone in its tensor the noise is a gradient whose square is the state: u is its sign.
    let mut params = ParamStore::builder()
        .tensor("w", [1, 1], &[1.0])
        .tensor("x", [5, 3], &[1.0; 15])
        .build(&gpu)
        .unwrap();
    let rule = Adafactor {
        lr: 0.25,
        min_dim_size_to_factor: 0,
        multiply_by_parameter_scale: false,
        ..Adafactor::optax()
    };
    let mut optimizer = rule.build(&params).unwrap();
    let noise = Noise::default();
    optimizer.set_transforms(Transforms { noise: Some(noise), ..Transforms::default() }, &params).unwrap();
    params.write_grads(&[0.0; 16]).unwrap();
    optimizer.step(&mut params).unwrap();
    let off = (params.read("w").unwrap()[0] - 1.0).abs();
    assert!((off - 0.25).abs() < 1e-6, "{off}");
    assert!(params.read("x").unwrap().iter().all(|x| *x != 1.0));
    assert!(padding(&params).iter().all(|p| *p == 0.0));
}

#[test]
fn nan_stays_in_its_tensor() {
    let Some(gpu) = gpu() else { return };
    for json in options() {
        let mut params = store(&gpu, &SMALL);
        let mut optimizer = build(&params, &json);
        for step in 0..3 {
            let mut all = gradients(step, params.layout().parameters());
            // In the tensors of shape [7] and [3, 5].
            (all[5], all[30]) = (f32::NAN, f32::INFINITY);
            params.write_grads(&all).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        assert!(padding(&params).iter().all(|p| *p == 0.0), "{json}");
        for span in params.layout().spans().iter().filter(|span| span.shape != [7] && span.shape != [3, 5]) {
            assert!(
                params.read(&span.name).unwrap().iter().all(|p| p.is_finite()),
                "{json}: {:?}",
                span.shape
            );
        }
    }
}

#[test]
fn state_dicts_have_what_a_tensor_has_and_go_round() {
    let Some(gpu) = gpu() else { return };
    for json in options() {
        let mut params = store(&gpu, &SMALL);
        let mut optimizer = build(&params, &json);
        let step = |optimizer: &mut Optimizer<Box<dyn AnyRule>>, params: &mut ParamStore, step: usize| {
            params.write_grads(&gradients(step, params.layout().parameters())).unwrap();
            optimizer.step(params).unwrap();
        };
        step(&mut optimizer, &mut params, 0);
        step(&mut optimizer, &mut params, 1);
        let dict = optimizer.read_state_dict().unwrap();
        let dict: StateDict = serde_json::from_value(serde_json::to_value(&dict).unwrap()).unwrap();
        let mut twin = store(&gpu, &SMALL);
        for span in params.layout().spans() {
            twin.write(&span.name, &params.read(&span.name).unwrap()).unwrap();
        }
        let mut other = build(&twin, &json);
        for broken in [0, 1] {
            let mut wrong = dict.clone();
            let slots = &mut wrong.state.get_mut("7").unwrap().slots;
            let key = slots.keys().next().unwrap().clone();
            if broken == 0 {
                slots.insert(key, Some(vec![1.0; 1000]));
            } else {
                slots.remove(&key);
            }
            assert!(matches!(other.load_state_dict(&wrong), Err(Error::StateDict(_))), "{json}");
        }
        assert!(other.read_state_dict().unwrap().state.is_empty());
        other.load_state_dict(&dict).unwrap();
        assert_eq!(other.read_state_dict().unwrap(), dict);
        step(&mut optimizer, &mut params, 2);
        step(&mut other, &mut twin, 2);
        assert_eq!(optimizer.read_state_dict().unwrap(), other.read_state_dict().unwrap(), "{json}");
        assert!(params.params().read_all(&gpu).unwrap() == twin.params().read_all(&gpu).unwrap(), "{json}");
    }
    let keys = |rule: Box<dyn AnyRule>, shape: &[usize]| {
        let mut params = store(&gpu, &[&[1], shape]);
        let mut optimizer = rule.build(&params).unwrap();
        optimizer.step(&mut params).unwrap();
        let slots = optimizer.read_state_dict().unwrap().state.remove("1").unwrap().slots;
        slots.into_iter().map(|(key, values)| (key, values.unwrap().len())).collect::<Vec<_>>()
    };
    let named = |expected: &[(&str, usize)]| {
        expected.iter().map(|(key, len)| ((*key).to_owned(), *len)).collect::<Vec<_>>()
    };
    let torch = || Adafactor::default().into();
    let optax = |least| Adafactor { min_dim_size_to_factor: least, ..Adafactor::optax() }.into();
    assert_eq!(keys(torch(), &[2, 3, 4]), named(&[("col_var", 8), ("row_var", 6)]));
    assert_eq!(keys(torch(), &[4]), named(&[("variance", 4)]));
    assert_eq!(keys(optax(3), &[2, 3, 4]), named(&[("col_var", 8), ("row_var", 6)]));
    assert_eq!(keys(optax(2), &[4, 2, 3]), named(&[("col_var", 8), ("row_var", 6)]));
    assert_eq!(keys(optax(4), &[2, 3, 4]), named(&[("variance", 24)]));
    assert_eq!(
        keys(SM3 { momentum: 0.0, ..SM3::default() }.into(), &[2, 3, 4]),
        named(&[("accumulator.0", 2), ("accumulator.1", 3), ("accumulator.2", 4)])
    );
    assert_eq!(keys(SM3::default().into(), &[]), named(&[("accumulator.0", 1), ("momentum_buffer", 1)]));
}

#[test]
fn options_that_would_change_what_is_kept_are_refused() {
    let Some(gpu) = gpu() else { return };
    let mut params = store(&gpu, &[&[4, 6], &[4, 8], &[5, 6]]);
    let rule = Adafactor { min_dim_size_to_factor: 5, ..Adafactor::optax() };
    let mut optimizer = rule.build_with(&params, &[("a", json!({"min_dim_size_to_factor": 4}))]).unwrap();
    optimizer.step(&mut params).unwrap();
    let before = optimizer.read_state_dict().unwrap();
    optimizer.group_mut("b").unwrap().min_dim_size_to_factor = 4;
    let refused = optimizer.step(&mut params).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "optimizer Adafactor: with these options 1 would have other state (row_var, col_var) than it was built with \
         (variance): build another optimizer"
    );
    optimizer.group_mut("b").unwrap().min_dim_size_to_factor = 5;
    assert_eq!(optimizer.read_state_dict().unwrap(), before);
    let mut other = before.clone();
    other.param_groups[1].options.insert("min_dim_size_to_factor".into(), json!(4));
    assert!(matches!(optimizer.load_state_dict(&other), Err(Error::StateDict(_))));
    optimizer.step(&mut params).unwrap();
}

#[test]
fn ten_tensors_and_ten_thousand_take_the_same_dispatches() {
    let Some(gpu) = gpu() else { return };
    for json in [json!({"name": "Adafactor"}), json!({"name": "SM3"})] {
        let dispatches = [10, 10_000].map(|count| {
            let data = vec![0.5; 12 * 9];
            let mut builder = ParamStore::builder();
            for number in 0..count {
                builder = builder.tensor(format!("{number}"), [12, 9], &data);
            }
            let mut params = builder.build(&gpu).unwrap();
            let mut optimizer = optim::from_json(&json).unwrap().build(&params).unwrap();
            optimizer.step(&mut params).unwrap();
            let before = gpu.counters();
            optimizer.step(&mut params).unwrap();
            gpu.counters().since(&before).dispatches
        });
        assert_eq!(dispatches[0], dispatches[1], "{json}");
        assert!(dispatches[0] <= 6);
    }
}

#[test]
fn a_matrix_keeps_rows_and_columns() {
    let Some(gpu) = gpu() else { return };
    const SIDE: usize = 4096;
    let params =
        ParamStore::builder().tensor("w", [SIDE, SIDE], &vec![0.1; SIDE * SIDE]).build(&gpu).unwrap();
    for rule in [json!({"name": "Adafactor"}), json!({"name": "SM3", "momentum": 0})] {
        let before = gpu.counters();
        let optimizer = optim::from_json(&rule).unwrap().build(&params).unwrap();
        gpu.wait().unwrap();
        let bytes = usize::try_from(gpu.counters().since(&before).live_bytes).unwrap();
        let state = 4 * 2 * SIDE;
        // Two sums for each lane of a chunk, at most for each 256 elements; pieces of rows, one for 256, and of columns, one
        // for 64; what workgroups and chunks cover; the constants of steps in flight.
        let tables = SIDE * SIDE * 8 / 256 + SIDE * SIDE * 4 / 256 + SIDE * SIDE * 4 / 64 + SIDE * SIDE / 64;
        assert!(bytes >= state && bytes <= state + tables, "{rule}: {bytes} bytes for {state}");
        drop(optimizer);
    }
}
