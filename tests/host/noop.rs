//! A device that does nothing but check, with WebGPU's default limits: pipelines, bind groups and usages of
//! every rule are valid there.

use gradus::gpu::{Binding, KernelChoice, KernelKind, KernelSource};
use gradus::graph::Graph;
use gradus::nn::Conv2d;
use gradus::optim::{self, AdamW, RULES, Rule};
use gradus::{Error, Gpu, GpuOptions, ParamStore, wgpu};
use serde_json::{Value, json};

fn options() -> GpuOptions {
    let limits = wgpu::Limits::default();
    GpuOptions {
        backends: Some(wgpu::Backends::NOOP),
        max_binding_bytes: Some(limits.max_storage_buffer_binding_size),
        max_buffer_bytes: Some(limits.max_buffer_size),
        ..Default::default()
    }
}

fn gpu() -> Gpu {
    Gpu::new(options()).unwrap()
}

/// Every rule with as many slots in use as it can have.
fn fullest(name: &str) -> Value {
    match name {
        "SGD" => json!({"name": name, "momentum": 0.9, "nesterov": true}),
        "Adam" | "AdamW" => json!({"name": name, "amsgrad": true}),
        "Adafactor" => json!({"name": name, "variant": "optax", "momentum": 0.9}),
        "RMSprop" => json!({"name": name, "momentum": 0.9, "centered": true}),
        "Lookahead" => json!({"name": name, "inner": fullest("Adam")}),
        _ => json!({"name": name}),
    }
}

#[test]
fn every_rule_runs_within_default_limits() {
    let gpu = gpu();
    assert_eq!(gpu.device().limits().max_storage_buffers_per_shader_stage, 8);
    for entry in RULES {
        // What the group of a scalar overrides: it is no matrix.
        let adamw = [("b", json!({"adamw": {}}))];
        let overrides = if entry.family == optim::Family::Matrix { &adamw[..] } else { &[] };
        for (json, is_full) in [(entry.default_rule().to_json(), false), (fullest(entry.name), true)] {
            let mut params = ParamStore::builder()
                .group("a", |g| g.tensor("w", [20, 15], &[1.0; 300]))
                .group("b", |g| g.tensor("b", [], &[1.0]))
                .build(&gpu)
                .unwrap();
            let mut optimizer = optim::from_json(&json).unwrap().build_with(&params, overrides).unwrap();
            let rules = ["a", "b"].map(|group| optimizer.group(group).unwrap());
            let slots = optim::AnyRule::slots(rules[0]).len();
            let all = (0..slots).all(|slot| rules.iter().any(|rule| optim::AnyRule::uses(*rule, slot)));
            assert!(all || !is_full, "say above which options use all slots of {json}");
            for _ in 0..3 {
                params.write_grads(&[0.1; 301]).unwrap();
                optimizer.step(&mut params).unwrap();
            }
            gpu.check().unwrap();
        }
    }
}

#[test]
fn a_cpu_with_subgroups_of_several_sizes_is_given_plain_kernels_and_refuses_those_for_others() {
    let kinds: Vec<KernelKind> =
        Gpu::of_each_kind(&options()).unwrap().iter().map(Gpu::kernel_kind).collect();
    assert_eq!(kinds, [KernelKind::Plain, KernelKind::Gpu]);
    assert_eq!((gpu().capabilities().is_cpu, gpu().capabilities().subgroup_lanes), (true, Some([4, 128])));
    let kernels = KernelChoice::Only(KernelKind::CpuSubgroup);
    let refused = Gpu::new(GpuOptions { kernels, ..options() }).unwrap_err();
    assert!(matches!(refused, Error::NoDevice { .. }), "{refused:?}");
    assert!(refused.to_string().contains("CpuSubgroup kernels do not run on Capabilities"), "{refused}");
}

#[test]
fn a_ninth_storage_buffer_is_refused() {
    let wgsl = (0..9)
        .map(|i| format!("@group(0) @binding({i}) var<storage, read> b{i}: array<f32>;\n"))
        .chain(["@compute @workgroup_size(1) fn main() {}".into()])
        .collect::<String>();
    let source = KernelSource { name: "nine".into(), wgsl: wgsl.into(), bindings: vec![Binding::Read; 9] };
    let refused = gpu().kernel(&source).unwrap_err().to_string();
    assert!(refused.starts_with("kernel nine: "), "{refused}");
}

