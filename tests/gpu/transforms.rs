//! Gradient transforms under the trainer, and parameters that share a tensor.

use gradus::Gpu;
use gradus::grad::{Accumulate, Centralize, ClipGradNorm, GradScaler, Noise, Penalty, Skip, Transforms};
use gradus::graph::{Graph, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Linear};
use gradus::optim::{AdamW, Rule, SGD};
use gradus::train::{Checkpoint, Trainer};

use crate::common::{bits, gpu, noises};
use crate::folder::Folder;
use crate::network::submit;

const SIZE: usize = 36;

fn network(batch: usize) -> (Graph, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [batch, 1, 6, 6]), graph.labels("y", batch));
    let h = x.conv2d(Conv2d::new(6, 3).padding(1).name("conv")).relu().max_pool2d(2);
    let logits =
        h.flatten().linear(Linear::new(12).name("hidden")).relu().linear(Linear::new(4).name("head"));
    (graph, logits.cross_entropy(&y))
}

fn trainer(gpu: &Gpu, batch: usize, transforms: Transforms) -> Trainer<AdamW> {
    let (graph, loss) = network(batch);
    let rule = AdamW { lr: 1e-2, ..Default::default() };
    graph.trainer(&loss, rule).transforms(transforms).seed(5).build(gpu).unwrap()
}

fn step(trainer: &mut Trainer<AdamW>, x: &[f32]) {
    let y: Vec<u32> = (0..).zip(x.chunks(SIZE)).map(|(i, _)| i * 3 % 4).collect();
    trainer.step(&[("x", &x), ("y", &y)]).unwrap();
}

fn everything(trainer: &Trainer<AdamW>) -> Vec<f32> {
    trainer.params().params().read_all(trainer.params().gpu()).unwrap()
}

#[test]
fn micro_batches_equal_one_batch() {
    let Some(gpu) = gpu() else { return };
    for micro in [2_usize, 3, 4] {
        let mut whole = trainer(&gpu, 12, Transforms::default());
        let accumulate = Some(Accumulate::new(micro as u64));
        let mut parts = trainer(&gpu, 12 / micro, Transforms { accumulate, ..Default::default() });
        for number in 0..6 {
            let x = noises(number, 12 * SIZE);
            let y: Vec<u32> = (0..12).map(|i| i * 3 % 4).collect();
            whole.step(&[("x", &x), ("y", &y)]).unwrap();
            for (x, y) in x.chunks(12 / micro * SIZE).zip(y.chunks(12 / micro)) {
                assert_eq!(parts.steps(), number);
                parts.step(&[("x", &x), ("y", &y)]).unwrap();
            }
            assert_eq!((whole.steps(), parts.steps()), (number + 1, number + 1));
        }
        let largest =
            everything(&whole).iter().zip(everything(&parts)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Adam divides by the root of small squares: a rounding of a gradient moves a parameter by its part of lr.
        assert!(largest <= 1e-6, "{micro} micro-batches differ by {largest}");
        assert_eq!(parts.optimizer().applied("conv.weight").unwrap(), 6);
    }
}

#[test]
fn every_batch_of_a_step_is_reported_and_a_step_is_saved_whole() {
    let Some(gpu) = gpu() else { return };
    let accumulate = Some(Accumulate::new(3));
    let mut trainer = trainer(&gpu, 4, Transforms { accumulate, ..Default::default() });
    for number in 0..4 {
        step(&mut trainer, &noises(number, 4 * SIZE));
    }
    let error = trainer.read_checkpoint().unwrap_err().to_string();
    assert_eq!(error, "checkpoint: 1 of the 3 batches of a step were taken: save after the last");
    let mut steps = Vec::new();
    while let Some(report) = trainer.read_report().unwrap() {
        steps.push(report.step);
    }
    assert_eq!(steps, [0, 0, 0, 1]);
    for number in 4..6 {
        step(&mut trainer, &noises(number, 4 * SIZE));
    }
    assert_eq!(trainer.read_checkpoint().unwrap().step, 2);
}

#[test]
fn a_scaled_loss_trains_as_an_unscaled_one() {
    let Some(gpu) = gpu() else { return };
    let scaler = GradScaler { init_scale: 1024.0, growth_interval: 3, ..Default::default() };
    let mut scaled = trainer(&gpu, 4, Transforms { grad_scaler: Some(scaler), ..Default::default() });
    let mut plain = trainer(&gpu, 4, Transforms::default());
    for number in 0..7 {
        let x = noises(number, 4 * SIZE);
        step(&mut scaled, &x);
        step(&mut plain, &x);
        // Powers of two change no bit; the reported loss is not scaled.
        assert_eq!(scaled.read_loss().unwrap().to_bits(), plain.read_loss().unwrap().to_bits());
    }
    assert_eq!(bits(&everything(&scaled)), bits(&everything(&plain)));
    assert_eq!(scaled.params().gate().read(&gpu, 0).unwrap().loss_scale, 4096.0);
    let ours = scaled.params().read_grad("head.bias").unwrap();
    let theirs = plain.params().read_grad("head.bias").unwrap();
    // The last step ran with the factor before it grew.
    assert!(ours.iter().zip(&theirs).all(|(scaled, plain)| *scaled == plain * 4096.0), "{ours:?} {theirs:?}");
}

#[test]
fn a_run_with_skipped_steps_goes_on_from_its_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("skipped");
    let path = folder.join("model.safetensors");
    let transforms = || {
        let scaler = GradScaler { init_scale: 256.0, growth_interval: 2, ..Default::default() };
        Transforms { grad_scaler: Some(scaler), skip: Some(Skip::default()), ..Default::default() }
    };
    let data = |number: u64| {
        let mut x = noises(number, 4 * SIZE);
        if number % 5 == 2 {
            x[7] = f32::INFINITY;
        }
        x
    };
    let mut whole = trainer(&gpu, 4, transforms());
    for number in 0..14 {
        step(&mut whole, &data(number));
    }
    let mut first = trainer(&gpu, 4, transforms());
    for number in 0..8 {
        step(&mut first, &data(number));
    }
    first.read_checkpoint().unwrap().write(&path).unwrap();
    let mut second = trainer(&gpu, 4, transforms());
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert_eq!((checkpoint.step, checkpoint.gate.unwrap().skipped), (8, 2));
    assert_eq!(checkpoint.optimizer.state["conv.weight"].step, 6);
    second.load_checkpoint(&checkpoint).unwrap();
    for number in 8..14 {
        step(&mut second, &data(number));
    }
    let want = whole.read_checkpoint().unwrap();
    assert_eq!(want.gate.unwrap().skipped, 3);
    assert!(second.read_checkpoint().unwrap().params == want.params);
    assert_eq!(second.read_checkpoint().unwrap(), want);
    let error = trainer(&gpu, 4, Transforms::default()).load_checkpoint(&checkpoint).unwrap_err();
    assert!(error.to_string().ends_with("its run may skip steps, this trainer skips no step"), "{error}");
}

