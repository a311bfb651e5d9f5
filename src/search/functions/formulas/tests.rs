use super::super::{TestFunction, TestProblem};

/// Each function in the dimensions that it has among these.
fn problems() -> Vec<TestProblem> {
    let all = TestFunction::ALL.iter();
    all.flat_map(|f| [1, 2, 3, 7].into_iter().filter_map(|n| f.in_dimensions(n).ok())).collect()
}

/// Points all over a box, no two alike; none on a crease.
fn points(problem: &TestProblem) -> Vec<Vec<f64>> {
    let (low, high) = problem.function().bounds();
    (0..40_u32)
        .map(|k| {
            let at = |i: usize| (0.137 + 0.618_034 * f64::from(k) + 0.414_214 * (i + 1) as f64).fract();
            (0..problem.dimensions()).map(|i| low + (high - low) * at(i)).collect()
        })
        .collect()
}

#[test]
fn gradients_are_those_of_the_values() {
    for problem in problems() {
        for x in points(&problem) {
            let gradient = problem.gradient(&x);
            let size = gradient.iter().fold(1.0_f64, |size, g| size.max(g.abs()));
            for (i, slope) in gradient.iter().enumerate() {
                let h = 1e-6 * x[i].abs().max(1.0);
                let (mut above, mut below) = (x.clone(), x.clone());
                above[i] += h;
                below[i] -= h;
                let difference = (problem.value(&above) - problem.value(&below)) / (above[i] - below[i]);
                let far = (difference - slope).abs();
                // Central differences: h^2 times the third derivative, and rounding of the values over h.
                let allowed = 2e-6 * size + 1e-9 * problem.value(&x).abs();
                assert!(far <= allowed, "{problem:?} at {x:?}, {i}: {slope} and {difference}");
            }
        }
    }
}

#[test]
fn known_minima_are_minima_and_nothing_in_the_box_is_lower() {
    for problem in problems() {
        let (low, high) = problem.function().bounds();
        for argmin in problem.argmins() {
            let value = problem.value(&argmin);
            assert!((value - problem.minimum()).abs() < 2e-10, "{problem:?}: {value}");
            assert!(argmin.iter().all(|x| (low..=high).contains(x)), "{problem:?}");
            let at_edge = |x: f64| x == low || x == high;
            for (x, slope) in argmin.iter().zip(problem.gradient(&argmin)) {
                let flat = slope.abs() < 1e-4 || (at_edge(*x) && slope * x.signum() < 0.0);
                assert!(flat, "{problem:?}: slope {slope} at {argmin:?}");
            }
        }
        for x in points(&problem) {
            assert!(problem.value(&x) > problem.minimum(), "{problem:?} at {x:?}");
        }
    }
}

#[test]
fn values_are_the_published_ones() {
    let value = |f: TestFunction, x: &[f64]| f.in_dimensions(x.len()).unwrap().value(x);
    let rows = [
        (TestFunction::Sphere, vec![3.0, -4.0], 25.0),
        (TestFunction::Rosenbrock, vec![-1.2, 1.0], 24.2),
        (TestFunction::Rastrigin, vec![0.5, 0.5], 40.5),
        (TestFunction::Ackley, vec![1.0, 1.0], 20.0 - 20.0 * (-0.2_f64).exp()),
        (TestFunction::Eggholder, vec![0.0, 0.0], -47.0 * 47.0_f64.sqrt().sin()),
        (TestFunction::Griewank, vec![std::f64::consts::PI], 2.0 + std::f64::consts::PI.powi(2) / 4000.0),
        (TestFunction::Schwefel, vec![0.0, 0.0, 0.0], 3.0 * 418.982_887_272_433_8),
        (TestFunction::Himmelblau, vec![0.0, 0.0], 170.0),
        (TestFunction::Multimodal, vec![100.0, 100.0], 0.0),
    ];
    for (function, x, want) in rows {
        let got = value(function, &x);
        assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "{}: {got}, not {want}", function.name());
    }
}

#[test]
fn a_shift_moves_the_function_and_its_minimum() {
    for problem in problems() {
        let shift: Vec<f64> = (0..problem.dimensions()).map(|i| 0.25 * (i as f64 + 1.0)).collect();
        let moved = problem.clone().shifted(&shift).unwrap();
        for x in points(&problem) {
            let y: Vec<f64> = x.iter().zip(&shift).map(|(x, shift)| x + shift).collect();
            let same = (moved.value(&y) - problem.value(&x)).abs() <= 1e-9 * problem.value(&x).abs().max(1.0);
            assert!(same, "{problem:?} at {x:?}");
        }
        let at: Vec<f64> = problem.argmins()[0].iter().zip(&shift).map(|(x, shift)| x + shift).collect();
        assert_eq!(moved.argmins()[0], at);
    }
}

#[test]
fn the_wgsl_is_valid() {
    for problem in problems() {
        let shift: Vec<f64> = (0..problem.dimensions()).map(|i| 1e-7 - 1e30 * i as f64).collect();
        for problem in [problem.clone(), problem.shifted(&shift).unwrap()] {
            // What a search declares for its objective.
            let frame = "fn x(i: u32) -> f32 { return f32(i); }";
            let text = format!("const DIMENSIONS: u32 = {}u;\n{frame}\n{}", shift.len(), problem.wgsl());
            let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
            let function = module.functions.iter().find(|(_, f)| f.name.as_deref() == Some("objective"));
            assert!(function.is_some(), "{text}");
            let flags = naga::valid::ValidationFlags::all();
            let mut validator = naga::valid::Validator::new(flags, naga::valid::Capabilities::empty());
            assert!(validator.validate(&module).is_ok(), "{text}");
        }
    }
}

#[test]
fn what_a_function_is_not_defined_for_is_refused() {
    let refusal = |f: TestFunction, n: usize| f.in_dimensions(n).unwrap_err().to_string();
    assert_eq!(refusal(TestFunction::Eggholder, 3), "dimensions of eggholder must be 2, got 3");
    assert_eq!(refusal(TestFunction::Rosenbrock, 1), "dimensions of rosenbrock must be at least 2, got 1");
    assert_eq!(refusal(TestFunction::Sphere, 0), "dimensions of sphere must be at least 1, got 0");
    let sphere = || TestFunction::Sphere.in_dimensions(2).unwrap();
    let message = sphere().shifted(&[1.0]).unwrap_err().to_string();
    assert_eq!(message, "shift of sphere: expected 2 elements, got 1");
    let message = sphere().shifted(&[1.0, f64::NAN]).unwrap_err().to_string();
    assert_eq!(message, "shift of sphere[1] must be finite, got NaN");
    let message = TestFunction::from_name("akley").unwrap_err().to_string();
    assert!(message.starts_with("unknown test function \"akley\", did you mean \"ackley\"?"), "{message}");
    assert!(sphere().value(&[1.0]).is_nan() && sphere().gradient(&[1.0]).iter().all(|g| g.is_nan()));
}
