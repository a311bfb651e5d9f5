//! Plans that store f16, against the same plans in f32: every kind of kernel, what is stored as what, and what numbers
//! beyond the range become.

mod training;

use gradus::graph::{Dtype, Graph, HostData, Init, PlanOptions, Var, Workspace};
use gradus::nn::{
    AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Embedding, LSTM, MultiheadAttention, PReLU, RandomCrop,
    ScaledDotProductAttention,
};
use gradus::{Error, Gpu};

use crate::adapters;
use crate::common::{bits, noises};
use crate::lost::host;
use crate::network::{Outcome, gpus, run};

/// Devices whose kernels have f16; none, visibly, where the adapter lacks it.
fn half_gpus() -> Vec<Gpu> {
    let all = gpus();
    let has = |gpu: &Gpu| gpu.capabilities().has_f16;
    if !all.iter().all(has) {
        eprintln!("SKIPPED: the adapter has no SHADER_F16, so that nothing can store f16");
        adapters::note_skipped();
    }
    all.into_iter().filter(has).collect()
}

/// A value that is stored as f16, which is that parameter but for rounding.
fn half(graph: &Graph, name: &str, shape: &[usize]) -> Var {
    let last = shape[shape.len() - 1];
    let eye = graph.parameter(&format!("{name}.eye"), [last, last], Init::Constant(0.0));
    graph.parameter(name, shape, Init::Normal { std: 0.7 }).matmul(&eye)
}

/// The identities of [`half`].
fn eyes(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let parameters = graph.parameters().into_iter().filter(|parameter| parameter.name.ends_with(".eye"));
    let eye = |size: usize| (0..size * size).map(|at| f32::from(u8::from(at % (size + 1) == 0))).collect();
    parameters.map(|parameter| (parameter.name, eye(parameter.shape[0]))).collect()
}

type Build = fn(&Graph) -> Var;

