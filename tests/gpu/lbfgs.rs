//! L-BFGS: what it reaches, what it costs, and what a failure leaves.

use gradus::layout::Layout;
use gradus::optim::{LBFGS, LbfgsOptimizer, LbfgsState, LbfgsStop, LineSearch};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde_json::json;

use crate::common::{bits, gpu, gpu_with, noises, padding, read_all};
use crate::grad_examples::run;

/// Rosenbrock's function and its gradient.
#[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
fn rosenbrock(x: &[f32]) -> (f64, Vec<f32>) {
    let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
    for i in 0..x.len() - 1 {
        let (valley, slope) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        value += 100.0 * valley * valley + slope * slope;
        gradient[i] -= 400.0 * x[i] * valley + 2.0 * slope;
        gradient[i + 1] += 200.0 * valley;
    }
    (value, gradient.into_iter().map(|g| g as f32).collect())
}

fn closure(params: &mut ParamStore) -> Result<f64, Error> {
    let (value, gradient) = rosenbrock(&read_all(params));
    params.write_grads(&gradient)?;
    Ok(value)
}

fn valley(gpu: &Gpu, len: usize) -> ParamStore {
    let start: Vec<f32> = [-1.2, 1.0].into_iter().cycle().take(len).collect();
    let (one, two) = start.split_at(len / 3);
    ParamStore::builder()
        .group("a", |g| g.tensor("one", [one.len()], one))
        .group("b", |g| g.tensor("two", [two.len()], two))
        .build(gpu)
        .unwrap()
}

fn wolfe() -> LBFGS {
    LBFGS { line_search_fn: Some(LineSearch::StrongWolfe), ..LBFGS::default() }
}

fn every_search() -> [LBFGS; 5] {
    let optax = |search| LBFGS { line_search_fn: search, history_size: 3, ..LBFGS::optax() };
    [
        LBFGS { lr: 0.1, history_size: 5, max_iter: 3, ..LBFGS::default() },
        LBFGS { history_size: 5, max_iter: 4, ..wolfe() },
        LBFGS { lr: 0.1, ..optax(None) },
        optax(Some(LineSearch::Backtracking)),
        optax(Some(LineSearch::Zoom)),
    ]
}

/// `torch.optim.LBFGS` with `line_search_fn="strong_wolfe"` needs 288 closures in f32, to 4.3e-10, and 290 in f64, to
/// 1.1e-10.
#[test]
fn it_reaches_the_end_of_rosenbrocks_valley() {
    let Some(gpu) = gpu() else { return };
    let mut params = valley(&gpu, 50);
    let mut optimizer = wolfe().build(&params).unwrap();
    let mut loss = f64::INFINITY;
    for _ in 0..20 {
        loss = optimizer.step(&mut params, closure).unwrap().last_loss;
        if loss <= 1e-8 {
            break;
        }
    }
    println!("Rosenbrock in 50 dimensions: {loss:.1e} after {} closures", optimizer.func_evals());
    assert!(loss <= 1e-8, "{loss}");
    assert!(optimizer.func_evals() <= 2 * 288, "{} closures", optimizer.func_evals());
    assert!(read_all(&params).iter().all(|x| (x - 1.0).abs() < 1e-3));
}

#[test]
fn runs_repeat_bit_for_bit_and_padding_stays_zero() {
    let Some(gpu) = gpu() else { return };
    for options in every_search() {
        let run = || {
            let mut params = valley(&gpu, 700);
            let mut optimizer = options.clone().build(&params).unwrap();
            let steps: Vec<_> = (0..8).map(|_| optimizer.step(&mut params, closure).unwrap()).collect();
            assert!(padding(&params).iter().all(|x| *x == 0.0), "{options:?}");
            (bits(&read_all(&params)), steps, optimizer.func_evals())
        };
        let (once, again) = (run(), run());
        assert_eq!(once, again, "{options:?}");
        assert!(once.1[7].last_loss < once.1[0].loss, "{options:?}: {:?}", once.1);
    }
}

