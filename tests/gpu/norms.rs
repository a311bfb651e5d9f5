//! Layer, RMS and group normalisation, and that of a batch in `batch`: against f64 loops, the gradients by central
//! differences of these. What runs at their ends is in `ends`.

mod batch;
mod ends;

use gradus::graph::{Graph, Init, PlanOptions, Var};
use gradus::nn::{GroupNorm, LayerNorm, RMSNorm};
use gradus::{Error, Gpu};

use crate::common::noises;
use crate::network::{gpus, run};
use crate::ops::{Case, check_all};
use crate::reference::{assert_close, wide};

/// What is normalised together, and which weight an element has.
struct Norm<'a> {
    shape: &'a [usize],
    set_of: Box<dyn Fn(usize) -> usize + 'a>,
    weight_of: Box<dyn Fn(usize) -> usize + 'a>,
    weights: usize,
    eps: f64,
    centred: bool,
}

impl<'a> Norm<'a> {
    fn last(shape: &'a [usize], axes: usize, eps: f64, centred: bool) -> Self {
        let weights: usize = shape[shape.len() - axes..].iter().product();
        let (set_of, weight_of) = (Box::new(move |i| i / weights), Box::new(move |i| i % weights));
        Self { shape, set_of, weight_of, weights, eps, centred }
    }

    fn groups(shape: &'a [usize], groups: usize) -> Self {
        let (channels, pixels) = (shape[1], shape[2..].iter().product::<usize>());
        let set = channels / groups * pixels;
        let (set_of, weight_of) = (Box::new(move |i| i / set), Box::new(move |i| i / pixels % channels));
        Self { shape, set_of, weight_of, weights: channels, eps: 1e-5, centred: true }
    }