/// Operations that read and make f16, each with what stands before and behind it in memory of its own.
const CASES: &[(&str, Build)] = &[
    ("linear", |g| half(g, "x", &[5, 12]).linear(7).tanh().linear(8)),
    ("products of matrices", |g| half(g, "x", &[2, 3, 9, 6]).matmul(&half(g, "y", &[2, 1, 6, 10]))),
    ("product of rows", |g| half(g, "x", &[33]).matmul(&half(g, "y", &[33, 5]))),
    ("large product", |g| half(g, "x", &[70, 36]).matmul(&half(g, "y", &[36, 68])).sigmoid()),
    ("convolution", |g| {
        half(g, "x", &[2, 3, 8, 8]).conv2d(Conv2d::new(16, 3).padding(1)).relu().conv2d(Conv2d::new(8, 3))
    }),
    ("convolution and pooling", |g| {
        let x = half(g, "x", &[2, 4, 8, 8]).conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
        x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2)
    }),
    ("strided and grouped", |g| {
        let x = half(g, "x", &[2, 6, 9, 9]);
        x.conv2d(Conv2d::new(9, 3).stride(2).groups(3)).flatten().concat(
            &[
                &x.conv2d(Conv2d::new(6, 3).groups(6)).flatten(),
                &x.conv_transpose2d(ConvTranspose2d::new(4, 2).stride(2)).flatten(),
            ],
            1,
        )
    }),
    ("poolings", |g| {
        let x = half(g, "x", &[2, 5, 9, 8]);
        let average = x.avg_pool2d(AvgPool2d::new(3).stride(2)).flatten();
        average.concat(&[&x.adaptive_avg_pool2d([3, 2]).flatten(), &x.max_pool2d(3).flatten()], 1)
    }),
    ("norms", |g| {
        let x = half(g, "x", &[4, 8, 3, 5]);
        x.batch_norm2d(BatchNorm::new()).gelu().group_norm(4).layer_norm(5).rms_norm(5).mul(&x)
    }),
    ("batch norm of rows", |g| half(g, "x", &[9, 6]).batch_norm1d(BatchNorm::new()).layer_norm(6)),
    ("softmax", |g| half(g, "x", &[4, 7]).softmax(1).add(&half(g, "y", &[4, 7]).log_softmax(0))),
    ("attention", |g| {
        let [q, k, v] = ["q", "k", "v"].map(|name| half(g, name, &[2, 2, 9, 8]));
        let causal = ScaledDotProductAttention::new().is_causal(true);
        let x = q.scaled_dot_product_attention(&k, &v, causal);
        x.scaled_dot_product_attention(&k, &v, ScaledDotProductAttention::new())
    }),
    ("heads", |g| {
        let x = half(g, "x", &[2, 5, 8]);
        x.layer_norm(8).multihead_attention(&x, &x, MultiheadAttention::new(8, 2).batch_first(true))
    }),
    ("functions", |g| {
        let (x, y) = (half(g, "x", &[3, 2, 5]), half(g, "y", &[2, 1]));
        let all = [x.gelu(), x.silu(), x.prelu(PReLU::new()), x.exp(), x.softplus(1.0, 20.0), x.abs().sqrt()];
        all.iter().fold(x.mul(&y), |sum, term| sum.add(term)).div(&y.square().add(&y.exp()))
    }),
    ("moves", |g| {
        let x = half(g, "x", &[3, 4, 6]);
        let turned = x.permute(&[2, 0, 1]).reshape(&[6, 12]).pad(&[1, 2], 0.5);
        turned.narrow(1, 1, 9).concat(&[&x.reshape(&[6, 12]).slice(1, 0, 12, 2)], 1).transpose(0, 1)
    }),
    ("reductions", |g| {
        let x = half(g, "x", &[5, 6, 7]);
        x.mean_dim(&[1], true).mul(&x).sum_dim(&[0], false).add(&x.amax(&[0], false))
    }),
    ("upsampling", |g| half(g, "x", &[2, 3, 4, 5]).upsample(2).upsample([5, 7])),
    ("augmentation", |g| {
        let x = half(g, "x", &[2, 3, 4, 5]);
        let change =
            |x: &Var| x.random_horizontal_flip(0.5).random_crop(RandomCrop::new(4).padding(1)).cutout(2);
        change(&x).add(&change(&x.upsample(1)))
    }),
    ("lstm", |g| half(g, "x", &[4, 2, 6]).lstm(LSTM::new(8), None).0),
    ("gru", |g| half(g, "x", &[4, 2, 6]).gru(7, None).0),
];

/// Holds numbers to those of f32: each is a sum of few f16, which have 11 bits.
fn assert_near(what: &str, got: &[f32], want: &[f32], within: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    // What cancels leaves the rounding of its terms, which are about as large as what is sent back.
    let largest = want.iter().fold(0.5_f32, |most, x| most.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (got - want).abs();
        assert!(
            apart <= within * largest,
            "{what}: element {at} is {got}, in f32 {want}, of {largest} at most"
        );
    }
}

fn all_near(what: &str, got: &Outcome, want: &Outcome, within: f32) {
    for (name, want) in &want.outputs {
        assert_near(&format!("{what}: {name}"), &got.outputs[name], want, within);
    }
    for (name, want) in &want.gradients {
        assert_near(&format!("{what}: gradient of {name}"), &got.gradients[name], want, within);
    }
}