#[test]
fn a_closure_costs_one_read_back_and_makes_nothing() {
    let Some(gpu) = gpu() else { return };
    for options in every_search() {
        let mut params = valley(&gpu, 700);
        let mut optimizer = options.clone().build(&params).unwrap();
        // Without a read-back of its own.
        let quadratic = |params: &mut ParamStore, at: &mut f32| -> Result<f64, Error> {
            *at *= 0.9;
            let gradient: Vec<f32> = noises(3, 700).into_iter().map(|g| g * *at).collect();
            params.write_grads(&gradient)?;
            Ok(f64::from(*at))
        };
        let mut at = 1.0;
        optimizer.step(&mut params, |params| quadratic(params, &mut at)).unwrap();
        let before = gpu.counters();
        let mut calls = 0;
        for _ in 0..3 {
            let step = optimizer.step(&mut params, |params| {
                calls += 1;
                quadratic(params, &mut at)
            });
            assert!(step.unwrap().evaluations >= 1);
        }
        let count = gpu.counters().since(&before);
        assert_eq!(count.read_backs, calls, "{options:?}");
        let made = (count.allocations, count.pipelines, count.bind_groups, count.live_bytes);
        assert_eq!(made, (0, 0, 0, 0), "{options:?}");
    }
}

#[test]
fn windows_and_buffers_change_only_rounding() {
    let small = GpuOptions {
        max_binding_bytes: Some(65_536),
        max_buffer_bytes: Some(3 * 65_536),
        ..Default::default()
    };
    let ends: Vec<(Vec<f32>, usize)> = [GpuOptions::default(), small]
        .into_iter()
        .filter_map(gpu_with)
        .map(|gpu| {
            let data = noises(1, 70_000);
            let mut params = ParamStore::builder()
                .tensor("a", [100], &data[..100])
                .tensor("b", [69_900], &data[100..])
                .build(&gpu)
                .unwrap();
            let mut optimizer = LBFGS { history_size: 3, ..wolfe() }.build(&params).unwrap();
            optimizer
                .step(&mut params, |params| -> Result<f64, Error> {
                    let (mut value, mut gradient) = (0.0, Vec::new());
                    for (i, x) in read_all(params).into_iter().enumerate() {
                        let steep = 1.0 + (i % 7) as f32;
                        value += 0.5 * f64::from(steep * (x - 1.0) * (x - 1.0));
                        gradient.push(steep * (x - 1.0));
                    }
                    params.write_grads(&gradient)?;
                    Ok(value)
                })
                .unwrap();
            (read_all(&params), params.layout().windows().count())
        })
        .collect();
    let [whole, cut] = &ends[..] else { return };
    assert_eq!((whole.1, cut.1), (1, 70_000_usize.div_ceil(Layout::WINDOW_ALIGN)));
    assert!(whole.0.iter().zip(&cut.0).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(whole.0.iter().all(|x| (x - 1.0).abs() < 1e-2), "it does not converge");
}

#[test]
fn frozen_tensors_stay_and_take_no_part() {
    let Some(gpu) = gpu() else { return };
    let mut params = valley(&gpu, 30);
    let mut optimizer = LBFGS { max_iter: 5, ..wolfe() }.build(&params).unwrap();
    optimizer.step(&mut params, closure).unwrap();
    assert!(optimizer.remembered() > 0);
    params.freeze("two").unwrap();
    let two = params.read("two").unwrap();
    // Where a frozen gradient is not even a number.
    let step = optimizer.step(&mut params, |params| -> Result<f64, Error> {
        let one = params.read("one")?;
        let (value, mut gradient) = rosenbrock(&one);
        gradient.resize(30, f32::NAN);
        params.write_grads(&gradient)?;
        Ok(value)
    });
    let step = step.unwrap();
    assert!(step.last_loss < step.loss, "{step:?}");
    assert_eq!(bits(&params.read("two").unwrap()), bits(&two));
    params.freeze("one").unwrap();
    params.write_grads(&[f32::NAN; 30]).unwrap();
    let all = optimizer.step(&mut params, |_| -> Result<f64, Error> { Ok(3.0) }).unwrap();
    assert_eq!((all.stop, all.last_loss), (LbfgsStop::Gradient, 3.0));
}

/// Takes steps until the closure has been called `good` times, then gives what `bad` makes.
fn failing(
    optimizer: &mut LbfgsOptimizer,
    params: &mut ParamStore,
    good: u64,
    bad: impl Fn(&mut ParamStore) -> Result<f64, Error>,
) -> Error {
    let mut calls = 0;
    for _ in 0..20 {
        let step = optimizer.step(params, |params| {
            calls += 1;
            if calls > good { bad(params) } else { closure(params) }
        });
        if let Err(error) = step {
            return error;
        }
    }
    panic!("no step failed");
}

#[test]
fn a_failure_leaves_the_last_good_point_and_the_next_step_goes_on() {
    let Some(gpu) = gpu() else { return };
    for options in every_search() {
        for good in [1, 2, 5, 6] {
            let mut params = valley(&gpu, 30);
            let mut optimizer = options.clone().build(&params).unwrap();
            let start = closure(&mut params).unwrap();
            let error = failing(&mut optimizer, &mut params, good, |_| Err(Error::Mismatch("mine".into())));
            assert_eq!(error, Error::Mismatch("mine".into()));
            let kept = closure(&mut params).unwrap();
            assert!(kept.is_finite() && kept <= start, "{options:?} {good}: {start} {kept}");
            for _ in 0..3 {
                optimizer.step(&mut params, closure).unwrap();
            }
            assert!(closure(&mut params).unwrap() < kept, "{options:?} {good}");
        }
        for bad in [f64::NAN, f64::INFINITY] {
            let mut params = valley(&gpu, 30);
            let mut optimizer = options.clone().build(&params).unwrap();
            let error = failing(&mut optimizer, &mut params, 4, |_| Ok(bad));
            assert!(matches!(error, Error::NonFinite(_)), "{options:?}: {error}");
            assert!(closure(&mut params).unwrap().is_finite(), "{options:?}");
            optimizer.step(&mut params, closure).unwrap();
        }
        let mut params = valley(&gpu, 30);
        let mut optimizer = options.clone().build(&params).unwrap();
        let error = failing(&mut optimizer, &mut params, 4, |params| {
            params.write_grads(&[f32::NAN; 30])?;
            Ok(1.0)
        });
        assert!(matches!(error, Error::NonFinite(_)), "{options:?}: {error}");
        assert!(read_all(&params).iter().all(|x| x.is_finite()), "{options:?}");
    }
}

#[test]
fn an_async_closure_does_the_same_and_may_be_dropped() {
    let Some(gpu) = gpu() else { return };
    let (mut one, mut two) = (valley(&gpu, 30), valley(&gpu, 30));
    let mut first = LBFGS { max_iter: 4, ..wolfe() }.build(&one).unwrap();
    let mut second = LBFGS { max_iter: 4, ..wolfe() }.build(&two).unwrap();
    for _ in 0..3 {
        let step = first.step(&mut one, closure).unwrap();
        let same = pollster::block_on(second.step_async(&mut two, async |params| {
            let mut all = params.read_async("one").await?;
            all.extend(params.read_async("two").await?);
            let (value, gradient) = rosenbrock(&all);
            params.write_grads(&gradient)?;
            Ok::<f64, Error>(value)
        }));
        assert_eq!(step, same.unwrap());
    }
    assert_eq!(bits(&read_all(&one)), bits(&read_all(&two)));
    let good = bits(&read_all(&two));
    {
        let mut calls = 0;
        let step = second.step_async(&mut two, async |params| {
            calls += 1;
            if calls == 2 {
                std::future::pending::<()>().await;
            }
            closure(params)
        });
        let mut step = std::pin::pin!(step);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..1000 {
            assert!(step.as_mut().poll(&mut context).is_pending());
            gpu.wait().unwrap();
        }
    }
    assert_ne!(bits(&read_all(&two)), good);
    let mut seen = None;
    second
        .step(&mut two, |params| {
            seen.get_or_insert(bits(&read_all(params)));
            closure(params)
        })
        .unwrap();
    assert_eq!(seen, Some(good));
}

#[test]
fn a_state_dict_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    for options in every_search() {
        // So that the memory has gone round.
        for steps in [0, 1, 4, 7] {
            let mut params = valley(&gpu, 700);
            let mut optimizer = options.clone().build(&params).unwrap();
            for _ in 0..steps {
                optimizer.step(&mut params, closure).unwrap();
            }
            let text = serde_json::to_string(&optimizer.read_state_dict(&params).unwrap()).unwrap();
            let dict: LbfgsState = serde_json::from_str(&text).unwrap();
            let mut copy = valley(&gpu, 700);
            for name in ["one", "two"] {
                let values = params.read(name).unwrap();
                copy.write(name, &values).unwrap();
            }
            let mut other = LBFGS::default().build(&copy).unwrap();
            other.load_state_dict(&copy, &dict).unwrap();
            assert_eq!(other.read_state_dict(&copy).unwrap(), dict, "{options:?} {steps}");
            for _ in 0..4 {
                let step = optimizer.step(&mut params, closure).unwrap();
                assert_eq!(other.step(&mut copy, closure).unwrap(), step, "{options:?} {steps}");
            }
            assert_eq!(bits(&read_all(&params)), bits(&read_all(&copy)), "{options:?} {steps}");
        }
    }
}

