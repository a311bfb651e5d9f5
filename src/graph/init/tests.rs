use super::*;

fn deviation(values: &[f32]) -> f64 {
    (values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

#[test]
fn spreads_are_those_of_torch() {
    let shape = [64, 32, 3, 3];
    let (fan_in, fan_out) = (288.0_f64, 576.0_f64);
    let rows = [
        (Init::KaimingNormal { a: 0.0 }, (2.0 / fan_in).sqrt()),
        (Init::KaimingUniform { a: 0.0 }, (2.0 / fan_in).sqrt()),
        (Init::KaimingUniform { a: 5f64.sqrt() }, (1.0 / (3.0 * fan_in)).sqrt()),
        (Init::XavierNormal { gain: 1.0 }, (2.0 / (fan_in + fan_out)).sqrt()),
        (Init::XavierUniform { gain: 1.0 }, (2.0 / (fan_in + fan_out)).sqrt()),
        (Init::Normal { std: 0.02 }, 0.02),
    ];
    for (init, want) in rows {
        let got = deviation(&init.values(&shape, 7, 3));
        assert!((got / want - 1.0).abs() < 0.02, "{init:?}: {got} is not {want}");
    }
}

#[test]
fn values_depend_on_seed_and_stream_only() {
    let init = Init::KaimingUniform { a: 0.0 };
    let first = init.values(&[4, 4], 1, 0);
    assert_eq!(first, init.values(&[4, 4], 1, 0));
    assert_ne!(first, init.values(&[4, 4], 2, 0));
    assert_ne!(first, init.values(&[4, 4], 1, 1));
}

#[test]
fn values_that_f32_does_not_hold_are_refused() {
    let most = f64::from(f32::MAX);
    let shape = [8, 4, 3, 3];
    let uniform = "w: the scale of its initialiser must be such that all values are finite in 32 bits, got ";
    let normal =
        "w: the scale of its initialiser must be such that 16 deviations are finite in 32 bits, got ";
    // The largest scale that is accepted and the one that is not, and what is said.
    let fans: (f64, f64) = (4.0 * 9.0, 8.0 * 9.0);
    type Make = fn(f64) -> Init;
    let rows: [(Make, f64, &str); 5] = [
        (Init::Constant, most, uniform),
        (|bound| Init::Uniform { bound }, most, uniform),
        (|gain| Init::XavierUniform { gain }, most / (6.0 / (fans.0 + fans.1)).sqrt(), uniform),
        (|std| Init::Normal { std }, most / 16.0, normal),
        (|gain| Init::XavierNormal { gain }, most / 16.0 / (2.0 / (fans.0 + fans.1)).sqrt(), normal),
    ];
    for (make, edge, said) in rows {
        for sign in [1.0, -1.0] {
            let init = make(sign * edge * (1.0 - 1e-9));
            init.check("w", &shape).unwrap();
            assert!(init.values(&shape, 3, 0).iter().all(|value| value.is_finite()), "{init:?}");
            for beyond in [edge * (1.0 + 1e-6), 1e300, 1e308] {
                let error = make(sign * beyond).check("w", &shape).unwrap_err().to_string();
                assert!(error.starts_with(said), "{error}");
            }
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let said = format!("w: the scale of its initialiser must be finite, got {number}");
            assert_eq!(make(number).check("w", &shape).unwrap_err().to_string(), said);
        }
        // What is too small for f32 is 0, and so is what a steep rectifier leaves.
        assert!(make(1e-60).values(&shape, 3, 0).iter().all(|value| *value == 0.0));
    }
    for init in [Init::KaimingUniform { a: f64::MAX }, Init::KaimingNormal { a: 1e200 }] {
        init.check("w", &shape).unwrap();
        assert!(init.values(&shape, 3, 0).iter().all(|value| *value == 0.0), "{init:?}");
    }
}

#[test]
fn a_vector_has_no_fans() {
    let error = Init::XavierUniform { gain: 1.0 }.check("b", &[3]).unwrap_err();
    assert_eq!(error.to_string(), "b: expected two dimensions or more for an initialiser with fans, got [3]");
}

/// The mean, the deviation and the distribution function of a truncated normal distribution, by Simpson's rule.
fn truncated_moments(mean: f64, std: f64, a: f64, b: f64) -> (f64, f64, Vec<(f64, f64)>) {
    // Beyond these there is nothing, in a tail too.
    let near = mean.clamp(a, b);
    let (low, high) = (a.max(near - 12.0 * std), b.min(near + 12.0 * std));
    let steps = 200_000;
    let step = (high - low) / f64::from(steps);
    // Relative to the density at the nearest point, which may be below what f64 holds.
    let density = |x: f64| (((near - mean).powi(2) - (x - mean).powi(2)) / (2.0 * std * std)).exp();
    let (mut sums, mut quantiles) = ([0.0; 3], Vec::new());
    for at in (0..steps).step_by(2) {
        let x = low + f64::from(at) * step;
        for (x, weight) in [(x, 1.0), (x + step, 4.0), (x + 2.0 * step, 1.0)] {
            let part = weight * density(x) * step / 3.0;
            sums = [sums[0] + part, sums[1] + part * (x - near), sums[2] + part * (x - near).powi(2)];
        }
        quantiles.push((x + 2.0 * step, sums[0]));
    }
    quantiles.iter_mut().for_each(|(_, sum)| *sum /= sums[0]);
    let first = sums[1] / sums[0];
    (near + first, (sums[2] / sums[0] - first * first).sqrt(), quantiles)
}

#[test]
fn truncated_numbers_are_those_of_their_distribution() {
    let infinity = f64::INFINITY;
    // Torch's defaults; a small deviation; one side; tails on both sides, wide and narrow; far away; bounds in deviations.
    let rows = [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -2.0, 2.0),
        (1.0, 2.0, 0.0, 1.5),
        (0.0, 1.0, -0.5, 0.25),
        (0.0, 1.0, -infinity, 0.0),
        (0.0, 1.0, 0.1, infinity),
        (0.0, 1.0, 3.0, 4.0),
        (0.0, 1.0, -infinity, -8.0),
        (0.0, 1.0, 10.0, 10.001),
        (5.0, 0.1, -1.0, 1.0),
        (-3.0, 2.0, -infinity, infinity),
    ];
    let count = 40_000;
    for (mean, std, a, b) in rows {
        let init = Init::TruncatedNormal { mean, std, a, b };
        init.check("w", &[count]).unwrap();
        let mut values: Vec<f64> = init.values(&[count], 5, 1).into_iter().map(f64::from).collect();
        assert!(values.iter().all(|x| *x as f32 >= a as f32 && *x as f32 <= b as f32), "{init:?}");
        let (want_mean, want_std, quantiles) = truncated_moments(mean, std, a, b);
        let got_mean = values.iter().sum::<f64>() / count as f64;
        let got_std = (values.iter().map(|x| (x - got_mean).powi(2)).sum::<f64>() / count as f64).sqrt();
        // Four standard errors, and what f32 leaves of numbers so close to each other.
        let rounding = want_mean.abs() * f64::from(f32::EPSILON);
        let error = 4.0 * want_std / (count as f64).sqrt() + rounding;
        assert!((got_mean - want_mean).abs() <= error, "{init:?}: mean {got_mean} is not {want_mean}");
        assert!((got_std / want_std - 1.0).abs() < 0.03, "{init:?}: deviation {got_std} is not {want_std}");
        // Kolmogorov and Smirnov, at a level that one in a million draws exceeds.
        values.sort_by(f64::total_cmp);
        for (x, below) in quantiles.iter().step_by(997) {
            let got = values.partition_point(|value| value <= x) as f64 / count as f64;
            let jump = if want_std < 1e3 * rounding { 0.02 } else { 0.0 };
            assert!(
                (got - below).abs() < 2.7 / (count as f64).sqrt() + jump,
                "{init:?} at {x}: {got}, {below}"
            );
        }
    }
    // One value, and bounds that no deviations can reach.
    for (mean, std, a, b, want) in [
        (0.0, 1.0, 0.75, 0.75, 0.75),
        (0.0, 1e-300, 3.0, 4.0, 3.0),
        (0.0, 1e-300, -4.0, -3.0, -3.0),
        (0.0, 1e-100, 3.0, f64::INFINITY, 3.0),
        (1e30, 1e-3, -1.0, 1.0, 1.0),
    ] {
        let init = Init::TruncatedNormal { mean, std, a, b };
        init.check("w", &[50]).unwrap();
        assert_eq!(init.values(&[50], 5, 1), [want as f32; 50], "{init:?}");
    }
    assert_eq!(Init::trunc_normal(0.5), Init::TruncatedNormal { mean: 0.0, std: 0.5, a: -2.0, b: 2.0 });
}

#[test]
fn truncations_that_are_none_are_refused() {
    let (nan, infinity) = (f64::NAN, f64::INFINITY);
    let rows = [
        ((nan, 1.0, -2.0, 2.0), "the mean of its initialiser must be finite, got NaN"),
        ((infinity, 1.0, -2.0, 2.0), "the mean of its initialiser must be finite, got inf"),
        ((0.0, 0.0, -2.0, 2.0), "the deviation of its initialiser must be finite and above 0, got 0"),
        ((0.0, -1.0, -2.0, 2.0), "the deviation of its initialiser must be finite and above 0, got -1"),
        ((0.0, infinity, -2.0, 2.0), "the deviation of its initialiser must be finite and above 0, got inf"),
        ((0.0, nan, -2.0, 2.0), "the deviation of its initialiser must be finite and above 0, got NaN"),
        ((0.0, 1.0, nan, 2.0), "the lower bound of its initialiser must be a number below infinity, got NaN"),
        (
            (0.0, 1.0, infinity, infinity),
            "the lower bound of its initialiser must be a number below infinity, got inf",
        ),
        ((0.0, 1.0, 2.0, 1.0), "the upper bound of its initialiser must be at least the lower one, 2, got 1"),
        (
            (0.0, 1.0, 2.0, nan),
            "the upper bound of its initialiser must be at least the lower one, 2, got NaN",
        ),
        (
            (0.0, 1.0, -infinity, -infinity),
            "the upper bound of its initialiser must be at least the lower one, -inf, got -inf",
        ),
        // Only what could be drawn has to be finite.
        ((0.0, 1.0, -2.0, 1e300), ""),
        (
            (0.0, 1e38, -1.0, infinity),
            "the upper bound of its initialiser must be such that all values are finite in 32 bits, got 1.6e39",
        ),
    ];
    for ((mean, std, a, b), said) in rows {
        let checked = Init::TruncatedNormal { mean, std, a, b }.check("w", &[3]);
        match checked {
            Ok(()) => assert_eq!(said, ""),
            Err(error) => {
                let got = error.to_string().replace("1600000000000000000000000000000000000000", "1.6e39");
                assert_eq!(got, format!("w: {said}"));
            }
        }
    }
}

#[test]
fn orthogonal_matrices_are_orthogonal_and_have_the_signs_of_torch() {
    let shapes: [&[usize]; 8] =
        [&[5, 5], &[3, 7], &[7, 3], &[4, 2, 3, 3], &[9, 2, 2], &[1, 8], &[8, 1], &[60, 90]];
    for shape in shapes {
        for gain in [1.0, 2.0_f64.sqrt(), -0.5] {
            let init = Init::Orthogonal { gain };
            init.check("w", shape).unwrap();
            let values = init.values(shape, 3, 2);
            let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
            assert_eq!(values.len(), rows * columns);
            let at = |row: usize, column: usize| f64::from(values[row * columns + column]);
            let (count, len) = (rows.min(columns), rows.max(columns));
            let element =
                |vector: usize, e: usize| if rows < columns { at(vector, e) } else { at(e, vector) };
            for i in 0..count {
                for j in 0..count {
                    let product: f64 = (0..len).map(|e| element(i, e) * element(j, e)).sum();
                    let want = if i == j { gain * gain } else { 0.0 };
                    // Each element has rounded to f32 once.
                    assert!(
                        (product - want).abs() < 4.0 * gain * gain * f64::from(f32::EPSILON),
                        "{shape:?} {i} {j}"
                    );
                }
            }
        }
    }
    // R = Q^T A is upper triangular with a positive diagonal, where A is what was drawn.
    for (rows, columns) in [(6, 6), (9, 4), (4, 9)] {
        let mut random = Pcg64::seed_from_u64(8);
        let mut drawn = Vec::new();
        let q = orthogonal::matrix(rows, columns, || {
            drawn.push(StandardNormal.sample(&mut random));
            drawn[drawn.len() - 1]
        });
        assert_eq!(drawn.len(), rows * columns);
        let (count, len) = (rows.min(columns), rows.max(columns));
        let get = |m: &[f64], vector: usize, e: usize| {
            if rows < columns { m[vector * columns + e] } else { m[e * columns + vector] }
        };
        for i in 0..count {
            for j in 0..count {
                let r: f64 = (0..len).map(|e| get(&q, i, e) * get(&drawn, j, e)).sum();
                match i.cmp(&j) {
                    std::cmp::Ordering::Equal => assert!(r > 0.0, "{i}: {r}"),
                    std::cmp::Ordering::Greater => assert!(r.abs() < 1e-12, "{i} {j}: {r}"),
                    std::cmp::Ordering::Less => {}
                }
            }
        }
    }
    // Vectors that others span are drawn again.
    let mut numbers = [1.0, 2.0, 2.0, 4.0, 3.0, -1.0].into_iter();
    let q = orthogonal::matrix(2, 2, || numbers.next().unwrap());
    assert!((q[0] * q[1] + q[2] * q[3]).abs() < 1e-15 && q.iter().all(|x| x.is_finite()), "{q:?}");
}

/// No direction is preferred: over many seeds each element has mean 0 and the mean square of a part of a unit vector.
#[test]
fn orthogonal_matrices_are_uniform() {
    let (seeds, size) = (2000, 3);
    let mut sums = vec![[0.0; 2]; size * size];
    for seed in 0..seeds {
        let values = Init::Orthogonal { gain: 1.0 }.values(&[size, size], seed, 0);
        for (sum, value) in sums.iter_mut().zip(values) {
            let value = f64::from(value);
            *sum = [sum[0] + value, sum[1] + value * value];
        }
    }
    for [first, second] in sums {
        let [mean, square] = [first, second].map(|sum| sum / seeds as f64);
        assert!(mean.abs() < 0.06 && (square - 1.0 / 3.0).abs() < 0.04, "{mean} {square}");
    }
}

#[test]
fn fans_and_gains_are_those_of_torch() {
    let gains = [
        ("linear", None, 1.0),
        ("conv2d", None, 1.0),
        ("conv_transpose3d", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", Some(7.0), 5.0 / 3.0),
        ("relu", None, 2.0_f64.sqrt()),
        ("leaky_relu", None, (2.0 / (1.0 + 0.01_f64.powi(2))).sqrt()),
        ("leaky_relu", Some(0.2), (2.0 / (1.0 + 0.04_f64)).sqrt()),
        ("selu", None, 0.75),
    ];
    for (name, param, want) in gains {
        let got = Nonlinearity::named(name, param).unwrap().gain();
        assert!((got - want).abs() < 1e-15, "{name}: {got}");
    }
    let unknown = Nonlinearity::named("leaky_relo", None).unwrap_err().to_string();
    assert!(
        unknown.starts_with("unknown nonlinearity \"leaky_relo\", did you mean \"leaky_relu\"?"),
        "{unknown}"
    );

    let shape = [64, 32, 3, 3];
    let (fan_in, fan_out) = (288.0_f64, 576.0_f64);
    let rows = [
        (Init::kaiming_normal(Fan::In, Nonlinearity::Relu), (2.0 / fan_in).sqrt()),
        (Init::kaiming_normal(Fan::Out, Nonlinearity::Relu), (2.0 / fan_out).sqrt()),
        (Init::kaiming_uniform(Fan::In, Nonlinearity::Tanh), 5.0 / 3.0 / fan_in.sqrt()),
        (Init::kaiming_uniform(Fan::Out, Nonlinearity::LeakyRelu(0.2)), (2.0 / 1.04 / fan_out).sqrt()),
        (Init::xavier_normal(Nonlinearity::Selu), 0.75 * (2.0 / (fan_in + fan_out)).sqrt()),
        (Init::xavier_uniform(Nonlinearity::Sigmoid), (2.0 / (fan_in + fan_out)).sqrt()),
    ];
    for (init, want) in rows {
        let values = init.values(&shape, 7, 3);
        let got = deviation(&values);
        assert!((got / want - 1.0).abs() < 0.02, "{init:?}: {got} is not {want}");
        let most = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let uniform =
            matches!(init, Init::XavierUniform { .. } | Init::Kaiming { spread: Spread::Uniform, .. });
        let bound = 3.0_f64.sqrt() * want * (1.0 + 1e-6);
        assert_eq!(f64::from(most) <= bound, uniform, "{init:?}");
    }
    // The same numbers as with the slope alone.
    let old = Init::KaimingUniform { a: 0.0 }.values(&shape, 7, 3);
    let new = Init::kaiming_uniform(Fan::In, Nonlinearity::Relu).values(&shape, 7, 3);
    assert!(old.iter().zip(&new).all(|(a, b)| (a - b).abs() <= f32::EPSILON * a.abs()));
    for (init, said) in [
        (Init::kaiming_uniform(Fan::Out, Nonlinearity::Relu), "an initialiser with fans"),
        (Init::Orthogonal { gain: 1.0 }, "an initialiser that is orthogonal"),
    ] {
        let error = init.check("b", &[3]).unwrap_err().to_string();
        assert_eq!(error, format!("b: expected two dimensions or more for {said}, got [3]"));
    }
    for init in [
        Init::Orthogonal { gain: f64::NAN },
        Init::kaiming_normal(Fan::In, Nonlinearity::LeakyRelu(f64::NAN)),
    ] {
        let error = init.check("w", &[3, 3]).unwrap_err().to_string();
        assert_eq!(error, "w: the scale of its initialiser must be finite, got NaN");
    }
    assert!(Init::Orthogonal { gain: 1e39 }.check("w", &[3, 3]).is_err());
    assert!(Init::Kaiming { spread: Spread::Normal, fan: Fan::In, gain: 1e38 }.check("w", &[3, 1]).is_err());
}