#[test]
fn each_operation_computes_of_f16_what_it_does_of_f32() {
    for gpu in half_gpus() {
        for (name, build) in CASES {
            let graph = Graph::new();
            let y = build(&graph);
            graph.check().unwrap_or_else(|e| panic!("{name}: {e}"));
            let dy = noises(5, y.shape().iter().product());
            let inputs: [(&str, &dyn HostData); 1] = [("dy", &dy)];
            // What is read is f32, so that the operation's own result would be.
            let options = PlanOptions::train(&y.negative()).upstream("dy");
            let eyes = eyes(&graph);
            let eyes: Vec<(&str, &[f32])> = eyes.iter().map(|(name, eye)| (&name[..], &eye[..])).collect();
            let outcome = |options: &PlanOptions| run(&gpu, &graph, options, &eyes, &inputs, &["loss"]);
            let want = outcome(&options);
            let what = format!("{name} with {:?} kernels", gpu.kernel_kind());
            for options in [options.clone().autocast(Dtype::F16), options.clone().autocast_all(Dtype::F16)] {
                let got = outcome(&options);
                all_near(&what, &got, &want, 8e-3);
                assert_ne!(
                    bits(&got.outputs["loss"]),
                    bits(&want.outputs["loss"]),
                    "{what}: nothing is rounded"
                );
                let again = outcome(&options);
                assert_eq!(bits(&got.outputs["loss"]), bits(&again.outputs["loss"]), "{what}: twice");
                for (parameter, gradient) in &got.gradients {
                    assert_eq!(
                        bits(gradient),
                        bits(&again.gradients[parameter]),
                        "{what}: {parameter} twice"
                    );
                }
            }
        }
    }
}

#[test]
fn lookups_are_f16_and_the_gradient_of_a_table_is_not() {
    for gpu in half_gpus() {
        let graph = Graph::new();
        let places = graph.labels("places", [3, 4]);
        let y = places.embedding(Embedding::new(6, 5)).gelu();
        let indices: Vec<u32> = vec![0, 5, 2, 2, 1, 3, 4, 5, 5, 5, 0, 1];
        let dy = noises(6, 60);
        let inputs: [(&str, &dyn HostData); 2] = [("places", &indices), ("dy", &dy)];
        let options = PlanOptions::train(&y.negative()).upstream("dy");
        let outcome = |options: &PlanOptions| run(&gpu, &graph, options, &[], &inputs, &["loss"]);
        let (want, got) = (outcome(&options), outcome(&options.clone().autocast(Dtype::F16)));
        all_near("embedding", &got, &want, 4e-3);
    }
}

/// The bytes of a plan's workspace and what it dispatches.
fn workspace(gpu: &Gpu, graph: &Graph, options: &PlanOptions) -> (usize, Vec<String>) {
    let (params, mut workspace) = (graph.store(gpu, 1).unwrap(), Workspace::new());
    let plan = graph.compile(&params, options, &mut workspace).unwrap();
    (workspace.bytes(), plan.labels().map(str::to_owned).collect())
}

fn cnn(graph: &Graph) -> Var {
    let (x, y) = (graph.input("x", [16, 1, 28, 28]), graph.labels("y", 16));
    let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
    let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    h.flatten().linear(64).relu().linear(10).cross_entropy(&y)
}

/// A block of pre-norm attention and perceptron over characters.
fn transformer(graph: &Graph) -> Var {
    let (tokens, next) = (graph.labels("tokens", [8, 32]), graph.labels("next", [8, 32]));
    let places = graph.parameter("places", [32, 32], Init::Normal { std: 0.1 });
    let x = &tokens.embedding(Embedding::new(40, 32)) + &places;
    let attention = MultiheadAttention::new(32, 4).batch_first(true).is_causal(true);
    let h = x.layer_norm(32);
    let x = &x + &h.multihead_attention(&h, &h, attention);
    let x = &x + &x.layer_norm(32).linear(128).gelu().linear(32);
    x.layer_norm(32).linear(40).permute(&[0, 2, 1]).cross_entropy(&next)
}

#[test]
fn no_dispatch_converts_and_activations_take_half_the_bytes() {
    for gpu in half_gpus() {
        for (name, build) in [("cnn", cnn as Build), ("transformer", transformer)] {
            let graph = Graph::new();
            let loss = build(&graph);
            for (mode, options, most) in [
                ("training", PlanOptions::train(&loss), 0.85),
                ("evaluation", PlanOptions::evaluate().output("loss", &loss), 0.76),
            ] {
                let (whole, labels) = workspace(&gpu, &graph, &options);
                let (half, cast) = workspace(&gpu, &graph, &options.autocast(Dtype::F16));
                let plain = |label: &String| label.strip_suffix("[f16]").unwrap_or(label).to_owned();
                assert_eq!(cast.iter().map(plain).collect::<Vec<_>>(), labels, "{name}, {mode}");
                println!("{name}, {mode}, {:?} kernels: {half} of {whole} bytes", gpu.kernel_kind());
                assert!((half as f64) < most * whole as f64, "{name}, {mode}: {half} of {whole} bytes");
            }
        }
    }
}

