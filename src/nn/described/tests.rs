//! Layers from JSON make the same graph as layers in code, and what is wrong with a list is named with its place.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::LAYERS;
use crate::graph::{Graph, Var};
use crate::nn::*;

/// All nodes and parameters of a network over an input of this shape; its first error instead.
fn graph_of(network: &Sequential, shape: &[usize], labels: bool) -> String {
    let graph = Graph::new();
    let x = if labels { graph.labels("x", shape) } else { graph.input("x", shape) };
    let y = x.apply("", network);
    graph.check().unwrap();
    format!("{:?} of {graph:?}", y.shape())
}

/// Compares one layer from JSON with one in code; returns its name.
fn same(layer: Value, code: impl Module + Send + Sync + 'static, shape: &[usize]) -> String {
    let labels = layer["name"] == "Embedding";
    let read = Sequential::from_json(&json!([layer])).unwrap();
    let written = Sequential::new().append(code);
    assert_eq!(graph_of(&read, shape, labels), graph_of(&written, shape, labels), "{layer}");
    layer.as_str().or(layer["name"].as_str()).unwrap().to_owned()
}

#[test]
fn every_layer_is_the_one_in_code() {
    let (image, rows, times) = ([2, 4, 8, 8], [3, 6], [2, 5, 6]);
    let named = [
        // torch's defaults.
        same(json!({"name": "Linear", "out_features": 7}), Linear::new(7), &rows),
        same(json!({"name": "Conv1d", "out_channels": 4, "kernel_size": 2}), Conv1d::new(4, 2), &times),
        same(json!({"name": "Conv2d", "out_channels": 6, "kernel_size": 3}), Conv2d::new(6, 3), &image),
        same(
            json!({"name": "ConvTranspose2d", "out_channels": 6, "kernel_size": 3}),
            ConvTranspose2d::new(6, 3),
            &image,
        ),
        same(
            json!({"name": "Embedding", "num_embeddings": 9, "embedding_dim": 3}),
            Embedding::new(9, 3),
            &rows,
        ),
        same(json!("BatchNorm1d"), |x: &Var| x.batch_norm1d(BatchNorm::new().name("")), &rows),
        same(json!("BatchNorm2d"), |x: &Var| x.batch_norm2d(BatchNorm::new().name("")), &image),
        same(json!({"name": "LayerNorm", "normalized_shape": 6}), LayerNorm::new(6), &rows),
        same(json!({"name": "RMSNorm", "normalized_shape": [5, 6]}), RMSNorm::new([5, 6]), &times),
        same(json!({"name": "GroupNorm", "num_groups": 2}), GroupNorm::new(2), &image),
        same(json!("PReLU"), PReLU::new(), &image),
        same(json!({"name": "MaxPool2d", "kernel_size": 2}), MaxPool2d::new(2), &image),
        same(json!({"name": "AvgPool2d", "kernel_size": [2, 4]}), AvgPool2d::new([2, 4]), &image),
        same(
            json!({"name": "AdaptiveAvgPool2d", "output_size": 1}),
            |x: &Var| x.adaptive_avg_pool2d(1),
            &image,
        ),
        same(json!({"name": "Upsample", "scale_factor": 2}), Upsample::new(2), &image),
        same(
            json!({"name": "RNN", "hidden_size": 3}),
            |x: &Var| x.rnn(RNN::new(3).batch_first(true).name(""), None).0,
            &times,
        ),
        same(
            json!({"name": "LSTM", "hidden_size": 3}),
            |x: &Var| x.lstm(LSTM::new(3).batch_first(true).name(""), None).0,
            &times,
        ),
        same(
            json!({"name": "GRU", "hidden_size": 3}),
            |x: &Var| x.gru(GRU::new(3).batch_first(true).name(""), None).0,
            &times,
        ),
        same(json!("Dropout"), |x: &Var| x.dropout(0.5), &rows),
        same(json!("ELU"), |x: &Var| x.elu(1.0), &rows),
        same(json!("Flatten"), |x: &Var| x.flatten_dims(1, -1), &image),
        same(json!("GELU"), Var::gelu, &rows),
        same(json!("Hardsigmoid"), Var::hardsigmoid, &rows),
        same(json!("Hardswish"), Var::hardswish, &rows),
        same(json!("Hardtanh"), |x: &Var| x.hardtanh(-1.0, 1.0), &rows),
        same(json!("Identity"), Var::clone, &rows),
        same(json!("LeakyReLU"), |x: &Var| x.leaky_relu(0.01), &rows),
        same(json!("LogSigmoid"), Var::log_sigmoid, &rows),
        same(json!({"name": "LogSoftmax", "dim": 1}), |x: &Var| x.log_softmax(1), &rows),
        same(json!("Mish"), Var::mish, &rows),
        same(json!("ReLU"), Var::relu, &rows),
        same(json!("SELU"), Var::selu, &rows),
        same(json!({"name": "Select", "dim": 1, "index": -1}), |x: &Var| x.select(1, -1), &times),
        same(json!("SiLU"), Var::silu, &rows),
        same(json!("Sigmoid"), Var::sigmoid, &rows),
        same(json!({"name": "Softmax", "dim": -1}), |x: &Var| x.softmax(-1), &rows),
        same(json!("Softplus"), |x: &Var| x.softplus(1.0, 20.0), &rows),
        same(json!("Tanh"), Var::tanh, &rows),
        same(
            json!({"name": "Sequential", "layers": [{"name": "Linear", "out_features": 6}, "ReLU"]}),
            Sequential::new().append(Linear::new(6)).append(Var::relu),
            &rows,
        ),
        same(
            json!({"name": "Residual", "layers": [{"name": "Linear", "out_features": 6}, "ReLU"]}),
            |x: &Var| x + &Sequential::new().append(Linear::new(6)).append(Var::relu).forward(x),
            &rows,
        ),
    ];
    let tested: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(tested, LAYERS.iter().map(|entry| entry.name).collect());
    assert!(LAYERS.is_sorted_by_key(|entry| entry.name));
}

