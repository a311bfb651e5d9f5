//! Functions of elements where they bend, in their tails and at NaN: torch's values and gradients.

use gradus::graph::{Graph, Init, PlanOptions, Var};
use gradus::nn::{BCEWithLogitsLoss, HuberLoss, PReLU, Reduction, SmoothL1Loss};
use gradus::{Error, Gpu};

use crate::network::{gpus, run};

const NAN: f32 = f32::NAN;

/// Values of a function of two rows, and the gradients of both under gradients of 1.
fn of_pairs(gpu: &Gpu, function: impl Fn(&Var, &Var) -> Var, a: &[f32], b: &[f32]) -> [Vec<f32>; 3] {
    let graph = Graph::new();
    let row = |name| graph.parameter(name, [a.len()], Init::Constant(0.0));
    let y = function(&row("a"), &row("b"));
    let options = PlanOptions::train(&y).upstream("dy");
    let ones = vec![1.0_f32; a.len()];
    let mut got = run(gpu, &graph, &options, &[("a", a), ("b", b)], &[("dy", &ones)], &["loss"]);
    let gradient = |name: &str| got.gradients[name].clone();
    let gradients = [gradient("a"), gradient("b")];
    let [of_a, of_b] = gradients;
    [got.outputs.remove("loss").unwrap(), of_a, of_b]
}

fn of_row(gpu: &Gpu, function: impl Fn(&Var) -> Var, x: &[f32]) -> [Vec<f32>; 2] {
    let [y, dx, _] = of_pairs(gpu, |a, b| function(a).add(&(b * 1.0)), x, &vec![0.0; x.len()]);
    [y, dx]
}