/// The closure negated.
fn hill(params: &mut ParamStore) -> Result<f64, Error> {
    let (value, gradient) = rosenbrock(&read_all(params));
    params.write_grads(&gradient.iter().map(|slope| -slope).collect::<Vec<_>>())?;
    Ok(-value)
}

#[test]
fn the_maximum_of_a_hill_is_the_minimum_of_the_valley_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    for down in [LBFGS { lr: 0.1, history_size: 5, max_iter: 3, ..LBFGS::default() }, wolfe()] {
        let up = LBFGS { maximize: true, ..down.clone() };
        let (mut low, mut high) = (valley(&gpu, 700), valley(&gpu, 700));
        let (mut descent, mut ascent) = (down.build(&low).unwrap(), up.clone().build(&high).unwrap());
        for turn in 0..8 {
            let (want, got) =
                (descent.step(&mut low, closure).unwrap(), ascent.step(&mut high, hill).unwrap());
            assert_eq!((got.loss, got.last_loss), (-want.loss, -want.last_loss), "{up:?}, step {turn}");
            assert_eq!((got.stop, got.evaluations), (want.stop, want.evaluations), "{up:?}, step {turn}");
            assert_eq!(bits(&read_all(&low)), bits(&read_all(&high)), "{up:?}, step {turn}");
            // The state is that of the negated problem, as torch's.
            let (want, got) =
                (descent.read_state_dict(&low).unwrap(), ascent.read_state_dict(&high).unwrap());
            assert_eq!(got.state, want.state, "{up:?}, step {turn}");
            assert_eq!(got.param_groups[0].options["maximize"], json!(true));
            // Into another one, which goes on in its stead.
            ascent = LBFGS::default().build(&high).unwrap();
            ascent.load_state_dict(&high, &got).unwrap();
            assert_eq!(ascent.options(), &up);
        }
    }
}

