//! Weights by name: torch's names, shapes and values for every layer, and all or nothing of what is loaded.

use std::path::{Path, PathBuf};

use gradus::error::ShapeMismatch;
use gradus::graph::{Graph, HostData, Init, Var};
use gradus::nn::*;
use gradus::params::{LoadReport, Weights};
use gradus::predict::Predictor;
use gradus::{Error, Gpu, ParamStore};

use crate::common::{bits, gpu, noises};
use crate::lost::wait;

fn torch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch/weights").join(name)
}

type Build = fn(&Var) -> Var;

/// The cases of `torch/weights/make.py`, each a layer called `l`.
const LAYERS: &[(&str, Build)] = &[
    ("linear", |x| x.linear(Linear::new(5).name("l"))),
    ("linear_without_bias", |x| x.linear(Linear::new(5).without_bias().name("l"))),
    ("conv1d", |x| x.conv1d(Conv1d::new(5, 3).padding(1).name("l"))),
    ("conv2d", |x| x.conv2d(Conv2d::new(6, 3).stride(2).padding(1).groups(2).name("l"))),
    ("conv2d_without_bias", |x| x.conv2d(Conv2d::new(4, [3, 1]).without_bias().name("l"))),
    ("conv_transpose2d", |x| x.conv_transpose2d(ConvTranspose2d::new(3, 3).stride(2).padding(1).name("l"))),
    ("batch_norm1d", |x| x.batch_norm1d(BatchNorm::new().name("l"))),
    ("batch_norm2d", |x| x.batch_norm2d(BatchNorm::new().name("l"))),
    ("batch_norm2d_mean", |x| x.batch_norm2d(BatchNorm::new().momentum(None).name("l"))),
    ("batch_norm2d_plain", |x| x.batch_norm2d(BatchNorm::new().affine(false).name("l"))),
    ("batch_norm2d_untracked", |x| x.batch_norm2d(BatchNorm::new().track_running_stats(false).name("l"))),
    ("layer_norm", |x| x.layer_norm(LayerNorm::new([3, 6]).name("l"))),
    ("layer_norm_without_bias", |x| x.layer_norm(LayerNorm::new(6).without_bias().name("l"))),
    ("group_norm", |x| x.group_norm(GroupNorm::new(2).name("l"))),
    ("rms_norm", |x| x.rms_norm(RMSNorm::new(6).name("l"))),
    ("embedding", |x| x.embedding(Embedding::new(7, 5).name("l"))),
    ("multihead_attention", |x| {
        x.multihead_attention(x, x, MultiheadAttention::new(8, 2).batch_first(true).name("l"))
    }),
    ("multihead_attention_without_bias", |x| {
        let layer = MultiheadAttention::new(8, 4).batch_first(true).without_bias();
        x.multihead_attention(x, x, layer.name("l"))
    }),
    ("multihead_attention_sizes", |x| {
        let (k, v) = (x.graph().input("k", [2, 4, 6]), x.graph().input("v", [2, 4, 5]));
        let layer = MultiheadAttention::new(8, 2).kdim(6).vdim(5).batch_first(true);
        x.multihead_attention(&k, &v, layer.name("l"))
    }),
    ("rnn", |x| {
        let layer = RNN::new(5).num_layers(2).nonlinearity(RnnNonlinearity::Relu).batch_first(true);
        x.rnn(layer.name("l"), None).0
    }),
    ("rnn_without_bias", |x| x.rnn(RNN::new(5).without_bias().batch_first(true).name("l"), None).0),
    ("lstm", |x| x.lstm(LSTM::new(5).num_layers(2).batch_first(true).name("l"), None).0),
    ("gru", |x| x.gru(GRU::new(5).num_layers(2).batch_first(true).name("l"), None).0),
    ("prelu", |x| x.prelu(PReLU::new().num_parameters(4).name("l"))),
    ("prelu_of_one", |x| x.prelu(PReLU::new().name("l"))),
];

