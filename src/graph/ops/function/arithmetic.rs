use super::{Function, function};
use crate::Error;
use crate::graph::Var;

pub(crate) const ADD: &Function = function!("add", [Pass, Pass], Some(|x, _| x[0] + x[1]));

/// The common shape of several shapes under torch's broadcasting rules: aligned at the last axes; an extent of 1 or a
/// missing axis matches any extent.
///
/// Source: <https://docs.pytorch.org/docs/stable/notes/broadcasting.html>.
pub(crate) fn broadcast(layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
    let mut shape = inputs[0].to_vec();
    for other in &inputs[1..] {
        let known = shape.clone();
        if other.len() > shape.len() {
            shape = [vec![1; other.len() - shape.len()], shape].concat();
        }
        let first = shape.len() - other.len();
        for (extent, &wanted) in shape[first..].iter_mut().zip(*other) {
            if *extent == 1 {
                *extent = wanted;
            } else if wanted != 1 && wanted != *extent {
                let expected = format!("a shape that broadcasts with {known:?}");
                return Err(Error::Shape { layer: layer.into(), expected, got: other.to_vec() });
            }
        }
    }
    Ok(shape)
}

impl Var {
    /// The sum of two values, broadcast like torch's `add`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.add.html>.
    #[must_use]
    pub fn add(&self, other: &Var) -> Var {
        self.function_with(ADD, &[other], &[])
    }

    /// The difference of two values, broadcast like torch's `sub`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.sub.html>.
    #[must_use]
    pub fn sub(&self, other: &Var) -> Var {
        self.function_with(function!("sub", [Pass, OfNothing], Some(|x, _| x[0] - x[1])), &[other], &[])
    }

    /// The elementwise product of two values, broadcast like torch's `mul`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.mul.html>.
    #[must_use]
    pub fn mul(&self, other: &Var) -> Var {
        self.function_with(function!("mul", [OfInputs, OfInputs], Some(|x, _| x[0] * x[1])), &[other], &[])
    }

    /// The quotient of two values, broadcast like torch's `div`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.div.html>.
    #[must_use]
    pub fn div(&self, other: &Var) -> Var {
        self.function_with(function!("div", [OfInputs, OfInputs], Some(|x, _| x[0] / x[1])), &[other], &[])
    }

    /// The elementwise maximum of two values, broadcast like torch's `maximum`; NaN if one of them is. If both are
    /// equal, each gets half of the gradient.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.maximum.html>.
    #[must_use]
    pub fn maximum(&self, other: &Var) -> Var {
        self.function_with(
            function!(
                "maximum",
                [OfInputs, OfInputs],
                Some(|x, _| if x[0] > x[1] || x[0].is_nan() { x[0] } else { x[1] })
            ),
            &[other],
            &[],
        )
    }

    /// The elementwise minimum of two values, broadcast like torch's `minimum`; NaN if one of them is. If both are
    /// equal, each gets half of the gradient.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.minimum.html>.
    #[must_use]
    pub fn minimum(&self, other: &Var) -> Var {
        self.function_with(
            function!(
                "minimum",
                [OfInputs, OfInputs],
                Some(|x, _| if x[0] < x[1] || x[0].is_nan() { x[0] } else { x[1] })
            ),
            &[other],
            &[],
        )
    }

    /// This value where `condition` is not 0, and `other` elsewhere; all broadcast, like `torch.where(condition,
    /// self, other)`. The condition has no gradient.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.where.html>.
    #[must_use]
    pub fn where_(&self, condition: &Var, other: &Var) -> Var {
        let row = function!(
            "where",
            [Absent, OfInputs, OfInputs],
            Some(|x, _| if x[0] == 0.0 { x[2] } else { x[1] })
        );
        condition.function_with(row, &[self, other], &[])
    }

    /// The negative of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.neg.html>.
    #[must_use]
    pub fn negative(&self) -> Var {
        self.function(function!("neg", [OfNothing], Some(|x, _| -x[0])), &[])
    }

    /// The exponential function of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.exp.html>.
    #[must_use]
    pub fn exp(&self) -> Var {
        self.function(
            function!("exp", [OfResult], Some(|x, _| x[0].exp()), keeps_nan: true, is_single: true),
            &[],
        )
    }

    /// The natural logarithm of each element: minus infinity for 0, NaN for negative numbers.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.log.html>.
    #[must_use]
    pub fn log(&self) -> Var {
        self.function(
            function!("log", [OfInputs], Some(|x, _| x[0].ln()), keeps_nan: true, is_single: true),
            &[],
        )
    }

    /// The square root of each element; its gradient at 0 is infinite.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.sqrt.html>.
    #[must_use]
    pub fn sqrt(&self) -> Var {
        self.function(function!("sqrt", [OfResult], Some(|x, _| x[0].sqrt()), keeps_nan: true), &[])
    }

    /// The reciprocal square root of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.rsqrt.html>.
    #[must_use]
    pub fn rsqrt(&self) -> Var {
        self.function(
            function!("rsqrt", [OfResult], Some(|x, _| 1.0 / x[0].sqrt()), keeps_nan: true, is_single: true),
            &[],
        )
    }

    /// The square of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.square.html>.
    #[must_use]
    pub fn square(&self) -> Var {
        self.function(function!("square", [OfInputs], Some(|x, _| x[0] * x[0]), is_single: true), &[])
    }

