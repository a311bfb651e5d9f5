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

/// What the convolution reads: a shifted input, or the input as the host wrote it, or a copy of it.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Shifted,
    Raw,
    Copied,
}

/// Runs the network of a case; `apart` asks for what the pooling reads, which forbids the fusion.
fn run(gpu: &Gpu, case: &Case, (apart, reads): (bool, Reads), train: bool) -> Ran {
    let graph = Graph::new();
    let [channels, height, width] = case.input;
    let x = graph.input("x", [BATCH, channels, height, width]);
    // A trained shift gives the convolution an input gradient to compute.
    let x = match reads {
        Reads::Shifted => x.bias(),
        Reads::Raw => x,
        Reads::Copied => x.negative().negative(),
    };
    let sum = x.conv2d(case.layer.clone());
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
            let [fused, apart] = [false, true].map(|apart| run(&gpu, case, (apart, Reads::Shifted), train));
            let pools = |ran: &Ran| ran.labels.iter().any(|label| label.ends_with(": conv2d_pool"));
            let fuses = case.fuses && gpu.kernel_kind() == KernelKind::CpuSubgroup;
            assert_eq!((pools(&fused), pools(&apart)), (fuses, false), "case {number}: {:?}", fused.labels);
            assert_eq!(fused.numbers, apart.numbers, "case {number}, train {train}");
            let grads = |ran: &Ran| ran.labels.iter().filter(|label| label.contains(": max_pool2d_")).count();
            let spreads = train && (case.spreads || !fuses);
            assert_eq!(grads(&fused), usize::from(spreads), "case {number}: {:?}", fused.labels);
            close(&fused.gradients, &apart.gradients, &format!("case {number}"));
        }
    }
}

/// Asserts that sums of the same terms in another order are equal up to some units of the last digit of the largest.
fn close(ones: &[f32], others: &[f32], what: &str) {
    let largest = others.iter().fold(0f32, |most, g| most.max(g.abs()));
    assert_eq!(ones.len(), others.len(), "{what}");
    for (at, (one, other)) in ones.iter().zip(others).enumerate() {
        assert!((one - other).abs() <= 1e-6 * largest, "{what}: {one} and {other} at {at}");
    }
}

#[test]
fn a_single_channel_is_read_as_the_host_wrote_it() {
    let Some(gpu) = gpu() else { return };
    let conv = |channels, kernel: usize| Conv2d::new(channels, kernel);
    let cases = [
        ([1, 8, 8], conv(16, 3).padding(1)),
        // More than one tile of rows and columns, and of lanes that load them; a rest of both.
        ([1, 21, 76], conv(32, 3).padding(1)),
        ([1, 9, 36], conv(40, 5).padding(2).without_bias()),
        ([1, 12, 40], conv(16, 3).stride(2)),
        ([1, 12, 40], conv(20, 4).stride(3).padding(4)),
        ([1, 6, 4], conv(9, 1)),
        ([1, 10, 16], conv(8, 2)),
        // Rows that are padded to quads, and kernels with too many taps.
        ([1, 11, 13], conv(16, 3).padding(1)),
        ([1, 20, 20], conv(32, 9)),
    ];
    for (number, (input, layer)) in cases.into_iter().enumerate() {
        let case = Case { input, layer, ..Case::default() };
        for apart in [false, true] {
            let [raw, copied] =
                [Reads::Raw, Reads::Copied].map(|reads| run(&gpu, &case, (apart, reads), true));
            assert!(raw.numbers == copied.numbers, "case {number}, apart {apart}");
            let is_whole = input[2].is_multiple_of(4);
            let planar = number < 7 && gpu.kernel_kind() == KernelKind::CpuSubgroup;
            let reads_planes = raw.labels.iter().any(|label| label.contains(": conv2d_plane"));
            assert_eq!((reads_planes, is_whole), (planar, number != 7), "case {number}: {:?}", raw.labels);
            close(&raw.gradients, &copied.gradients, &format!("case {number}, apart {apart}"));
        }
    }
}
