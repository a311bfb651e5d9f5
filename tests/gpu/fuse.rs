//! A pooling that runs in a convolution's kernel gives what it gives alone, to the bit.

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
}

/// Labels of the plan, the pooled values, the loss and all gradients.
#[derive(Debug, PartialEq)]
struct Ran {
    labels: Vec<String>,
    numbers: Vec<Vec<u32>>,
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
    let params: ParamStore = graph.store(gpu, 7).unwrap();
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
    let mut numbers = vec![bits(&plan.read("pooled").unwrap()), bits(&plan.read("loss").unwrap())];
    if train {
        numbers.push(bits(&params.grads().read_all(gpu).unwrap()));
    }
    Ran { labels: plan.labels().map(str::to_owned).collect(), numbers }
}

#[test]
fn a_pooling_in_the_convolution_is_the_pooling_after_it() {
    let Some(gpu) = gpu() else { return };
    let conv = |channels, kernel| Conv2d::new(channels, kernel);
    let cases = [
        Case { input: [1, 8, 8], layer: conv(16, 3).padding(1), relu: true, fuses: true },
        // Odd sizes, of which the last row and column are in no window; several tiles of either.
        Case { input: [3, 11, 37], layer: conv(20, 3).padding(1), relu: true, fuses: true },
        Case { input: [5, 7, 9], layer: conv(32, 3), relu: false, fuses: true },
        Case { input: [2, 19, 12], layer: conv(40, 5).padding(2).stride(2), relu: true, fuses: true },
        Case { input: [6, 5, 34], layer: conv(12, 1).without_bias(), relu: true, fuses: true },
        // One channel of a lane.
        Case { input: [2, 6, 6], layer: conv(5, 3), relu: true, fuses: false },
    ];
    for (number, case) in cases.iter().enumerate() {
        // The first without a backward pass too.
        for train in [true, false].into_iter().take(if number == 0 { 2 } else { 1 }) {
            let (fused, apart) = (run(&gpu, case, false, train), run(&gpu, case, true, train));
            let pools = |ran: &Ran| ran.labels.iter().any(|label| label.ends_with(": conv2d_pool"));
            let fuses = case.fuses && gpu.kernel_kind() == KernelKind::CpuSubgroup8;
            assert_eq!((pools(&fused), pools(&apart)), (fuses, false), "case {number}: {:?}", fused.labels);
            assert_eq!(fused.numbers, apart.numbers, "case {number}, train {train}");
        }
    }
}
