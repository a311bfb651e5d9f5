//! What is frozen or detached costs nothing: no gradient, no backward pass below the last tensor that is trained.

use gradus::gpu::Recorder;
use gradus::grad::{Accumulate, GradReduction, Transforms};
use gradus::graph::{Graph, Init, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, Linear};
use gradus::optim::{AdamW, Rule, SGD};
use gradus::train::Trainer;
use gradus::{Gpu, GpuOptions, ParamStore};

use crate::common::{bits, gpu, gpus_with, noises};

/// Two convolutions and a head.
fn network(graph: &Graph) -> Var {
    let (x, y) = (graph.input("x", [4, 3, 12, 12]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(8, 3).padding(1).name("body.conv1")).relu().max_pool2d(2);
    let h = h.conv2d(Conv2d::new(5, 3).name("body.conv2")).relu().max_pool2d(2).flatten();
    h.linear(Linear::new(3).name("head")).cross_entropy(&y)
}

const LAYERS: [&str; 3] = ["body.conv1", "body.conv2", "head"];

fn write_inputs(plan: &Plan, stream: u64) {
    plan.write("x", &noises(stream, 4 * 3 * 144)).unwrap();
    plan.write("y", &vec![0, 1, 2, 1]).unwrap();
}

fn run(gpu: &Gpu, plan: &Plan) {
    let mut encoder = gpu.encoder("plan");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
}

fn labels(plan: &Plan) -> Vec<String> {
    plan.labels().map(str::to_owned).collect()
}

fn gradients(params: &ParamStore) -> Vec<(String, Vec<u32>)> {
    let spans = params.layout().spans().iter();
    spans.map(|span| (span.name.clone(), bits(&params.read_grad(&span.name).unwrap()))).collect()
}

/// A value that no gradient has, to see what was written.
fn mark(params: &mut ParamStore) {
    let len = params.layout().parameters();
    params.write_grads(&vec![1234.5; len]).unwrap();
}

#[test]
fn a_frozen_stack_has_its_forward_dispatches_and_no_others() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let graph = Graph::new();
        let loss = network(&graph);
        let mut params = graph.store(&gpu, 3).unwrap();
        let compile = |params: &ParamStore, options: &PlanOptions| {
            graph.compile(params, options, &mut Workspace::new()).unwrap()
        };
        let all = compile(&params, &PlanOptions::train(&loss));
        let forward = compile(&params, &PlanOptions::evaluate().output("loss", &loss));
        write_inputs(&all, 1);
        run(&gpu, &all);
        let want = gradients(&params);
        params.freeze("body").unwrap();
        let head = compile(&params, &PlanOptions::train(&loss));
        let of_body = |plan: &Plan| labels(plan).iter().filter(|label| label.starts_with("body.")).count();
        let of_others = |plan: &Plan| labels(plan).iter().filter(|label| !label.starts_with("body.")).count();
        // Of the body what an evaluation has; the head's gradients but not that of its input, and no pooling's.
        assert_eq!(of_body(&head), of_body(&forward));
        let sums = labels(&all).iter().filter(|label| label.starts_with("head: ")).count();
        let grads = labels(&head).iter().filter(|label| label.starts_with("head: ")).count();
        assert_eq!(sums - grads, 1, "{:?}", labels(&head));
        println!(
            "{:?}: {} dispatches with all trained, {} with the body frozen ({} of it), {} forward",
            gpu.kernel_kind(),
            all.labels().count(),
            head.labels().count(),
            of_body(&head),
            forward.labels().count()
        );
        assert!(of_others(&head) < of_others(&all));
        assert_eq!(head.unreached().count(), 0);
        // The gradients that are left are the same, and nothing of the others is written.
        mark(&mut params);
        write_inputs(&head, 1);
        run(&gpu, &head);
        assert_eq!(bits(&head.read("loss").unwrap()), bits(&all.read("loss").unwrap()));
        for ((name, got), (_, want)) in gradients(&params).iter().zip(&want) {
            match name.starts_with("head") {
                true => assert_eq!(got, want, "{name}"),
                false => assert!(got.iter().all(|g| *g == 1234.5_f32.to_bits()), "{name}"),
            }
        }
        // With one convolution more, the backward pass goes as far as that.
        params.thaw("body.conv2").unwrap();
        let two = compile(&params, &PlanOptions::train(&loss));
        assert!(head.labels().count() < two.labels().count() && two.labels().count() < all.labels().count());
        mark(&mut params);
        write_inputs(&two, 1);
        run(&gpu, &two);
        for ((name, got), (_, want)) in gradients(&params).iter().zip(&want) {
            assert_eq!(got == want, !name.starts_with(LAYERS[0]), "{name}");
        }
        // And with everything frozen there is none.
        LAYERS.iter().for_each(|layer| params.freeze(layer).unwrap());
        let none = compile(&params, &PlanOptions::train(&loss));
        assert_eq!(labels(&none), labels(&forward));
    }
}

