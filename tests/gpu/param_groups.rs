//! Groups that are added in the middle of a run: no bit of earlier tensors changes, and the new ones train as if by
//! themselves.

mod others;
mod refusals;

use gradus::gpu::Recorder;
use gradus::grad::{Centralize, Transforms};
use gradus::optim::{self, AnyRule, Family, Optimizer, RULES, Rule, SGD};
use gradus::schedule::StepLR;
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, default_of, gpu, gpu_with, gradients, noises, padding, read_all};

/// A tensor's name and shape.
type Named = (&'static str, &'static [usize]);

/// A dynamic optimizer and its store.
type Run = (ParamStore, Optimizer<Box<dyn AnyRule>>);

/// Windows of 16,384 elements, three to a buffer.
fn small_windows() -> GpuOptions {
    GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(3 * 65_536), ..Default::default() }
}

/// Groups with the names and shapes of their tensors; with small windows the second begins within the first buffer
/// and ends in the next, the third is small, and the fourth has a tensor that is moved to the third buffer.
const GROUPS: [(&str, &[Named]); 4] = [
    ("a", &[("w", &[100, 100]), ("x", &[3])]),
    ("b", &[("y", &[200, 225]), ("z", &[7, 10])]),
    ("c", &[("s", &[])]),
    ("d", &[("u", &[30_000]), ("v", &[16_384]), ("t", &[16_000])]),
];