#[test]
fn options_reach_the_layers() {
    let (image, rows, times) = ([2, 4, 9, 9], [3, 6], [2, 5, 6]);
    same(json!({"name": "Linear", "out_features": 7, "bias": false}), Linear::new(7).without_bias(), &rows);
    same(
        json!({"name": "Conv1d", "out_channels": 10, "kernel_size": 3, "padding": "same", "dilation": 2, "groups": 5, "bias": false}),
        Conv1d::new(10, 3).padding(Padding::SAME).dilation(2).groups(5).without_bias(),
        &times,
    );
    same(
        json!({"name": "Conv1d", "out_channels": 4, "kernel_size": 3, "padding": 2, "stride": 2}),
        Conv1d::new(4, 3).padding(2).stride(2),
        &times,
    );
    same(
        json!({"name": "Conv2d", "out_channels": 8, "kernel_size": [3, 1], "stride": [1, 2], "padding": [1, 0], "dilation": 2, "groups": 4, "bias": false}),
        Conv2d::new(8, [3, 1]).stride([1, 2]).padding([1, 0]).dilation(2).groups(4).without_bias(),
        &image,
    );
    same(
        json!({"name": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": "valid"}),
        Conv2d::new(8, 3).padding(Padding::VALID),
        &image,
    );
    same(
        json!({"name": "ConvTranspose2d", "out_channels": 8, "kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1, "dilation": 2, "groups": 2, "bias": false}),
        ConvTranspose2d::new(8, 3)
            .stride(2)
            .padding(1)
            .output_padding(1)
            .dilation(2)
            .groups(2)
            .without_bias(),
        &image,
    );
    same(
        json!({"name": "Embedding", "num_embeddings": 9, "embedding_dim": 3, "padding_idx": 2}),
        Embedding::new(9, 3).padding_idx(2),
        &rows,
    );
    same(
        json!({"name": "BatchNorm2d", "eps": 1e-3, "momentum": null, "affine": false}),
        |x: &Var| x.batch_norm2d(BatchNorm::new().eps(1e-3).momentum(None).affine(false).name("")),
        &image,
    );
    same(
        json!({"name": "BatchNorm1d", "momentum": 0.5, "track_running_stats": false}),
        |x: &Var| x.batch_norm1d(BatchNorm::new().momentum(0.5).track_running_stats(false).name("")),
        &rows,
    );
    same(
        json!({"name": "LayerNorm", "normalized_shape": [5, 6], "eps": 1e-3, "bias": false}),
        LayerNorm::new([5, 6]).eps(1e-3).without_bias(),
        &times,
    );
    same(
        json!({"name": "RMSNorm", "normalized_shape": 6, "eps": 1e-3, "elementwise_affine": false}),
        RMSNorm::new(6).eps(1e-3).elementwise_affine(false),
        &times,
    );
    same(
        json!({"name": "GroupNorm", "num_groups": 4, "eps": 0.1, "affine": false}),
        GroupNorm::new(4).eps(0.1).affine(false),
        &image,
    );
    same(
        json!({"name": "PReLU", "num_parameters": 4, "init": 0.5}),
        PReLU::new().num_parameters(4).init(0.5),
        &image,
    );
    same(
        json!({"name": "MaxPool2d", "kernel_size": 3, "stride": [1, 2], "padding": 1, "dilation": 2, "ceil_mode": true}),
        MaxPool2d::new(3).stride([1, 2]).padding(1).dilation(2).ceil_mode(true),
        &image,
    );
    same(
        json!({"name": "AvgPool2d", "kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": true, "count_include_pad": false, "divisor_override": 5}),
        AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true).count_include_pad(false).divisor_override(5),
        &image,
    );
    same(
        json!({"name": "AdaptiveAvgPool2d", "output_size": [3, null]}),
        |x: &Var| x.adaptive_avg_pool2d([Some(3), None]),
        &image,
    );
    same(json!({"name": "Upsample", "scale_factor": [1.5, 2]}), Upsample::new([1.5, 2.0]), &image);
    same(json!({"name": "Upsample", "size": [12, 7]}), Upsample::to_size([12, 7]), &image);
    same(
        json!({"name": "RNN", "hidden_size": 3, "num_layers": 2, "nonlinearity": "relu", "bias": false, "dropout": 0.25}),
        |x: &Var| {
            let layer = RNN::new(3).num_layers(2).nonlinearity(RnnNonlinearity::Relu);
            x.rnn(layer.without_bias().dropout(0.25).batch_first(true).name(""), None).0
        },
        &times,
    );
    same(json!({"name": "Dropout", "p": 0.1}), |x: &Var| x.dropout(0.1), &rows);
    same(json!({"name": "ELU", "alpha": 2}), |x: &Var| x.elu(2.0), &rows);
    same(json!({"name": "Flatten", "start_dim": 2, "end_dim": 3}), |x: &Var| x.flatten_dims(2, 3), &image);
    same(json!({"name": "GELU", "approximate": "tanh"}), Var::gelu_tanh, &rows);
    same(json!({"name": "Hardtanh", "min_val": 0, "max_val": 6}), |x: &Var| x.hardtanh(0.0, 6.0), &rows);
    same(json!({"name": "LeakyReLU", "negative_slope": 0.2}), |x: &Var| x.leaky_relu(0.2), &rows);
    same(json!({"name": "Softplus", "beta": 2, "threshold": 5}), |x: &Var| x.softplus(2.0, 5.0), &rows);
}

/// The message with which a list is refused.
fn refusal(layers: &Value) -> String {
    Sequential::from_json(layers).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert_eq!(refusal(&json!("ReLU")), "layers: expected a list of layers, got \"ReLU\"");
    assert_eq!(refusal(&json!([7])), "layers[0]: layer: expected an object with a name, got 7");
    let text = refusal(&json!(["ReLU", {"name": "conv2d"}]));
    assert!(text.starts_with("layers[1]: unknown layer \"conv2d\", did you mean \"Conv2d\"?"), "{text}");
    let text = refusal(&json!([{"name": "Linear", "outfeatures": 3}]));
    assert!(text.contains("did you mean \"out_features\"?"), "{text}");
    let text = refusal(&json!([{"name": "Linear"}]));
    assert!(
        text.starts_with("layers[0]: layer Linear") && text.contains("missing field `out_features`"),
        "{text}"
    );
    let text = refusal(&json!([{"name": "Conv2d", "out_channels": 3, "kernel_size": "3"}]));
    assert!(text.contains("expected a whole number of at least 0, or a list of two"), "{text}");
    let text = refusal(&json!([{"name": "Conv2d", "out_channels": 3, "kernel_size": 3, "padding": "some"}]));
    assert!(text.contains("\"same\" or \"valid\""), "{text}");
    let text = refusal(&json!([{"name": "Upsample", "size": 3, "scale_factor": 2}]));
    assert!(text.contains("expected either scale_factor or size"), "{text}");
    let nested = json!([{"name": "Residual", "layers": ["ReLU", {"name": "Sequential", "layers": ["Elu"]}]}]);
    let text = refusal(&nested);
    assert!(
        text.starts_with("layers[0].layers[1].layers[0]: unknown layer \"Elu\", did you mean \"ELU\"?"),
        "{text}"
    );
    let deep = (0..40).fold(json!(["ReLU"]), |layers, _| json!([{"name": "Sequential", "layers": layers}]));
    assert!(refusal(&deep).contains("must be at most 32 deep in each other, got 33"), "{}", refusal(&deep));
}

#[test]
fn numbers_out_of_range_are_refused_by_the_graph() {
    let network = Sequential::from_json(&json!([{"name": "Dropout", "p": 2}])).unwrap();
    let graph = Graph::new();
    let _ = graph.input("x", [2, 3]).apply("", &network);
    assert!(graph.check().is_err());
}
