use super::*;

/// Two devices of one instance.
fn two_devices() -> Option<[Gpu; 2]> {
    gpu()?;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    Some([(); 2].map(|()| {
        let descriptor =
            wgpu::DeviceDescriptor { required_limits: Gpu::required_limits(&adapter), ..Default::default() };
        let (device, queue) = pollster(adapter.request_device(&descriptor)).unwrap();
        Gpu::from_wgpu(&adapter, device, queue)
    }))
}

fn pollster<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

#[test]
fn regions_that_do_not_fit_are_refused_and_nothing_changes() {
    let Some(gpu) = gpu() else { return };
    let (plan, _store) = mirror(&gpu, &[3, 5]);
    let data = noises(1, 15);
    plan.write("x", &data).unwrap();
    let copied = U::COPY_SRC | U::COPY_DST;
    let bindable = buffer(&gpu, 1024, U::STORAGE);
    let [copyable, neither] = [copied, U::VERTEX].map(|usage| buffer(&gpu, 1024, usage));
    let bound_or_copied = |way: &str, at: u32, usage: &str| {
        format!(
            "a region is bound from a multiple of 256 bytes on, of a buffer with STORAGE that the plan does not use \
             otherwise, or copied with BufferUsages({way}); this begins at byte {at} of one with \
             BufferUsages({usage})"
        )
    };
    let alignment = gpu.device().limits().min_storage_buffer_offset_alignment;
    assert_eq!(alignment, 256, "the limits that devices are made with");
    let rows = [
        ("y", bindable.slice(..60), "unknown {}".into()),
        ("", bindable.slice(..56), "{}: expected 15 elements, got 14".into()),
        ("", bindable.slice(..64), "{}: expected 15 elements, got 16".into()),
        (
            "",
            copyable.slice(2..62),
            "regions begin and end at multiples of 4 bytes, this has 60 from 2 on".into(),
        ),
        (
            "",
            bindable.slice(..62),
            "regions begin and end at multiples of 4 bytes, this has 62 from 0 on".into(),
        ),
        ("", bindable.slice(12..72), bound_or_copied("{way}", 12, "STORAGE")),
        ("", neither.slice(..60), bound_or_copied("{way}", 0, "VERTEX")),
    ];
    let before = gpu.counters();
    for (name, region, message) in &rows {
        let input = if name.is_empty() { "x" } else { name };
        let error = plan.write(input, region).unwrap_err().to_string();
        let want = message.replace("unknown {}", "unknown input").replace("{way}", "COPY_SRC");
        let want = want.replace("{}", "input x of 3 samples");
        assert!(error.contains(&want), "{error}, not {want}");
        let output = if name.is_empty() { "seen" } else { name };
        let error = plan.bind_output(output, *region).unwrap_err().to_string();
        let want = message.replace("unknown {}", "unknown output").replace("{way}", "COPY_DST");
        let want = want.replace("{}", "output seen");
        assert!(error.contains(&want), "{error}, not {want}");
    }
    assert!(plan.unbind_output("y").unwrap_err().to_string().contains("unknown output"));
    let count = gpu.counters().since(&before);
    assert_eq!((count.uploads, count.bind_groups, count.allocations), (0, 0, 0));
    run(&gpu, &plan);
    assert_eq!(plan.read("seen").unwrap(), data);

    // A region of a buffer that is also written must be copied.
    let shared = buffer(&gpu, 1024, U::STORAGE);
    plan.write("x", &shared.slice(..60)).unwrap();
    let error = plan.bind_output("seen", shared.slice(256..316)).unwrap_err().to_string();
    assert!(error.starts_with("buffer for input x: a region is bound"), "{error}");
    run(&gpu, &plan);
    assert_eq!(plan.read("seen").unwrap(), [0.0; 15]);
    // Written where nothing can read it.
    let target = buffer(&gpu, 60, U::STORAGE);
    plan.bind_output("seen", target.slice(..)).unwrap();
    let error = plan.read("seen").unwrap_err().to_string();
    assert!(error.contains("COPY_SRC"), "{error}");
}

#[test]
fn buffers_that_were_destroyed_or_are_of_another_device_are_refused() {
    let Some([gpu, other]) = two_devices() else { return };
    let storage = U::STORAGE | U::COPY_SRC | U::COPY_DST;
    for (shape, usage) in [([2, 4], storage), ([2, 3], storage), ([2, 4], U::COPY_SRC | U::COPY_DST)] {
        let (plan, _store) = mirror(&gpu, &shape);
        let data = noises(1, shape[0] * shape[1]);
        plan.write("x", &data).unwrap();
        let bytes = 4 * data.len() as u64;
        let gone = buffer(&gpu, bytes, usage);
        gone.destroy();
        for (wrong, is_gone) in [(gone, true), (buffer(&other, bytes, usage), false)] {
            for is_input in [true, false] {
                let result = match is_input {
                    true => plan.write("x", &wrong.slice(..)),
                    false => plan.bind_output("seen", wrong.slice(..)),
                };
                match result {
                    Err(error) => assert!(matches!(error, gradus::Error::Buffer { .. }), "{error:?}"),
                    // Of a copy only the submit says so.
                    Ok(()) => {
                        assert!(is_gone);
                        let mut encoder = gpu.encoder("gone");
                        plan.record(&mut gradus::gpu::Recorder::new(&gpu, &mut encoder)).unwrap();
                        let error = gpu.submit(encoder).unwrap_err();
                        assert!(matches!(error, gradus::Error::Device { .. }), "{error:?}");
                        plan.write("x", &data).unwrap();
                        plan.unbind_output("seen").unwrap();
                    }
                }
            }
        }
        run(&gpu, &plan);
        assert_eq!(plan.read("seen").unwrap(), data);
    }
}

#[test]
fn a_trainer_refuses_regions_of_parts_of_samples() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu);
    let (x, y) = (buffer(&gpu, 96, U::COPY_SRC), buffer(&gpu, 32, U::COPY_SRC));
    let rows = [
        (x.slice(..92), y.slice(..), "input x, in whole samples of [3]: expected 24 elements, got 23"),
        (x.slice(..0), y.slice(..), "input x, in whole samples of [3]: expected 3 elements, got 0"),
        (x.slice(..), y.slice(..28), "input y of 8 samples: expected 8 elements, got 7"),
    ];
    let before = gpu.counters();
    for (x, y, message) in rows {
        assert_eq!(trainer.step(&[("x", &x), ("y", &y)]).unwrap_err().to_string(), message);
    }
    assert_eq!(gpu.counters().since(&before).submits, 0);
    trainer.step(&[("x", &x.slice(..)), ("y", &y.slice(..))]).unwrap();
}