#[test]
fn a_run_goes_on_only_under_the_same_transforms() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("transforms");
    let path = folder.join("model.safetensors");
    let none = Transforms::default;
    let penalty = |l2| vec![Penalty { l2, tensors: vec!["hidden.weight".into()], ..Penalty::default() }];
    let all = || {
        [
            none(),
            Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.0)), ..none() },
            Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.5)), ..none() },
            Transforms { clip_grad_norm: Some(ClipGradNorm::report_only()), ..none() },
            Transforms { clip_grad_value: Some(0.1 + 0.2), ..none() },
            Transforms { penalties: penalty(0.1), ..none() },
            Transforms { penalties: penalty(0.2), ..none() },
            Transforms { penalties: [penalty(0.1), penalty(0.1)].concat(), ..none() },
            Transforms { noise: Some(Noise { seed: u64::MAX, ..Noise::default() }), ..none() },
            Transforms { accumulate: Some(Accumulate::new(1)), ..none() },
            Transforms { custom: vec![Box::new(Centralize::default())], ..none() },
        ]
    };
    let mut trainers = all().map(|transforms| trainer(&gpu, 4, transforms));
    for (theirs, transforms) in all().into_iter().enumerate() {
        let mut first = trainer(&gpu, 4, transforms);
        step(&mut first, &noises(1, 4 * SIZE));
        first.read_checkpoint().unwrap().write(&path).unwrap();
        let mut checkpoint = Checkpoint::read(&path).unwrap();
        for (ours, second) in trainers.iter_mut().enumerate() {
            let before = bits(&everything(second));
            let loaded = second.load_checkpoint(&checkpoint);
            assert_eq!(loaded.is_ok(), ours == theirs, "{theirs} under {ours}");
            if let Err(error) = loaded {
                let file = path.display().to_string();
                assert!(error.to_string().starts_with(&format!("{file}: its transforms are ")), "{error}");
                assert!(bits(&everything(second)) == before);
            }
        }
        // On purpose.
        checkpoint.transforms = None;
        trainer(&gpu, 4, none()).load_checkpoint(&checkpoint).unwrap();
    }
    let clipped = || Transforms { clip_grad_norm: Some(ClipGradNorm::new(0.5)), ..none() };
    let checkpoint = trainer(&gpu, 4, clipped()).read_checkpoint().unwrap();
    let error = trainer(&gpu, 4, none()).load_checkpoint(&checkpoint).unwrap_err();
    let said = r#"its transforms are [{"error_if_nonfinite":false,"max_norm":0.5,"name":"clip_grad_norm","norm_type":2.0,"per_group":false,"variant":"torch"}], this trainer's are none"#;
    assert!(error.to_string().ends_with(said), "{error}");
    for transforms in all().into_iter().filter(|transforms| transforms.custom.is_empty()) {
        let json = transforms.to_json();
        assert_eq!(Transforms::from_json(&json).unwrap().to_json(), json);
    }
}

