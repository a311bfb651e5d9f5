//! State in fewer bits in state dicts and checkpoints, and what is refused.

use gradus::graph::Graph;
use gradus::optim::{
    self, AdamW, AnyRule, OptimizerOptions, RULES, Rule, SlotBits, StateDict, StatePrecision,
};
use gradus::params::Weights;
use gradus::train::Checkpoint;
use gradus::{Error, ParamStore};
use serde_json::{Value, json};

use crate::common::{bits, gpu, read_all, run};
use crate::folder::Folder;
use crate::precision::{SIZES, of, store};

/// Rules with all their slots in use.
fn rules() -> Vec<Value> {
    let with = |name: &str| match name {
        "SGD" => json!({"name": name, "momentum": 0.9}),
        "Adam" => json!({"name": name, "amsgrad": true}),
        "RMSprop" => json!({"name": name, "momentum": 0.9}),
        "Lookahead" => json!({"name": name, "inner": {"name": "AdamW"}, "sync_period": 2}),
        _ => json!({"name": name}),
    };
    RULES.iter().map(|entry| with(entry.name)).collect()
}

type Built = optim::Optimizer<Box<dyn AnyRule>>;

fn build(params: &ParamStore, json: &Value, options: &OptimizerOptions) -> Result<Built, Error> {
    optim::from_json(json).unwrap().build_with_options(params, &[], options)
}

#[test]
fn a_run_resumes_bit_for_bit_in_every_precision() {
    let Some(gpu) = gpu() else { return };
    let mut taken = 0;
    for (json, precision) in rules()
        .iter()
        .flat_map(|json| [StatePrecision::Bf16, StatePrecision::Int8].map(|precision| (json, precision)))
    {
        let mut params = store(&gpu);
        let Ok(mut whole) = build(&params, json, &of(precision)) else { continue };
        taken += 1;
        run(&mut whole, &mut params, 0..3);
        let dict = whole.read_state_dict().unwrap();
        let text = serde_json::to_string(&dict).unwrap();
        let read: StateDict = serde_json::from_str(&text).unwrap();
        assert_eq!(read, dict, "{json} {precision}");
        let half = read_all(&params);
        run(&mut whole, &mut params, 3..6);
        let mut other = store(&gpu);
        let mut at = 0;
        for span in other.layout().clone().spans() {
            other.write(&span.name, &half[at..at + span.len]).unwrap();
            at += span.len;
        }
        let mut resumed = build(&other, json, &of(precision)).unwrap();
        resumed.load_state_dict(&read).unwrap();
        assert_eq!(resumed.read_state_dict().unwrap(), dict, "{json} {precision}");
        run(&mut resumed, &mut other, 3..6);
        assert_eq!(bits(&read_all(&params)), bits(&read_all(&other)), "{json} {precision}");
        assert_eq!(
            resumed.read_state_dict().unwrap(),
            whole.read_state_dict().unwrap(),
            "{json} {precision}"
        );
    }
    // In bf16 all but Fromage, which keeps nothing and so has nothing to refuse, and those that allow 8 bits.
    assert!(taken >= 30, "{taken}");
}