fn len(groups: &[usize]) -> usize {
    let shapes = groups.iter().flat_map(|group| GROUPS[*group].1);
    shapes.map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

fn values(group: usize) -> Vec<Vec<f32>> {
    let of = |(place, (_, shape)): (usize, &Named)| {
        noises(10 * group as u64 + place as u64, shape.iter().product())
    };
    GROUPS[group].1.iter().enumerate().map(of).collect()
}

/// A store of some of the groups, built at once.
fn store(gpu: &Gpu, groups: &[usize]) -> ParamStore {
    let data: Vec<_> = groups.iter().map(|group| values(*group)).collect();
    let mut builder = ParamStore::builder();
    for (group, data) in groups.iter().zip(&data) {
        let (name, tensors) = GROUPS[*group];
        builder = builder.group(name, |g| {
            tensors.iter().zip(data).fold(g, |g, ((name, shape), data)| g.tensor(*name, *shape, data))
        });
    }
    builder.build(gpu).unwrap()
}

fn start(gpu: &Gpu, groups: &[usize], rule: &Value) -> Run {
    let params = store(gpu, groups);
    let optimizer = optim::from_json(rule).unwrap().build(&params).unwrap();
    (params, optimizer)
}

fn add((params, optimizer): &mut Run, group: usize, overrides: &Value) -> Result<(), Error> {
    let ((name, tensors), data) = (GROUPS[group], values(group));
    optimizer.add_param_group(params, name, overrides, |g| {
        tensors.iter().zip(&data).fold(g, |g, ((name, shape), data)| g.tensor(*name, *shape, data))
    })
}

/// The gradients of one group at a step.
fn grads_of(group: usize, step: usize) -> Vec<f32> {
    gradients(step + 100 * group, len(&[group]))
}

fn step((params, optimizer): &mut Run, groups: &[usize], step: usize) {
    let grads: Vec<f32> = groups.iter().flat_map(|group| grads_of(*group, step)).collect();
    params.write_grads(&grads).unwrap();
    optimizer.step(params).unwrap();
}

/// All that a run has on the device and in counts.
fn all((params, optimizer): &Run) -> (Vec<u32>, Value) {
    let state = optimizer.read_state_dict().unwrap();
    (bits(&params.params().read_all(params.gpu()).unwrap()), serde_json::to_value(state).unwrap())
}

#[test]
fn groups_that_are_added_train_as_if_by_themselves() {
    for (gpu, is_cut) in [(gpu(), false), (gpu_with(small_windows()), true)] {
        let Some(gpu) = gpu else { return };
        for entry in RULES {
            // Where a window ends is where a sum over a tensor is cut: there the last bits depend on the place.
            let is_exact = !is_cut || matches!(entry.family, Family::Element | Family::Around);
            if is_cut && matches!(entry.family, Family::Factored { .. }) {
                // What stands for all tensors has to fit one binding.
                continue;
            }
            let rule = default_of(entry);
            let mut grown = start(&gpu, &[0], &rule);
            let mut alone: Vec<Run> = Vec::new();
            for number in 0..8 {
                let group = number / 2;
                if number % 2 == 0 {
                    let overrides = if group == 1 { json!({"lr": 0.25}) } else { json!({}) };
                    let params = store(&gpu, &[group]);
                    let own = [(GROUPS[group].0, overrides.clone())];
                    let optimizer = optim::from_json(&rule).unwrap().build_with(&params, &own).unwrap();
                    alone.push((params, optimizer));
                    if group > 0 {
                        add(&mut grown, group, &overrides).unwrap();
                    }
                }
                let groups: Vec<usize> = (0..alone.len()).collect();
                let before = gpu.counters();
                step(&mut grown, &groups, number);
                // What a step needs was made when the group was added.
                assert_eq!(gpu.counters().since(&before).allocations, 0, "{}", entry.name);
                for (group, run) in alone.iter_mut().enumerate() {
                    step(run, &[group], number);
                }
            }
            let (params, optimizer) = &grown;
            let state = optimizer.read_state_dict().unwrap();
            let mut tensors = 0;
            for (their_params, theirs) in &alone {
                let their_state = theirs.read_state_dict().unwrap();
                for span in their_params.layout().spans() {
                    let [ours, alone] = [params, their_params].map(|p| p.read(&span.name).unwrap());
                    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + b.abs());
                    assert!(ours.iter().zip(&alone).all(is_near), "{} {}", entry.name, span.name);
                    if is_exact {
                        assert!(bits(&ours) == bits(&alone), "{} {}", entry.name, span.name);
                        assert!(state.state[&span.name] == their_state.state[&span.name], "{}", entry.name);
                    }
                    tensors += 1;
                }
            }
            assert_eq!(tensors, params.layout().spans().len());
            assert!(padding(params).iter().all(|x| *x == 0.0));
            let names: Vec<&str> = state.param_groups.iter().map(|group| group.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c", "d"]);
            assert_eq!((optimizer.applied("w").unwrap(), optimizer.applied("v").unwrap()), (8, 2));
        }
    }
}

#[test]
fn what_overrides_leave_out_is_as_the_optimizer_was_built() {
    let Some(gpu) = gpu() else { return };
    let schedule = StepLR { gamma: 0.5, ..StepLR::new(2) };
    let built = SGD { lr: 0.1, ..Default::default() };
    let own = SGD { weight_decay: 0.5, momentum: 0.9, nesterov: true, ..built.clone() };
    let mut params = store(&gpu, &[0]);
    let mut optimizer = built.build(&params).unwrap();
    let (mut old, mut new) = (store(&gpu, &[0]), store(&gpu, &[1]));
    let mut of_old = optimizer.group("a").unwrap().clone().build(&old).unwrap();
    let mut of_new = own.clone().build(&new).unwrap();
    for number in 0..6 {
        if number == 3 {
            // A slot that no group has used, and a rate that nobody has changed since.
            assert_eq!(optimizer.group("a").unwrap().lr, 0.05);
            let overrides = json!({"weight_decay": 0.5, "momentum": 0.9, "nesterov": true});
            let values = values(1);
            let (shapes, [y, z]) = (GROUPS[1].1, &values[..]) else { unreachable!() };
            optimizer
                .add_param_group(&mut params, "b", &overrides, |g| {
                    g.tensor("y", shapes[0].1, y).tensor("z", shapes[1].1, z)
                })
                .unwrap();
            assert_eq!(optimizer.group("b").unwrap(), &own);
        }
        let added = number >= 3;
        optimizer.schedule(&schedule, number).unwrap();
        of_old.schedule(&schedule, number).unwrap();
        of_new.schedule(&schedule, number).unwrap();
        let number = usize::try_from(number).unwrap();
        let (first, second) = (grads_of(0, number), grads_of(1, number));
        params.write_grads(&if added { [&first[..], &second].concat() } else { first.clone() }).unwrap();
        optimizer.step(&mut params).unwrap();
        old.write_grads(&first).unwrap();
        of_old.step(&mut old).unwrap();
        if added {
            new.write_grads(&second).unwrap();
            of_new.step(&mut new).unwrap();
        }
    }
    assert!(bits(&read_all(&params)) == bits(&[read_all(&old), read_all(&new)].concat()));
}

#[test]
fn transforms_hold_for_groups_that_are_added() {
    let clip = |per_group: bool| json!({"name": "clip_grad_norm", "max_norm": 0.5, "per_group": per_group});
    let chains = [
        json!([
            {"name": "skip"},
            clip(false),
            {"name": "noise", "eta": 0.01},
            {"name": "penalty", "l1": 0.01, "groups": ["a"]},
            {"name": "penalty", "l2": 0.02},
        ]),
        json!([{"name": "grad_scaler", "init_scale": 8, "growth_interval": 2}, clip(true)]),
        json!([{"name": "skip"}]),
    ];
    for gpu in [gpu(), gpu_with(small_windows())].into_iter().flatten() {
        // Nobody has asked what became of the step before: the first was skipped, the other one applied.
        for (chain, late) in chains.iter().flat_map(|chain| [(chain, 6), (chain, 7)]) {
            let rule = json!({"name": "Adam", "amsgrad": true});
            let transforms = || Transforms {
                custom: vec![Box::new(Centralize::default())],
                ..Transforms::from_json(chain).unwrap()
            };
            // Built at once, with what is added later frozen until then.
            let (mut at_once, mut grown) = (start(&gpu, &[0, 2], &rule), start(&gpu, &[0], &rule));
            at_once.0.freeze("s").unwrap();
            for (params, optimizer) in [&mut at_once, &mut grown] {
                optimizer.set_transforms(transforms(), params).unwrap();
            }
            for number in 0..12 {
                if number == late {
                    add(&mut grown, 2, &json!({})).unwrap();
                    at_once.0.thaw("s").unwrap();
                }
                for (params, optimizer) in [&mut at_once, &mut grown] {
                    let frozen = (4..8).contains(&number);
                    if frozen { params.freeze("x") } else { params.thaw("x") }.unwrap();
                    let mut grads = grads_of(0, number);
                    if params.layout().groups().len() == 2 {
                        grads.extend(grads_of(2, number));
                    }
                    if [2, 4, 5, 9].contains(&number) {
                        grads[10] = f32::NAN;
                    }
                    params.write_grads(&grads).unwrap();
                    optimizer.step(params).unwrap();
                }
            }
            let outcomes =
                [&mut at_once, &mut grown].map(|(_, optimizer)| optimizer.read_step_results().unwrap());
            // A norm that is not finite is not equal to itself.
            assert_eq!(format!("{:?}", outcomes[0]), format!("{:?}", outcomes[1]));
            assert_eq!(outcomes[0].iter().filter(|outcome| outcome.skipped).count(), 4);
            assert_eq!(grown.1.applied("s").unwrap(), 11 - late as u64);
            assert!(all(&at_once) == all(&grown), "{chain}");
        }
    }
}

#[test]
fn accumulated_gradients_keep_their_sums() {
    let Some(gpu) = gpu_with(small_windows()) else { return };
    let rule = json!({"name": "SGD", "lr": 0.1});
    let (mut at_once, mut grown) = (start(&gpu, &[0, 1], &rule), start(&gpu, &[0], &rule));
    let record = |(params, _): &mut Run, grads: &[f32]| {
        let mut encoder = gpu.encoder("add");
        params.record_add_grads(&mut Recorder::new(&gpu, &mut encoder), grads).unwrap();
        gpu.submit(encoder).unwrap();
    };
    for (params, optimizer) in [&mut at_once, &mut grown] {
        let chain = json!([{"name": "accumulate", "steps": 3}, {"name": "clip_grad_norm", "max_norm": 1}]);
        optimizer.set_transforms(Transforms::from_json(&chain).unwrap(), params).unwrap();
    }
    let none = vec![0.0; len(&[1])];
    for pass in 0..2 {
        record(&mut grown, &grads_of(0, pass));
        record(&mut at_once, &[&grads_of(0, pass)[..], &none].concat());
    }
    add(&mut grown, 1, &json!({})).unwrap();
    let last = [grads_of(0, 2), grads_of(1, 2)].concat();
    for run in [&mut at_once, &mut grown] {
        record(run, &last);
        run.1.step(&mut run.0).unwrap();
    }
    let grads = [&at_once, &grown].map(|(params, _)| bits(&params.grads().read_all(&gpu).unwrap()));
    assert!(grads[0] == grads[1]);
    assert!(all(&at_once) == all(&grown));
    assert!(bits(&at_once.0.read("y").unwrap()) != bits(&values(1)[0]));
}
