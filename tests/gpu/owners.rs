//! What belongs to another graph or device is refused by name, and is never mistaken for one's own.

use gradus::gpu::{Buffer, Recorder};
use gradus::graph::{Graph, PlanOptions, Resident, Var, Workspace};
use gradus::optim::{AdamW, SGD};

use crate::common::gpu;

/// Two graphs of one shape, whose nodes have the same numbers and names.
fn network() -> (Graph, Var, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 3]), graph.labels("y", 2));
    let logits = x.linear(2);
    (graph, logits.clone(), logits.cross_entropy(&y))
}

const X: [f32; 6] = [1.0, 2.0, 3.0, -1.0, 0.5, 0.25];

#[test]
fn a_variable_of_another_graph_is_refused_where_its_number_is_known() {
    let Some(gpu) = gpu() else { return };
    let (graph, logits, loss) = network();
    let (_, foreign, foreign_loss) = network();
    let mut trainer = graph.trainer(&loss, SGD::default()).build(&gpu).unwrap();
    // Also with a plan of the same number, and of another batch size.
    let own = trainer.predict(&logits, &[("x", &&X[..])], 2).unwrap();
    for batch in [1, 2, 7] {
        let refused = trainer.predict(&foreign, &[("x", &&X[..])], batch).unwrap_err();
        assert_eq!(refused.to_string(), "output linear1: it belongs to another graph");
    }
    assert_eq!(trainer.predict(&logits, &[("x", &&X[..])], 2).unwrap(), own);

    let refused = graph.trainer(&foreign_loss, SGD::default()).build(&gpu).unwrap_err();
    assert_eq!(refused.to_string(), "output loss: it belongs to another graph");
    let refused = graph.trainer(&loss, SGD::default()).metric("m", &foreign_loss).build(&gpu).unwrap_err();
    assert_eq!(refused.to_string(), "output m: it belongs to another graph");
    let compile = |options: PlanOptions| {
        graph.compile(trainer.params(), &options, &mut Workspace::new()).unwrap_err().to_string()
    };
    assert_eq!(compile(PlanOptions::train(&foreign_loss)), "output loss: it belongs to another graph");
    let options = PlanOptions::train(&loss).output("seen", &foreign);
    assert_eq!(compile(options), "output seen: it belongs to another graph");
}

#[test]
fn what_lies_on_another_device_is_refused() {
    let (Some(gpu), Some(other)) = (gpu(), gpu()) else { return };
    assert!(gpu.is_same(&gpu.clone()) && !gpu.is_same(&other));
    let (graph, logits, loss) = network();
    let options = PlanOptions::evaluate().output("logits", &logits);
    let mut workspace = Workspace::new();
    let plan = graph.compile(&graph.store(&gpu, 0).unwrap(), &options, &mut workspace).unwrap();
    let train = PlanOptions::train(&loss);
    graph.compile(&graph.store(&gpu, 0).unwrap(), &train, &mut workspace).unwrap();
    let theirs = graph.store(&other, 0).unwrap();
    let refused = graph.compile(&theirs, &train, &mut workspace).unwrap_err();
    assert_eq!(refused.to_string(), "this workspace belongs to another device");

    let mut encoder = other.encoder("theirs");
    let mut recorder = Recorder::new(&other, &mut encoder);
    for refused in [plan.record(&mut recorder), plan.record_part(&mut recorder, 0..1)] {
        assert_eq!(refused.unwrap_err().to_string(), "this recorder records for another device");
    }
    let set = Resident::numbers(&other, &X, &[3]).unwrap();
    let refused = plan.write("x", &set.rows(&[0, 1])).unwrap_err();
    assert_eq!(refused.to_string(), "input x: the data set belongs to another device");
    let mut trainer = graph.trainer(&loss, AdamW::default()).build(&gpu).unwrap();
    let refused = trainer.step(&[("x", &set.rows(&[0, 1])), ("y", &vec![0, 1])]).unwrap_err();
    assert_eq!(refused.to_string(), "input x: the data set belongs to another device");
    assert_eq!(trainer.steps(), 0);

    let buffer: Buffer<f32> = Buffer::storage(&gpu, "ours", 2).unwrap();
    let refused = buffer.write(&other, 0, &[1.0]).unwrap_err();
    assert_eq!(refused.to_string(), "buffer write: the buffer belongs to another device");
    let refused = buffer.read(&other, 0, 1).unwrap_err();
    assert_eq!(refused.to_string(), "buffer read: the buffer belongs to another device");
    assert!(!gpu.is_lost() && !other.is_lost());
}
