//! Recurrent layers, with kernels of each kind, against plain f64 loops: results and last states directly, gradients by
//! central differences of the loops.

mod plans;

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, PlanOptions, Var};
use gradus::nn::{GRU, LSTM, RNN, RnnNonlinearity};

use crate::common::noises;
use crate::network::{Outcome, gpus, run};
use crate::reference::{assert_close, wide};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tanh,
    Relu,
    Lstm,
    Gru,
}

const KINDS: [Kind; 4] = [Kind::Tanh, Kind::Relu, Kind::Lstm, Kind::Gru];

impl Kind {
    fn gates(self) -> usize {
        match self {
            Self::Tanh | Self::Relu => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }
}

/// A stack and its sizes.
#[derive(Clone, Copy, Debug)]
struct Net {
    kind: Kind,
    steps: usize,
    batch: usize,
    features: usize,
    hidden: usize,
    layers: usize,
    batch_first: bool,
    bias: bool,
    /// Whether first states are given.
    state: bool,
}

/// Sizes as `[steps, batch, features, hidden]`; one layer with a bias and first states.
fn net(kind: Kind, [steps, batch, features, hidden]: [usize; 4]) -> Net {
    Net { kind, steps, batch, features, hidden, layers: 1, batch_first: false, bias: true, state: true }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Results, last states and last cells.
type Results = [Vec<f64>; 3];

impl Net {
    /// Names, shapes and values of all parameters, in the order in which the loops take them.
    fn parameters(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let Net { steps, batch, features, hidden, layers, .. } = *self;
        let x = if self.batch_first { [batch, steps, features] } else { [steps, batch, features] };
        let mut all = vec![("x".to_owned(), x.to_vec(), 1.0)];
        if self.state {
            all.push(("h0".to_owned(), vec![layers, batch, hidden], 1.0));
            if self.kind == Kind::Lstm {
                all.push(("c0".to_owned(), vec![layers, batch, hidden], 1.0));
            }
        }
        let rows = self.kind.gates() * hidden;
        for layer in 0..layers {
            let inputs = if layer == 0 { features } else { hidden };
            let scale = |len: usize| 1.0 / (len as f32).sqrt();
            all.push((format!("l.weight_ih_l{layer}"), vec![rows, inputs], scale(inputs)));
            all.push((format!("l.weight_hh_l{layer}"), vec![rows, hidden], scale(hidden)));
            if self.bias {
                all.push((format!("l.bias_ih_l{layer}"), vec![rows], 0.5));
                all.push((format!("l.bias_hh_l{layer}"), vec![rows], 0.5));
            }
        }
        let values = |(stream, (name, shape, scale)): (u64, (String, Vec<usize>, f32))| {
            let values = noises(stream, shape.iter().product()).iter().map(|v| v * scale).collect();
            (name, shape, values)
        };
        (1..).zip(all).map(values).collect()
    }

    fn build(&self, graph: &Graph) -> (Var, Var, Option<Var>) {
        let parameters = self.parameters();
        let declare = |at: usize| {
            let (name, shape, _) = &parameters[at];
            graph.parameter(name, shape.clone(), Init::Constant(0.0))
        };
        macro_rules! layer {
            ($layer:ident) => {{
                let layer = $layer::new(self.hidden).num_layers(self.layers).batch_first(self.batch_first);
                let layer = layer.name("l");
                if self.bias { layer } else { layer.without_bias() }
            }};
        }
        let x = declare(0);
        let h0 = self.state.then(|| declare(1));
        match self.kind {
            Kind::Lstm => {
                let c0 = self.state.then(|| declare(2));
                let (y, (h, c)) = x.lstm(layer!(LSTM), h0.as_ref().zip(c0.as_ref()));
                (y, h, Some(c))
            }
            Kind::Gru => {
                let (y, h) = x.gru(layer!(GRU), h0.as_ref());
                (y, h, None)
            }
            Kind::Tanh | Kind::Relu => {
                let relu = self.kind == Kind::Relu;
                let nonlinearity = if relu { RnnNonlinearity::Relu } else { RnnNonlinearity::Tanh };
                let (y, h) = x.rnn(layer!(RNN).nonlinearity(nonlinearity), h0.as_ref());
                (y, h, None)
            }
        }
    }

    /// One unit after one step, of the sums of its gates that come from the input and from the state.
    fn cell(&self, input: &[f64], state: &[f64], h: f64, c: f64) -> (f64, f64) {
        let sum = |gate: usize| input[gate] + state[gate];
        match self.kind {
            Kind::Tanh => (sum(0).tanh(), c),
            Kind::Relu => (sum(0).max(0.0), c),
            Kind::Lstm => {
                let c = sigmoid(sum(1)) * c + sigmoid(sum(0)) * sum(2).tanh();
                (sigmoid(sum(3)) * c.tanh(), c)
            }
            Kind::Gru => {
                let (r, z) = (sigmoid(sum(0)), sigmoid(sum(1)));
                let n = (input[2] + r * state[2]).tanh();
                ((1.0 - z) * n + z * h, c)
            }
        }
    }

    fn value(&self, tensors: &[Vec<f64>]) -> Results {
        let Net { steps, batch, hidden, layers, .. } = *self;
        let gates = self.kind.gates();
        let mut tensors = tensors.iter();
        let mut next = || tensors.next().expect("there are as many");
        let x = next();
        let states = hidden * batch * layers;
        let zeros = vec![0.0; states];
        let mut h = if self.state { next().clone() } else { zeros.clone() };
        let mut c = if self.state && self.kind == Kind::Lstm { next().clone() } else { zeros };
        let row = |step: usize, sample: usize| {
            if self.batch_first { sample * steps + step } else { step * batch + sample }
        };
        let (mut input, mut width) = (x.clone(), self.features);
        for layer in 0..layers {
            let (w_ih, w_hh) = (next(), next());
            let bias = self.bias.then(|| (next(), next()));
            let mut output = vec![0.0; steps * batch * hidden];
            for step in 0..steps {
                for sample in 0..batch {
                    let at = (layer * batch + sample) * hidden;
                    let before = h[at..at + hidden].to_vec();
                    let x = &input[row(step, sample) * width..][..width];
                    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    for unit in 0..hidden {
                        let of = |gate: usize| gate * hidden + unit;
                        let sums = |weight: &[f64], from: &[f64], bias: Option<&Vec<f64>>| {
                            let one = |gate: usize| {
                                let row = &weight[of(gate) * from.len()..][..from.len()];
                                dot(row, from) + bias.map_or(0.0, |bias| bias[of(gate)])
                            };
                            (0..gates).map(one).collect::<Vec<_>>()
                        };
                        let of_input = sums(w_ih, x, bias.map(|b| b.0));
                        let of_state = sums(w_hh, &before, bias.map(|b| b.1));
                        let (state, cell) = self.cell(&of_input, &of_state, before[unit], c[at + unit]);
                        (h[at + unit], c[at + unit]) = (state, cell);
                        output[row(step, sample) * hidden + unit] = state;
                    }
                }
            }
            (input, width) = (output, hidden);
        }
        [input, h, c]
    }
}

/// A number for each of the outputs that the sum is over, the upstream gradients.
fn upstream(outputs: &[Var]) -> Vec<Vec<f32>> {
    (90..).zip(outputs).map(|(stream, var)| noises(stream, var.shape().iter().product())).collect()
}

const OUTPUTS: [&str; 3] = ["y", "h_n", "c_n"];

/// Trains the sum of `dy * y` over the outputs that are asked for, by their places in [`OUTPUTS`].
fn train(gpu: &Gpu, net: &Net, wanted: &[usize]) -> (Outcome, Vec<(usize, Vec<f32>)>) {
    let graph = Graph::new();
    let (y, h, c) = net.build(&graph);
    graph.check().unwrap_or_else(|error| panic!("{net:?}: {error}"));
    let outputs: Vec<Var> = [Some(y), Some(h), c].into_iter().flatten().collect();
    let all = upstream(&outputs);
    let wanted: Vec<usize> = wanted.iter().copied().filter(|at| *at < outputs.len()).collect();
    let terms = wanted.iter().map(|&at| {
        let dy = graph.input(&format!("d{}", OUTPUTS[at]), outputs[at].shape());
        outputs[at].dropout_mask(0.0, &dy).sum()
    });
    let root = terms.reduce(|sum, term| sum.add(&term)).unwrap();
    let mut options = PlanOptions::train(&root);
    for (name, var) in OUTPUTS.iter().zip(&outputs) {
        options = options.output(name, var);
    }
    let parameters = net.parameters();
    let values: Vec<(&str, &[f32])> = parameters.iter().map(|(name, _, v)| (&name[..], &v[..])).collect();
    let names: Vec<String> = wanted.iter().map(|&at| format!("d{}", OUTPUTS[at])).collect();
    let inputs: Vec<(&str, &dyn HostData)> =
        names.iter().zip(&wanted).map(|(name, &at)| (&name[..], &all[at] as &dyn HostData)).collect();
    let got = run(gpu, &graph, &options, &values, &inputs, &OUTPUTS[..outputs.len()]);
    (got, wanted.into_iter().map(|at| (at, all[at].clone())).collect())
}

fn check(gpu: &Gpu, net: &Net, wanted: &[usize]) {
    let what = format!("{net:?} over {wanted:?} with {:?} kernels", gpu.kernel_kind());
    let (got, upstream) = train(gpu, net, wanted);
    let parameters = net.parameters();
    let mut exact: Vec<Vec<f64>> = parameters.iter().map(|(_, _, values)| wide(values)).collect();
    let results = net.value(&exact);
    for (name, want) in OUTPUTS.iter().zip(&results).take(got.outputs.len()) {
        assert_close(&format!("{what}: {name}"), &got.outputs[*name], want);
    }
    let sum = |exact: &[Vec<f64>]| {
        let results = net.value(exact);
        let term = |(at, dy): &(usize, Vec<f32>)| {
            results[*at].iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
        };
        upstream.iter().map(term).sum::<f64>()
    };
    let half = 1e-5;
    for (number, (name, _, values)) in parameters.iter().enumerate() {
        let (mut picked, mut differences) = (Vec::new(), Vec::new());
        for at in (0..values.len()).step_by(values.len().div_ceil(24)).chain([values.len() - 1]) {
            let middle = exact[number][at];
            let ends = [-half, half].map(|distance| {
                exact[number][at] = middle + distance;
                sum(&exact)
            });
            exact[number][at] = middle;
            picked.push(got.gradients[name][at]);
            differences.push((ends[1] - ends[0]) / (2.0 * half));
        }
        assert_close(&format!("{what}: gradient of {name}"), &picked, &differences);
    }
}

#[test]
fn recurrent_layers_are_their_loops() {
    let gpus = gpus();
    for kind in KINDS {
        let nets = [
            net(kind, [5, 3, 4, 8]),
            // No size a multiple of 4, and tiles that are cut.
            Net { bias: false, ..net(kind, [4, 3, 5, 7]) },
            Net { state: false, ..net(kind, [3, 2, 3, 12]) },
            Net { batch_first: true, ..net(kind, [4, 3, 6, 36]) },
            Net { batch_first: true, state: false, ..net(kind, [4, 5, 2, 3]) },
            // Padding behind the gates of a GRU: of 1, of 2 and of 3 elements.
            net(kind, [3, 2, 1, 1]),
            net(kind, [2, 2, 2, 2]),
            net(kind, [1, 1, 3, 3]),
            // More samples than a tile has.
            net(kind, [2, 37, 2, 4]),
        ];
        for (gpu, net) in gpus.iter().flat_map(|gpu| nets.iter().map(move |net| (gpu, net))) {
            check(gpu, net, &[0, 1, 2]);
        }
    }
}

#[test]
fn each_output_alone_sends_its_gradient() {
    for gpu in &gpus() {
        for kind in KINDS {
            for wanted in [&[0][..], &[1], &[1, 2], &[0, 2]] {
                check(gpu, &net(kind, [3, 2, 3, 4]), wanted);
                check(gpu, &Net { batch_first: true, ..net(kind, [3, 2, 3, 5]) }, wanted);
            }
        }
        check(gpu, &net(Kind::Lstm, [3, 2, 3, 4]), &[2]);
        check(gpu, &net(Kind::Lstm, [1, 2, 3, 5]), &[2]);
    }
}

#[test]
fn stacks_run_layer_over_layer() {
    for gpu in &gpus() {
        for kind in KINDS {
            check(gpu, &Net { layers: 2, ..net(kind, [3, 2, 5, 8]) }, &[0, 1, 2]);
            check(gpu, &Net { layers: 3, batch_first: true, ..net(kind, [2, 3, 4, 5]) }, &[0, 1, 2]);
            check(gpu, &Net { layers: 2, state: false, bias: false, ..net(kind, [4, 2, 3, 4]) }, &[1, 2]);
        }
    }
}

#[test]
fn long_sequences_keep_their_digits() {
    for gpu in &gpus() {
        check(gpu, &net(Kind::Lstm, [2_000, 1, 1, 4]), &[0, 1, 2]);
        check(gpu, &Net { batch_first: true, ..net(Kind::Gru, [1_000, 2, 1, 3]) }, &[0, 1]);
    }
}