/// Each parameter of each layer alone, in every layer that has parameters: its gradient and no other, as in the whole.
#[test]
fn any_one_parameter_can_be_trained_alone() {
    for gpu in gpus_with(&GpuOptions::default()) {
        let graph = Graph::new();
        let x = graph.input("x", [3, 2, 9, 7]);
        let scale = graph.parameter("scale", [3, 2, 9, 7], Init::Normal { std: 0.5 });
        let h = x.add(&scale).conv2d(Conv2d::new(6, [3, 2]).stride([2, 1]).name("conv")).bias().relu();
        let h = h.flatten().linear(Linear::new(5).name("hidden")).relu().linear(Linear::new(3).name("head"));
        let loss = h.gelu().tanh().mean();
        let mut params = graph.store(&gpu, 9).unwrap();
        let names: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        assert_eq!(names.len(), 8);
        let plan_of = |params: &ParamStore, options: PlanOptions| {
            let plan = graph.compile(params, &options, &mut Workspace::new()).unwrap();
            plan.write("x", &noises(5, 3 * 2 * 9 * 7)).unwrap();
            run(&gpu, &plan);
            labels(&plan).len()
        };
        let whole = plan_of(&params, PlanOptions::train(&loss));
        let read = |params: &ParamStore| -> Vec<Vec<f32>> {
            names.iter().map(|name| params.read_grad(name).unwrap()).collect()
        };
        let want = read(&params);
        for (number, name) in names.iter().enumerate() {
            names.iter().for_each(|name| params.freeze(name).unwrap());
            params.thaw(name).unwrap();
            mark(&mut params);
            let count = plan_of(&params, PlanOptions::train(&loss));
            assert!(count < whole, "{name}: {count} of {whole}");
            for (other, (got, want)) in read(&params).iter().zip(&want).enumerate() {
                let most = want.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                assert!(most > 1e-4, "{name}: its gradient is nothing");
                for (got, want) in got.iter().zip(want) {
                    let ok = match other == number {
                        // A bias alone is summed in another order.
                        true => (got - want).abs() <= 4e-6 * most,
                        false => *got == 1234.5,
                    };
                    assert!(ok, "{name} alone, {}: {got}, {want}", names[other]);
                }
            }
            // A plan that adds does so to what is there.
            if name.ends_with("bias") || name == "scale" {
                plan_of(&params, PlanOptions::train(&loss).accumulate());
                let twice = params.read_grad(name).unwrap();
                let close =
                    |(got, want): (&f32, &f32)| (got - 2.0 * want).abs() <= 1e-5 * want.abs().max(1e-3);
                assert!(twice.iter().zip(&want[number]).all(close), "{name}");
            }
        }
    }
}

