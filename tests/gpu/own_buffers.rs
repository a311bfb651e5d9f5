//! Regions of buffers of the user's own as inputs, upstream gradients and outputs of plans.

use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Workspace};
use gradus::optim::AdamW;
use gradus::train::Trainer;
use gradus::{Gpu, ParamStore, wgpu};
use wgpu::BufferUsages as U;

use crate::common::{bits, gpu, noises};
use crate::network::{gpus, submit};

mod refusals;

/// Shapes whose memory is their dense data, and shapes whose rows are padded.
const DENSE: [&[usize]; 4] = [&[4, 8], &[1, 4], &[2, 3, 2, 8], &[3, 5, 12]];
const PADDED: [&[usize]; 6] = [&[3, 5], &[4, 1], &[2, 3, 4, 5], &[2, 8, 1, 1], &[5, 2, 7], &[1, 7]];

fn buffer(gpu: &Gpu, bytes: u64, usage: U) -> wgpu::Buffer {
    let descriptor =
        wgpu::BufferDescriptor { label: Some("own"), size: bytes, usage, mapped_at_creation: false };
    gpu.device().create_buffer(&descriptor)
}

/// A buffer of the user's own with `data` from byte `offset` on, and the region of them.
fn filled<T: bytemuck::Pod>(gpu: &Gpu, data: &[T], offset: u64, usage: U) -> wgpu::Buffer {
    let buffer = buffer(gpu, offset + size_of_val(data) as u64, usage | U::COPY_DST);
    gpu.queue().write_buffer(&buffer, offset, bytemuck::cast_slice(data));
    buffer
}

