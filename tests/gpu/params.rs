//! The store: what is written is read, padding is zero, foreign buffers are checked.

use gradus::gpu::Recorder;
use gradus::layout::{GroupSpec, Layout, Limits};
use gradus::{Gpu, GpuOptions, ParamStore, wgpu};

use crate::common::{gpu, gpu_with, noises};

#[test]
fn what_is_written_is_read() {
    let small =
        GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(65_536), ..Default::default() };
    for options in [GpuOptions::default(), small] {
        let Some(gpu) = gpu_with(options) else { return };
        let (w, b) = (noises(1, 50_000), noises(2, 33));
        let mut params = ParamStore::builder()
            .tensor("w", [50, 1000], &w)
            .group("rest", |g| g.tensor("b", [33], &b).tensor("s", [], &[7.0]))
            .tensor("late", [2], &[3.0, 4.0])
            .build(&gpu)
            .unwrap();
        let names: Vec<_> = params.layout().spans().iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["w", "late", "b", "s"]);
        assert_eq!((params.read("w").unwrap(), params.read("b").unwrap()), (w, b));
        assert_eq!(params.read("s").unwrap(), [7.0]);
        let grads = noises(3, 50_000 + 2 + 33 + 1);
        let before = gpu.counters();
        params.write_grads(&grads).unwrap();
        assert_eq!(gpu.counters().since(&before).uploads, params.layout().buffers() as u64);
        assert_eq!(params.read_grad("w").unwrap(), grads[..50_000]);
        assert_eq!(params.read_grad("b").unwrap(), grads[50_002..50_035]);
        params.write_grad("b", &[1.5; 33]).unwrap();
        params.write("w", &[2.5; 50_000]).unwrap();
        assert_eq!(pollster_read(&params), vec![2.5; 50_000]);
        assert_eq!(params.read_grad("b").unwrap(), [1.5; 33]);
        assert_eq!(params.read_grad("s").unwrap(), grads[50_035..]);
        let mut encoder = gpu.encoder("zero");
        params.record_zero_grads(&mut Recorder::new(&gpu, &mut encoder));
        gpu.submit(encoder).unwrap();
        assert!(params.grads().read_all(&gpu).unwrap().iter().all(|g| *g == 0.0));
    }
}

fn pollster_read(params: &ParamStore) -> Vec<f32> {
    let mut future = std::pin::pin!(params.read_async("w"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result.unwrap();
        }
    }
}

#[test]
fn refusals_name_the_tensor() {
    let Some(gpu) = gpu() else { return };
    let short = ParamStore::builder().tensor("w", [2, 3], &[0.0; 5]).build(&gpu);
    assert_eq!(short.unwrap_err().to_string(), "w: expected 6 elements, got 5");
    let twice = ParamStore::builder().tensor("w", [1], &[0.0]).tensor("w", [1], &[0.0]).build(&gpu);
    assert_eq!(twice.unwrap_err().to_string(), "duplicate tensor \"w\"");
    let mut params = ParamStore::builder().tensor("w", [2], &[1.0; 2]).build(&gpu).unwrap();
    let rows = [
        (params.write("w", &[0.0]), "w: expected 2 elements, got 1"),
        (params.write_shaped("w", &[1, 2], &[0.0; 2]), "w: expected [2], got [1, 2]"),
        (params.write_shaped("w", &[2], &[0.0; 3]), "w: expected 2 elements, got 3"),
        (params.write_shaped("v", &[2], &[0.0; 2]), "unknown tensor \"v\"; known: w"),
        (params.write_grads(&[0.0; 3]), "gradients of all tensors: expected 2 elements, got 3"),
        (params.freeze("v"), "unknown tensor \"v\"; known: w"),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    assert_eq!((params.read("w").unwrap(), params.read_grad("w").unwrap()), (vec![1.0; 2], vec![0.0; 2]));
}

#[test]
fn a_shape_that_is_right_is_written() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder().tensor("w", [2, 3], &[0.0; 6]).build(&gpu).unwrap();
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    params.write_shaped("w", &[2, 3], &values).unwrap();
    assert_eq!(params.read("w").unwrap(), values);
}

