use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use super::names::{PRELUDE, frame_names};
use crate::gpu::{Binding, KernelSource};
use crate::grad::FusedKernel;
use crate::optim::custom::rule::CustomRule;
use crate::optim::device::kernels::{RuleKernel, frame_texts};
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::AnyRule;
use crate::optim::rules::lookahead::Lookahead;

/// What a stage may bind as storage on every device.
const STORAGE: u32 = wgpu::Limits::defaults().max_storage_buffers_per_shader_stage;

fn rule(slots: &[&str], hypers: &[&str]) -> CustomRule {
    let sum =
        |of: &str, names: &[&str]| names.iter().map(|name| format!(" + {of}{name}")).collect::<String>();
    let writes: String = slots.iter().map(|slot| format!("(*s).{slot} += g;\n")).collect();
    let text = format!(
        "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {{
            {writes}return p - call.lr * (g{}) * (1.0{});
        }}",
        sum("(*s).", slots),
        sum("hyper.", hypers),
    );
    let builder = slots.iter().fold(CustomRule::builder("Mine", text), |builder, slot| builder.slot(*slot));
    hypers.iter().fold(builder, |builder, hyper| builder.hyper(*hyper, 0.5, ..)).build().unwrap()
}

fn sources(rule: &(impl AnyRule + Clone + 'static)) -> Vec<KernelSource> {
    let mut all = Vec::new();
    for masks in [false, true] {
        for fused_kernel in FusedKernel::ALL {
            for looks_ahead in [false, true] {
                let ahead = Lookahead::new(rule.boxed());
                let text = if looks_ahead { RuleKernel::of(&ahead) } else { RuleKernel::of(rule) };
                let mask = (1 << text.slots.len()) - 1;
                all.push(RuleKernel { masks, ..text }.source(
                    Stage::Update,
                    mask,
                    fused_kernel,
                    &crate::gpu::Capabilities::PLAIN,
                ));
            }
        }
    }
    all
}

fn read(source: &KernelSource) -> (naga::Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(&source.wgsl).unwrap_or_else(|error| {
        panic!("{}: {}", source.name, error.emit_to_string(&source.wgsl));
    });
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
    (module, info)
}

#[test]
fn every_combination_binds_what_every_device_has() {
    let names = ["a", "b", "c", "d"];
    let mut most = 0;
    for slots in 0..=CustomRule::MOST_SLOTS {
        let sources = sources(&rule(&names[..slots], &[]));
        let names: std::collections::BTreeSet<&str> = sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names.len(), sources.len(), "a cache of kernels would mix them up: {names:?}");
        for source in sources {
            let storage =
                source.bindings.iter().filter(|kind| !matches!(kind, Binding::Uniform { .. })).count();
            let in_text = source.wgsl.matches("var<storage").count();
            assert_eq!(storage, in_text, "{}", source.name);
            assert!(storage <= STORAGE as usize, "{}: {storage}", source.name);
            most = most.max(storage);
            read(&source);
        }
    }
    assert_eq!(most, 8);
}

#[test]
fn names_that_are_words_elsewhere_reach_every_language() {
    let slots = ["float", "texture", "device", "slot_params"];
    let hypers =
        ["half", "int", "constant", "kernel", "row_major", "buffer", "main", "state", "min", "call", "f32"];
    for source in sources(&rule(&slots, &hypers)) {
        let (module, info) = read(&source);
        let spirv = spv::Options { lang_version: (1, 3), ..Default::default() };
        assert!(!spv::write_vec(&module, &info, &spirv, None).unwrap().is_empty());
        let metal = msl::Options { lang_version: (2, 4), ..Default::default() };
        msl::write_string(&module, &info, &metal, &msl::PipelineOptions::default()).unwrap();
        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_0, ..Default::default() };
        let (mut text, pipeline) = (String::new(), hlsl::PipelineOptions::default());
        hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None).unwrap();
    }
}

#[test]
fn a_masked_kernel_keeps_every_slot_inside() {
    let masked = sources(&rule(&["a", "b"], &[])).into_iter().filter(|source| source.name.contains("+mask"));
    let mut count = 0;
    for source in masked {
        for slot in ["a", "b"] {
            assert!(source.wgsl.contains(&format!("(*s).{slot} = select(vec4f(), (*s).{slot}, inside);")));
        }
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn what_a_rule_may_use_is_as_the_frame_has_it() {
    let frame = frame_texts().concat();
    let functions = PRELUDE.lines().filter_map(|line| line.strip_suffix(" { return x; }"));
    assert_eq!(functions.clone().count(), 5);
    for signature in functions {
        assert!(frame.contains(signature), "{signature}");
    }
    for constant in PRELUDE.lines().filter(|line| line.starts_with("const ")) {
        assert!(frame.contains(constant), "{constant}");
    }
    assert!(frame.contains("struct Call {") && frame.contains("    lr: f32,\n"));
}

#[test]
fn the_names_of_the_frame_are_found_in_its_text() {
    let names = frame_names();
    for name in [
        "call",
        "hyper",
        "gate",
        "Gate",
        "Call",
        "params",
        "grads",
        "real",
        "main",
        "place",
        "updated",
        "settled",
        "gradient",
        "transformed",
        "bounds_clipped",
        "random_words",
        "random_normal",
        "NOISE_STREAM",
        "NOWHERE",
        "LOOKAHEAD_SYNCS",
        "averaged",
        "TINY",
        "Hyper",
        "State",
        "load",
        "store",
        "keep_inside",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    // A name that only the whole kernel declares would be missed.
    let (module, _) = read(&sources(&rule(&["a"], &[])).pop().unwrap());
    let constants = module.constants.iter().filter_map(|(_, constant)| constant.name.as_deref());
    let functions = module.functions.iter().filter_map(|(_, function)| function.name.as_deref());
    let globals = module.global_variables.iter().filter_map(|(_, global)| global.name.as_deref());
    let structs = module.types.iter().filter_map(|(_, ty)| ty.name.as_deref());
    for name in constants.chain(functions).chain(globals).chain(structs).filter(|name| *name != "rule") {
        let found = names.iter().any(|found| found == name) || name.starts_with("slot_");
        assert!(found, "{name}");
    }
}