    fn batch(shape: &'a [usize], eps: f64) -> Self {
        let (channels, pixels) = (shape[1], shape[2..].iter().product::<usize>());
        let channel = move |i| i / pixels % channels;
        let (set_of, weight_of) = (Box::new(channel), Box::new(channel));
        Self { shape, set_of, weight_of, weights: channels, eps, centred: true }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Mean and biased variance of each set, and its elements.
    fn moments(&self, x: &[f64]) -> Vec<[f64; 3]> {
        let sets = (0..x.len()).map(|i| (self.set_of)(i)).max().unwrap() + 1;
        let mut moments = vec![[0.0; 3]; sets];
        for (i, x) in x.iter().enumerate() {
            let [mean, _, count] = &mut moments[(self.set_of)(i)];
            (*mean, *count) = (*mean + x, *count + 1.0);
        }
        for [mean, _, count] in &mut moments {
            *mean = if self.centred { *mean / *count } else { 0.0 };
        }
        for (i, x) in x.iter().enumerate() {
            let [mean, variance, count] = &mut moments[(self.set_of)(i)];
            *variance += (x - *mean).powi(2) / *count;
        }
        moments
    }

    fn normalized(&self, x: &[f64]) -> Vec<f64> {
        let moments = self.moments(x);
        let of = |(i, x): (usize, &f64)| {
            let [mean, variance, _] = moments[(self.set_of)(i)];
            (x - mean) / (variance + self.eps).sqrt()
        };
        x.iter().enumerate().map(of).collect()
    }

    /// With a weight and a bias, and once more without.
    fn value(&self, x: &[f64], weight: &[f64], bias: Option<&Vec<f64>>) -> Vec<f64> {
        let of = |(i, x)| {
            let at = (self.weight_of)(i);
            x * (weight[at] + 1.0) + bias.map_or(0.0, |b| b[at])
        };
        self.normalized(x).into_iter().enumerate().map(of).collect()
    }
}

/// A normalisation with tensors and one without, of one value: gradients are written, and added to.
fn check(gpus: &[Gpu], name: &str, norm: &Norm<'_>, bias: bool, build: &dyn Fn(&Var, bool) -> Var) {
    let (len, weights) = (norm.len(), norm.weights);
    let x = noises(1, len).iter().map(|x| 2.0 * x + 0.5).collect();
    let mut parameters = vec![("x", x), ("l.weight", noises(2, weights))];
    if bias {
        parameters.push(("l.bias", noises(3, weights)));
    }
    let case = Case {
        name: format!("{name} of {:?}", norm.shape),
        parameters,
        labels: None,
        build: &|graph| {
            let x = graph.parameter("x", norm.shape, Init::Constant(0.0));
            build(&x, true).add(&build(&x, false))
        },
        value: &|t| norm.value(&t[0], &t[1], t.get(2)),
        half: 1e-4,
    };
    // So that some of the elements of a large tensor are enough.
    check_all(gpus, &case, 20 * len);
}

fn layer_norm(extents: &[usize]) -> impl Fn(&Var, bool) -> Var {
    let extents = extents.to_vec();
    move |x, affine| {
        let layer = LayerNorm::new(extents.clone()).elementwise_affine(affine);
        x.layer_norm(layer.name(if affine { "l" } else { "m" }))
    }
}

/// Shapes and how many of their last axes are normalised: padded rows and others, one row, lines that several invocations
/// share, and many of them.
const LINES: [(&[usize], usize); 16] = [
    (&[1], 1),
    (&[3], 1),
    (&[1, 5], 1),
    (&[7, 33], 1),
    (&[5, 3, 9], 1),
    (&[5, 3, 9], 2),
    (&[5, 3, 9], 3),
    (&[2, 4, 8], 2),
    (&[2, 3, 5, 6], 3),
    (&[300, 4], 1),
    (&[1500, 3], 1),
    (&[2, 5_000], 1),
    (&[1, 20_000], 1),
    (&[3, 700, 7], 2),
    (&[2, 4096], 1),
    (&[2, 4097], 1),
];

#[test]
fn layer_norm_follows_f64_over_the_last_axes() {
    let gpus = gpus();
    for (shape, axes) in LINES {
        let norm = Norm::last(shape, axes, 1e-5, true);
        check(&gpus, "layer_norm", &norm, true, &layer_norm(&shape[shape.len() - axes..]));
    }
    let shape = [6, 10];
    let norm = Norm::last(&shape, 1, 0.5, true);
    check(&gpus, "layer_norm without bias", &norm, false, &|x, affine| {
        let layer = LayerNorm::new(10).eps(0.5).elementwise_affine(affine).without_bias();
        x.layer_norm(layer.name(if affine { "l" } else { "m" }))
    });
}

#[test]
fn rms_norm_follows_f64_over_the_last_axes() {
    let gpus = gpus();
    for (number, (shape, axes)) in LINES.into_iter().enumerate() {
        let eps = [None, Some(1e-2)][number % 2];
        let norm = Norm::last(shape, axes, eps.unwrap_or(f32::EPSILON.into()), false);
        check(&gpus, "rms_norm", &norm, false, &|x, affine| {
            let layer = RMSNorm::new(&shape[shape.len() - axes..]).eps(eps).elementwise_affine(affine);
            x.rms_norm(layer.name(if affine { "l" } else { "m" }))
        });
    }
}

/// Shapes and groups: of whole quads and others, of one channel, one group, and more than one invocation takes.
const GROUPS: [(&[usize], usize); 17] = [
    (&[3, 6, 5, 1], 3),
    (&[2, 8, 3, 5], 2),
    (&[2, 8, 3, 5], 4),
    (&[2, 9, 3, 5], 3),
    (&[1, 5, 2, 2], 1),
    (&[2, 5, 3], 5),
    (&[2, 3, 4, 5], 1),
    (&[1, 33, 2, 3], 11),
    (&[2, 33, 7], 3),
    (&[4, 12], 3),
    (&[4, 12], 4),
    (&[3, 1, 6], 1),
    (&[2, 8, 40, 40], 2),
    (&[1, 6, 40, 40], 3),
    (&[1, 8, 100, 100], 1),
    (&[2, 4, 3, 2, 5], 2),
    (&[1, 10, 45, 47], 2),
];

#[test]
fn group_norm_follows_f64_over_groups_of_channels() {
    let gpus = gpus();
    for (shape, groups) in GROUPS {
        check(&gpus, &format!("group_norm of {groups}"), &Norm::groups(shape, groups), true, &|x, affine| {
            x.group_norm(GroupNorm::new(groups).affine(affine).name(if affine { "l" } else { "m" }))
        });
    }
}

/// The largest difference to f64 over numbers of deviation 1 around `mean`.
fn far_from_zero(gpu: &Gpu, mean: f32, norm: &Norm<'_>, build: &dyn Fn(&Var) -> Var) -> f64 {
    let graph = Graph::new();
    let y = build(&graph.parameter("x", norm.shape, Init::Constant(0.0)));
    // A uniform number of deviation 1.
    let x: Vec<f32> = noises(5, norm.len()).iter().map(|x| mean + 3f32.sqrt() * x).collect();
    let dy = noises(6, norm.len());
    let options = PlanOptions::train(&y).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &x)], &[("dy", &dy)], &["loss"]);
    let want = norm.normalized(&wide(&x));
    let apart = got.outputs["loss"].iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs());
    apart.fold(0.0, f64::max)
}

