//! State in bf16 and in 8 bits: what the kernels store, against the numbers that they are given.

use gradus::gpu::GpuOptions;
use gradus::optim::{self, CustomRule, OptimizerOptions, Precisions, SlotBits, StatePrecision};
use gradus::{Gpu, ParamStore};
use serde_json::json;

use crate::common::{bits, gpu, gpus_with, noise, padding, read_all, run};

/// Sizes below a block and above, some of them no multiple of 4 or 64, around the 4096 elements from which on there are codes.
pub(crate) const SIZES: [usize; 7] = [5000, 3, 4096, 100, 4095, 70_001, 256];

pub(crate) fn store(gpu: &Gpu) -> ParamStore {
    let data: Vec<Vec<f32>> = SIZES.iter().map(|&len| (0..len).map(|i| noise(90, i)).collect()).collect();
    let mut builder = ParamStore::builder();
    for (number, data) in data.iter().enumerate() {
        builder = builder.tensor(format!("t{number}"), [data.len()], data);
    }
    builder.build(gpu).unwrap()
}

pub(crate) fn of(state: StatePrecision) -> OptimizerOptions {
    OptimizerOptions { state, ..Default::default() }
}

/// Stores the gradient, and its magnitude.
fn keeper() -> CustomRule {
    let wgsl = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
        (*s).m = g;
        (*s).v = abs(g);
        return p;
    }";
    let rule = CustomRule::builder("Keeper", wgsl).slot("m").slot("v");
    rule.allow("m", Precisions::Signed).allow("v", Precisions::Unsigned).build().unwrap()
}

/// Numbers of many magnitudes in all blocks, and blocks with the ends of the range.
fn numbers(step: u64, len: usize) -> Vec<f32> {
    let mut all: Vec<f32> = (0..len)
        .map(|i| {
            noise(step, i)
                * 10_f32.powi(-(i32::try_from(i % 11).unwrap()))
                * if i % 7 == 0 { 0.0 } else { 1.0 }
        })
        .collect();
    let ends = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -1e-40, 0.0, -0.0, 3.4e37, 1e30, -1e-30];
    all[..ends.len()].copy_from_slice(&ends);
    all[300] = f32::INFINITY;
    all[600] = f32::NAN;
    all[768..1024].fill(0.0);
    all[1024..1280].fill(1e-40);
    all[1280..1536].fill(-2.5);
    all
}

/// All 256 numbers of a code.
fn table(signed: bool) -> Vec<f32> {
    let bits = SlotBits::Int8 { signed, cuts: vec![], codes: (0..=255).collect(), scales: vec![1.0] };
    bits.opened().unwrap()
}

/// Holds codes and scales against the numbers that they are of.
fn check_codes(values: &[f32], bits: &SlotBits, signed: bool) {
    let SlotBits::Int8 { codes, scales, signed: own, cuts } = bits else { panic!("{bits:?}") };
    assert_eq!((*own, cuts.len(), codes.len()), (signed, 0, values.len()));
    assert_eq!(scales.len(), values.len().div_ceil(256));
    let table = table(signed);
    for (number, (block, scale)) in values.chunks(256).zip(scales).enumerate() {
        let most = block.iter().map(|value| value.abs().to_bits()).max().unwrap();
        let expected = if most < f32::MIN_POSITIVE.to_bits() { 0.0 } else { f32::from_bits(most) };
        assert!(scale.to_bits() == expected.to_bits(), "block {number}: {scale} {expected}");
        for (at, (value, code)) in block.iter().zip(&codes[number * 256..]).enumerate() {
            let part = table[usize::from(*code)];
            if !scale.is_finite() || *scale == 0.0 {
                let zero = if signed { 127 } else { 0 };
                assert_eq!(*code, if *scale == 0.0 { zero } else { 255 });
                continue;
            }
            // What is below the normal numbers a device may take for zero, or not.
            if !signed && value.abs() < f32::MIN_POSITIVE {
                assert!(*code < 2, "{value} is {code}");
                continue;
            }
            let wanted = f64::from(*value) / f64::from(*scale);
            let nonzero = table.iter().filter(|part| signed || *value == 0.0 || **part != 0.0);
            let nearest = nonzero.map(|part| (f64::from(*part) - wanted).abs()).fold(f64::MAX, f64::min);
            let got = (f64::from(part) - wanted).abs();
            assert!(
                got <= nearest + 3e-7 * wanted.abs(),
                "block {number} at {at}: {value} in {scale} is {code}"
            );
            assert!(signed || *value == 0.0 || *code > 0, "{value} became zero");
        }
    }
}