/// ResNet-18 as torchvision has it: 62 tensors.
fn resnet_18() -> Vec<Vec<usize>> {
    let mut shapes = vec![vec![64, 3, 7, 7], vec![64], vec![64]];
    let mut channels = 64;
    for width in [64, 128, 256, 512] {
        for block in 0..2 {
            let first = if block == 0 { channels } else { width };
            shapes.extend([vec![width, first, 3, 3], vec![width], vec![width]]);
            shapes.extend([vec![width, width, 3, 3], vec![width], vec![width]]);
            if first != width {
                shapes.extend([vec![width, first, 1, 1], vec![width], vec![width]]);
            }
        }
        channels = width;
    }
    shapes.extend([vec![1000, 512], vec![1000]]);
    shapes
}

#[test]
fn adamw_over_resnet_18_takes_16_bytes_a_parameter() {
    let gpu = gpu();
    let shapes = resnet_18();
    let data: Vec<Vec<f32>> = shapes.iter().map(|s| vec![0.0; s.iter().product()]).collect();
    let mut builder = ParamStore::builder();
    for (index, (shape, data)) in shapes.iter().zip(&data).enumerate() {
        builder = builder.tensor(format!("t{index}"), shape.clone(), data);
    }
    let before = gpu.counters();
    let mut params = builder.build(&gpu).unwrap();
    let mut optimizer = AdamW::default().build(&params).unwrap();
    optimizer.step(&mut params).unwrap();
    let layout = params.layout();
    assert_eq!((layout.spans().len(), layout.parameters()), (62, 11_689_512));
    let live = gpu.counters().since(&before).live_bytes as f64;
    let ratio = live / (16.0 * layout.parameters() as f64);
    assert!(ratio <= 1.02, "{ratio}");
}

#[test]
fn a_network_trains_within_default_limits() {
    let gpu = gpu();
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [6, 3, 11, 9]), graph.labels("y", 6));
    let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2).conv2d(Conv2d::new(40, 3).stride(2));
    let logits = h.bias().relu().flatten().linear(33).relu().linear(10);
    let loss = logits.cross_entropy(&y);
    let accuracy = logits.accuracy(&y);
    let mut trainer =
        graph.trainer(&loss, AdamW::default()).metric("accuracy", &accuracy).build(&gpu).unwrap();
    for samples in [6, 6, 5] {
        let (x, y) = (vec![0.5; samples * 3 * 11 * 9], vec![1; samples]);
        trainer.step(&[("x", &x), ("y", &y)]).unwrap();
    }
    gpu.check().unwrap();
    assert_eq!(trainer.steps(), 3);
}

#[test]
fn bytes_of_state_are_those_of_its_buffers() {
    let gpu = gpu();
    // 16,384 elements fill their blocks, so that nothing is padding.
    let len = 256 * 64;
    let ones = vec![1.0; len];
    let rows = [
        (json!({"name": "SGD"}), 0),
        (json!({"name": "SGD", "momentum": 0.9}), 4 * len),
        (json!({"name": "AdamW"}), 8 * len),
        (json!({"name": "AdamW", "amsgrad": true}), 12 * len),
        (json!({"name": "AdamW", "state": "bf16"}), 4 * len),
        // A scale of four bytes for 256 codes.
        (json!({"name": "AdamW", "state": "8bit"}), 2 * (len + len / 256 * 4)),
        (json!({"name": "Lookahead", "inner": {"name": "SGD"}}), 4 * len),
        // A number for each tensor, in a buffer of 16 bytes or more.
        (json!({"name": "Novograd"}), 4 * len + 16),
    ];
    for (json, bytes) in rows {
        let store = ParamStore::builder().group("all", |g| g.tensor("w", [256, 64], &ones));
        let mut params = store.build(&gpu).unwrap();
        let (rule, options) = optim::from_json_with_options(&json).unwrap();
        let mut optimizer = rule.build_with_options(&params, &[], &options).unwrap();
        optimizer.step(&mut params).unwrap();
        assert_eq!(optimizer.state_bytes(), bytes as u64, "{json}");
    }
    // Rows and columns share a buffer, which is counted once, with what is computed in a step.
    let store = ParamStore::builder().group("all", |g| g.tensor("w", [256, 64], &ones));
    let mut params = store.build(&gpu).unwrap();
    let mut optimizer = optim::Adafactor::default().build(&params).unwrap();
    optimizer.step(&mut params).unwrap();
    let least = 4 * (256 + 64);
    assert!((least..3 * least).contains(&optimizer.state_bytes()), "{}", optimizer.state_bytes());
}
