mod refusals;

use std::ops::ControlFlow;

use super::*;
use crate::search::{TestFunction, TestProblem};

fn problem(function: TestFunction, dimensions: usize) -> TestProblem {
    function.in_dimensions(dimensions).unwrap()
}

fn with(method: Minimizer) -> MinimizeOptions<'static> {
    MinimizeOptions::new().method(method)
}

/// Methods in the dimensions of their kind: smooth ones in ten, those without gradients in three.
fn dimensions(method: Minimizer) -> usize {
    if method.uses_gradient() { 10 } else { 3 }
}

#[test]
fn every_method_finds_the_minimum_of_a_shifted_bowl() {
    for &method in Minimizer::ALL {
        let n = dimensions(method);
        let shift: Vec<f64> = (0..n).map(|i| 1.5 - 0.4 * i as f64).collect();
        let bowl = problem(TestFunction::Sphere, n).shifted(&shift).unwrap();
        let found = minimize_scalar_function(|x| bowl.value(x), &vec![3.0; n], with(method)).unwrap();
        assert!(found.success, "{}: {}", method.name(), found.message);
        assert!(found.fun < 1e-6, "{}: {:e}", method.name(), found.fun);
        assert_eq!(found.max_violation, 0.0);
        assert_eq!(found.history.last().unwrap().fun, found.fun);
        assert!(found.history.windows(2).all(|pair| pair[1].fun <= pair[0].fun), "{}", method.name());
    }
}

#[test]
fn every_method_follows_rosenbrocks_valley_with_given_gradients_and_with_differences() {
    for &method in Minimizer::ALL.iter().filter(|method| **method != Minimizer::Cobyla) {
        let valley = problem(TestFunction::Rosenbrock, 2);
        let value = |x: &[f64]| valley.value(x);
        let gradient = |x: &[f64]| valley.gradient(x);
        let rows = [
            ("forward", with(method)),
            ("central", with(method).differences(Differences::Central)),
            ("given", with(method).gradient(gradient)),
        ];
        for (name, options) in rows {
            let found = minimize_scalar_function(value, &[-1.2, 1.0], options).unwrap();
            assert!(found.fun < 2e-4, "{}, {name}: {:e} {}", method.name(), found.fun, found.message);
            assert_eq!(found.njev > 0, name == "given" && method.uses_gradient());
            if method.uses_gradient() {
                assert!(found.jac.is_some(), "{}, {name}", method.name());
            }
        }
    }
}

#[test]
fn newtons_methods_take_a_product_with_the_hessian() {
    let valley = problem(TestFunction::Rosenbrock, 2);
    let product = |x: &[f64], v: &[f64]| {
        let (a, b) = (1200.0 * x[0] * x[0] - 400.0 * x[1] + 2.0, -400.0 * x[0]);
        vec![a * v[0] + b * v[1], b * v[0] + 200.0 * v[1]]
    };
    for method in [Minimizer::NewtonCg, Minimizer::TrustRegion] {
        let options = with(method).gradient(|x| valley.gradient(x)).hessian_product(product);
        let found = minimize_scalar_function(|x| valley.value(x), &[-1.2, 1.0], options).unwrap();
        assert!(found.success && found.fun < 1e-8, "{}: {:e}", method.name(), found.fun);
        let without = with(method).gradient(|x| valley.gradient(x));
        let longer = minimize_scalar_function(|x| valley.value(x), &[-1.2, 1.0], without).unwrap();
        assert!(longer.njev > found.njev, "{}: {} and {}", method.name(), longer.njev, found.njev);
    }
}