#[test]
fn gradients_in_one_slice_follow_the_groups_and_by_name_the_tensor() {
    let Some(gpu) = gpu() else { return };
    // A network would declare a, b, c, d.
    let mut params = ParamStore::builder()
        .group("even", |g| g.tensor("a", [1], &[0.0]).tensor("c", [1], &[0.0]))
        .group("odd", |g| g.tensor("b", [1], &[0.0]).tensor("d", [1], &[0.0]))
        .build(&gpu)
        .unwrap();
    params.write_grads(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    let read = |params: &ParamStore| ["a", "b", "c", "d"].map(|name| params.read_grad(name).unwrap()[0]);
    assert_eq!(read(&params), [1.0, 3.0, 2.0, 4.0]);
    for (name, value) in [("a", 5.0), ("b", 6.0), ("c", 7.0), ("d", 8.0)] {
        params.write_grad(name, &[value]).unwrap();
    }
    assert_eq!(read(&params), [5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn a_tensor_beyond_the_binding_limit_cannot_be_bound_whole() {
    let options =
        GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(1 << 20), ..Default::default() };
    let Some(gpu) = gpu_with(options) else { return };
    let params = ParamStore::builder()
        .tensor("small", [100], &[0.0; 100])
        .tensor("large", [20_000], &vec![0.0; 20_000])
        .build(&gpu)
        .unwrap();
    let span = |name: &str| params.layout().span(name).unwrap();
    let region = params.params().region_of(span("small")).unwrap();
    assert_eq!((region.offset, region.bytes), (0, 128 * 4));
    assert_eq!(
        params.params().region_of(span("large")).unwrap_err().to_string(),
        "large: 80000 bytes exceed the max_storage_buffer_binding_size of 65536 bytes on this device"
    );
}

fn foreign(gpu: &Gpu, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    let descriptor = wgpu::BufferDescriptor { label: None, size: bytes, usage, mapped_at_creation: false };
    gpu.device().create_buffer(&descriptor)
}

#[test]
fn adopted_buffers_are_checked() {
    use wgpu::BufferUsages as U;
    let Some(gpu) = gpu() else { return };
    let all = U::STORAGE | U::COPY_SRC | U::COPY_DST;
    let layout = || {
        let group = GroupSpec::new("all").tensor("a", [3]).tensor("b", [70]);
        Layout::new(&[group], Limits::default()).unwrap()
    };
    let good = || foreign(&gpu, 1024, all);
    let adopt = |params: Vec<wgpu::Buffer>, grads: Vec<wgpu::Buffer>| {
        ParamStore::adopt(&gpu, layout(), params, grads)
    };
    let same = good();
    let rows = [
        (adopt(vec![], vec![good()]), "buffers for params: expected 1 elements, got 0"),
        (adopt(vec![good()], vec![good(), good()]), "buffers for grads: expected 1 elements, got 2"),
        (
            adopt(vec![good()], vec![foreign(&gpu, 512, all)]),
            "buffer for grads[0]: expected at least 1024 bytes, got 512",
        ),
        (
            adopt(vec![foreign(&gpu, 1024, U::STORAGE | U::COPY_DST)], vec![good()]),
            "buffer for params[0]: expected the usages BufferUsages(COPY_SRC | COPY_DST | STORAGE), \
             got BufferUsages(COPY_DST | STORAGE)",
        ),
        (adopt(vec![same.clone()], vec![same]), "buffer for grads[0]: the same buffer was given twice"),
    ];
    for (result, message) in rows {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    let huge = Limits { binding_bytes: 1 << 40, buffer_bytes: 1 << 40 };
    let layout = Layout::new(&[GroupSpec::new("all").tensor("a", [3])], huge).unwrap();
    let refused = ParamStore::adopt(&gpu, layout, vec![good()], vec![good()]);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .starts_with("the layout was made for bindings of 1099511627776 bytes")
    );
}

#[test]
fn adopted_values_stay_and_their_padding_is_cleared() {
    use wgpu::BufferUsages as U;
    let Some(gpu) = gpu() else { return };
    let layout =
        Layout::new(&[GroupSpec::new("all").tensor("a", [3]).tensor("b", [70])], Limits::default()).unwrap();
    let raw = [(); 2].map(|()| foreign(&gpu, 1024, U::STORAGE | U::COPY_SRC | U::COPY_DST));
    for buffer in &raw {
        gpu.queue().write_buffer(buffer, 0, bytemuck::cast_slice(&[5.0_f32; 256]));
    }
    let [params, grads] = raw;
    let before = gpu.counters();
    let store = ParamStore::adopt(&gpu, layout, vec![params], vec![grads]).unwrap();
    // The gate alone is new.
    assert_eq!(gpu.counters().since(&before).allocations, 1);
    let flat = store.params().read_all(&gpu).unwrap();
    assert_eq!(flat.iter().filter(|x| **x == 5.0).count(), 73);
    assert_eq!(flat.iter().filter(|x| **x == 0.0).count(), 256 - 73);
    assert_eq!(store.read("b").unwrap(), [5.0; 70]);
}