#[test]
fn a_hill_that_is_not_finite_is_told_as_the_closure_gave_it() {
    let Some(gpu) = gpu() else { return };
    let mut params = valley(&gpu, 30);
    let mut optimizer = LBFGS { maximize: true, ..wolfe() }.build(&params).unwrap();
    let said = "LBFGS: the loss is inf: lower the learning rate";
    let error = optimizer.step(&mut params, |params| hill(params).map(|_| f64::INFINITY)).unwrap_err();
    assert!(error.to_string().starts_with(said), "{error}");
    let start = bits(&read_all(&params));
    let mut calls = 0;
    let error = optimizer
        .step(&mut params, |params| {
            calls += 1;
            hill(params).map(|value| if calls == 2 { f64::INFINITY } else { value })
        })
        .unwrap_err();
    assert!(error.to_string().starts_with(said), "{error}");
    assert_eq!(bits(&read_all(&params)), start);
    let step = optimizer.step(&mut params, hill).unwrap();
    assert!(step.last_loss > step.loss, "{step:?}");
}

#[test]
fn a_state_of_torch_alone_goes_on_nearly_the_same() {
    let Some(gpu) = gpu() else { return };
    let mut params = valley(&gpu, 30);
    let mut optimizer = LBFGS { max_iter: 3, ..wolfe() }.build(&params).unwrap();
    optimizer.step(&mut params, closure).unwrap();
    let mut dict = optimizer.read_state_dict(&params).unwrap();
    dict.state.get_mut("one").unwrap().products = None;
    let at = read_all(&params);
    optimizer.step(&mut params, closure).unwrap();
    let want = read_all(&params);
    params.write("one", &at[..10]).unwrap();
    params.write("two", &at[10..]).unwrap();
    optimizer.load_state_dict(&params, &dict).unwrap();
    optimizer.step(&mut params, closure).unwrap();
    assert!(read_all(&params).iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-3));
}