#[test]
fn no_gradient_goes_through_what_is_detached_and_it_costs_nothing() {
    let Some(gpu) = gpu() else { return };
    let of = |build: &dyn Fn(&Var, &Var) -> Var| {
        let graph = Graph::new();
        let (a, b) = (
            graph.parameter("a", [2, 3], Init::Constant(0.5)),
            graph.parameter("b", [2, 3], Init::Constant(0.25)),
        );
        let loss = build(&a, &b).sum();
        let mut params = graph.store(&gpu, 0).unwrap();
        mark(&mut params);
        let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
        run(&gpu, &plan);
        let unreached: Vec<String> = plan.unreached().map(str::to_owned).collect();
        let grads = ["a", "b"].map(|name| params.read_grad(name).unwrap());
        assert!(grads.iter().all(|grad| grad.iter().all(|g| *g == grad[0])));
        (plan.read("loss").unwrap()[0], grads.map(|grad| grad[0]), unreached, labels(&plan))
    };
    // Its value is there, and its gradient is not.
    let (loss, grads, unreached, with) = of(&|a, b| a.add(&b.detach()));
    assert_eq!((loss, grads, &unreached[..]), (4.5, [1.0, 1234.5], &["b".to_owned()][..]));
    let (_, _, _, without) = of(&|a, b| a.add(b));
    assert_eq!(with.len() + 1, without.len(), "{with:?}");
    // One value on both ways.
    let (loss, grads, _, both) = of(&|a, b| a.add(&a.detach()).add(b));
    assert_eq!((loss, grads), (7.5, [1.0, 1.0]));
    assert!(!both.iter().any(|label| label.contains("detach") || label.ends_with(": copy")), "{both:?}");
    // A chain below it has no backward pass, and one above it has.
    let (_, grads, unreached, _) = of(&|a, b| a.tanh().sigmoid().detach().add(&b.detach()).add(b));
    assert_eq!((grads, &unreached[..]), ([1234.5, 1.0], &["a".to_owned()][..]));
    // Twice is once; of a relu, which would run in a neighbour's kernel; and of an output.
    let (loss, grads, ..) = of(&|a, b| a.add(b).relu().detach().detach().add(b));
    assert_eq!((loss, grads), (6.0, [1234.5, 1.0]));
}

#[test]
fn a_detached_root_or_input_is_a_value_like_others() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let y = x.detach();
    let z = y.linear(2).relu().detach();
    let params = graph.store(&gpu, 0).unwrap();
    let options = PlanOptions::train(&z.sum()).output("y", &y).output("z", &z).output("again", &z.detach());
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("x", &noises(3, 6)).unwrap();
    run(&gpu, &plan);
    assert_eq!(plan.read("y").unwrap(), noises(3, 6));
    assert_eq!(plan.read("z").unwrap(), plan.read("again").unwrap());
    assert!(plan.read("z").unwrap().iter().all(|z| *z >= 0.0));
    assert_eq!(plan.unreached().count(), 2);
    // Labels have no gradient to stop.
    let refused = Graph::new();
    let _ = refused.labels("y", 2).detach();
    assert_eq!(refused.check().unwrap_err().to_string(), "detach1: expected numbers, y are labels");
    // An upstream gradient is an input, whoever heeds it.
    let options = PlanOptions::train(&z).upstream("dz");
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("x", &noises(3, 6)).unwrap();
    plan.write("dz", &[1.0; 4]).unwrap();
    run(&gpu, &plan);
}

