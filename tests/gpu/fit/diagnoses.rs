//! Runs that are broken on purpose, and what is said about them; and runs that are not.

use gradus::graph::Var;
use gradus::optim::SGD;
use gradus::train::callbacks::Problem;

use super::*;

/// As [`diagnose_batches`], in batches of 8.
fn diagnose<R: AnyRule + Clone>(gpu: &Gpu, rule: R, hidden: impl Fn(Var) -> Var) -> (Vec<Problem>, String) {
    diagnose_batches(gpu, 8, rule, hidden)
}

/// Takes 150 steps over 200 samples; returns the problems that were found and all that was said.
fn diagnose_batches<R: AnyRule + Clone>(
    gpu: &Gpu,
    batch: usize,
    rule: R,
    hidden: impl Fn(Var) -> Var,
) -> (Vec<Problem>, String) {
    let train = dataset(1, 200, 1.5);
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [batch, 16]), graph.labels("y", batch));
    let logits = hidden(x).linear(CLASSES as usize);
    let mut trainer = graph.trainer(&logits.cross_entropy(&y), rule).seed(3).build(gpu).unwrap();
    let mut monitor = GradientMonitor::new(5);
    let mut callbacks = Callbacks::new().with(&mut monitor).with(TerminateOnNaN);
    let report =
        trainer.fit(&mut loader(&train, batch), &epochs(150 * batch as u64 / 200), &mut callbacks).unwrap();
    drop(callbacks);
    let said: Vec<String> = report.notes.iter().map(|note| note.text.clone()).collect();
    println!("{:.3?} {}", report.history.column("train_loss").unwrap(), said.join(" | "));
    (monitor.diagnoses().iter().map(|diagnosis| diagnosis.problem).collect(), said.join("\n"))
}

fn two_layers(x: Var) -> Var {
    x.linear(24).relu().linear(24).relu()
}

#[test]
fn broken_runs_are_diagnosed_in_words_and_healthy_ones_are_not() {
    let Some(gpu) = gpu() else { return };
    let adamw = |lr| AdamW { lr, ..AdamW::default() };
    let sgd = |lr, momentum| SGD { lr, momentum, ..SGD::default() };
    let sigmoids = |x: Var| (0..20).fold(x, |x, _| x.linear(16).sigmoid());
    let relus = |x: Var| (0..4).fold(x, |x, _| x.linear(24).relu());

    for (problems, said) in [
        diagnose(&gpu, adamw(5e-3), two_layers),
        diagnose(&gpu, adamw(1e-3), two_layers),
        diagnose(&gpu, sgd(0.1, 0.9), two_layers),
        diagnose(&gpu, sgd(0.1, 0.0), two_layers),
        diagnose(&gpu, adamw(5e-3), relus),
        diagnose(&gpu, adamw(5e-3), |x| x.linear(24).sigmoid().linear(24).sigmoid()),
    ] {
        assert!(problems.is_empty(), "{said}");
    }

    // The rate x 100.
    for (problems, said) in
        [diagnose(&gpu, adamw(0.5), two_layers), diagnose(&gpu, sgd(10.0, 0.9), two_layers)]
    {
        assert_eq!(problems, [Problem::ExplodingGradients]);
        assert!(said.contains("exploding gradients: ") && said.contains("lower the learning rate"), "{said}");
    }
    // The rate / 1000.
    for (problems, said) in
        [diagnose(&gpu, adamw(5e-6), two_layers), diagnose(&gpu, sgd(1e-4, 0.0), two_layers)]
    {
        assert_eq!(problems, [Problem::Plateau]);
        assert!(said.contains("where about 1e-3 is usual; the learning rate is too small"), "{said}");
    }
    let (problems, said) = diagnose(&gpu, adamw(5e-3), sigmoids);
    assert_eq!(problems, [Problem::VanishingGradients]);
    assert!(said.contains("in the first 7 weights") && said.contains("ReLU"), "{said}");
    // A momentum that swings about the minimum: from batch to batch, and in waves over the same samples.
    for (problems, said) in
        [diagnose(&gpu, sgd(1.0, 0.99), |x| x), diagnose_batches(&gpu, 200, sgd(0.3, 0.98), two_layers)]
    {
        // Waves that grow end in an explosion.
        assert_eq!(problems.first(), Some(&Problem::Oscillation), "{said}");
        assert!(said.contains("losses swing ") && said.contains("lower the momentum"), "{said}");
    }
}