fn contents(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<f32> {
    let read = self::buffer(gpu, buffer.size(), U::MAP_READ | U::COPY_DST);
    let mut encoder = gpu.encoder("read");
    encoder.copy_buffer_to_buffer(buffer, 0, &read, 0, buffer.size());
    gpu.submit(encoder).unwrap();
    read.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    gpu.wait().unwrap();
    bytemuck::pod_collect_to_vec(&read.get_mapped_range(..).unwrap())
}

/// `seen` is `x`, and with labels in it a second input.
fn mirror(gpu: &Gpu, shape: &[usize]) -> (Plan, ParamStore) {
    let graph = Graph::new();
    let x = graph.input("x", shape);
    let zero = graph.parameter("zero", shape, Init::Constant(0.0));
    let store = graph.store(gpu, 0).unwrap();
    let options = PlanOptions::evaluate().output("seen", &x.add(&zero));
    (graph.compile(&store, &options, &mut Workspace::new()).unwrap(), store)
}

/// Dispatches, copies' passes aside, and what was made in one run.
fn run(gpu: &Gpu, plan: &Plan) -> (u64, u64) {
    let before = gpu.counters();
    submit(gpu, &[plan]);
    let count = gpu.counters().since(&before);
    assert_eq!((count.allocations, count.bind_groups, count.uploads, count.read_backs), (0, 0, 0, 0));
    (count.dispatches, count.passes)
}

#[test]
fn an_input_is_read_from_a_region_as_it_is_at_each_run() {
    for gpu in gpus() {
        for shape in DENSE.iter().chain(&PADDED) {
            let (plan, _store) = mirror(&gpu, shape);
            let len = shape.iter().product();
            let data = noises(1, len);
            plan.write("x", &data).unwrap();
            let uploaded = run(&gpu, &plan);
            let rows = [(U::STORAGE, 0), (U::STORAGE, 256), (U::COPY_SRC, 0), (U::COPY_SRC, 12)];
            let rows =
                rows.into_iter().chain([(U::STORAGE | U::COPY_SRC, 4), (U::STORAGE | U::COPY_SRC, 512)]);
            for (usage, offset) in rows {
                let data = noises(2 + offset, len);
                let own = filled(&gpu, &data, offset, usage);
                let before = gpu.counters();
                plan.write("x", &own.slice(offset..)).unwrap();
                assert_eq!(gpu.counters().since(&before).uploads, 0, "{shape:?} {usage:?} {offset}");
                // No dispatch more than for an upload.
                assert_eq!(run(&gpu, &plan), uploaded, "{shape:?} {usage:?} {offset}");
                assert_eq!(bits(&plan.read("seen").unwrap()), bits(&data), "{shape:?} {usage:?} {offset}");
                let other = noises(30 + offset, len);
                gpu.queue().write_buffer(&own, offset, bytemuck::cast_slice(&other));
                run(&gpu, &plan);
                assert_eq!(bits(&plan.read("seen").unwrap()), bits(&other), "{shape:?} {usage:?} {offset}");
            }
            plan.write("x", &data).unwrap();
            run(&gpu, &plan);
            assert_eq!(
                bits(&plan.read("seen").unwrap()),
                bits(&data),
                "{shape:?}: what was written last holds"
            );
        }
    }
}

#[test]
fn an_output_is_written_to_a_region_and_nothing_beside_it() {
    for gpu in gpus() {
        for (shape, dense) in DENSE.iter().map(|s| (s, true)).chain(PADDED.iter().map(|s| (s, false))) {
            let (plan, _store) = mirror(&gpu, shape);
            let len: usize = shape.iter().product();
            let data = noises(1, len);
            plan.write("x", &data).unwrap();
            let (own, _) = run(&gpu, &plan);
            let one_row = shape.iter().product::<usize>() == *shape.last().unwrap();
            let rows =
                [(U::STORAGE, 0), (U::STORAGE, 256), (U::STORAGE, 12), (U::empty(), 0), (U::empty(), 12)];
            for (usage, offset) in rows {
                let target = buffer(&gpu, offset + len as u64 * 4 + 16, usage | U::COPY_SRC | U::COPY_DST);
                let before = vec![7.0_f32; usize::try_from(target.size() / 4).unwrap()];
                gpu.queue().write_buffer(&target, 0, bytemuck::cast_slice(&before));
                let region = target.slice(offset..offset + len as u64 * 4);
                plan.bind_output("seen", region).unwrap();
                let more = u64::from(!dense && !one_row);
                assert_eq!(run(&gpu, &plan).0, own + more, "{shape:?} {usage:?} {offset}");
                let mut want = before;
                let first = usize::try_from(offset / 4).unwrap();
                want[first..first + len].copy_from_slice(&data);
                assert_eq!(bits(&contents(&gpu, &target)), bits(&want), "{shape:?} {usage:?} {offset}");
                assert_eq!(bits(&plan.read("seen").unwrap()), bits(&data));
                let refused = plan.output("seen").unwrap_err().to_string();
                assert_eq!(
                    refused,
                    "output seen: it is bound to a region of a buffer of yours and lies there"
                );
            }
            // Where nothing but kernels may touch it.
            let target = buffer(&gpu, len as u64 * 4, U::STORAGE | U::COPY_SRC);
            plan.bind_output("seen", target.slice(..)).unwrap();
            run(&gpu, &plan);
            assert_eq!(bits(&contents(&gpu, &target)), bits(&data), "{shape:?}");
            plan.unbind_output("seen").unwrap();
            let other = noises(2, len);
            plan.write("x", &other).unwrap();
            assert_eq!(run(&gpu, &plan).0, own);
            assert_eq!(bits(&plan.read("seen").unwrap()), bits(&other), "{shape:?}");
            assert_eq!(bits(&contents(&gpu, &target)), bits(&data), "{shape:?}: no longer written");
        }
    }
}

/// Logits that the backward pass reads again, under two names, and an upstream gradient.
#[test]
fn gradients_are_the_bits_of_uploaded_data() {
    for gpu in gpus() {
        for classes in [8, 5] {
            let graph = Graph::new();
            let x = graph.input("x", [6, 7]);
            let y = x.linear(12).relu().linear(classes);
            let mut params = graph.store(&gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy").output("y", &y).output("again", &y);
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let (x, dy) = (noises(1, 42), noises(2, 6 * classes));
            let mut gradients = |plan: &Plan| {
                params.write_grads(&vec![9.0; params.layout().parameters()]).unwrap();
                submit(&gpu, &[plan]);
                let spans = params.layout().spans();
                let all = spans.iter().flat_map(|span| params.read_grad(&span.name).unwrap());
                bits(&all.collect::<Vec<_>>())
            };
            plan.write("x", &x).unwrap();
            plan.write("dy", &dy).unwrap();
            let want = (gradients(&plan), plan.read("y").unwrap());

            let (own_x, own_dy) = (filled(&gpu, &x, 256, U::STORAGE), filled(&gpu, &dy, 0, U::STORAGE));
            plan.write("x", &own_x.slice(256..)).unwrap();
            plan.write("dy", &own_dy.slice(..)).unwrap();
            let bytes = 4 * dy.len() as u64;
            let [one, other] = [(); 2].map(|()| buffer(&gpu, bytes, U::STORAGE | U::COPY_SRC | U::COPY_DST));
            plan.bind_output("y", one.slice(..)).unwrap();
            plan.bind_output("again", other.slice(..)).unwrap();
            assert_eq!(gradients(&plan), want.0, "{classes} classes");
            for target in [&one, &other] {
                assert_eq!(bits(&contents(&gpu, target)), bits(&want.1), "{classes} classes");
            }
            assert_eq!(plan.read("loss").unwrap(), want.1, "the root goes by a third name");
        }
    }
}

/// A plan's own output, and one buffer for an input and an output, can both be read and written by one kernel.
#[test]
fn a_buffer_that_is_read_and_written_is_copied_first() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [2, 4]);
    let one = graph.parameter("one", [2, 4], Init::Constant(1.0));
    let store = graph.store(&gpu, 0).unwrap();
    let options = PlanOptions::evaluate().output("next", &x.add(&one));
    let plan = graph.compile(&store, &options, &mut Workspace::new()).unwrap();
    plan.write("x", &[0.0; 8]).unwrap();
    submit(&gpu, &[&plan]);
    plan.write("x", &plan.output("next").unwrap().slice(..)).unwrap();
    for _ in 0..3 {
        submit(&gpu, &[&plan]);
    }
    assert_eq!(plan.read("next").unwrap(), [4.0; 8]);

    let shared = filled(&gpu, &[0.5_f32; 128], 0, U::STORAGE | U::COPY_SRC);
    plan.write("x", &shared.slice(..32)).unwrap();
    plan.bind_output("next", shared.slice(256..288)).unwrap();
    submit(&gpu, &[&plan]);
    assert_eq!(plan.read("next").unwrap(), [1.5; 8]);
    // The very same region: three times one more.
    plan.bind_output("next", shared.slice(..32)).unwrap();
    for _ in 0..3 {
        submit(&gpu, &[&plan]);
    }
    assert_eq!(contents(&gpu, &shared)[..8], [3.5; 8]);
    // What the store holds is data as well.
    let gradients = &store.grads().buffers()[0];
    plan.bind_output("next", gradients.raw().slice(..32)).unwrap();
    submit(&gpu, &[&plan]);
    assert_eq!(store.read_grad("one").unwrap(), [4.5; 8]);
}