#[test]
fn a_graph_says_what_its_stores_begin_with() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let loss = network(&graph);
    graph.freeze("body");
    graph.thaw("body.conv2.bias");
    let frozen = |params: &ParamStore| -> Vec<String> {
        let spans = params.layout().spans().iter().map(|span| span.name.clone());
        spans.filter(|name| params.is_frozen(name).unwrap()).collect()
    };
    let of_body = ["body.conv1.weight", "body.conv1.bias", "body.conv2.weight"];
    assert_eq!(frozen(&graph.store(&gpu, 0).unwrap()), of_body);
    let declared: Vec<String> =
        graph.parameters().into_iter().filter(|parameter| parameter.frozen).map(|p| p.name).collect();
    assert_eq!(declared, of_body);
    // A trainer takes it, and so does a checkpoint.
    let mut trainer = graph.trainer(&loss, AdamW::default()).build(&gpu).unwrap();
    assert_eq!(frozen(trainer.params()), of_body);
    assert_eq!(trainer.read_checkpoint().unwrap().frozen, of_body);
    graph.thaw("body.conv1");
    assert_eq!(frozen(trainer.params()), of_body);
    assert_eq!(frozen(&graph.store(&gpu, 0).unwrap()), ["body.conv2.weight"]);
    // One of two names of a tensor.
    let tied = Graph::new();
    let x = tied.input("x", [2, 3]).linear(Linear::new(3).name("a")).linear(Linear::new(3).name("b"));
    tied.tie("b.weight", "a.weight");
    tied.freeze("b.weight");
    let params = tied.store(&gpu, 0).unwrap();
    assert!(params.is_frozen("a.weight").unwrap() && params.is_frozen("b.weight").unwrap());
    let plan = tied.compile(&params, &PlanOptions::train(&x.mean()), &mut Workspace::new()).unwrap();
    assert_eq!(plan.unreached().count(), 0);
}

#[test]
fn names_that_stand_for_nothing_are_refused() {
    let Some(gpu) = gpu() else { return };
    let said = |freeze: &str| {
        let graph = Graph::new();
        network(&graph);
        let _ = graph.buffer("norm.table", [2], Init::Constant(0.0));
        graph.freeze(freeze);
        graph.check().map_err(|error| error.to_string()).err()
    };
    assert_eq!(said("body.conv1"), None);
    assert_eq!(
        said("norm.table").unwrap(),
        "norm.table: expected a parameter, got a buffer, which is not trained"
    );
    for unknown in ["norm", "body.con", "bod", "head.weight.", "head.", ""] {
        assert!(said(unknown).unwrap().starts_with(&format!("unknown parameter \"{unknown}\"")), "{unknown}");
    }
    let mut params = ParamStore::builder()
        .tensor("w", [1], &[0.0])
        .tensor("w.x", [1], &[0.0])
        .tensor("v.x", [1], &[0.0])
        .buffer("v.mean", [1], &[0.0])
        .tie("u.x", "w.x")
        .build(&gpu)
        .unwrap();
    let frozen = |params: &ParamStore| ["w", "w.x", "v.x"].map(|name| params.is_frozen(name).unwrap());
    params.freeze("w").unwrap();
    assert_eq!(frozen(&params), [true, false, false], "a tensor comes before a layer");
    params.freeze("v").unwrap();
    params.freeze("u").unwrap();
    assert_eq!(frozen(&params), [true, true, true]);
    params.thaw("u").unwrap();
    assert_eq!(frozen(&params), [true, false, true]);
    assert_eq!(
        params.freeze("v.mean").unwrap_err().to_string(),
        "v.mean: expected a parameter, got a buffer, which is not trained"
    );
    for unknown in ["v.mea", "x", "", "v."] {
        let error = params.freeze(unknown).unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown tensor \"{unknown}\"")), "{error}");
    }
}