#[test]
fn a_budget_is_never_exceeded_and_the_best_point_is_returned() {
    let rough = problem(TestFunction::Ackley, 4);
    for &method in Minimizer::ALL {
        for budget in [1, 2, 3, 4, 5, 6, 7, 17, 100] {
            let (mut calls, mut best) = (0, f64::INFINITY);
            let fun = |x: &[f64]| {
                calls += 1;
                best = best.min(rough.value(x));
                rough.value(x)
            };
            let options = with(method).max_evaluations(budget);
            let found = minimize_scalar_function(fun, &[7.3, -4.1, 2.2, 9.9], options).unwrap();
            assert!(calls <= budget, "{}: {calls} of {budget}", method.name());
            assert_eq!(found.nfev, calls, "{}", method.name());
            assert_eq!(found.fun, rough.value(&found.x), "{}", method.name());
            // Points that a difference asks for are none of the method's own.
            assert!(found.fun <= best + 1e-4, "{}: {} of {best}", method.name(), found.fun);
            if found.status == MinimizeStatus::MaxEvaluations {
                assert_eq!(calls, budget, "{}", method.name());
                assert!(!found.success);
            }
        }
    }
}

#[test]
fn gradient_calls_are_bounded_as_well() {
    let valley = problem(TestFunction::Rosenbrock, 6);
    for &method in Minimizer::ALL.iter().filter(|method| method.uses_gradient()) {
        let mut calls = 0;
        let gradient = |x: &[f64]| {
            calls += 1;
            valley.gradient(x)
        };
        let options = with(method).gradient(gradient).max_evaluations(9);
        let found = minimize_scalar_function(|x| valley.value(x), &[-1.5; 6], options).unwrap();
        assert_eq!(found.njev, calls);
        assert!(found.nfev <= 9 && calls <= 9, "{}: {} and {calls}", method.name(), found.nfev);
    }
}

#[test]
fn bounds_hold_at_every_evaluation_and_at_the_result() {
    // The free minimum is outside, the second variable is fixed, the third has one bound.
    let bounds = [(-2.0, 0.5), (1.25, 1.25), (0.75, f64::INFINITY)];
    let want = [0.5, 1.25, 1.0];
    for &method in Minimizer::ALL.iter().filter(|method| method.takes_bounds()) {
        let mut outside = 0;
        let fun = |x: &[f64]| {
            outside += usize::from(!x.iter().zip(bounds).all(|(x, (low, high))| (low..=high).contains(x)));
            (x[0] - 1.0).powi(2) + (x[1] - 1.0).powi(2) + (x[2] - 1.0).powi(2) + 0.1 * x[0] * x[2]
        };
        let found = minimize_scalar_function(fun, &[-1.0, 1.25, 4.0], with(method).bounds(&bounds)).unwrap();
        assert!(outside == 0 || method == Minimizer::Cobyla, "{}: {outside} outside", method.name());
        for ((x, (low, high)), want) in found.x.iter().zip(bounds).zip(want) {
            assert!((low - 1e-6..=high + 1e-6).contains(x), "{}: {:?}", method.name(), found.x);
            assert!((x - want).abs() < 0.03, "{}: {:?}", method.name(), found.x);
        }
        assert!(found.success, "{}: {}", method.name(), found.message);
    }
}

#[test]
fn constraints_hold_at_the_result() {
    // Nocedal and Wright 2006, example 12.1 turned: the nearest point of a disc to (2, 2), on a line, in a half-plane.
    let distance = |x: &[f64]| (x[0] - 2.0).powi(2) + (x[1] - 2.0).powi(2);
    let disc = || Constraint::inequality(|x| 1.0 - x[0] * x[0] - x[1] * x[1]);
    let half = 0.5_f64.sqrt();
    for method in [Minimizer::Cobyla, Minimizer::Slsqp] {
        let solve = |constraints: Vec<Constraint<'static>>| {
            let options = constraints.into_iter().fold(with(method), MinimizeOptions::constraint);
            let found = minimize_scalar_function(distance, &[-0.3, 0.4], options).unwrap();
            assert!(found.success && found.max_violation <= 1e-6, "{}: {found:?}", method.name());
            found.x
        };
        let near = |x: &[f64], want: [f64; 2]| {
            let far = x.iter().zip(want).map(|(x, want)| (x - want).abs()).fold(0.0, f64::max);
            assert!(far < 1e-3, "{}: {x:?}, not {want:?}", method.name());
        };
        near(&solve(vec![disc()]), [half, half]);
        near(&solve(vec![disc(), Constraint::inequality(|x| 0.6 - x[0])]), [0.6, 0.8]);
        near(&solve(vec![Constraint::equality(|x| x[0] + 2.0 * x[1] - 1.0)]), [1.0, 0.0]);
        let with_slopes = disc().gradient(|x| vec![-2.0 * x[0], -2.0 * x[1]]);
        near(&solve(vec![with_slopes, Constraint::equality(|x| x[0] - x[1])]), [half, half]);
    }
}