    /// The reciprocal of each element.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.reciprocal.html>.
    #[must_use]
    pub fn reciprocal(&self) -> Var {
        self.function(function!("reciprocal", [OfResult], Some(|x, _| 1.0 / x[0]), is_single: true), &[])
    }

    /// The absolute value of each element. The gradient at 0 is 0.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.abs.html>.
    #[must_use]
    pub fn abs(&self) -> Var {
        self.function(function!("abs", [OfInputs], Some(|x, _| x[0].abs()), keeps_nan: true), &[])
    }

    /// Raises each element to a power. For a negative element, the result is NaN unless the exponent is an integer.
    ///
    /// Refused if the exponent is not finite as f32.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.pow.html>.
    #[must_use]
    pub fn pow(&self, exponent: f64) -> Var {
        // Repeated squaring needs at most 7 bits of the exponent, also for the derivative.
        let row = if exponent.fract() == 0.0 && (-126.0..=127.0).contains(&exponent) {
            function!("powi", [OfInputs], Some(|x, c| x[0].powf(c[0])), constants: &["exponent"], is_single: true)
        } else {
            function!("pow", [OfInputs], Some(|x, c| x[0].powf(c[0])), keeps_nan: true, constants: &["exponent"], is_single: true)
        };
        self.function(row, &[exponent])
    }

    /// Limits each element to at least `min` and at most `max`, if given, like torch's `clamp`. The gradient at the
    /// bounds is 0, as in torch 2.15.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 4]);
    /// let (both, positive) = (x.clamp(-1.0, 1.0), x.clamp(0.0, None));
    /// assert_eq!((both.shape(), positive.shape()), (vec![8, 4], vec![8, 4]));
    /// ```
    ///
    /// Refused if a bound is not finite as f32, except that `min` may be minus infinity and `max` infinity.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.clamp.html>.
    #[must_use]
    pub fn clamp(&self, min: impl Into<Option<f64>>, max: impl Into<Option<f64>>) -> Var {
        // An infinite bound has no effect.
        let min = min.into().filter(|min| *min != f64::NEG_INFINITY);
        match (min, max.into().filter(|max| *max != f64::INFINITY)) {
            (Some(min), Some(max)) => {
                let row = function!("clamp", [OfInputs], Some(|x, c| x[0].max(c[0]).min(c[1])), keeps_nan: true, constants: &["min", "max"]);
                self.function(row, &[min, max])
            }
            (Some(min), None) => {
                let row = function!("clamp_min", [OfInputs], Some(|x, c| x[0].max(c[0])), keeps_nan: true, constants: &["min"]);
                self.function(row, &[min])
            }
            (None, Some(max)) => {
                let row = function!("clamp_max", [OfInputs], Some(|x, c| x[0].min(c[0])), keeps_nan: true, constants: &["max"]);
                self.function(row, &[max])
            }
            (None, None) => self.clone(),
        }
    }

    /// `self * scale + shift`.
    pub(crate) fn affine(&self, scale: f64, shift: f64) -> Var {
        self.function(function!("affine", [OfNothing], Some(|x, c| x[0] * c[0] + c[1]), constants: &["the factor", "the summand"]), &[scale, shift])
    }
}

/// Implements an operator for two values, and for a value and a number.
macro_rules! operator {
    ($operator:ident, $method:ident, $with_number:expr, $number_first:expr) => {
        operator!(@values $operator, $method, Var, Var);
        operator!(@values $operator, $method, Var, &Var);
        operator!(@values $operator, $method, &Var, Var);
        operator!(@values $operator, $method, &Var, &Var);
        operator!(@number $operator, $method, Var, $with_number, $number_first);
        operator!(@number $operator, $method, &Var, $with_number, $number_first);
    };
    (@values $operator:ident, $method:ident, $left:ty, $right:ty) => {
        impl std::ops::$operator<$right> for $left {
            type Output = Var;

            fn $method(self, other: $right) -> Var {
                Var::$method(&self, &other)
            }
        }
    };
    (@number $operator:ident, $method:ident, $value:ty, $with_number:expr, $number_first:expr) => {
        impl std::ops::$operator<f64> for $value {
            type Output = Var;

            fn $method(self, number: f64) -> Var {
                let with_number: fn(&Var, f64) -> Var = $with_number;
                with_number(&self, number)
            }
        }

        impl std::ops::$operator<$value> for f64 {
            type Output = Var;

            fn $method(self, value: $value) -> Var {
                let number_first: fn(&Var, f64) -> Var = $number_first;
                number_first(&value, self)
            }
        }
    };
}

operator!(Add, add, |x, number| x.affine(1.0, number), |x, number| x.affine(1.0, number));
operator!(Sub, sub, |x, number| x.affine(1.0, -number), |x, number| x.affine(-1.0, number));
operator!(Mul, mul, |x, number| x.affine(number, 0.0), |x, number| x.affine(number, 0.0));
operator!(Div, div, |x, number| x.affine(1.0 / number, 0.0), |x, number| x.reciprocal().affine(number, 0.0));

impl std::ops::Neg for Var {
    type Output = Var;

    fn neg(self) -> Var {
        self.negative()
    }
}

impl std::ops::Neg for &Var {
    type Output = Var;

    fn neg(self) -> Var {
        self.negative()
    }
}