/// A row times a matrix, twice with the same matrix.
fn tied() -> Graph {
    let graph = Graph::new();
    let h = graph.input("x", [2, 3]).linear(Linear::new(3).without_bias().name("encoder"));
    let _ = h.linear(Linear::new(3).without_bias().name("decoder"));
    graph
}

#[test]
fn tied_parameters_have_one_tensor_one_gradient_and_one_update() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let h = graph.input("x", [2, 3]).linear(Linear::new(3).without_bias().name("encoder"));
    let loss = h.linear(Linear::new(3).without_bias().name("decoder")).mean();
    graph.tie("decoder.weight", "encoder.weight");
    let mut params = graph.store(&gpu, 1).unwrap();
    assert_eq!(params.layout().spans().len(), 1);
    let w = noises(3, 9);
    params.write("decoder.weight", &w).unwrap();
    assert_eq!(params.read("encoder.weight").unwrap(), w);
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    let x = noises(4, 6);
    plan.write("x", &x).unwrap();
    submit(&gpu, &[&plan]);
    // Against the sum of two untied gradients.
    let apart = Graph::new();
    let h = apart.input("x", [2, 3]).linear(Linear::new(3).without_bias().name("encoder"));
    let twin = h.linear(Linear::new(3).without_bias().name("decoder")).mean();
    let mut twins = apart.store(&gpu, 1).unwrap();
    twins.write("encoder.weight", &w).unwrap();
    twins.write("decoder.weight", &w).unwrap();
    let twin = apart.compile(&twins, &PlanOptions::train(&twin), &mut Workspace::new()).unwrap();
    twin.write("x", &x).unwrap();
    submit(&gpu, &[&twin]);
    let [one, other] = ["encoder.weight", "decoder.weight"].map(|name| twins.read_grad(name).unwrap());
    let got = params.read_grad("encoder.weight").unwrap();
    for ((got, one), other) in got.iter().zip(&one).zip(&other) {
        assert!((got - (one + other)).abs() < 1e-6, "{got} is not {one} + {other}");
    }
    let mut optimizer = SGD { lr: 1.0, ..Default::default() }.build(&params).unwrap();
    optimizer.step(&mut params).unwrap();
    let want: Vec<f32> = w.iter().zip(&got).map(|(w, g)| w - g).collect();
    assert_eq!(params.read("decoder.weight").unwrap(), want);
    assert_eq!(optimizer.applied("decoder.weight").unwrap(), 1);
}

#[test]
fn ties_that_cannot_be_are_refused() {
    let said = |tie: &dyn Fn(&Graph)| {
        let graph = tied();
        tie(&graph);
        graph.check().unwrap_err().to_string()
    };
    let wide = |graph: &Graph| {
        let _ = graph.input("z", [2, 5]).linear(Linear::new(3).without_bias().name("wide"));
        graph.tie("wide.weight", "encoder.weight");
    };
    assert_eq!(said(&wide), "wide.weight: expected [3, 3] to be tied to encoder.weight, got [3, 5]");
    let unknown = "unknown parameter \"decoder.wieght\", did you mean \"decoder.weight\"?; \
                   known: encoder.weight, decoder.weight";
    assert_eq!(said(&|graph| graph.tie("decoder.wieght", "encoder.weight")), unknown);
    assert_eq!(said(&|graph| graph.tie("encoder.weight", "decoder.wieght")), unknown);
}