#[test]
fn a_plan_without_a_gradient_that_is_needed_refuses() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let loss = network(&graph);
    graph.parameter("unused", [3], Init::Constant(0.0));
    let mut params = graph.store(&gpu, 3).unwrap();
    params.freeze("body.conv1").unwrap();
    params.freeze("unused").unwrap();
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    let forward = PlanOptions::evaluate().output("loss", &loss);
    let forward = graph.compile(&params, &forward, &mut Workspace::new()).unwrap();
    let record = |plan: &Plan| {
        let mut encoder = gpu.encoder("plan");
        plan.record(&mut Recorder::new(&gpu, &mut encoder)).map_err(|error| error.to_string())
    };
    // More may be frozen, and what the loss does not depend on may be thawed.
    params.freeze("head").unwrap();
    params.thaw("unused").unwrap();
    record(&plan).unwrap();
    params.thaw("body.conv1.bias").unwrap();
    let said =
        "body.conv1.bias: it was frozen when this plan was compiled and is trained now: compile it again";
    assert_eq!(record(&plan).unwrap_err(), said);
    record(&forward).unwrap();
    params.freeze("body.conv1.bias").unwrap();
    record(&plan).unwrap();
}

fn trainer(gpu: &Gpu, transforms: Transforms) -> Trainer<AdamW> {
    let graph = Graph::new();
    let loss = network(&graph);
    let group = |parameter: &gradus::graph::Parameter| {
        if parameter.name.starts_with("body") { "body" } else { "head" }.to_owned()
    };
    let rule = AdamW { lr: 0.01, weight_decay: 0.3, ..Default::default() };
    graph.trainer(&loss, rule).groups(group).transforms(transforms).seed(3).build(gpu).unwrap()
}

fn step<R: gradus::optim::AnyRule + Clone>(trainer: &mut Trainer<R>, stream: u64) {
    trainer.step(&[("x", &noises(stream, 4 * 3 * 144)), ("y", &vec![0, 1, 2, 1])]).unwrap();
}

fn values(params: &ParamStore) -> Vec<(String, Vec<u32>)> {
    let spans = params.layout().spans().iter();
    spans.map(|span| (span.name.clone(), bits(&params.read(&span.name).unwrap()))).collect()
}

/// A head is trained on a frozen body, then both are, at another rate: the steps of a plan that computes all gradients.
#[test]
fn a_trainer_freezes_and_thaws_with_the_steps_of_an_optimizer_that_is_given_everything() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, Transforms::default());
    let graph = Graph::new();
    let loss = network(&graph);
    let mut params = graph
        .store_in_groups(&gpu, 3, |parameter| parameter.name.split('.').next().unwrap().to_owned())
        .unwrap();
    let mut optimizer = AdamW { lr: 0.01, weight_decay: 0.3, ..Default::default() }.build(&params).unwrap();
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new()).unwrap();
    let mut counts = Vec::new();
    for number in 0..12 {
        let change: Option<(&str, bool)> = match number {
            2 => Some(("body", true)),
            6 => Some(("body.conv2", false)),
            9 => Some(("body", false)),
            10 => Some(("body.conv2.weight", true)),
            _ => None,
        };
        if let Some((layer, frozen)) = change {
            for params in [&mut params, trainer.params_mut()] {
                if frozen { params.freeze(layer) } else { params.thaw(layer) }.unwrap();
            }
        }
        if number == 6 {
            trainer.optimizer_mut().group_mut("body").unwrap().lr = 1e-3;
            optimizer.group_mut("body").unwrap().lr = 1e-3;
        }
        write_inputs(&plan, number);
        run(&gpu, &plan);
        optimizer.step(&mut params).unwrap();
        let before = gpu.counters();
        step(&mut trainer, number);
        counts.push(gpu.counters().since(&before).dispatches);
        assert_eq!(values(trainer.params()), values(&params), "step {number}");
    }
    println!("dispatches of steps: {counts:?}");
    // Tensors of other counts are updated in other dispatches, so that the last may be one more than the first.
    assert!(counts[2] < counts[6] && counts[6] < counts[1] && counts[1] <= counts[9], "{counts:?}");
    assert_eq!(trainer.optimizer().applied("body.conv1.weight").unwrap(), 5);
    assert_eq!(trainer.optimizer().applied("head.weight").unwrap(), 12);
}