#[test]
fn digits_are_kept_far_from_zero() {
    for gpu in gpus() {
        for mean in [1e4, -1e5, 3e6] {
            for (shape, axes) in [(&[4, 128][..], 1), (&[2, 5_000], 1), (&[3, 50, 90], 2)] {
                let extents = &shape[shape.len() - axes..];
                let build = |x: &Var| x.layer_norm(LayerNorm::new(extents).elementwise_affine(false));
                let apart = far_from_zero(&gpu, mean, &Norm::last(shape, axes, 1e-5, true), &build);
                assert!(apart < 3e-6, "layer_norm of {shape:?} around {mean}: {apart:e}");
            }
            for (shape, groups) in [(&[2, 8, 10, 10][..], 2), (&[2, 6, 60, 60], 2), (&[1, 8, 100, 100], 2)] {
                let build = |x: &Var| x.group_norm(GroupNorm::new(groups).affine(false));
                let apart = far_from_zero(&gpu, mean, &Norm::groups(shape, groups), &build);
                assert!(apart < 3e-6, "group_norm of {groups} of {shape:?} around {mean}: {apart:e}");
            }
            for shape in [&[200, 5][..], &[10, 3, 40, 40]] {
                let build = |x: &Var| batch::of(x, gradus::nn::BatchNorm::new().affine(false));
                let apart = far_from_zero(&gpu, mean, &Norm::batch(shape, 1e-5), &build);
                assert!(apart < 3e-6, "batch_norm of {shape:?} around {mean}: {apart:e}");
            }
        }
    }
}

