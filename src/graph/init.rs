use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use rand_pcg::Pcg64;

use crate::Error;

/// First values of a parameter, a pure function of the seed, the shape and the parameter's place in its graph.
///
/// Fans are torch's: for a weight `[out, in, ...]` the fan-in is `in` times the kernel's elements and the
/// fan-out is `out` times them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// All the same value.
    Constant(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
    /// Normal around 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Normal around 0 with one row of zeros, as `torch.nn.Embedding` with a `padding_idx`.
    NormalWithZeroRow {
        /// Standard deviation.
        std: f64,
        /// The row, along the first dimension.
        row: usize,
    },
    /// Uniform with bound `gain * sqrt(3 / fan_in)`, `gain = sqrt(2 / (1 + a^2))`, as
    /// `torch.nn.init.kaiming_uniform_` (He et al. 2015, arXiv:1502.01852). torch's layers use `a = sqrt(5)`.
    KaimingUniform {
        /// Negative slope of the rectifier that follows; 0 for relu.
        a: f64,
    },
    /// Normal with deviation `gain / sqrt(fan_in)`, as `torch.nn.init.kaiming_normal_`.
    KaimingNormal {
        /// Negative slope of the rectifier that follows; 0 for relu.
        a: f64,
    },
    /// Uniform with bound `gain * sqrt(6 / (fan_in + fan_out))`, as `torch.nn.init.xavier_uniform_`
    /// (Glorot and Bengio 2010).
    XavierUniform {
        /// Scale, 1 for none.
        gain: f64,
    },
    /// Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`, as `torch.nn.init.xavier_normal_`.
    XavierNormal {
        /// Scale, 1 for none.
        gain: f64,
    },
}

impl Init {
    /// Refuses a shape that has no fans where they are needed, or a scale that gives values that are not finite in f32.
    /// Values that f32 rounds to 0 are 0.
    pub(crate) fn check(self, name: &str, shape: &[usize]) -> Result<(), Error> {
        let option = match self {
            Self::Constant(x) => x,
            Self::Uniform { bound: x } | Self::Normal { std: x } | Self::NormalWithZeroRow { std: x, .. } => {
                x
            }
            Self::KaimingUniform { a: x } | Self::KaimingNormal { a: x } => x,
            Self::XavierUniform { gain: x } | Self::XavierNormal { gain: x } => x,
        };
        let refuse = |allowed: &str| {
            Err(Error::constant(format!("{name}: the scale of its initialiser"), allowed, option))
        };
        if !option.is_finite() {
            return refuse("finite");
        }
        let fanless = matches!(
            self,
            Self::Constant(_) | Self::Uniform { .. } | Self::Normal { .. } | Self::NormalWithZeroRow { .. }
        );
        if shape.len() < 2 && !fanless {
            let expected = "two dimensions or more for an initialiser with fans".into();
            return Err(Error::Shape { layer: name.into(), expected, got: shape.to_vec() });
        }
        let scale = self.scale(shape);
        let (most, allowed) = match self {
            Self::Normal { .. }
            | Self::NormalWithZeroRow { .. }
            | Self::KaimingNormal { .. }
            | Self::XavierNormal { .. } => {
                (scale * MOST_DEVIATIONS, "such that 16 deviations are finite in 32 bits")
            }
            _ => (scale, "such that all values are finite in 32 bits"),
        };
        if narrow(most).is_finite() { Ok(()) } else { refuse(allowed) }
    }

    /// The value, the bound or the deviation for a shape.
    fn scale(self, shape: &[usize]) -> f64 {
        let receptive = shape.iter().skip(2).map(|extent| *extent as f64).product::<f64>();
        let fan = |axis: usize| shape.get(axis).map_or(1.0, |extent| *extent as f64) * receptive;
        let (fan_out, fan_in) = (fan(0), fan(1));
        let gain = |a: f64| 2.0_f64.sqrt() / 1.0_f64.hypot(a);
        match self {
            Self::Constant(x)
            | Self::Uniform { bound: x }
            | Self::Normal { std: x }
            | Self::NormalWithZeroRow { std: x, .. } => x,
            Self::KaimingUniform { a } => gain(a) * (3.0 / fan_in).sqrt(),
            Self::KaimingNormal { a } => gain(a) / fan_in.sqrt(),
            Self::XavierUniform { gain } => gain * (6.0 / (fan_in + fan_out)).sqrt(),
            Self::XavierNormal { gain } => gain * (2.0 / (fan_in + fan_out)).sqrt(),
        }
    }

    pub(crate) fn values(self, shape: &[usize], seed: u64, stream: u64) -> Vec<f32> {
        let len = shape.iter().product();
        let mut random = Pcg64::seed_from_u64(seed);
        // Far apart in one sequence of 2^128, so that a parameter's values do not hang on its neighbours' sizes.
        random.advance(u128::from(stream) << 64);
        let scale = self.scale(shape);
        match self {
            Self::Constant(_) => vec![narrow(scale); len],
            Self::Uniform { .. } | Self::KaimingUniform { .. } | Self::XavierUniform { .. } => {
                let draws = StandardUniform.sample_iter(&mut random).take(len);
                draws.map(|x: f64| narrow((2.0 * x - 1.0) * scale)).collect()
            }
            Self::Normal { .. } | Self::KaimingNormal { .. } | Self::XavierNormal { .. } => {
                let draws = StandardNormal.sample_iter(&mut random).take(len);
                draws.map(|x: f64| narrow(x * scale)).collect()
            }
            Self::NormalWithZeroRow { std, row } => {
                let mut values = Self::Normal { std }.values(shape, seed, stream);
                let columns = shape[1..].iter().product::<usize>();
                values.iter_mut().skip(row.saturating_mul(columns)).take(columns).for_each(|x| *x = 0.0);
                values
            }
        }
    }
}

/// No normal number that is drawn from 64 random bits is larger.
const MOST_DEVIATIONS: f64 = 16.0;

#[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
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
        let uniform =
            "w: the scale of its initialiser must be such that all values are finite in 32 bits, got ";
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
        assert_eq!(
            error.to_string(),
            "b: expected two dimensions or more for an initialiser with fans, got [3]"
        );
    }
}
