//! A host with its own device, encoder and queue records a step and sees only what it asked for.

use gradus::layout::{GroupSpec, Layout, Limits};
use gradus::optim::{Rule, SGD};
use gradus::{Gpu, ParamStore, wgpu};

use crate::common;

/// A device that the host made, with its queue.
fn host() -> Option<(wgpu::Adapter, wgpu::Device, wgpu::Queue)> {
    common::gpu()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = wait(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let descriptor =
        wgpu::DeviceDescriptor { required_limits: Gpu::required_limits(&adapter), ..Default::default() };
    let (device, queue) = wait(adapter.request_device(&descriptor)).unwrap();
    Some((adapter, device, queue))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn a_host_submits_a_recorded_step_itself() {
    use wgpu::BufferUsages as U;
    let Some((adapter, device, queue)) = host() else { return };
    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone());
    let make = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1024,
            usage,
            mapped_at_creation: false,
        })
    };
    let [w, g] = [(); 2].map(|()| make(U::STORAGE | U::COPY_SRC | U::COPY_DST));
    let [source, copied] = [make(U::COPY_SRC | U::COPY_DST), make(U::MAP_READ | U::COPY_DST)];
    queue.write_buffer(&w, 0, bytemuck::cast_slice(&[1.0_f32; 4]));
    queue.write_buffer(&source, 0, bytemuck::cast_slice(&[0.5_f32; 4]));

    let layout = Layout::new(&[GroupSpec::new("all").tensor("w", [4])], Limits::default()).unwrap();
    let mut params = ParamStore::adopt(&gpu, layout, vec![w.clone()], vec![g.clone()]).unwrap();
    let mut optimizer = SGD { lr: 1.0, ..Default::default() }.build(&params).unwrap();
    let before = gpu.counters();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);

    // The host's own commands, the step, and the host's again, in one encoder.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(&source, 0, &g, 0, 16);
    let ticket = optimizer.record(&mut encoder, &mut params).unwrap();
    encoder.copy_buffer_to_buffer(&w, 0, &copied, 0, 16);
    queue.submit([encoder.finish()]);
    optimizer.submitted(ticket).unwrap();

    let after = gpu.counters().since(&before);
    assert_eq!((after.submits, after.read_backs, after.dispatches, after.uploads), (0, 0, 1, 1));
    assert_eq!((after.allocations, after.pipelines, after.bind_groups), (0, 0, 0));
    assert!(wait(scope.pop()).is_none());
    copied.map_async(wgpu::MapMode::Read, 0..16, |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let bytes = copied.get_mapped_range(0..16).unwrap().to_vec();
    assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes), [0.5; 4]);
    assert_eq!(params.read("w").unwrap(), [0.5; 4]);
}