#[test]
fn numbers_beyond_f16_become_infinite_and_nan_stays() {
    for gpu in half_gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [1, 11], Init::Constant(0.0));
        let one = graph.parameter("one", [1, 1], Init::Constant(1.0));
        let y = x.transpose(0, 1).matmul(&one);
        // What reads it reads what was stored.
        let y = y.matmul(&graph.parameter("other", [1, 1], Init::Constant(1.0)));
        let values = [1.0, 65504.0, 65519.0, 65520.0, 7e4, 3e38, -65519.0, -65520.0, -3e38, f32::NAN, 6.2e-8];
        let options = PlanOptions::evaluate().output("y", &y);
        let options = options.autocast(Dtype::F16);
        let got = run(&gpu, &graph, &options, &[("x", &values)], &[], &["y"]);
        let infinite = f32::INFINITY;
        let (most, least) = (65504.0, 5.960_464_5e-8);
        let want =
            [1.0, most, most, infinite, infinite, infinite, -most, -infinite, -infinite, f32::NAN, least];
        for (number, (got, want)) in got.outputs["y"].iter().zip(want).enumerate() {
            let same = got == &want || got.is_nan() && want.is_nan();
            // Numbers so small may be flushed to zero.
            assert!(same || number == 10 && *got == 0.0, "{}: {got}, expected {want}", values[number]);
        }
    }
}

/// Of a value that another kernel reads too, what the host gets is what the kernels wrote, and not rounded.
#[test]
fn outputs_and_kept_gradients_are_f32() {
    for gpu in half_gpus() {
        let graph = Graph::new();
        let x = graph.input("x", [3, 8]);
        let hidden = x.linear(8);
        let loss = hidden.gelu().linear(8).mean();
        let data = noises(1, 24);
        let inputs: [(&str, &dyn HostData); 1] = [("x", &data)];
        let options = PlanOptions::train(&loss).output("hidden", &hidden).gradient("grad", &hidden);
        let outcome = |options| run(&gpu, &graph, &options, &[], &inputs, &["hidden", "grad", "loss"]);
        let (want, got) = (outcome(options.clone()), outcome(options.autocast(Dtype::F16)));
        assert_eq!(bits(&got.outputs["hidden"]), bits(&want.outputs["hidden"]));
        all_near("outputs", &got, &want, 4e-3);
    }
}

#[test]
fn a_device_without_f16_refuses_by_name() {
    let Some((adapter, device, queue)) = host(None) else { return };
    let gpu = Gpu::from_wgpu(&adapter, device, queue);
    assert!(!gpu.capabilities().has_f16);
    let graph = Graph::new();
    let loss = graph.input("x", [2, 3]).linear(4).mean();
    let params = graph.store(&gpu, 1).unwrap();
    let before = gpu.counters().allocations;
    let options = PlanOptions::train(&loss).autocast(Dtype::F16);
    let error = graph.compile(&params, &options, &mut Workspace::new()).unwrap_err();
    assert!(matches!(error, Error::DeviceFeature { feature: "SHADER_F16", .. }), "{error}");
    let said = "autocast to f16: needs the feature SHADER_F16, but this device was created without it; request \
                Gpu::optional_features when creating it";
    assert_eq!(error.to_string(), said);
    assert_eq!(gpu.counters().allocations, before, "nothing was made");
    assert!(training::trainer(&gpu, None).unwrap_err().to_string().contains("SHADER_F16"));
    let y = graph.input("z", [2, 3]).linear(4);
    let params = graph.store(&gpu, 1).unwrap();
    let predictor = gradus::predict::Predictor::new(&graph, params, &[("y", &y)]).unwrap();
    assert!(matches!(predictor.autocast(Dtype::F16), Err(Error::DeviceFeature { .. })));
}
