//! Evaluations, other batch sizes, dispatches, dropout, NaN and refusals of recurrent layers.

use gradus::Gpu;
use gradus::gpu::KernelKind;
use gradus::graph::{Graph, Init, PlanOptions, Var, Workspace};
use gradus::nn::{GRU, LSTM, RNN};
use gradus::predict::Predictor;

use super::{KINDS, Kind, Net, OUTPUTS, net, train};
use crate::common::{bits, noises};
use crate::network::{Outcome, gpus, run};
use crate::reference::assert_close;

/// Runs a forward pass alone.
fn evaluate(gpu: &Gpu, graph: &Graph, net: &Net, outputs: &[Var]) -> Outcome {
    let parameters = net.parameters();
    let values: Vec<(&str, &[f32])> = parameters.iter().map(|(name, _, v)| (&name[..], &v[..])).collect();
    let evaluate = PlanOptions::evaluate();
    let options = OUTPUTS.iter().zip(outputs).fold(evaluate, |all, (name, var)| all.output(name, var));
    run(gpu, graph, &options, &values, &[], &OUTPUTS[..outputs.len()])
}

#[test]
fn an_evaluation_keeps_two_states_and_computes_the_same() {
    for gpu in &gpus() {
        for (kind, steps) in KINDS.into_iter().flat_map(|kind| [1, 2, 5].map(|steps| (kind, steps))) {
            for hidden in [4, 5] {
                let net = Net { batch_first: hidden == 5, layers: 2, ..net(kind, [steps, 3, 2, hidden]) };
                let graph = Graph::new();
                let (y, h, c) = net.build(&graph);
                let outputs: Vec<Var> = [Some(y), Some(h), c].into_iter().flatten().collect();
                let got = evaluate(gpu, &graph, &net, &outputs);
                let (want, _) = train(gpu, &net, &[0]);
                let bits = |all: &Outcome| all.outputs.values().map(|v| bits(v)).collect::<Vec<_>>();
                assert_eq!(bits(&got), bits(&want), "{net:?}");
            }
        }
    }
}

#[test]
fn a_sample_that_is_no_number_spoils_no_other() {
    for (gpu, kind) in gpus().iter().flat_map(|gpu| KINDS.map(|kind| (gpu, kind))) {
        for hidden in [4, 5] {
            let net = net(kind, [3, 2, 2, hidden]);
            let graph = Graph::new();
            let (y, ..) = net.build(&graph);
            let mut parameters = net.parameters();
            // The second sample, from the second step on.
            parameters[0].2[2 * 2 + 2] = f32::NAN;
            let values: Vec<(&str, &[f32])> =
                parameters.iter().map(|(name, _, v)| (&name[..], &v[..])).collect();
            let options = PlanOptions::evaluate().output("y", &y);
            let got = run(gpu, &graph, &options, &values, &[], &["y"]);
            let places = got.outputs["y"].chunks(hidden).map(|row| row.iter().all(|y| y.is_nan()));
            let finite = got.outputs["y"].chunks(hidden).map(|row| row.iter().all(|y| y.is_finite()));
            assert_eq!(places.collect::<Vec<_>>(), [false, false, false, true, false, true], "{net:?}");
            assert_eq!(finite.collect::<Vec<_>>(), [true, true, true, false, true, false], "{net:?}");
        }
    }
}

#[test]
fn dropout_stands_between_layers_while_training() {
    for gpu in &gpus() {
        let of = |p: f64, layers: usize| {
            let net = Net { layers, ..net(Kind::Gru, [3, 2, 3, 4]) };
            let graph = Graph::new();
            let [x, h] = [0, 1].map(|at| {
                let (name, shape, _) = net.parameters().swap_remove(at);
                graph.parameter(&name, shape, Init::Constant(0.0))
            });
            let (y, _) = x.gru(GRU::new(4).num_layers(layers).dropout(p).name("l"), Some(&h));
            let parameters = net.parameters();
            let values: Vec<(&str, &[f32])> =
                parameters.iter().map(|(name, _, v)| (&name[..], &v[..])).collect();
            let root = y.sum();
            let trained = run(gpu, &graph, &PlanOptions::train(&root).output("y", &y), &values, &[], &["y"]);
            (trained, evaluate(gpu, &graph, &net, &[y]).outputs["y"].clone())
        };
        let (without, evaluated) = of(0.0, 2);
        assert_eq!(bits(&without.outputs["y"]), bits(&evaluated));
        let (all, evaluated) = of(1.0, 2);
        assert_eq!(bits(&without.outputs["y"]), bits(&evaluated));
        assert_ne!(bits(&all.outputs["y"]), bits(&evaluated));
        for name in ["x", "l.weight_ih_l0", "l.weight_ih_l1"] {
            assert!(without.gradients[name].iter().any(|g| *g != 0.0), "{name}");
            assert!(all.gradients[name].iter().all(|g| *g == 0.0), "{name}");
        }
        let (one, evaluated) = of(1.0, 1);
        assert_eq!(bits(&one.outputs["y"]), bits(&evaluated));
    }
}