#[test]
fn a_state_of_another_kind_is_refused_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let mut params = valley(&gpu, 30);
    let mut optimizer = LBFGS { max_iter: 3, ..wolfe() }.build(&params).unwrap();
    for _ in 0..3 {
        optimizer.step(&mut params, closure).unwrap();
    }
    assert!(optimizer.remembered() > 0);
    let good = optimizer.read_state_dict(&params).unwrap();
    type Change = fn(&mut LbfgsState);
    let rows: [(Change, &str); 13] = [
        (|dict| dict.optimizer = "SGD".into(), "it is of SGD, this optimizer is LBFGS"),
        (|dict| dict.param_groups.truncate(1), "it has the groups [\"a\"], expected [\"a\", \"b\"]"),
        (|dict| dict.param_groups[1].params[0] = "three".into(), "has the tensors [\"three\"]"),
        (
            |dict| drop(dict.param_groups[1].options.insert("lr".into(), json!(2))),
            "other options than the first",
        ),
        (|dict| drop(dict.param_groups[0].options.insert("lr".into(), json!(-2))), "lr must be finite"),
        (|dict| drop(dict.state.insert("two".into(), Default::default())), "expected of \"one\" alone"),
        (|dict| of(dict).d.as_mut().unwrap().truncate(29), "d has 29 elements, expected 30"),
        (|dict| of(dict).old_dirs.clear(), "old_dirs has 0 vectors, old_stps"),
        (|dict| of(dict).prev_loss = None, "come together"),
        (|dict| of(dict).ro[0] = f64::NAN, "is not finite"),
        (
            |dict| of(dict).func_evals = 1 << 63,
            "func_evals must be at most 9223372036854775807, got 9223372036854775808",
        ),
        (|dict| of(dict).n_iter = u64::MAX, "n_iter must be at most 9223372036854775807"),
        (|dict| of(dict).frozen.push("three".into()), "unknown tensor \"three\""),
    ];
    for (change, message) in rows {
        let mut dict = good.clone();
        change(&mut dict);
        let error = optimizer.load_state_dict(&params, &dict).expect_err(message);
        assert!(matches!(error, Error::StateDict(_)), "{error}");
        assert!(error.to_string().contains(message), "{error} lacks {message}");
    }
    assert_eq!(optimizer.read_state_dict(&params).unwrap(), good);
    let other = valley(&gpu, 30);
    assert!(matches!(optimizer.load_state_dict(&other, &good), Err(Error::Mismatch(_))));
    let mut other = other;
    assert!(matches!(optimizer.step(&mut other, closure), Err(Error::Mismatch(_))));
}

#[test]
fn the_example_gains() {
    if gpu().is_some() {
        let trace = run("lbfgs", &[]);
        assert!(trace.lines().last().unwrap().contains("more closures"), "{trace}");
    }
}

fn of(dict: &mut LbfgsState) -> &mut gradus::optim::LbfgsTensorState {
    dict.state.get_mut("one").unwrap()
}
