//! Tests that modules get torch's names.

use crate::graph::{Graph, Var};
use crate::nn::*;

/// Names of all parameters and buffers, sorted.
fn names(graph: &Graph) -> Vec<String> {
    graph.check().expect("all calls fit");
    let mut names: Vec<String> =
        graph.parameters().into_iter().chain(graph.buffers()).map(|parameter| parameter.name).collect();
    names.sort();
    names
}

/// A typical transformer block as written for torch.
struct Block;

impl Module for Block {
    fn forward(&self, x: &Var) -> Var {
        let h = x.apply("ln_1", &LayerNorm::new(16));
        let attention = MultiheadAttention::new(16, 4).batch_first(true).is_causal(true).name("attn");
        let x = x + &h.multihead_attention(&h, &h, attention);
        let mlp = Sequential::new()
            .add_module("c_fc", Linear::new(64))
            .add_module("act", Var::gelu)
            .add_module("c_proj", Linear::new(16));
        &x + &x.apply("ln_2", &LayerNorm::new(16)).apply("mlp", &mlp)
    }
}

#[test]
fn names_nest_as_in_torch() {
    let graph = Graph::new();
    let tokens = graph.labels("tokens", [2, 8]);
    graph.scope("transformer", || {
        let mut h = tokens.apply("wte", &Embedding::new(11, 16));
        h = &h + &graph.parameter("wpe.weight", [8, 16], Init::Normal { std: 0.02 });
        for block in 0..2 {
            h = h.apply(&format!("h.{block}"), &Block);
        }
        h.apply("ln_f", &LayerNorm::new(16).without_bias())
    });
    let block = |number: usize| {
        [
            "attn.in_proj_bias",
            "attn.in_proj_weight",
            "attn.out_proj.bias",
            "attn.out_proj.weight",
            "ln_1.bias",
            "ln_1.weight",
            "ln_2.bias",
            "ln_2.weight",
            "mlp.c_fc.bias",
            "mlp.c_fc.weight",
            "mlp.c_proj.bias",
            "mlp.c_proj.weight",
        ]
        .map(|name| format!("transformer.h.{number}.{name}"))
    };
    let rest =
        ["transformer.ln_f.weight", "transformer.wpe.weight", "transformer.wte.weight"].map(String::from);
    assert_eq!(names(&graph), [&block(0)[..], &block(1), &rest].concat());
}

#[test]
fn each_layer_has_the_name_it_is_applied_under() {
    let graph = Graph::new();
    let (image, line) = (graph.input("image", [2, 4, 8, 8]), graph.input("line", [2, 4, 8]));
    let affine = ["bias", "weight"];
    let normed = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];
    let layers: [(&Var, &dyn Module, &[&str]); 11] = [
        (&line, &Conv1d::new(4, 3), &affine),
        (&image, &Conv2d::new(4, 3), &affine),
        (&image, &ConvTranspose2d::new(4, 3), &affine),
        (&image, &GroupNorm::new(2), &affine),
        (&image, &LayerNorm::new(8), &affine),
        (&image, &Linear::new(3), &affine),
        (&image, &PReLU::new(), &["weight"]),
        (&image, &RMSNorm::new(8), &["weight"]),
        (&image, &BatchNorm::new(), &normed),
        (&line, &BatchNorm::new(), &normed),
        (&image, &MaxPool2d::new(2), &[]),
    ];
    for (at, (x, layer, tensors)) in layers.iter().enumerate() {
        let before = names(&graph).len();
        let y = x.apply(&format!("net.{at}"), *layer);
        assert!(y.name().starts_with(&format!("net.{at}")), "{}", y.name());
        let prefix = format!("net.{at}.");
        let mut new = names(&graph);
        new.retain(|name| name.starts_with(&prefix));
        let mut wanted: Vec<String> = tensors.iter().map(|tensor| format!("{prefix}{tensor}")).collect();
        wanted.sort();
        assert_eq!(new, wanted);
        assert_eq!(names(&graph).len(), before + tensors.len());
    }
}

#[test]
fn recurrent_layers_nest() {
    let graph = Graph::new();
    let x = graph.input("x", [5, 2, 3]);
    graph.scope("encoder", || x.lstm(LSTM::new(4).name("rnn"), None));
    graph.scope("decoder", || x.gru(GRU::new(4).name(""), None));
    let tensors = ["bias_hh_l0", "bias_ih_l0", "weight_hh_l0", "weight_ih_l0"];
    let wanted: Vec<String> = ["decoder", "encoder.rnn"]
        .iter()
        .flat_map(|layer| tensors.map(|tensor| format!("{layer}.{tensor}")))
        .collect();
    assert_eq!(names(&graph), wanted);
}

#[test]
fn numbers_are_counted_in_each_scope() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let two = |x: &Var| x.linear(3).relu().linear(3).relu();
    let name = |y: Var| y.name();
    assert_eq!(name(two(&x)), "relu2");
    assert_eq!(name(x.apply("a", &two)), "a.relu2");
    assert_eq!(name(x.apply("a.b", &two)), "a.b.relu2");
    assert_eq!(name(x.apply("", &two)), "relu4");
    assert_eq!(name(x.apply("a", &two)), "a.relu4");
    // An explicit name does not collide with numbered ones.
    assert_eq!(name(x.linear(Linear::new(3).name("linear5"))), "linear5");
    assert_eq!(name(x.linear(3)), "linear6");
    graph.check().expect("all names differ");
}

#[test]
fn a_layer_alone_has_the_bare_names_of_its_tensors() {
    let graph = Graph::new();
    let y = graph.input("x", [2, 3]).apply("", &Linear::new(3));
    assert_eq!((names(&graph), y.name()), (vec!["bias".into(), "weight".into()], "linear1".into()));
}

#[test]
fn one_name_for_two_modules_is_refused() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let _ = x.apply("block", &Linear::new(3)).apply("block", &Linear::new(3));
    let error = graph.check().unwrap_err().to_string();
    assert!(error.contains("block.weight"), "{error}");
}

#[test]
fn an_input_and_a_module_may_have_one_name() {
    let graph = Graph::new();
    let _ = graph.labels("tokens", [2, 3]).apply("tokens", &Embedding::new(5, 4));
    assert_eq!(names(&graph), ["tokens.weight"]);
    let _ = graph.input("tokens", [2, 3]);
    assert!(graph.check().unwrap_err().to_string().contains("duplicate input \"tokens\""));
}

#[test]
fn a_scope_is_closed_where_building_panics() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let build = || graph.scope("lost", || -> Var { panic!("as a user's code may") });
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)).unwrap_err();
    assert_eq!(x.relu().name(), "relu1");
}

#[test]
fn refusals_name_the_layer_in_full() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let _ = x.apply("blocks.3", &Sequential::new().add_module("conv", Conv2d::new(4, 3)));
    let error = graph.check().unwrap_err().to_string();
    assert!(error.contains("blocks.3.conv"), "{error}");
    // A layer without a name is named by its kind.
    let graph = Graph::new();
    let _ = graph.input("x", [2, 3, 8, 8]).apply("", &Conv2d::new(4, 3).groups(2));
    let error = graph.check().unwrap_err().to_string();
    assert!(error.starts_with("conv2d: "), "{error}");
    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 6]);
    let _ = x.multihead_attention(&x, &x, MultiheadAttention::new(6, 4).name(""));
    let error = graph.check().unwrap_err().to_string();
    assert!(error.starts_with("multihead_attention: num_heads "), "{error}");
}