#[test]
fn what_a_slot_does_not_allow_is_refused() {
    let Some(gpu) = gpu() else { return };
    let params = store(&gpu);
    let of_slot = |slot: &str, precision| OptimizerOptions {
        state_of: [(slot.to_owned(), precision)].into(),
        ..Default::default()
    };
    let eight = || of(StatePrecision::Int8);
    let rows = [
        (
            json!({"name": "Adagrad"}),
            eight(),
            "state of the slot sum of Adagrad must be f32 or bf16, got 8bit",
        ),
        (json!({"name": "Lamb"}), eight(), "state of the slot exp_avg of Lamb must be f32 or bf16, got 8bit"),
        (
            json!({"name": "SM3"}),
            eight(),
            "state of the slot momentum_buffer of SM3 must be f32 or bf16, got 8bit",
        ),
        (
            json!({"name": "Adafactor"}),
            eight(),
            "state of the slot statistics of Adafactor must be f32, got 8bit",
        ),
        (
            json!({"name": "RMSprop", "centered": true}),
            of(StatePrecision::Bf16),
            "state of the slot square_avg of RMSprop must be f32, got bf16",
        ),
        (
            json!({"name": "Rprop"}),
            of_slot("step_size", StatePrecision::Bf16),
            "state of the slot step_size of Rprop must be f32, got bf16",
        ),
        (
            json!({"name": "Adam", "amsgrad": true}),
            of_slot("max_exp_avg_sq", StatePrecision::Bf16),
            "state of the slot max_exp_avg_sq of Adam must be f32, got bf16",
        ),
        (
            json!({"name": "Novograd"}),
            of_slot("exp_avg_sq", StatePrecision::Bf16),
            "state of the slot exp_avg_sq of Novograd must be f32, got bf16",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "AdamW"}}),
            of_slot("slow_param", StatePrecision::Bf16),
            "state of the slot slow_param of Lookahead must be f32, got bf16",
        ),
        (
            json!({"name": "Lookahead", "inner": {"name": "AdamW"}, "reset_state": true}),
            eight(),
            "state of the slot exp_avg of Lookahead with reset_state must be f32 or bf16, got 8bit",
        ),
        (
            json!({"name": "AdamW"}),
            OptimizerOptions { least_8bit: 0, ..eight() },
            "least_8bit must be at least 1, got 0",
        ),
    ];
    for (json, options, message) in rows {
        assert_eq!(
            build(&params, &json, &options).err().map(|error| error.to_string()).unwrap_or_default(),
            message
        );
    }
    let unknown = build(&params, &json!({"name": "AdamW"}), &of_slot("exp_avgs", StatePrecision::Bf16));
    assert!(matches!(unknown, Err(Error::UnknownName { .. })));
    let json = json!({"name": "AdamW", "state": "4bit"});
    let message = optim::from_json_with_options(&json).unwrap_err().to_string();
    assert!(message.contains("4bit") && message.contains("8bit"), "{message}");
    // Options that change later are held to what the state is stored as.
    let mut params = store(&gpu);
    let mut optimizer = optim::RMSprop::default().build_with_options(&params, &[], &eight()).unwrap();
    run(&mut optimizer, &mut params, 0..1);
    let before = bits(&read_all(&params));
    optimizer.group_mut("default").unwrap().centered = true;
    let message = optimizer.step(&mut params).unwrap_err().to_string();
    assert_eq!(message, "state of the slot square_avg of RMSprop must be f32, got 8bit");
    assert_eq!(before, bits(&read_all(&params)));
}

#[test]
fn state_of_another_precision_is_converted_where_that_is_asked_for() {
    let Some(gpu) = gpu() else { return };
    let all = [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Int8];
    for from in all {
        let mut params = store(&gpu);
        let mut optimizer = AdamW::default().build_with_options(&params, &[], &of(from)).unwrap();
        run(&mut optimizer, &mut params, 0..3);
        let dict = optimizer.read_state_dict().unwrap();
        for to in all {
            let mut strict = AdamW::default().build_with_options(&params, &[], &of(to)).unwrap();
            let empty = strict.read_state_dict().unwrap();
            let loaded = strict.load_state_dict(&dict);
            assert_eq!(loaded.is_ok(), from == to, "{from} {to}: {loaded:?}");
            if let Err(error) = loaded {
                let said = error.to_string();
                assert!(said.contains(&format!("is stored as {from}, here as {to}")), "{said}");
                assert_eq!(strict.read_state_dict().unwrap(), empty);
            }
            let options = OptimizerOptions { convert_state: true, ..of(to) };
            let mut taking = AdamW::default().build_with_options(&params, &[], &options).unwrap();
            taking.load_state_dict(&dict).unwrap();
            let converted = taking.read_state_dict().unwrap();
            if from == to {
                assert_eq!(converted, dict);
            }
            for (name, state) in &dict.state {
                let got = &converted.state[name].slots["exp_avg"].as_ref().unwrap();
                let most = state.slots["exp_avg"]
                    .as_ref()
                    .unwrap()
                    .iter()
                    .fold(0.0, |most: f32, x| most.max(x.abs()));
                for (a, b) in state.slots["exp_avg"].as_ref().unwrap().iter().zip(&**got) {
                    assert!((a - b).abs() <= 0.008 * most, "{from} {to} {name}: {a} {b}");
                }
            }
        }
    }
    // Codes that were changed by hand, or belong to other values.
    let mut params = store(&gpu);
    let mut optimizer = AdamW::default().build_with_options(&params, &[], &of(StatePrecision::Int8)).unwrap();
    run(&mut optimizer, &mut params, 0..1);
    let dict = optimizer.read_state_dict().unwrap();
    let mut other = dict.clone();
    other.state.get_mut("t0").unwrap().slots.get_mut("exp_avg").unwrap().as_mut().unwrap()[7] += 1.0;
    let message = optimizer.load_state_dict(&other).unwrap_err().to_string();
    assert!(message.contains("exp_avg of t0 has other values than its codes stand for"), "{message}");
    let mut other = dict.clone();
    let Some(SlotBits::Int8 { scales, .. }) = other.state.get_mut("t0").unwrap().stored.get_mut("exp_avg")
    else {
        panic!()
    };
    scales.pop();
    let message = optimizer.load_state_dict(&other).unwrap_err().to_string();
    assert!(message.contains("exp_avg of t0 has codes and scales that do not belong together"), "{message}");
    assert_eq!(optimizer.read_state_dict().unwrap(), dict);
}