#[test]
fn whole_powers_of_numbers_below_zero_are_numbers() {
    let x = [-1.5, -1.0, -0.9, -0.5, -0.0, 0.5, 1.0, 1.1];
    for gpu in gpus() {
        for exponent in [-1001.0, -200.0, -128.0, -127.0, -126.0, -3.0, 127.0, 128.0, 129.0, 200.0, 4097.0] {
            let [y, dx] = of_row(&gpu, |x| x.pow(exponent), &x);
            for ((x, y), dx) in x.iter().zip(&y).zip(&dx).filter(|((x, _), _)| **x != 0.0) {
                let wide = f64::from(*x);
                for (got, want) in [(y, wide.powf(exponent)), (dx, exponent * wide.powf(exponent - 1.0))] {
                    let got = f64::from(*got);
                    let (small, large) = (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
                    let is_right = if want.abs() > large {
                        got == want.signum() * f64::INFINITY
                    } else {
                        // As far off as its logarithm times the exponent; what is no normal number may be 0 before that.
                        (got - want).abs() <= exponent.abs() * (1e-6 * want.abs() + small)
                    };
                    assert!(is_right, "{x} to {exponent}: {got}, not {want}");
                }
            }
        }
        let [y, dx] = of_row(&gpu, |x| x.pow(2.5), &[-1.0, -0.5, 1.0]);
        assert!(y[0].is_nan() && y[1].is_nan() && dx[0].is_nan() && y[2] == 1.0, "{y:?} {dx:?}");
    }
}

#[test]
fn a_softplus_keeps_its_digits_where_it_is_small() {
    let x: Vec<f32> = (-850..=100).map(|i| i as f32 / 10.0).collect();
    let exact = |x: f64| x.exp().ln_1p();
    for gpu in gpus() {
        let [softplus, _] = of_row(&gpu, |x| x.softplus(1.0, 200.0), &x);
        let [log_sigmoid, _] = of_row(&gpu, |x| (-x).log_sigmoid(), &x);
        let [bce, ..] = of_pairs(
            &gpu,
            |x, t| {
                (-x).binary_cross_entropy_with_logits_with(
                    BCEWithLogitsLoss::new().reduction(Reduction::None),
                    t,
                )
            },
            &x,
            &vec![1.0; x.len()],
        );
        for (at, x) in x.iter().enumerate() {
            let wide = f64::from(*x);
            let want = exact(wide);
            // An exponential is as uncertain as its rounded argument.
            let most = (5e-7 + 2e-7 * wide.abs()) * want;
            for got in [softplus[at], -log_sigmoid[at], bce[at]] {
                assert!((f64::from(got) - want).abs() <= most, "{x}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn a_clamp_has_no_gradient_on_its_bounds() {
    let x = [-1.0, -0.5, 0.0, 0.5, 1.0];
    for gpu in gpus() {
        let both = of_row(&gpu, |x| x.clamp(-0.5, 0.5), &x);
        assert_eq!(both, [vec![-0.5, -0.5, 0.0, 0.5, 0.5], vec![0.0, 0.0, 1.0, 0.0, 0.0]]);
        let from = of_row(&gpu, |x| x.clamp(-0.5, None), &x);
        assert_eq!(from, [vec![-0.5, -0.5, 0.0, 0.5, 1.0], vec![0.0, 0.0, 1.0, 1.0, 1.0]]);
        let to = of_row(&gpu, |x| x.clamp(None, 0.5), &x);
        assert_eq!(to, [vec![-1.0, -0.5, 0.0, 0.5, 0.5], vec![1.0, 1.0, 1.0, 0.0, 0.0]]);
    }
}

#[test]
fn of_equals_each_gets_half_and_of_nan_both_get_all() {
    let (a, b) = ([1.0, 2.0, 3.0, NAN, 1.0, NAN], [2.0, 2.0, 1.0, 1.0, NAN, NAN]);
    let from_third = |values: [f32; 3]| [&values[..], &[1.0; 3]].concat();
    for gpu in gpus() {
        let [y, da, db] = of_pairs(&gpu, Var::maximum, &a, &b);
        assert!(y[..3] == [2.0, 2.0, 3.0] && y[3..].iter().all(|y| y.is_nan()), "{y:?}");
        assert_eq!((da, db), (from_third([0.0, 0.5, 1.0]), from_third([1.0, 0.5, 0.0])));
        let [y, da, db] = of_pairs(&gpu, Var::minimum, &a, &b);
        assert!(y[..3] == [1.0, 2.0, 1.0] && y[3..].iter().all(|y| y.is_nan()), "{y:?}");
        assert_eq!((da, db), (from_third([1.0, 0.5, 0.0]), from_third([0.0, 0.5, 1.0])));
    }
}

/// Else a network that makes NaN would be trained on by gradients that look sound.
#[test]
fn the_gradient_of_a_loss_of_nan_is_nan() {
    type Loss = fn(&Var, &Var) -> Var;
    let losses: [(&str, Loss); 6] = [
        ("mse", |x, t| x.mse_loss_with(Reduction::None, t)),
        ("smooth_l1", |x, t| x.smooth_l1_loss_with(SmoothL1Loss::new().reduction(Reduction::None), t)),
        ("huber", |x, t| x.huber_loss_with(HuberLoss::new().delta(2.0).reduction(Reduction::None), t)),
        ("bce", |x, t| x.binary_cross_entropy_with(Reduction::None, t)),
        ("bce_with_logits", |x, t| {
            x.binary_cross_entropy_with_logits_with(BCEWithLogitsLoss::new().reduction(Reduction::None), t)
        }),
        ("bce_with_logits of weights", |x, t| {
            let weight = x.graph().parameter("weight", [1], Init::Constant(2.0)).detach();
            let options = BCEWithLogitsLoss::new().pos_weight(&weight).reduction(Reduction::None);
            x.binary_cross_entropy_with_logits_with(options, t)
        }),
    ];
    for gpu in gpus() {
        for (name, loss) in losses {
            let [y, dx, _] = of_pairs(&gpu, loss, &[NAN, NAN, NAN, 0.5], &[0.0, 0.25, 1.0, 0.25]);
            assert!(y[..3].iter().chain(&dx[..3]).all(|x| x.is_nan()), "{name}: {y:?}, {dx:?}");
            assert!(y[3].is_finite() && dx[3].is_finite() && dx[3] != 0.0, "{name}: {y:?}, {dx:?}");
        }
    }
}

#[test]
fn slopes_that_are_no_channels_are_refused() {
    for (shape, slopes) in [(&[4, 1][..], 3), (&[4, 1, 5], 3), (&[4, 2, 5], 3), (&[1], 2), (&[2, 3], 2)] {
        let graph = Graph::new();
        let y = graph.input("x", shape).prelu(PReLU::new().num_parameters(slopes));
        let error = graph.check().unwrap_err();
        assert!(matches!(&error, Error::Shape { layer, .. } if *layer == y.name()), "{error}");
    }
    let graph = Graph::new();
    for (at, shape) in [&[4, 3][..], &[3], &[2, 3, 1, 5]].into_iter().enumerate() {
        let x = graph.input(&format!("x{at}"), shape);
        assert_eq!(x.prelu(PReLU::new().num_parameters(3)).shape(), shape);
        assert_eq!(x.prelu(PReLU::new()).shape(), shape);
    }
    graph.check().unwrap();
}