#[test]
fn codes_of_8_bits_are_the_nearest_of_their_block() {
    let options = GpuOptions::default();
    let mut first: Option<Vec<_>> = None;
    for gpu in gpus_with(&options) {
        let mut params = store(&gpu);
        let mut optimizer = keeper().build_with_options(&params, &[], &of(StatePrecision::Int8)).unwrap();
        let given: Vec<Vec<f32>> =
            (0..).zip(SIZES).map(|(step, len)| numbers(step, len.max(1600))[..len].to_vec()).collect();
        // Twice, so that what is there is opened too.
        for _ in 0..2 {
            params.write_grads(&given.concat()).unwrap();
            optimizer.step(&mut params).unwrap();
        }
        assert_eq!(optimizer.dispatches().len(), 1);
        let dict = optimizer.read_state_dict().unwrap();
        for (number, values) in given.iter().enumerate() {
            let name = format!("t{number}");
            let state = &dict.state[&name];
            let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
            let precision = if values.len() < 4096 { StatePrecision::F32 } else { StatePrecision::Int8 };
            assert_eq!(optimizer.state_precisions(&name).unwrap()[1], ("v".into(), precision));
            for (slot, values, signed) in [("m", values, true), ("v", &magnitudes, false)] {
                let read = state.slots[slot].as_ref().unwrap();
                match state.stored.get(slot) {
                    None => assert_eq!(bits(read), bits(values), "{name}"),
                    Some(codes) => {
                        check_codes(values, codes, signed);
                        assert_eq!(bits(read), bits(&codes.opened().unwrap()));
                    }
                }
                assert_eq!(state.stored.contains_key(slot), precision == StatePrecision::Int8, "{name}");
            }
        }
        assert!(padding(&params).iter().all(|value| *value == 0.0));
        let stored: Vec<_> = dict.state.values().map(|state| format!("{:?}", state.stored)).collect();
        assert_eq!(*first.get_or_insert(stored.clone()), stored, "{:?}", gpu.kernel_kind());
    }
}

#[test]
fn every_code_stays_what_it_is() {
    let Some(gpu) = gpu() else { return };
    let len = 8192;
    let mut params = ParamStore::builder().tensor("w", [len], &vec![0.0; len]).build(&gpu).unwrap();
    let mut optimizer = keeper().build_with_options(&params, &[], &of(StatePrecision::Int8)).unwrap();
    for scale in [1.0, 0.37, 1e-30, 2e38] {
        let signed: Vec<f32> = (0..len).map(|i| table(true)[i % 256] * scale).collect();
        params.write_grads(&signed).unwrap();
        optimizer.step(&mut params).unwrap();
        let dict = optimizer.read_state_dict().unwrap();
        let SlotBits::Int8 { codes, .. } = &dict.state["w"].stored["m"] else { panic!() };
        assert!((0..).zip(codes).all(|(i, code)| usize::from(*code) == i % 256), "{scale}");
        let unsigned: Vec<f32> = (0..len).map(|i| table(false)[i % 256] * scale).collect();
        params.write_grads(&unsigned).unwrap();
        optimizer.step(&mut params).unwrap();
        let dict = optimizer.read_state_dict().unwrap();
        let SlotBits::Int8 { codes, .. } = &dict.state["w"].stored["v"] else { panic!() };
        // The least of the smallest scale is below the normal numbers, which a device may take for zero.
        let wrong = (0..).zip(codes).find(|(i, code)| usize::from(**code) != i % 256 && scale > 1e-20);
        assert_eq!(wrong, None, "{scale}");
    }
}

/// The numbers of 16 bits below and above a finite one, towards and away from zero.
fn neighbours(value: f32) -> [f32; 2] {
    let low = value.to_bits() & 0xffff_0000;
    let high = if low == value.to_bits() { low } else { low + 0x1_0000 };
    let largest = (low & 0x8000_0000) | 0x7f7f_0000;
    [low, if high & 0x7f80_0000 == 0x7f80_0000 { largest } else { high }].map(f32::from_bits)
}