#[test]
fn every_layer_has_torchs_names_and_shapes_and_computes_what_torch_does() {
    let Some(gpu) = gpu() else { return };
    let file = Weights::read(torch("layers.safetensors")).unwrap();
    let cases = file.names().filter(|name| name.ends_with(".y")).count();
    assert_eq!(cases, LAYERS.len());
    for (case, build) in LAYERS {
        let get = |what: &str| file.get(&format!("{case}.{what}")).unwrap();
        let mut weights = file.clone().part(&format!("{case}.state")).unwrap().within("l");
        let graph = Graph::new();
        let (x, labels) = (get("x"), *case == "embedding");
        let input = if labels { graph.labels("x", &x.shape[..]) } else { graph.input("x", &x.shape[..]) };
        let y = build(&input);
        if graph.parameters().is_empty() {
            // A store has a parameter.
            let _ = graph.parameter("extra", [1], Init::Constant(0.0));
            weights.insert("extra", [1], [0.5]).unwrap();
        }
        let mut params = graph.store(&gpu, 1).unwrap();
        let shapes = |weights: &Weights| {
            weights.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape.clone())).collect::<Vec<_>>()
        };
        assert_eq!(shapes(&params.read_weights().unwrap()), shapes(&weights), "{case}");
        let report = params.load_state_dict(&weights, true).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(report.loaded.len(), weights.len());
        assert_eq!(params.read_weights().unwrap(), weights, "{case}");

        let mut predictor = Predictor::new(&graph, params, &[("y", &y)]).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are small indices")]
        let indices: Vec<u32> = x.values.iter().map(|index| *index as u32).collect();
        let mut data: Vec<(&str, &dyn HostData)> = vec![("x", &x.values)];
        if labels {
            data = vec![("x", &indices)];
        }
        for name in ["k", "v"] {
            if let Ok(tensor) = file.get(&format!("{case}.{name}")) {
                data.push((name, &tensor.values));
            }
        }
        let made = predictor.predict(&data).unwrap_or_else(|e| panic!("{case}: {e}"));
        let (got, want) = (made.get("y").unwrap(), get("y"));
        assert_eq!(got.shape, want.shape, "{case}");
        let off = got.values.iter().zip(&want.values).map(|(got, want)| (got - want).abs());
        let worst = off.fold(0.0, f32::max);
        println!("{case}: {worst:e}");
        assert!(worst <= 1e-5, "{case}: {worst:e}");
    }
}

/// A network with parameters, buffers, a tied tensor and a frozen layer.
fn network() -> Graph {
    let graph = Graph::new();
    let x = graph.labels("x", [4, 3]);
    let h = x.embedding(Embedding::new(6, 8).name("emb")).mean_dim(&[1], false);
    let h = h.linear(Linear::new(8).name("body.fc1")).batch_norm1d(BatchNorm::new().name("body.bn"));
    let _ = h.relu().linear(Linear::new(6).without_bias().name("head"));
    graph.tie("head.weight", "emb.weight");
    graph.freeze("body.fc1");
    graph
}

fn state(params: &ParamStore) -> Vec<(String, Vec<u32>)> {
    let weights = params.read_weights().unwrap();
    weights.iter().map(|(name, tensor)| (name.to_owned(), bits(&tensor.values))).collect()
}

/// Other values for all tensors.
fn others(params: &ParamStore) -> Weights {
    let mut weights = Weights::new();
    for (stream, span) in (20..).zip(params.tensors()) {
        weights.insert(&span.name[..], &span.shape[..], noises(stream, span.len)).unwrap();
    }
    weights
}

fn made(gpu: &Gpu) -> (ParamStore, Weights) {
    let params = network().store(gpu, 3).unwrap();
    let weights = others(&params);
    (params, weights)
}