#[test]
fn a_step_is_one_dispatch_each_way() {
    for gpu in &gpus() {
        for kind in KINDS {
            let net = Net { batch_first: true, ..net(kind, [50, 2, 8, 12]) };
            let graph = Graph::new();
            let (y, ..) = net.build(&graph);
            let params = graph.store(gpu, 1).unwrap();
            let options = PlanOptions::train(&y).upstream("dy");
            let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
            let labels: Vec<&str> = plan.labels().collect();
            let steps = labels.iter().filter(|label| label.contains(": recurrent")).count();
            assert_eq!(steps, 2 * 50 + 1, "{labels:?}");
            // First state, first cell and what is carried back; the gradients of the first cell, of both weights, of both
            // biases, unless the weights' bring them, and of the input; the products of the inputs.
            let biases = if gpu.kernel_kind() == KernelKind::CpuSubgroup { 0 } else { 2 };
            let (cells, carries) = (usize::from(kind == Kind::Lstm), usize::from(kind.gates() > 1));
            assert_eq!(labels.len() - steps, 1 + 2 * cells + carries + 3 + biases + 1, "{labels:?}");
        }
    }
}

#[test]
fn a_plan_of_another_batch_runs_batch_first() {
    for gpu in &gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [8, 3, 2]);
        let (y, (h, c)) = x.lstm(LSTM::new(5).batch_first(true).num_layers(2), None);
        let outputs = PlanOptions::evaluate().output("y", &y).output("h", &h).output("c", &c);
        let data = noises(5, 8 * 3 * 2);
        let whole = run(gpu, &graph, &outputs, &[], &[("x", &data)], &["y", "h", "c"]);
        let half = data[..4 * 3 * 2].to_vec();
        let part = run(gpu, &graph, &outputs.batch(4), &[], &[("x", &half)], &["y", "h", "c"]);
        assert_eq!(bits(&part.outputs["y"]), bits(&whole.outputs["y"][..4 * 3 * 5]));
        for name in ["h", "c"] {
            let rows = |all: &Outcome, batch: usize| {
                all.outputs[name].chunks(batch * 5).flat_map(|l| bits(&l[..4 * 5])).collect::<Vec<_>>()
            };
            assert_eq!(rows(&part, 4), rows(&whole, 8));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |build: &dyn Fn(&Graph)| {
        let graph = Graph::new();
        build(&graph);
        graph.check().unwrap_err().to_string()
    };
    let x = |graph: &Graph| graph.input("x", [5, 3, 4]);
    let says = |got: String, wanted: &str| assert_eq!(got, wanted);
    says(
        refused(&|g| drop(g.input("x", [3, 4]).lstm(8, None))),
        "lstm1: expected sequences [time, batch, features], got [3, 4]",
    );
    says(
        refused(&|g| drop(g.input("x", [3, 4, 5, 6]).gru(GRU::new(8).batch_first(true).name("g"), None))),
        "g: expected sequences [batch, time, features], got [3, 4, 5, 6]",
    );
    says(
        refused(&|g| drop(x(g).rnn(8, Some(&g.input("h", [1, 5, 8]))))),
        "rnn1: expected a first state [1, 3, 8] for sequences [5, 3, 4], got [1, 5, 8]",
    );
    says(
        refused(&|g| drop(x(g).gru(GRU::new(8).num_layers(2), Some(&g.input("h", [1, 3, 8]))))),
        "gru1: expected a first state [2, 3, 8] for sequences [5, 3, 4], got [1, 3, 8]",
    );
    says(
        refused(&|g| {
            drop(x(g).lstm(LSTM::new(8), Some((&g.input("h", [1, 3, 8]), &g.input("c", [1, 3, 7])))));
        }),
        "lstm1: expected a first cell [1, 3, 8] for sequences [5, 3, 4], got [1, 3, 7]",
    );
    says(refused(&|g| drop(x(g).lstm(0, None))), "lstm1: hidden must be at least 1, got 0");
    for layers in [0, 1025, usize::MAX] {
        says(
            refused(&|g| drop(x(g).gru(GRU::new(2).num_layers(layers), None))),
            &format!("gru1: num_layers must be in [1, 1024], got {layers}"),
        );
    }
    says(
        refused(&|g| drop(x(g).rnn(RNN::new(2).dropout(1.5), None))),
        "rnn1: dropout must be in [0, 1], got 1.5",
    );
    says(
        refused(&|g| drop(g.input("x", [65_537, 1, 1]).rnn(1, None))),
        "rnn1: expected sequences [time, batch, features] of at most 65536 steps, got [65537, 1, 1]",
    );
    assert!(refused(&|g| drop(x(g).lstm(usize::MAX, None))).contains("at most"));
    // A first state of a batch that a plan does not have.
    for gpu in &gpus() {
        let graph = Graph::new();
        let h = graph.parameter("h", [1, 5, 8], Init::Constant(0.0));
        let (y, _) = graph.input("x", [5, 3, 4]).gru(GRU::new(8).batch_first(true), Some(&h));
        let params = graph.store(gpu, 0).unwrap();
        let options = PlanOptions::evaluate().output("y", &y).batch(4);
        let error = graph.compile(&params, &options, &mut Workspace::new()).unwrap_err();
        let says = "gru1: expected first states of [1, 4, 8] for inputs of [4, 3], got [1, 5, 8]";
        assert_eq!(error.to_string(), says);
    }
}