#[test]
fn a_line_without_spread_is_its_bias_and_has_finite_gradients() {
    for gpu in gpus() {
        for value in [0.0, 3.7, -1e6] {
            for (shape, kind) in [
                (&[3, 33][..], "layer"),
                (&[2, 4_999], "layer"),
                (&[3, 33], "rms"),
                (&[2, 6, 5, 5], "group"),
                (&[2, 8, 5, 5], "group"),
                (&[5, 3], "batch"),
                (&[300, 3], "batch"),
            ] {
                let graph = Graph::new();
                let x = graph.parameter("x", shape, Init::Constant(0.0));
                let y = match kind {
                    "layer" => x.layer_norm(shape[1]),
                    "rms" => x.rms_norm(shape[1]),
                    "group" => x.group_norm(2),
                    _ => batch::of(&x, gradus::nn::BatchNorm::new()),
                };
                let values = vec![value; shape.iter().product()];
                let dy = noises(3, values.len());
                let options = PlanOptions::train(&y).upstream("dy");
                let got = run(&gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
                let want =
                    if kind == "rms" { f64::from(value).signum() * f64::from(value != 0.0) } else { 0.0 };
                let what = format!("{kind} normalisation of {shape:?} of {value}");
                assert_close(&what, &got.outputs["loss"], &vec![want; values.len()]);
                let gradient = &got.gradients["x"];
                assert!(gradient.iter().all(|x| x.is_finite()), "{what}: its gradient");
            }
        }
    }
}

/// Dispatches of a plan that trains, forward and backward, of the layer `l` alone.
fn dispatches(gpu: &Gpu, shape: &[usize], trains_input: bool, build: &dyn Fn(&Var) -> Var) -> usize {
    let graph = Graph::new();
    let x = match trains_input {
        true => graph.parameter("x", shape, Init::Constant(0.0)),
        false => graph.input("x", shape),
    };
    let y = build(&x);
    graph.parameter("unused", [1], Init::Constant(0.0));
    let params = graph.store(gpu, 1).unwrap();
    let options = PlanOptions::train(&y).upstream("dy");
    let plan = graph.compile(&params, &options, &mut Default::default()).unwrap();
    plan.labels().filter(|label| label.starts_with("l: norm")).count()
}

#[test]
fn ordinary_sizes_take_the_fewest_dispatches() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let layer = |shape: &[usize], trains| {
        let last = shape[shape.len() - 1];
        dispatches(&gpu, shape, trains, &|x| x.layer_norm(LayerNorm::new(last).name("l")))
    };
    // One forward; the gradient of the input, and those of weight and bias.
    assert_eq!((layer(&[8, 10, 128], true), layer(&[8, 10, 128], false)), (3, 2));
    assert_eq!(layer(&[2, 4096], true), 3);
    // Parts, their join, and what writes, in both passes.
    assert_eq!(layer(&[2, 5_000], true), 7);
    let plain = |x: &Var| x.layer_norm(LayerNorm::new(128).elementwise_affine(false).name("l"));
    assert_eq!(dispatches(&gpu, &[8, 128], true, &plain), 2);
    let rms = |x: &Var| x.rms_norm(RMSNorm::new(128).name("l"));
    assert_eq!(dispatches(&gpu, &[80, 128], true, &rms), 3);
    let group = |groups: usize| move |x: &Var| x.group_norm(GroupNorm::new(groups).name("l"));
    assert_eq!(dispatches(&gpu, &[4, 8, 5, 5], true, &group(2)), 3);
    // Groups that share quads: statistics, then what writes.
    assert_eq!(dispatches(&gpu, &[4, 6, 5, 5], true, &group(2)), 5);
}

#[test]
fn what_does_not_fit_is_refused_with_the_layer_and_both_shapes() {
    type Build = fn(&Var) -> Var;
    let rows: [(&[usize], Build, &str); 10] = [
        (
            &[4, 9],
            |x| x.layer_norm(8),
            "layer_norm1: expected [.., 8] for a normalized_shape of [8], got [4, 9]",
        ),
        (
            &[4, 9],
            |x| x.layer_norm(LayerNorm::new([3, 9]).name("ln")),
            "ln: expected [.., 3, 9] for a normalized_shape of [3, 9], got [4, 9]",
        ),
        (
            &[9],
            |x| x.rms_norm([4, 9]),
            "rms_norm1: expected [.., 4, 9] for a normalized_shape of [4, 9], got [9]",
        ),
        (&[9], |x| x.layer_norm(Vec::new()), "layer_norm1.weight: expected at least one dimension"),
        (
            &[9],
            |x| x.layer_norm(LayerNorm::new(Vec::new()).elementwise_affine(false)),
            "layer_norm1: expected a normalized_shape of one axis or more, not [], got [9]",
        ),
        (
            &[2, 6, 5, 5],
            |x| x.group_norm(4),
            "group_norm1: num_groups must be a divisor of the 6 channels of [2, 6, 5, 5], got 4",
        ),
        (
            &[2, 6],
            |x| x.group_norm(0),
            "group_norm1: num_groups must be a divisor of the 6 channels of [2, 6], got 0",
        ),
        (&[6], |x| x.group_norm(1), "group_norm1: expected [N, C, ..], got [6]"),
        (
            &[4, 9],
            |x| x.layer_norm(LayerNorm::new(9).eps(-1.0)),
            "layer_norm1: eps must be finite and at least 0, got -1",
        ),
        (
            &[4, 9],
            |x| x.rms_norm(RMSNorm::new(9).eps(f64::NAN)),
            "rms_norm1: eps must be finite and at least 0, got NaN",
        ),
    ];
    for (shape, build, said) in rows {
        let graph = Graph::new();
        let y = build(&graph.input("x", shape));
        let error = graph.check().unwrap_err();
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(matches!(error, Error::Shape { .. } | Error::Constant { .. }), "{error:?}");
        assert_eq!(y.shape(), [0; 0]);
    }
}