#[test]
fn what_is_frozen_neither_decays_nor_coasts() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let loss = network(&graph);
    let rule = SGD { lr: 0.1, momentum: 0.9, weight_decay: 0.5, ..SGD::default() };
    let mut trainer = graph.trainer(&loss, rule).seed(3).build(&gpu).unwrap();
    step(&mut trainer, 0);
    trainer.params_mut().freeze("body").unwrap();
    let before = values(trainer.params());
    (1..4).for_each(|stream| step(&mut trainer, stream));
    for ((name, before), (_, after)) in before.iter().zip(&values(trainer.params())) {
        assert_eq!(before == after, name.starts_with("body"), "{name}");
    }
}

/// Batches that make one step, between which a layer is frozen or thawed: each gradient is the sum over those of them in
/// which it was trained.
#[test]
fn a_gradient_is_the_sum_over_the_batches_in_which_it_was_trained() {
    let Some(gpu) = gpu() else { return };
    let accumulate = |steps: u64| Transforms {
        accumulate: Some(Accumulate { steps, reduction: GradReduction::Mean }),
        ..Default::default()
    };
    let batches: [(&[bool], &[u64]); 4] = [
        (&[true, false, false], &[1, 2]),
        (&[false, true, false], &[0, 2]),
        (&[true, true, false], &[2]),
        (&[false, false, false], &[0, 1, 2]),
    ];
    for (frozen, counted) in batches {
        let mut trainer = trainer(&gpu, accumulate(3));
        // What earlier steps have left in the gradients is not added to.
        (10..13).for_each(|stream| step(&mut trainer, stream));
        let reference = {
            let graph = Graph::new();
            let loss = network(&graph);
            let mut params = graph.store(&gpu, 3).unwrap();
            for (name, _) in values(trainer.params()) {
                params.write(&name, &trainer.params().read(&name).unwrap()).unwrap();
            }
            let options = PlanOptions::train(&loss);
            let plans = [options.clone(), options.accumulate()]
                .map(|options| graph.compile(&params, &options, &mut Workspace::new()).unwrap());
            for (number, stream) in counted.iter().enumerate() {
                let plan = &plans[usize::from(number > 0)];
                write_inputs(plan, *stream);
                run(&gpu, plan);
            }
            params.read_grad("body.conv1.weight").unwrap()
        };
        for (stream, frozen) in (0..).zip(frozen) {
            let params = trainer.params_mut();
            if *frozen { params.freeze("body.conv1") } else { params.thaw("body.conv1") }.unwrap();
            step(&mut trainer, stream);
        }
        let got = trainer.params().read_grad("body.conv1.weight").unwrap();
        assert_eq!(bits(&got), bits(&reference), "{frozen:?}");
    }
}

#[test]
fn plans_of_frozen_sets_are_kept_while_they_are_few() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu, Transforms::default());
    let names: Vec<String> = trainer.params().layout().spans().iter().map(|span| span.name.clone()).collect();
    let mut stream = 0;
    let mut round = |trainer: &mut Trainer<AdamW>, sets: u32| -> (u64, u64) {
        let before = gpu.counters();
        for set in 0..sets {
            for (bit, name) in names.iter().enumerate() {
                let params = trainer.params_mut();
                if set >> bit & 1 == 1 { params.freeze(name) } else { params.thaw(name) }.unwrap();
            }
            step(trainer, stream);
            stream += 1;
        }
        trainer.read_loss().unwrap();
        let after = gpu.counters();
        (after.since(&before).bind_groups, after.live_bytes)
    };
    round(&mut trainer, 4);
    let (made, live) = round(&mut trainer, 4);
    assert_eq!(made, 0, "two sets in turn compile nothing");
    // All 64 sets, twice: no more is alive after the second round than after the first.
    let (_, first) = round(&mut trainer, 64);
    let (_, second) = round(&mut trainer, 64);
    println!("live bytes with 4 sets {live}, with 64 {first}, then {second}");
    assert_eq!(first, second);
}