#[test]
fn checkpoints_hold_the_exact_bits_in_as_few_bytes() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("precision");
    let trainer = |options: &OptimizerOptions| {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [8, 100]), graph.labels("y", 8));
        let loss = x.linear(128).relu().linear(10).cross_entropy(&y);
        graph.trainer(&loss, AdamW::default()).optimizer_options(options.clone()).build(&gpu).unwrap()
    };
    let x: Vec<f32> = (0..800_u16).map(|i| f32::from(i % 17) / 8.0 - 1.0).collect();
    let y: Vec<u32> = (0..8).collect();
    let mut sizes = Vec::new();
    for precision in [StatePrecision::F32, StatePrecision::Bf16, StatePrecision::Int8] {
        let options = of(precision);
        let mut whole = trainer(&options);
        let step = |trainer: &mut gradus::train::Trainer<AdamW>| {
            trainer.step(&[("x", &x), ("y", &y)]).unwrap();
        };
        (0..3).for_each(|_| step(&mut whole));
        let path = folder.join(format!("{precision}.safetensors"));
        let checkpoint = whole.read_checkpoint().unwrap();
        checkpoint.write(&path).unwrap();
        sizes.push(std::fs::metadata(&path).unwrap().len());
        let read = Checkpoint::read(&path).unwrap();
        assert_eq!(read.optimizer, checkpoint.optimizer, "{precision}");
        (0..3).for_each(|_| step(&mut whole));
        let mut resumed = trainer(&options);
        resumed.load_checkpoint(&read).unwrap();
        (0..3).for_each(|_| step(&mut resumed));
        let (a, b) = (whole.read_checkpoint().unwrap(), resumed.read_checkpoint().unwrap());
        assert_eq!((a.params, a.optimizer), (b.params, b.optimizer), "{precision}");
        let mut plain = trainer(&OptimizerOptions::default());
        assert_eq!(plain.load_checkpoint(&read).is_ok(), precision == StatePrecision::F32);
    }
    println!("checkpoints of {sizes:?} bytes");
    assert!(sizes[1] < sizes[0] * 3 / 4 && sizes[2] < sizes[1], "{sizes:?}");
}