fn trainer(gpu: &Gpu) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 3]), graph.labels("y", 8));
    let logits = x.linear(6).relu().linear(4);
    let builder = graph.trainer(&logits.cross_entropy(&y), AdamW::default());
    builder.metric("accuracy", &logits.accuracy(&y)).seed(1).build(gpu).unwrap()
}

#[test]
fn a_trainer_steps_on_regions_that_take_turns_and_makes_nothing() {
    let Some(gpu) = gpu() else { return };
    let (mut ours, mut theirs) = (trainer(&gpu), trainer(&gpu));
    let batches: Vec<(Vec<f32>, Vec<u32>)> =
        (0..3).map(|n| (noises(n, 24), (0..8).map(|i| i * 7 % 4).collect())).collect();
    let own = batches
        .iter()
        .map(|(x, y)| (filled(&gpu, x, 256, U::STORAGE | U::COPY_SRC), filled(&gpu, y, 4, U::COPY_SRC)));
    let own: Vec<_> = own.collect();
    let mut warm = gpu.counters();
    for step in 0..12 {
        let (x, y) = &own[step % 3];
        if step == 6 {
            warm = gpu.counters();
        }
        ours.step(&[("x", &x.slice(256..)), ("y", &y.slice(4..))]).unwrap();
    }
    let count = gpu.counters().since(&warm);
    assert_eq!((count.allocations, count.bind_groups, count.submits), (0, 0, 6));
    // The step counter alone.
    assert!(count.upload_bytes <= 6 * 2048 && count.uploads == 6, "{count:?}");
    for step in 0..12 {
        let (x, y) = &batches[step % 3];
        theirs.step(&[("x", x), ("y", y)]).unwrap();
    }
    let [ours_now, theirs_now] =
        [&ours, &theirs].map(|trainer| bits(&trainer.params().params().read_all(&gpu).unwrap()));
    assert_eq!(ours_now, theirs_now);

    // A whole data set on the device, in batches that begin where nothing can be bound.
    let (x, y): (Vec<f32>, Vec<u32>) = (noises(9, 23 * 3), (0..23).map(|i| i % 4).collect());
    for usage in [U::COPY_SRC, U::COPY_SRC | U::STORAGE] {
        let (own_x, own_y) = (filled(&gpu, &x, 0, usage), filled(&gpu, &y, 0, usage));
        let data: [(&str, &dyn HostData); 2] = [("x", &own_x.slice(..)), ("y", &own_y.slice(..))];
        for batch in [5, 8, 23, 64] {
            let want = theirs.evaluate(&[("x", &x), ("y", &y)], batch).unwrap();
            assert_eq!(ours.evaluate(&data, batch).unwrap(), want);
        }
    }
}