#[test]
fn constraints_that_contradict_each_other_are_no_success() {
    for method in [Minimizer::Cobyla, Minimizer::Slsqp] {
        let options = with(method)
            .constraint(Constraint::inequality(|x| x[0] - 1.0))
            .constraint(Constraint::inequality(|x| -1.0 - x[0]));
        let found = minimize_scalar_function(|x| x[0] * x[0], &[0.5], options).unwrap();
        assert!(!found.success && found.max_violation >= 0.9, "{}: {found:?}", method.name());
        assert_eq!(found.status, MinimizeStatus::Infeasible, "{}: {}", method.name(), found.message);
    }
}

#[test]
fn what_is_not_finite_is_ranked_last_and_counted() {
    for &method in Minimizer::ALL {
        for bad in [f64::NAN, f64::INFINITY] {
            let fun = |x: &[f64]| if x[0] < 0.5 { bad } else { (x[0] - 0.75).powi(2) + x[1] * x[1] };
            let found = minimize_scalar_function(fun, &[3.0, 2.0], with(method)).unwrap();
            assert!(found.fun.is_finite() && found.x[0] >= 0.5, "{}: {found:?}", method.name());
            assert!(found.fun < 1.0, "{}: {found:?}", method.name());
        }
        let mut calls = 0;
        let every_third = |x: &[f64]| {
            calls += 1;
            if calls % 3 == 0 { f64::NAN } else { x[0] * x[0] + x[1] * x[1] }
        };
        let options = with(method).max_evaluations(200);
        let found = minimize_scalar_function(every_third, &[3.0, 2.0], options).unwrap();
        assert_eq!(found.not_finite, found.nfev / 3, "{}", method.name());
        assert!(found.fun <= 13.0, "{}", method.name());
    }
}

#[test]
fn an_objective_that_is_never_finite_is_an_error() {
    for &method in Minimizer::ALL {
        for bad in [f64::NAN, f64::INFINITY] {
            let refused = minimize_scalar_function(|_| bad, &[1.0, 2.0], with(method).max_evaluations(50));
            let message = refused.unwrap_err().to_string();
            assert!(message.starts_with("objective: it was NaN or infinite at all "), "{message}");
        }
    }
}

#[test]
fn an_objective_without_a_bottom_ends_there() {
    for &method in Minimizer::ALL {
        let fun = |x: &[f64]| if x[0] < 0.0 { f64::NEG_INFINITY } else { x[0] };
        let found = minimize_scalar_function(fun, &[0.3], with(method)).unwrap();
        assert_eq!((found.status, found.success), (MinimizeStatus::Unbounded, false), "{}", method.name());
        assert!(found.fun == f64::NEG_INFINITY && found.x[0] < 0.0, "{}", method.name());
        // One that falls for ever is ended by the budget, or by the largest numbers there are.
        let found = minimize_scalar_function(|x| -x[0], &[0.3], with(method).max_evaluations(300)).unwrap();
        assert!(found.nfev <= 300 && found.fun < 0.0, "{}: {found:?}", method.name());
    }
}

