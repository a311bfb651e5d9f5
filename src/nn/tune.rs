//! Tests that networks give the same bits with every tile, selected by autotuning or explicitly.

use std::path::{Path, PathBuf};

use crate::gpu::{
    Autotune, Found, Gpu, GpuOptions, Kept, KernelChoice, KernelKind, Recorder, TileSize, Trial,
};
use crate::graph::tune::kept;
use crate::graph::{Dtype, Graph, Plan, PlanOptions, Workspace};
use crate::nn::{Conv2d, Init};
use crate::{Error, ParamStore};

/// A device that runs kernels for GPUs. `None`, with a message, if there is no adapter and that is allowed.
fn device(autotune: Autotune, timestamps: bool) -> Option<Gpu> {
    let kernels = KernelChoice::Only(KernelKind::Gpu);
    match Gpu::new(GpuOptions { kernels, autotune, timestamps, ..GpuOptions::default() }) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

/// An empty folder for this test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gradus-autotune-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// A convolution with a ReLU, and products of transposed and plain factors with fused chains.
fn network() -> (Graph, PlanOptions) {
    let graph = Graph::new();
    let normal = Init::Normal { std: 1.0 };
    let x = graph.parameter("x", [6, 12, 5, 7], normal);
    let y = x.conv2d(Conv2d::new(36, 3).padding(1).stride(2)).relu();
    let y = y.conv2d(Conv2d::new(20, 3).padding(1)).flatten().linear(41).tanh();
    let other = graph.parameter("other", [37, 41], normal);
    let loss = y.matmul(&other.transpose(-1, -2)).square().sum();
    (graph, PlanOptions::train(&loss))
}

/// The output, gradients and grid sizes of a network that is compiled and run.
fn run(gpu: &Gpu, trial: Trial) -> (Vec<u32>, Vec<[u32; 3]>) {
    let (graph, options) = network();
    let params = graph.store(gpu, 3).unwrap();
    let plan = compile(&graph, &params, &options.trial(trial));
    let mut encoder = gpu.encoder("run");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    let mut numbers = plan.read("loss").unwrap();
    numbers.extend(params.grads().read_all(gpu).unwrap());
    assert!(numbers.iter().all(|number| number.is_finite()) && numbers[0] > 0.0);
    (numbers.into_iter().map(f32::to_bits).collect(), plan.grids().collect())
}

fn compile(graph: &Graph, params: &ParamStore, options: &PlanOptions) -> Plan {
    graph.compile(params, options, &mut Workspace::new()).unwrap()
}

#[test]
fn plans_leave_the_same_bits_in_each_tile_and_with_each_of_the_checks() {
    let Some(gpu) = device(Autotune::Off, false) else { return };
    let (bits, grids) = run(&gpu, Trial::default());
    let mut seen = Vec::new();
    for size in TileSize::ALL {
        let (got, grids) = run(&gpu, Trial { tile: Some(size), ..Trial::default() });
        assert!(got == bits, "{size:?}");
        seen.push(grids);
    }
    assert!(seen.iter().any(|other| *other != grids), "no tile was forced");
    for number in [1_u32, 2, 4, 7] {
        let [bounds, loops, zeroing] = [1, 2, 4].map(|bit| number & bit != 0);
        let trial = Trial { checks: Kept { bounds, loops, zeroing }, ..Trial::default() };
        assert!(run(&gpu, trial) == (bits.clone(), grids.clone()), "{trial:?}");
    }
}

#[test]
fn parts_of_products_can_be_asked_for() {
    let Some(gpu) = device(Autotune::Off, false) else { return };
    let graph = Graph::new();
    let of = |name, shape: [usize; 2]| graph.parameter(name, shape, Init::Constant(0.5));
    let y = of("a", [20, 1_100]).matmul(&of("b", [1_100, 24]));
    let params = graph.store(&gpu, 1).unwrap();
    for (parts, expected) in [(1, 1), (2, 2), (4, 3), (5, 5), (8, 5)] {
        let trial = Trial { parts: Some(parts), ..Trial::default() };
        let plan = compile(&graph, &params, &PlanOptions::evaluate().output("y", &y).trial(trial));
        let mut encoder = gpu.encoder("parts");
        plan.record(&mut Recorder::new(&gpu, &mut encoder)).unwrap();
        gpu.submit(encoder).unwrap();
        assert_eq!(plan.grids().next().unwrap()[2], expected, "{parts}");
        assert!(plan.read("y").unwrap().iter().all(|number| *number == 275.0), "{parts}");
    }
}

#[test]
fn a_plan_with_the_tuner_leaves_the_bits_of_one_without() {
    let Some(gpu) = device(Autotune::Off, false) else { return };
    let (bits, _) = run(&gpu, Trial::default());
    let tuned = device(Autotune::Memory, false).unwrap();
    assert!(run(&tuned, Trial::default()).0 == bits);
    let found = tuned.tuned().unwrap().found().clone().unwrap();
    // Two convolutions and two products, with three directions each.
    assert!(found.len() >= 10, "{found:?}");
    // Compiling a second plan of the same sizes times nothing.
    let before = tuned.counters();
    let (graph, options) = network();
    let params = graph.store(&tuned, 3).unwrap();
    let submits = tuned.counters().submits;
    compile(&graph, &params, &options);
    assert_eq!(tuned.counters().submits, submits);
    assert_eq!(tuned.counters().pipelines, before.pipelines);
    assert!(gpu.tuned().is_none());
}

/// The findings of a device with this folder, and the number of submits during compiling.
fn compiled_in(folder: &Path) -> (Gpu, Found, u64) {
    let gpu = device(Autotune::Folder(folder.into()), false).unwrap();
    let (graph, options) = network();
    let params = graph.store(&gpu, 3).unwrap();
    let before = gpu.counters().submits;
    compile(&graph, &params, &options);
    let submits = gpu.counters().submits - before;
    let found = gpu.tuned().unwrap().found().clone().unwrap();
    (gpu, found, submits)
}

#[test]
fn what_was_found_is_kept_and_a_file_that_does_not_fit_is_made_anew() {
    if device(Autotune::Off, false).is_none() {
        return;
    }
    let folder = folder("kept");
    let (gpu, found, submits) = compiled_in(&folder);
    assert!(submits > 0 && !found.is_empty());
    let path = kept::path(&folder, gpu.info());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept::read(&folder, gpu.info()), found);
    let (_, again, submits) = compiled_in(&folder);
    assert_eq!((again, submits), (found.clone(), 0), "the file was not read");
    let mut other = gpu.info().clone();
    other.driver_info += ", a later one";
    assert!(kept::read(&folder, &other).is_empty(), "of another driver");
    let changed = text.replacen(" 0\n", " 1\n", 1);
    let spoilt: [&[u8]; 6] = [
        &[],
        &b"\n"[..],
        &text.as_bytes()[..text.len() - 1],
        &text.as_bytes()[1..],
        // Another choice, unless there is no 0 in the file.
        if changed == text { b"gradus" } else { changed.as_bytes() },
        &b"\xff\xfe\n\n"[..],
    ];
    for spoilt in spoilt {
        std::fs::write(&path, spoilt).unwrap();
        assert!(kept::read(&folder, gpu.info()).is_empty(), "{:?}", String::from_utf8_lossy(spoilt));
    }
    let (_, _, submits) = compiled_in(&folder);
    assert!(submits > 0, "a damaged file was believed");
    assert_eq!(kept::read(&folder, gpu.info()).len(), found.len(), "it was not made anew");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_kernels_that_a_file_names_are_taken_and_leave_the_same_bits() {
    let Some(gpu) = device(Autotune::Off, false) else { return };
    let (bits, grids) = run(&gpu, Trial::default());
    let folder = folder("named");
    let (gpu, mut found, _) = compiled_in(&folder);
    for number in [0, 1, 2, 3, 4, u32::MAX] {
        found.values_mut().for_each(|choice| *choice = number);
        kept::write(&folder, gpu.info(), &found).unwrap();
        let gpu = device(Autotune::Folder(folder.clone()), false).unwrap();
        let (got, other) = run(&gpu, Trial::default());
        assert!(got == bits, "{number}");
        match number {
            0 => assert_eq!(other, grids),
            1..=3 => assert_ne!(other, grids, "{number}"),
            // A candidate that does not exist: timed again.
            _ => assert!(gpu.tuned().unwrap().found().as_ref().unwrap().values().all(|n| *n < 4)),
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_kernels_that_are_timed_store_f16_where_the_plan_does() {
    let Some(gpu) = device(Autotune::Off, false).filter(|gpu| gpu.capabilities().has_f16) else { return };
    let cast = |gpu: &Gpu| {
        let (graph, options) = network();
        let options = options.autocast(Dtype::F16);
        let params = graph.store(gpu, 3).unwrap();
        let plan = compile(&graph, &params, &options);
        let mut encoder = gpu.encoder("run");
        plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
        gpu.submit(encoder).unwrap();
        let mut numbers = plan.read("loss").unwrap();
        numbers.extend(params.grads().read_all(gpu).unwrap());
        (numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>(), plan.grids().collect::<Vec<_>>())
    };
    let (bits, grids) = cast(&gpu);
    assert!(run(&gpu, Trial::default()).0 != bits, "nothing was stored as f16");
    let folder = folder("cast");
    let tuned = device(Autotune::Folder(folder.clone()), false).unwrap();
    assert!(cast(&tuned).0 == bits);
    let mut found = tuned.tuned().unwrap().found().clone().unwrap();
    for number in 1..=3 {
        found.values_mut().for_each(|choice| *choice = number);
        kept::write(&folder, gpu.info(), &found).unwrap();
        let (got, other) = cast(&device(Autotune::Folder(folder.clone()), false).unwrap());
        assert!(got == bits && other != grids, "{number}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_and_one_that_went_away_costs_nothing() {
    if device(Autotune::Off, false).is_none() {
        return;
    }
    let folder = folder("refused");
    std::fs::write(&folder, "a file").unwrap();
    let options = GpuOptions { autotune: Autotune::Folder(folder.join("in it")), ..GpuOptions::default() };
    let error = Gpu::new(options).unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if path.ends_with("in it")), "{error}");
    std::fs::remove_file(&folder).unwrap();
    let gpu = device(Autotune::Folder(folder.clone()), false).unwrap();
    std::fs::remove_dir(&folder).unwrap();
    run(&gpu, Trial::default());
    assert!(!folder.exists() && !gpu.tuned().unwrap().found().as_ref().unwrap().is_empty());
}