#[test]
fn weights_go_into_a_store_and_come_back_also_frozen_and_tied_ones_and_buffers() {
    let Some(gpu) = gpu() else { return };
    let (mut params, weights) = made(&gpu);
    let before = params.read_weights().unwrap();
    let names: Vec<&str> = before.names().collect();
    assert_eq!(
        names,
        [
            "body.bn.bias",
            "body.bn.num_batches_tracked",
            "body.bn.running_mean",
            "body.bn.running_var",
            "body.bn.weight",
            "body.fc1.bias",
            "body.fc1.weight",
            "emb.weight",
            "head.weight",
        ]
    );
    let report = params.load_state_dict(&weights, true).unwrap();
    assert_eq!((report.missing_keys.len(), report.unexpected_keys.len(), report.loaded.len()), (0, 0, 8));
    let after = params.read_weights().unwrap();
    for (name, tensor) in weights.iter() {
        assert_eq!(bits(&after.get(name).unwrap().values), bits(&tensor.values), "{name}");
    }
    assert_eq!(after.get("head.weight"), after.get("emb.weight"));
    assert!(params.is_frozen("body.fc1.weight").unwrap());
    assert_eq!(wait(params.read_weights_async()).unwrap(), after);
    // All names, and the other name alone.
    let _ = params.load_state_dict(&before, true).unwrap();
    assert_eq!(params.read_weights().unwrap(), before);
    let alone = weights.clone().rename(|name| Some(name.replace("emb.", "head."))).unwrap();
    let _ = params.load_state_dict(&alone, true).unwrap();
    assert_eq!(params.read_weights().unwrap(), after);
    // Padding stays zero.
    assert!(crate::common::padding(&params).iter().all(|value| *value == 0.0));
}

#[test]
fn without_strict_the_rest_stays_and_is_reported() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut weights) = made(&gpu);
    let before = params.read_weights().unwrap();
    weights.remove("body.fc1.weight").unwrap();
    weights.remove("emb.weight").unwrap();
    weights.insert("body.fc2.weight", [1], [0.0]).unwrap();
    weights.insert("aux.bias", [1], [0.0]).unwrap();
    let report = params.load_state_dict(&weights, false).unwrap();
    assert_eq!(report.missing_keys, ["emb.weight", "body.fc1.weight"]);
    assert_eq!(report.unexpected_keys, ["aux.bias", "body.fc2.weight"]);
    assert_eq!(report.loaded.len(), 6);
    assert_eq!(
        report.to_string(),
        "loaded 6 of 8 tensors; missing: emb.weight, body.fc1.weight; unexpected: aux.bias, body.fc2.weight \
         (did you mean \"body.fc1.weight\"?)"
    );
    let after = params.read_weights().unwrap();
    for (name, tensor) in after.iter() {
        let expected = weights.get(name).or_else(|_| before.get(name)).unwrap();
        assert_eq!(bits(&tensor.values), bits(&expected.values), "{name}");
    }
    let nothing = params.load_state_dict(&Weights::new(), false).unwrap();
    assert_eq!((nothing.loaded.len(), nothing.missing_keys.len()), (0, 8));
    assert_eq!(params.read_weights().unwrap(), after);
}