#[test]
fn one_value_for_both_first_states_gets_both_gradients() {
    for (gpu, layers, hidden) in
        gpus().iter().flat_map(|gpu| [(1, 5), (2, 4), (3, 5)].map(|(layers, hidden)| (gpu, layers, hidden)))
    {
        let state = [layers, 2, hidden];
        let gradients = |names: [&str; 2]| {
            let graph = Graph::new();
            let first = graph.parameter(names[0], state, Init::Constant(0.0));
            let cell = match names[0] == names[1] {
                true => first.clone(),
                false => graph.parameter(names[1], state, Init::Constant(0.0)),
            };
            let x = graph.input("x", [3, 2, 4]);
            let (y, _) = x.lstm(LSTM::new(hidden).num_layers(layers).name("l"), Some((&first, &cell)));
            let (x, dy) = (noises(1, 24), noises(2, y.shape().iter().product()));
            let data: Vec<(String, Vec<f32>)> = graph
                .parameters()
                .into_iter()
                .map(|parameter| {
                    let values = noises(3, parameter.shape.iter().product());
                    (parameter.name, values)
                })
                .collect();
            let values: Vec<(&str, &[f32])> = data.iter().map(|(name, v)| (&name[..], &v[..])).collect();
            let options = PlanOptions::train(&y).upstream("dy");
            run(gpu, &graph, &options, &values, &[("x", &x), ("dy", &dy)], &[]).gradients
        };
        let (one, two) = (gradients(["s", "s"]), gradients(["h", "c"]));
        let sum: Vec<f64> =
            two["h"].iter().zip(&two["c"]).map(|(h, c)| f64::from(*h) + f64::from(*c)).collect();
        assert_close(&format!("{layers} layers of {hidden}"), &one["s"], &sum);
    }
}

/// The batch of a last state is its second axis, whatever that of the input is.
#[test]
fn the_last_state_of_any_number_of_samples_is_predicted() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [3, 4, 2]);
        let (_, (state, _)) = x.lstm(LSTM::new(5).num_layers(2).batch_first(true), None);
        let outputs = [("last", &state.select(0, -1))];
        let mut predictor = Predictor::new(&graph, graph.store(&gpu, 1).unwrap(), &outputs).unwrap();
        let x = noises(1, 7 * 8);
        let mut whole = predictor.predict(&[("x", &x)]).unwrap();
        let whole = whole.take("last").unwrap();
        assert_eq!(whole.shape, [7, 5]);
        let mut apart = predictor.max_batch(2).unwrap();
        assert_eq!(
            bits(&apart.predict(&[("x", &x)]).unwrap().get("last").unwrap().values),
            bits(&whole.values)
        );
        // Steps of time are no samples.
        let steps = x_steps(&graph);
        let refused = Predictor::new(&graph, graph.store(&gpu, 1).unwrap(), &[("last", &steps)]);
        assert!(refused.unwrap_err().to_string().contains("one row for each of the 3 samples"));
    }
}

/// The last state of a layer for which the second axis of `x` is the batch.
fn x_steps(graph: &Graph) -> Var {
    graph.input("steps", [3, 4, 2]).gru(GRU::new(5), None).1.select(0, -1)
}
