//! The first dispatches of a process are right, those of a convolution: a binary of its own with one test, because
//! no other work may come before it. Another library's first convolution in a process is all zeros on llvmpipe.

use gradus::gpu::Recorder;
use gradus::graph::{Graph, Init, PlanOptions, Workspace};
use gradus::nn::Conv2d;
use gradus::{Gpu, GpuOptions};

#[test]
fn the_first_dispatch_of_a_process_is_right() {
    let gpu = match Gpu::new(GpuOptions::default()) {
        Ok(gpu) => gpu,
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            return;
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    };
    let graph = Graph::new();
    let layer = Conv2d::new(4, 2).init(Init::Constant(1.0)).name("conv");
    let y = graph.input("x", [1, 4, 3, 3]).conv2d(layer);
    let mut params = graph.store(&gpu, 0).unwrap();
    params.write("conv.bias", &[0.5, 1.5, 2.5, 3.5]).unwrap();
    let options = PlanOptions::evaluate().output("y", &y);
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    let x: Vec<f32> = (0..36).map(|i| (i % 9) as f32).collect();
    plan.write("x", &x).unwrap();
    assert_eq!(gpu.counters().dispatches, 0);
    let mut encoder = gpu.encoder("first");
    plan.record(&mut Recorder::new(&gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    // Each window sums 4 channels of x[0] + x[1] + x[3] + x[4].
    let window = [8.0, 12.0, 20.0, 24.0];
    let want: Vec<f32> = (0..16).map(|i| 4.0 * window[i % 4] + 0.5 + (i / 4) as f32).collect();
    assert_eq!(plan.read("y").unwrap(), want);
    gpu.check().unwrap();
}
