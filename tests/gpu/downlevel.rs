//! Devices with fewer limits than WebGPU's defaults: what works does, and what does not names the limit.

use gradus::graph::Graph;
use gradus::nn::Conv2d;
use gradus::optim::{self, LBFGS, RULES, SGD};
use gradus::{Error, Gpu, ParamStore, wgpu};
use serde_json::{Value, json};

use crate::common;
use crate::lost::host;

fn gpu(limits: wgpu::Limits) -> Option<Gpu> {
    // wgpu's default handler panics at a validation error that nobody catches.
    let (adapter, device, queue) = host(Some(limits))?;
    Some(Gpu::from_wgpu(&adapter, device, queue))
}

fn store(gpu: &Gpu) -> Result<ParamStore, Error> {
    let (m, v) = (common::noises(1, 24), common::noises(2, 5));
    ParamStore::builder().tensor("m", [4, 6], &m).tensor("v", [5], &v).build(gpu)
}

/// Every rule with its defaults, and some with more state.
fn rules() -> Vec<Value> {
    let named = RULES.iter().map(|entry| match entry.name {
        "Muon" => json!({"name": "Muon", "adamw": {}}),
        "Lookahead" => json!({"name": "Lookahead", "inner": {"name": "AdamW"}}),
        name => json!({"name": name}),
    });
    let more = [
        json!({"name": "Adam", "amsgrad": true}),
        json!({"name": "RMSprop", "momentum": 0.9, "centered": true}),
    ];
    named.chain(more).collect()
}

/// Two steps of a rule, and what they made of the parameters.
fn stepped(gpu: &Gpu, rule: &Value) -> Result<Vec<f32>, Error> {
    let mut params = store(gpu)?;
    let mut optimizer = optim::from_json(rule)?.build(&params)?;
    for step in 0..2 {
        params.write_grads(&common::gradients(step, 29))?;
        optimizer.step(&mut params)?;
    }
    Ok(common::read_all(&params))
}

/// What the error says is needed of the limit that it names.
fn needed(error: &Error, limits: &wgpu::Limits) -> (&'static str, u64) {
    let Error::DeviceLimit { what, limit_name, needed, limit } = error else { panic!("{error}") };
    let has = match *limit_name {
        "max_storage_buffers_per_shader_stage" => limits.max_storage_buffers_per_shader_stage,
        "max_compute_invocations_per_workgroup" => limits.max_compute_invocations_per_workgroup,
        "max_compute_workgroup_size_x" => limits.max_compute_workgroup_size_x,
        "max_compute_workgroup_storage_size" => limits.max_compute_workgroup_storage_size,
        "max_compute_workgroups_per_dimension" => limits.max_compute_workgroups_per_dimension,
        "max_dynamic_uniform_buffers_per_pipeline_layout" => {
            limits.max_dynamic_uniform_buffers_per_pipeline_layout
        }
        other => panic!("{other}"),
    };
    assert!(*limit == u64::from(has) && needed > limit && what.starts_with("kernel "), "{error}");
    let text = format!(
        "{what}: needs a {limit_name} of at least {needed}, but this device was created with {limit}; request \
         Gpu::required_limits when creating it"
    );
    assert_eq!(error.to_string(), text);
    (limit_name, *needed)
}

#[test]
fn rules_work_under_downlevel_limits_or_name_the_limit_and_work_with_as_much_as_it_says() {
    let limits = wgpu::Limits::downlevel_defaults();
    let (Some(small), Some(full)) = (gpu(limits.clone()), common::gpu()) else { return };
    let (mut worked, mut refused) = (0, 0);
    for rule in rules() {
        let want = stepped(&full, &rule).unwrap();
        let (mut limits, mut got) = (limits.clone(), stepped(&small, &rule));
        if got.is_ok() {
            worked += 1;
        } else {
            refused += 1;
        }
        // One limit after the other, until there are enough; with one less it is refused.
        while let Err(error) = got {
            let (name, needed) = needed(&error, &limits);
            assert_eq!(name, "max_storage_buffers_per_shader_stage", "{rule}");
            let more = u32::try_from(needed).unwrap();
            let less = wgpu::Limits { max_storage_buffers_per_shader_stage: more - 1, ..limits.clone() };
            assert!(matches!(stepped(&gpu(less).unwrap(), &rule), Err(Error::DeviceLimit { .. })), "{rule}");
            limits.max_storage_buffers_per_shader_stage = more;
            got = stepped(&gpu(limits.clone()).unwrap(), &rule);
        }
        // Another layout of buffers changes no number; another kind of kernels may round otherwise.
        let off = got.unwrap().iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5, "{rule}: {off}");
    }
    assert!(worked >= 5 && refused >= 1, "{worked} worked, {refused} were refused");
}