#[test]
fn bf16_rounds_up_and_down_so_that_the_mean_stays() {
    const STEPS: u32 = 400;
    let mut first: Option<Vec<u32>> = None;
    for gpu in gpus_with(&GpuOptions::default()) {
        let mut params = store(&gpu);
        let mut optimizer = keeper().build_with_options(&params, &[], &of(StatePrecision::Bf16)).unwrap();
        let len: usize = SIZES.iter().sum();
        let mut given = numbers(5, len);
        // The same number many times in one step, and each many times over the steps.
        given[2000..4000].fill(1.0 + 3.0 / 1024.0);
        let mut ups = vec![0_u32; 64];
        let mut last = Vec::new();
        for step in 0..STEPS {
            params.write_grads(&given).unwrap();
            optimizer.step(&mut params).unwrap();
            if step > 0 && step + 1 < STEPS && step % 100 != 0 && step > 40 {
                continue;
            }
            let dict = optimizer.read_state_dict().unwrap();
            let state = &dict.state["t0"];
            assert_eq!(state.stored["m"], SlotBits::Bf16);
            let read = state.slots["m"].as_ref().unwrap();
            for (value, got) in given.iter().zip(read) {
                match value {
                    value if value.is_nan() => assert!(got.is_nan()),
                    value if value.is_infinite() => assert_eq!(got, value),
                    value => {
                        assert!(bits(&neighbours(*value)).contains(&got.to_bits()), "{value} became {got}")
                    }
                }
            }
            let up = read[2000..4000].iter().filter(|got| **got > 1.0).count();
            // A part 3/8 of 2000, with a deviation of 22.
            assert!((640..=860).contains(&up), "step {step}: {up}");
            for (at, ups) in ups.iter_mut().enumerate() {
                *ups += u32::from(read[2000 + at] > 1.0);
            }
            last.extend(bits(read));
        }
        // 40 to 50 draws each: none is always the same, and all together are unbiased.
        assert!(ups.iter().all(|ups| (3..=36).contains(ups)), "{ups:?}");
        assert_eq!(*first.get_or_insert(last.clone()), last);
        assert_eq!(optimizer.dispatches().len(), 1);
    }
}

#[test]
fn adamw_keeps_half_and_a_quarter_and_moves_as_many_bytes_less() {
    let Some(gpu) = gpu() else { return };
    let len = 1 << 20;
    let kept = |state| {
        let mut params =
            ParamStore::builder().tensor("w", [1024, 1024], &vec![0.5; len]).build(&gpu).unwrap();
        let before = gpu.counters();
        let (rule, options) =
            optim::from_json_with_options(&json!({"name": "AdamW", "state": state})).unwrap();
        let mut optimizer = rule.build_with_options(&params, &[], &options).unwrap();
        run(&mut optimizer, &mut params, 0..1);
        let each = gpu.counters().since(&before).live_bytes as f64 / len as f64;
        let dispatches = optimizer.dispatches();
        assert_eq!(dispatches.len(), 1);
        (each, dispatches[0].bytes() as f64 / len as f64)
    };
    for (state, most, moved) in [("f32", 8.03, 28.0), ("bf16", 4.03, 20.0), ("8bit", 2.05, 16.0)] {
        let (each, bytes) = kept(state);
        println!("{state}: {each} bytes a parameter, {bytes} bytes moved");
        assert!(each <= most && bytes >= moved && bytes <= moved + 0.1, "{state}: {each} {bytes}");
    }
}

#[test]
fn small_tensors_and_slots_that_stay_f32_are_those_of_f32() {
    let Some(gpu) = gpu() else { return };
    let steps = |state| {
        let mut params = store(&gpu);
        let (rule, options) =
            optim::from_json_with_options(&json!({"name": "Adam", "amsgrad": true, "state": state})).unwrap();
        let mut optimizer = rule.build_with_options(&params, &[], &options).unwrap();
        run(&mut optimizer, &mut params, 0..5);
        params
    };
    let (plain, coded, halves) = (steps("f32"), steps("8bit"), steps("bf16"));
    for (number, len) in SIZES.iter().enumerate() {
        let name = format!("t{number}");
        let same = bits(&plain.read(&name).unwrap()) == bits(&coded.read(&name).unwrap());
        assert_eq!(same, *len < 4096, "{name}");
    }
    let [plain, coded, halves] = [&plain, &coded, &halves].map(read_all);
    for (others, most) in [(coded, 5e-3), (halves, 1e-4)] {
        let far = plain.iter().zip(&others).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far > 0.0 && far < most, "{far}");
    }
}

#[test]
fn bf16_does_not_depend_on_windows() {
    let steps = |max_binding_bytes| {
        let gpu = Gpu::new(GpuOptions { max_binding_bytes, ..GpuOptions::default() }).unwrap();
        let mut params = store(&gpu);
        let mut optimizer = optim::from_json(&json!({"name": "AdamW"}))
            .unwrap()
            .build_with_options(&params, &[], &of(StatePrecision::Bf16))
            .unwrap();
        run(&mut optimizer, &mut params, 0..4);
        (params.layout().windows().count(), bits(&read_all(&params)))
    };
    if gpu().is_none() {
        return;
    }
    let (one, many) = (steps(None), steps(Some(65_536)));
    assert!(one.0 < many.0);
    assert_eq!(one.1, many.1);
}