#[test]
fn extreme_objectives_and_starts_end_without_a_panic() {
    let functions: [fn(&[f64]) -> f64; 8] = [
        |_| 0.0,
        |x| x[0] * 1e300,
        |x| x[0] * x[0] * 1e-300,
        |x| x[0].abs().sqrt(),
        |x| (x[0] * 1e9).floor(),
        |x| if x[0] == 0.0 { -1.0 } else { 1.0 / x[0].abs() },
        |x| x[0].exp(),
        |x| if x[0] > 0.0 { x[0].ln() } else { f64::NAN },
    ];
    for &method in Minimizer::ALL {
        for (number, fun) in functions.iter().enumerate() {
            for x0 in [vec![0.0], vec![1.0, -1.0], vec![1e150, 1e-150, 3.0], vec![f64::MAX]] {
                for constrained in [false, true] {
                    let mut options = with(method).max_evaluations(200);
                    if constrained && method.takes_constraints() {
                        options = options
                            .constraint(Constraint::inequality(|x| if x[0] > 0.2 { 1.0 } else { f64::NAN }));
                    }
                    match minimize_scalar_function(fun, &x0, options) {
                        Ok(found) => assert!(!found.fun.is_nan() && found.nfev <= 200),
                        Err(error) => assert!(error.to_string().contains("objective"), "{number}: {error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn many_starts_share_the_budget_and_find_what_one_does_not() {
    let rough = problem(TestFunction::Rastrigin, 2);
    let bounds = rough.bounds();
    for method in [Minimizer::Bfgs, Minimizer::LbfgsB, Minimizer::NelderMead] {
        let start = [3.3, -2.7];
        let run = |options| minimize_scalar_function(|x| rough.value(x), &start, options).unwrap();
        let one = run(with(method));
        let many = || with(method).multi_start(40, &bounds, 5).max_evaluations(4000);
        let found = run(many());
        assert!(one.fun > 4.0 && found.fun < 2.5, "{}: {} and {}", method.name(), one.fun, found.fun);
        assert!(found.success && found.nfev <= 4000);
        assert_eq!(run(many()), found, "the same seed");
        assert_eq!(run(with(method).multi_start(1, &bounds, 9)), one, "{}", method.name());
        let few = run(with(method).multi_start(40, &bounds, 5).max_evaluations(7));
        assert_eq!((few.nfev, few.status), (7, MinimizeStatus::MaxEvaluations), "{}", method.name());
    }
}

#[test]
fn a_callback_sees_each_iteration_and_can_stop() {
    let valley = problem(TestFunction::Rosenbrock, 3);
    for &method in Minimizer::ALL {
        let mut seen = Vec::new();
        let callback = |progress: &MinimizeProgress<'_>| {
            assert_eq!(progress.fun, valley.value(progress.x));
            seen.push((progress.nit, progress.nfev));
            if progress.nit == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options = with(method).callback(callback);
        let found = minimize_scalar_function(|x| valley.value(x), &[-1.2, 1.0, 0.5], options).unwrap();
        assert_eq!(found.status, MinimizeStatus::Stopped, "{}: {}", method.name(), found.message);
        assert_eq!((found.nit, seen.len()), (4, 4), "{}", method.name());
        assert_eq!(seen[3], (4, found.nfev), "{}", method.name());
        let options = with(method).max_iterations(3);
        let found = minimize_scalar_function(|x| valley.value(x), &[-1.2, 1.0, 0.5], options).unwrap();
        assert_eq!((found.nit, found.status), (3, MinimizeStatus::MaxIterations), "{}", method.name());
    }
}

#[test]
fn the_method_follows_from_what_is_given() {
    let chosen = |options: MinimizeOptions<'_>| check::minimizer(&options);
    assert_eq!(chosen(MinimizeOptions::new()), Minimizer::Bfgs);
    assert_eq!(chosen(MinimizeOptions::new().bounds(&[(0.0, 1.0)])), Minimizer::LbfgsB);
    let constrained = MinimizeOptions::new().constraint(Constraint::equality(|x| x[0]));
    assert_eq!(chosen(constrained.bounds(&[(0.0, 1.0)])), Minimizer::Slsqp);
    assert_eq!(Minimizer::from_name("l-bfgs-b").unwrap(), Minimizer::LbfgsB);
    for &method in Minimizer::ALL {
        assert_eq!(Minimizer::from_name(method.name()).unwrap(), method);
    }
}