#[test]
fn a_device_without_compute_refuses_each_thing_by_a_limit() {
    let none = wgpu::Limits::downlevel_webgl2_defaults();
    let Some(without) = gpu(none.clone()) else { return };
    // Where nothing can be bound, no store can be made.
    let refused = store(&without).unwrap_err();
    assert!(matches!(refused, Error::Limit { limit_name: "max_storage_buffer_binding_size", limit: 0, .. }));
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, ..none };
    let gpu = gpu(limits.clone()).unwrap();
    for rule in rules() {
        needed(&stepped(&gpu, &rule).unwrap_err(), &limits);
    }
    needed(&LBFGS::default().build(&store(&gpu).unwrap()).map(drop).unwrap_err(), &limits);
    let (graph, loss) = network();
    needed(&graph.trainer(&loss, SGD::default()).build(&gpu).map(drop).unwrap_err(), &limits);
    assert!(!gpu.is_lost());
}

fn network() -> (Graph, gradus::graph::Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 2, 6, 6]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(3, 3).padding(1)).relu().max_pool2d(2).dropout(0.1).flatten();
    let loss = h.linear(7).gelu().linear(3).cross_entropy(&y);
    (graph, loss)
}

fn trained(gpu: &Gpu) -> Result<f32, Error> {
    let (graph, loss) = network();
    let mut trainer = graph.trainer(&loss, SGD { lr: 0.1, ..Default::default() }).build(gpu)?;
    for _ in 0..2 {
        trainer.step(&[("x", &common::noises(3, 4 * 72)), ("y", &vec![0, 1, 2, 1])])?;
    }
    trainer.read_loss()
}

#[test]
fn a_network_trains_under_downlevel_limits_or_names_the_limit() {
    let mut limits = wgpu::Limits::downlevel_defaults();
    let (Some(small), Some(full)) = (gpu(limits.clone()), common::gpu()) else { return };
    let mut got = trained(&small);
    while let Err(error) = &got {
        let (name, needed) = needed(error, &limits);
        assert_eq!(name, "max_storage_buffers_per_shader_stage");
        limits.max_storage_buffers_per_shader_stage = u32::try_from(needed).unwrap();
        got = trained(&gpu(limits.clone()).unwrap());
    }
    assert!((got.unwrap() - trained(&full).unwrap()).abs() < 1e-4);
}

#[test]
fn fewer_invocations_or_less_memory_of_a_workgroup_are_named_too() {
    let defaults = wgpu::Limits::default();
    let rows = [
        wgpu::Limits { max_compute_invocations_per_workgroup: 128, ..defaults.clone() },
        wgpu::Limits { max_compute_workgroup_size_x: 32, ..defaults.clone() },
        wgpu::Limits { max_compute_workgroups_per_dimension: 65_534, ..defaults.clone() },
        wgpu::Limits { max_dynamic_uniform_buffers_per_pipeline_layout: 1, ..defaults.clone() },
    ];
    for limits in rows {
        let Some(gpu) = gpu(limits.clone()) else { return };
        needed(&stepped(&gpu, &json!({"name": "AdamW"})).unwrap_err(), &limits);
    }
    let limits = wgpu::Limits { max_compute_workgroup_storage_size: 64, ..defaults };
    let Some(gpu) = gpu(limits.clone()) else { return };
    let (name, _) = needed(&stepped(&gpu, &json!({"name": "Lamb"})).unwrap_err(), &limits);
    assert_eq!(name, "max_compute_workgroup_storage_size");
}