#[test]
fn what_does_not_fit_is_refused_all_at_once_and_nothing_is_loaded() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut weights) = made(&gpu);
    let before = state(&params);
    for name in ["body.bn.weight", "body.fc1.bias", "emb.weight", "body.bn.running_var"] {
        weights.remove(name).unwrap();
    }
    weights.insert("body.bn1.weight", [8], [0.0; 8]).unwrap();
    weights.insert("other", [1], [0.0]).unwrap();
    weights.insert("emb.weight", [8, 6], [0.0; 48]).unwrap();
    weights.insert("body.bn.running_var", [9], [0.0; 9]).unwrap();
    let Error::Weights(mismatch) = params.load_state_dict(&weights, true).unwrap_err() else { panic!() };
    assert_eq!(mismatch.missing, ["body.fc1.bias", "body.bn.weight"]);
    assert_eq!(mismatch.unexpected, ["body.bn1.weight", "other"]);
    let shapes = [("emb.weight", vec![6, 8], vec![8, 6]), ("body.bn.running_var", vec![8], vec![9])]
        .map(|(name, expected, got)| ShapeMismatch { name: name.into(), expected, got });
    assert_eq!(mismatch.shapes, shapes);
    let of_shapes = "; of other shapes: emb.weight (expected [6, 8], got [8, 6]), body.bn.running_var (expected [8], \
                     got [9])";
    assert_eq!(
        mismatch.to_string(),
        format!(
            "weights: these weights do not fit; missing: body.fc1.bias, body.bn.weight; unexpected: body.bn1.weight \
             (did you mean \"body.bn.weight\"?), other{of_shapes}"
        )
    );
    // Shapes are refused in either mode.
    let lenient = params.load_state_dict(&weights, false).unwrap_err().to_string();
    assert_eq!(lenient, format!("weights: these weights do not fit{of_shapes}"));
    assert_eq!(state(&params), before);

    // Two names of one tensor.
    let (_, mut weights) = made(&gpu);
    let mut values = weights.get("emb.weight").unwrap().values.clone();
    weights.insert("head.weight", [6, 8], values.clone()).unwrap();
    let _ = network().store(&gpu, 3).unwrap().load_state_dict(&weights, true).unwrap();
    values[47] += 1.0;
    weights.remove("head.weight").unwrap();
    weights.insert("head.weight", [6, 8], values).unwrap();
    let refused = params.load_state_dict(&weights, false).unwrap_err().to_string();
    assert_eq!(
        refused,
        "weights: these weights do not fit; one tensor with different values: emb.weight and head.weight"
    );
    assert_eq!(state(&params), before);
}

#[test]
fn old_files_of_torch_load_as_in_torch() {
    let Some(gpu) = gpu() else { return };
    let (mut params, mut weights) = made(&gpu);
    params.write("body.bn.num_batches_tracked", &[7.0]).unwrap();
    weights.remove("body.bn.num_batches_tracked").unwrap();
    let report = params.load_state_dict(&weights, true).unwrap();
    assert_eq!((report.loaded.len(), report.missing_keys), (7, Vec::new()));
    assert_eq!(params.read("body.bn.num_batches_tracked").unwrap(), [7.0]);
    weights.insert("body.bn.num_batches_tracked", [1], [5.0]).unwrap();
    let _ = params.load_state_dict(&weights, true).unwrap();
    assert_eq!(params.read("body.bn.num_batches_tracked").unwrap(), [5.0]);
    // Not where all statistics are missing.
    for name in ["body.bn.num_batches_tracked", "body.bn.running_mean", "body.bn.running_var"] {
        weights.remove(name).unwrap();
    }
    let LoadReport { missing_keys, .. } = params.load_state_dict(&weights, false).unwrap();
    assert_eq!(missing_keys, ["body.bn.running_mean", "body.bn.running_var", "body.bn.num_batches_tracked"]);
    weights.insert("body.bn.running_mean", [2], [5.0; 2]).unwrap();
    assert!(params.load_state_dict(&weights, true).unwrap_err().to_string().contains("running_var"));
}

#[test]
fn large_and_grown_stores_of_several_buffers_are_loaded_too() {
    let Some(gpu) = gpu() else { return };
    let values = noises(1, 70_001);
    let mut params = ParamStore::builder()
        .group("a", |g| g.tensor("a", [70_001], &values).tensor("b", [3], &[1.0; 3]))
        .tensor("c", [0, 2], &[])
        .build(&gpu)
        .unwrap();
    let mut weights = Weights::new();
    weights.insert("a", [70_001], noises(2, 70_001)).unwrap();
    let report = params.load_state_dict(&weights, false).unwrap();
    assert_eq!(report.missing_keys, ["b", "c"]);
    assert_eq!(bits(&params.read("a").unwrap()), bits(&noises(2, 70_001)));
    assert_eq!(params.read("b").unwrap(), [1.0; 3]);
    weights.insert("b", [3], [2.0; 3]).unwrap();
    weights.insert("c", [0, 2], []).unwrap();
    let _ = params.load_state_dict(&weights, true).unwrap();
    assert_eq!(params.read_weights().unwrap(), weights);
}
