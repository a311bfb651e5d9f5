use super::*;

/// The message of a refusal, which must come before the first evaluation.
fn refused(x0: &[f64], options: MinimizeOptions<'_>) -> String {
    let mut calls = 0;
    let fun = |x: &[f64]| {
        calls += 1;
        x[0]
    };
    let message = minimize_scalar_function(fun, x0, options).unwrap_err().to_string();
    assert_eq!(calls, 0, "{message}");
    message
}

#[test]
fn what_cannot_be_minimized_is_refused_before_the_first_evaluation() {
    let new = MinimizeOptions::new;
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let two = [0.5, 0.5];
    let rows = [
        (refused(&[], new()), "x0: expected 1 elements, got 0"),
        (refused(&[0.0, nan], new()), "x0[1] must be finite, got NaN"),
        (refused(&[inf], new()), "x0[0] must be finite, got inf"),
        (refused(&two, new().tol(0.0)), "tol must be finite and above 0, got 0"),
        (refused(&two, new().tol(nan)), "tol must be finite and above 0, got NaN"),
        (refused(&two, new().max_evaluations(0)), "max_evaluations must be at least 1, got 0"),
        (refused(&two, new().max_iterations(0)), "max_iterations must be at least 1, got 0"),
        (refused(&two, new().bounds(&[(0.0, 1.0)])), "bounds: expected 2 elements, got 1"),
        (
            refused(&two, new().bounds(&[(0.0, 1.0), (1.0, 0.0)])),
            "bounds[1] must be a lower bound and one at least as great, got (1, 0)",
        ),
        (
            refused(&two, new().bounds(&[(nan, 1.0), (0.0, 1.0)])),
            "bounds[0] must be a lower bound and one at least as great, got (NaN, 1)",
        ),
        (
            refused(&two, new().bounds(&[(inf, inf), (0.0, 1.0)])),
            "bounds[0] must be a lower bound and one at least as great, got (inf, inf)",
        ),
        (refused(&[0.5, 2.0], new().bounds(&[(0.0, 1.0); 2])), "x0[1] must be in its bounds [0, 1], got 2"),
        (
            refused(&two, new().method(Minimizer::Bfgs).bounds(&[(0.0, 1.0); 2])),
            "method BFGS: it takes no bounds; of the methods, L-BFGS-B, Nelder-Mead, Powell, COBYLA, SLSQP do",
        ),
        (
            refused(&two, new().method(Minimizer::Powell).constraint(Constraint::equality(|x| x[0]))),
            "method Powell: it takes no constraints; of the methods, COBYLA, SLSQP do",
        ),
        (refused(&two, new().multi_start(0, &[(0.0, 1.0); 2], 1)), "starts must be at least 1, got 0"),
        (
            refused(&two, new().multi_start(2, &[(0.0, 1.0)], 1)),
            "region of multi_start: expected 2 elements, got 1",
        ),
        (
            refused(&two, new().multi_start(2, &[(0.0, 1.0), (0.0, inf)], 1)),
            "region of multi_start[1] must be finite, to draw points from it, got (0, inf)",
        ),
        (
            refused(&two, new().bounds(&[(0.0, 1.0); 2]).multi_start(2, &[(0.0, 1.0), (0.0, 3.0)], 1)),
            "region of multi_start[1] must be within the bounds (0, 1), got (0, 3)",
        ),
    ];
    for (message, want) in rows {
        assert_eq!(message, want);
    }
    let message = Minimizer::from_name("LBFGSB").unwrap_err().to_string();
    assert!(message.starts_with("unknown method \"LBFGSB\", did you mean \"L-BFGS-B\"?"), "{message}");
}

#[test]
fn derivatives_of_another_length_or_not_finite_are_refused() {
    let fun = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let message = |options| minimize_scalar_function(fun, &[1.0, 2.0], options).unwrap_err().to_string();
    for &method in Minimizer::ALL.iter().filter(|method| method.uses_gradient()) {
        assert_eq!(message(with(method).gradient(|_| vec![1.0])), "gradient: expected 2 elements, got 1");
        let text = message(with(method).gradient(|_| vec![1.0, f64::NAN]));
        assert!(
            text.starts_with("gradient[1] at [") && text.ends_with("] must be finite, got NaN"),
            "{text}"
        );
    }
    for method in [Minimizer::NewtonCg, Minimizer::TrustRegion] {
        let options = with(method).hessian_product(|_, _| vec![1.0; 3]);
        assert_eq!(message(options), "hessian_product: expected 2 elements, got 3");
    }
    let crooked = Constraint::inequality(|x| x[0] - 1.5).gradient(|_| vec![]);
    let text = message(with(Minimizer::Slsqp).constraint(crooked));
    assert_eq!(text, "gradient of constraint 0: expected 2 elements, got 0");
}