#[test]
fn groups_that_are_added_begin_with_zeros_in_every_precision() {
    let Some(gpu) = gpu() else { return };
    for precision in [StatePrecision::Bf16, StatePrecision::Int8] {
        let mut params = store(&gpu);
        let mut optimizer = AdamW::default().build_with_options(&params, &[], &of(precision)).unwrap();
        run(&mut optimizer, &mut params, 0..2);
        let before = optimizer.read_state_dict().unwrap();
        let zeros = vec![0.0; 6000];
        optimizer
            .add_param_group(&mut params, "new", &json!({}), |group| {
                group.tensor("new", [6000], &zeros).tensor("few", [5], &zeros[..5])
            })
            .unwrap();
        let after = optimizer.read_state_dict().unwrap();
        assert_eq!(before.state, after.state, "{precision}");
        run(&mut optimizer, &mut params, 2..3);
        let dict = optimizer.read_state_dict().unwrap();
        // What a new optimizer makes of the first gradients of these tensors.
        assert_eq!(dict.state["new"].step, 1);
        let got = dict.state["new"].slots["exp_avg"].as_ref().unwrap();
        let len: usize = SIZES.iter().sum();
        let given = &crate::common::gradients(2, params.layout().parameters())[len..len + 6000];
        for (got, given) in got.iter().zip(given) {
            assert!((got - 0.1 * given).abs() <= 0.008, "{precision}: {got} {given}");
        }
    }
}

#[test]
fn lookahead_begins_bf16_state_anew() {
    let Some(gpu) = gpu() else { return };
    let json = json!({"name": "Lookahead", "sync_period": 2, "reset_state": true,
        "inner": {"name": "Adagrad", "initial_accumulator_value": 0.3}});
    let mut params = store(&gpu);
    let mut optimizer = build(&params, &json, &of(StatePrecision::Bf16)).unwrap();
    let len = params.layout().parameters();
    for _ in 0..3 {
        params.write_grads(&vec![0.0; len]).unwrap();
        optimizer.step(&mut params).unwrap();
    }
    let dict = optimizer.read_state_dict().unwrap();
    let first = f32::from_bits(0x3e9a_0000);
    for (name, state) in &dict.state {
        assert!(state.slots["sum"].as_ref().unwrap().iter().all(|sum| *sum == first), "{name}");
    }
    let padding = crate::common::padding(&params);
    assert!(padding.iter().all(|value| *value == 0.0));
}

#[test]
fn parameters_in_bf16_follow_each_step_in_its_own_dispatch() {
    let Some(gpu) = gpu() else { return };
    let nearest = |values: &[f32]| {
        let mut weights = Weights::new();
        weights.insert("all", [values.len()], values).unwrap();
        Weights::from_bytes(&weights.to_bf16_bytes().unwrap()).unwrap().get("all").unwrap().values.clone()
    };
    // Ties go to even, and what is not a number stays so.
    let ends = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -f32::MAX, f32::INFINITY];
    assert_eq!(nearest(&ends), [1.0, 1.0 + 1.0 / 64.0, f32::NEG_INFINITY, f32::INFINITY]);
    assert!(nearest(&[f32::from_bits(0x7f80_0001)])[0].is_nan());
    for (json, precision) in rules()
        .iter()
        .flat_map(|json| [StatePrecision::F32, StatePrecision::Int8].map(|precision| (json, precision)))
    {
        let mut params = store(&gpu);
        let mut plain = store(&gpu);
        let options = OptimizerOptions { bf16_params: true, ..of(precision) };
        let Ok(mut optimizer) = build(&params, json, &options) else { continue };
        let mut other = build(&plain, json, &of(precision)).unwrap();
        for step in 0..3 {
            let weights = optimizer.read_bf16_weights().unwrap();
            for (name, tensor) in weights.iter() {
                let expected = nearest(&params.read(name).unwrap());
                assert_eq!(bits(&tensor.values), bits(&expected), "{json} {name} {step}");
            }
            run(&mut optimizer, &mut params, step..step + 1);
            run(&mut other, &mut plain, step..step + 1);
        }
        assert_eq!(bits(&read_all(&params)), bits(&read_all(&plain)), "{json}");
        assert_eq!(optimizer.dispatches().len(), other.dispatches().len(), "{json}");
        assert!(other.read_bf16_weights().is_err());
        params.write("t1", &[9.0; 3]).unwrap();
        optimizer.refresh_bf16_params(&params).unwrap();
        assert_eq!(optimizer.read_bf16_weights().unwrap().get("t1").unwrap().values, [9.0; 3]);
    }
}
