//! A pooling that runs in a convolution's kernel gives what it gives alone: to the bit, and gradients up to the order of
//! their sums.

use gradus::gpu::{KernelKind, Recorder};
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::nn::Conv2d;
use gradus::{Gpu, ParamStore};

use crate::common::{bits, gpu, noises};

const BATCH: usize = 3;

struct Case {
    /// Channels, height and width of the input.
    input: [usize; 3],
    layer: Conv2d,
    relu: bool,
    fuses: bool,
    /// Dispatches of the backward pass that spread the gradient of the pooling.
    spreads: bool,
    frozen: &'static [&'static str],
}

impl Default for Case {
    fn default() -> Self {
        let layer = Conv2d::new(16, 3).padding(1);
        Self { input: [1, 8, 8], layer, relu: true, fuses: true, spreads: false, frozen: &[] }
    }
}

/// Labels of the plan, the bits of the pooled values and the loss, and all gradients.
#[derive(Debug, PartialEq)]
struct Ran {
    labels: Vec<String>,
    numbers: Vec<Vec<u32>>,
    gradients: Vec<f32>,
}

/// Runs the network of a case; `apart` asks for what the pooling reads, which forbids the fusion.
fn run(gpu: &Gpu, case: &Case, apart: bool, train: bool) -> Ran {
    let graph = Graph::new();
    let [channels, height, width] = case.input;
    let x = graph.input("x", [BATCH, channels, height, width]);
    // A trained shift gives the convolution an input gradient to compute.
    let sum = x.bias().conv2d(case.layer.clone());
    let seen = if case.relu { sum.relu() } else { sum };
    let pooled = seen.max_pool2d(2);
    let loss = pooled.flatten().linear(3).cross_entropy(&graph.labels("y", BATCH));
    let mut params: ParamStore = graph.store(gpu, 7).unwrap();
    case.frozen.iter().for_each(|name| params.freeze(name).unwrap());
    let options =
        if train { PlanOptions::train(&loss) } else { PlanOptions::evaluate().output("loss", &loss) };
    let options = options.output("pooled", &pooled);
    let options = if apart { options.output("seen", &seen) } else { options };
    let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("x", &noises(1, BATCH * channels * height * width)).unwrap();
    plan.write("y", &[0u32, 2, 1][..]).unwrap();
    let mut encoder = gpu.encoder("fuse");
    plan.record(&mut Recorder::new(gpu, &mut encoder)).unwrap();
    gpu.submit(encoder).unwrap();
    let numbers = vec![bits(&plan.read("pooled").unwrap()), bits(&plan.read("loss").unwrap())];
    let gradients = if train { params.grads().read_all(gpu).unwrap() } else { Vec::new() };
    Ran { labels: plan.labels().map(str::to_owned).collect(), numbers, gradients }
}

#[test]
fn a_pooling_in_the_convolution_is_the_pooling_after_it() {
    let Some(gpu) = gpu() else { return };
    let conv = |channels, kernel| Conv2d::new(channels, kernel);
    let case = Case::default;
    let cases = [
        case(),
        // Odd sizes, of which the last row and column are in no window; several tiles of either.
        Case { input: [3, 11, 37], layer: conv(20, 3).padding(1), ..case() },
        Case { input: [5, 7, 9], layer: conv(32, 3), relu: false, ..case() },
        Case { input: [6, 5, 34], layer: conv(12, 1).without_bias(), ..case() },
        Case { input: [4, 9, 9], layer: conv(24, 5).padding(2), ..case() },
        // Zeros around a kernel of one tap, which its input gradient leaves out.
        Case { input: [9, 6, 7], layer: conv(17, 1).padding(1), ..case() },
        // No kernels for all gradients: of strides, with a window over everything and with a rest; of groups; of a bias
        // alone.
        Case { input: [2, 19, 12], layer: conv(40, 5).padding(2).stride(2), spreads: true, ..case() },
        Case { input: [2, 21, 13], layer: conv(40, 5).padding(2).stride(2), spreads: true, ..case() },
        Case { input: [16, 8, 8], layer: conv(32, 3).groups(2), spreads: true, ..case() },
        Case { input: [3, 8, 8], frozen: &["conv2d_1.weight"], spreads: true, ..case() },
        Case { input: [3, 8, 8], frozen: &["conv2d_1.weight", "conv2d_1.bias"], ..case() },
        Case { input: [3, 8, 8], frozen: &["bias1"], ..case() },
        // One channel of a lane.
        Case { input: [2, 6, 6], layer: conv(5, 3), fuses: false, ..case() },
    ];
    for (number, case) in cases.iter().enumerate() {
        // The first without a backward pass too.
        for train in [true, false].into_iter().take(if number == 0 { 2 } else { 1 }) {
            let (fused, apart) = (run(&gpu, case, false, train), run(&gpu, case, true, train));
            let pools = |ran: &Ran| ran.labels.iter().any(|label| label.ends_with(": conv2d_pool"));
            let fuses = case.fuses && gpu.kernel_kind() == KernelKind::CpuSubgroup8;
            assert_eq!((pools(&fused), pools(&apart)), (fuses, false), "case {number}: {:?}", fused.labels);
            assert_eq!(fused.numbers, apart.numbers, "case {number}, train {train}");
            let grads = |ran: &Ran| ran.labels.iter().filter(|label| label.contains(": max_pool2d_")).count();
            let spreads = train && (case.spreads || !fuses);
            assert_eq!(grads(&fused), usize::from(spreads), "case {number}: {:?}", fused.labels);
            // The same terms in another order: some units of the last digit of the largest.
            let largest = apart.gradients.iter().fold(0f32, |most, g| most.max(g.abs()));
            assert_eq!(fused.gradients.len(), apart.gradients.len());
            for (at, (one, other)) in fused.gradients.iter().zip(&apart.gradients).enumerate() {
                let difference = (one - other).abs();
                assert!(difference <= 1e-6 * largest, "case {number}: {one} and {other} at {at}");
            }
        }
    }
}