/// The two passes apart, with the upstream gradient made of the output between them; and gradients of inputs.
#[test]
fn a_plan_in_two_parts_is_the_whole_plan() {
    for gpu in gpus() {
        for (features, classes) in [(4, 8), (3, 5)] {
            let graph = Graph::new();
            let x = graph.input("x", [6, features]);
            let hidden = x.linear(7).relu();
            let y = hidden.linear(classes);
            let params = graph.store(&gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy").output("y", &y).output("x again", &x);
            let options = options.gradient("dx", &x).gradient("dh", &hidden).gradient("seed", &y);
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let (x, dy) = (noises(1, 6 * features), noises(2, 6 * classes));
            plan.write("x", &x).unwrap();
            plan.write("dy", &dy).unwrap();
            let names = ["y", "x again", "dx", "dh", "seed"];
            let all = |plan: &Plan| names.map(|name| bits(&plan.read(name).unwrap()));
            submit(&gpu, &[&plan]);
            let (want, weights) = (all(&plan), bits(&params.read_grad("linear1.weight").unwrap()));
            assert_eq!((&want[1], &want[4]), (&bits(&x), &bits(&dy)));

            let w = [1, 2].map(|n| params.read(&format!("linear{n}.weight")).unwrap());
            let row =
                |i: usize, j: usize| (0..classes).map(|k| dy[i * classes + k] * w[1][k * 7 + j]).sum::<f32>();
            let dh = plan.read("dh").unwrap();
            for (at, got) in dh.iter().enumerate() {
                assert!((got - row(at / 7, at % 7)).abs() < 1e-5, "dh[{at}]: {got}");
            }
            let b = params.read("linear1.bias").unwrap();
            let is_on = |i: usize, j: usize| {
                (0..features).map(|k| x[i * features + k] * w[0][j * features + k]).sum::<f32>() + b[j] > 0.0
            };
            for (at, got) in plan.read("dx").unwrap().iter().enumerate() {
                let (i, k) = (at / features, at % features);
                let sum: f32 =
                    (0..7).filter(|&j| is_on(i, j)).map(|j| dh[i * 7 + j] * w[0][j * features + k]).sum();
                assert!((got - sum).abs() < 1e-5, "dx[{at}]: {got} is not {sum}");
            }

            let other = filled(&gpu, &dy, 0, U::COPY_SRC);
            let out = buffer(&gpu, 4 * dy.len() as u64, U::STORAGE | U::COPY_SRC | U::COPY_DST);
            let own = filled(&gpu, &vec![0.0_f32; dy.len()], 0, U::STORAGE | U::COPY_SRC);
            plan.write("dy", &own.slice(..)).unwrap();
            plan.bind_output("y", out.slice(..)).unwrap();
            let mut encoder = gpu.encoder("parts");
            plan.record_forward(&mut gradus::gpu::Recorder::new(&gpu, &mut encoder)).unwrap();
            encoder.copy_buffer_to_buffer(&other, 0, &own, 0, own.size());
            plan.record_backward(&mut gradus::gpu::Recorder::new(&gpu, &mut encoder)).unwrap();
            gpu.submit(encoder).unwrap();
            assert_eq!(all(&plan), want);
            assert_eq!(bits(&params.read_grad("linear1.weight").unwrap()), weights);
            assert_eq!(bits(&contents(&gpu, &out)), want[0]);
        }
    }
}

#[test]
fn gradients_that_no_backward_pass_makes_are_refused() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (x, z, y) = (graph.input("x", [4, 3]), graph.input("z", [4, 3]), graph.labels("y", 4));
    let w = graph.parameter("w", [4, 3], Init::Constant(0.0));
    let loss = x.linear(3).add(&w).cross_entropy(&y);
    let params = graph.store(&gpu, 1).unwrap();
    let train = || PlanOptions::train(&loss);
    let rows = [
        (train().gradient("d", &z), "gradient d of z: no backward pass of this plan reaches it"),
        (train().gradient("d", &y), "gradient d: y are labels"),
        (train().gradient("d", &w), "gradient d of w: it is a parameter: its gradient is in the store"),
        (
            PlanOptions::evaluate().output("l", &loss).gradient("d", &x),
            "gradient d of x: no backward pass of this plan reaches it",
        ),
        (train().gradient("d", &x).output("d", &x), "duplicate output \"d\""),
        (train().gradient("d", &Graph::new().input("x", [1])), "output d: it belongs to another graph"),
    ];
    for (options, message) in rows {
        let error = graph.compile(&params, &options, &mut Workspace::new()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_example_ends_where_the_library_does() {
    if gpu().is_none() {
        return;
    }
    let said = crate::example::stdout(&crate::example::done(&mut crate::example::built("own_buffers")));
    assert_eq!(said.lines().count(), 3, "{said}");
}

/// What comes from a convolution lies channels last.
#[test]
fn images_arrive_in_the_order_of_torch() {
    use gradus::nn::Conv2d;
    for gpu in gpus() {
        for channels in [8, 3] {
            let graph = Graph::new();
            let x = graph.input("x", [2, channels, 5, 4]);
            let y = x.conv2d(Conv2d::new(channels, 3).padding(1));
            let params = graph.store(&gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy").output("y", &y).gradient("dx", &x);
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let len = 2 * channels * 20;
            let (x, dy) = (noises(1, len), noises(2, len));
            plan.write("x", &x).unwrap();
            plan.write("dy", &dy).unwrap();
            submit(&gpu, &[&plan]);
            let want = ["y", "dx"].map(|name| bits(&plan.read(name).unwrap()));
            let [own_x, own_dy] = [&x, &dy].map(|data| filled(&gpu, data, 0, U::STORAGE));
            let outs = [0, 256].map(|offset| {
                (buffer(&gpu, offset + 4 * len as u64, U::STORAGE | U::COPY_SRC | U::COPY_DST), offset)
            });
            plan.write("x", &own_x.slice(..)).unwrap();
            plan.write("dy", &own_dy.slice(..)).unwrap();
            for (name, (out, offset)) in ["y", "dx"].iter().zip(&outs) {
                plan.bind_output(name, out.slice(*offset..)).unwrap();
            }
            submit(&gpu, &[&plan]);
            for ((out, offset), want) in outs.iter().zip(&want) {
                let first = usize::try_from(offset / 4).unwrap();
                assert_eq!(bits(&contents(&gpu, out)[first..]), *want, "{channels} channels");
            }
        }
    }
}

/// A view shares its gradient with what it views; kept, it is its own, as torch has it.
#[test]
fn the_gradient_of_a_view_is_that_of_its_own_uses() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 8]);
    let flat = x.flatten();
    let loss = flat.mean().add(&x.mean());
    // A store holds one parameter at least.
    graph.parameter("unused", [1], Init::Constant(0.0));
    let params = graph.store(&gpu, 1).unwrap();
    let options = PlanOptions::train(&loss).gradient("dx", &x).gradient("dflat", &flat);
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("x", &noises(1, 48)).unwrap();
    submit(&gpu, &[&plan]);
    let part = 1.0 / 48.0;
    for (name, want) in [("dx", 2.0 * part), ("dflat", part)] {
        for got in plan.read(name).unwrap() {
            assert!((got - want).abs() < 1e-7, "{name}: {got}, not {want}");
        }
    }
}
