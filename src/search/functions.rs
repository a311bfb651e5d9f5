//! Test functions: what methods of search are measured by, with gradients, boxes and known minima.

mod formulas;
mod text;

use crate::error::Error;

/// A function that methods of search are measured by.
///
/// Each is defined as published, in f64, with its gradient, the box it is usually searched in and its known minimum.
/// [`TestFunction::in_dimensions`] gives it a number of dimensions, [`TestProblem::shifted`] moves it, so that its
/// minimum is at no round place.
///
/// ```
/// use gradus::search::TestFunction;
///
/// let problem = TestFunction::Rastrigin.in_dimensions(2)?.shifted(&[0.5, -1.25])?;
/// assert_eq!(problem.value(&[0.5, -1.25]), problem.minimum());
/// assert_eq!(TestFunction::from_name("rastrigin")?, TestFunction::Rastrigin);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TestFunction {
    /// `sum x_i^2`, the easiest of all.
    Sphere,
    /// `sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2`: a bent valley (Rosenbrock 1960). From 4 dimensions on it has a
    /// second minimum near `x_0 = -1`.
    Rosenbrock,
    /// `10 n + sum x_i^2 - 10 cos(2 pi x_i)`: a bowl with a minimum near each whole number (Rastrigin 1974).
    Rastrigin,
    /// `20 + e - 20 exp(-0.2 sqrt(mean x_i^2)) - exp(mean cos(2 pi x_i))`: a funnel in a rough plain (Ackley 1987).
    Ackley,
    /// `-(y + 47) sin sqrt|x/2 + y + 47| - x sin sqrt|x - y - 47|`: deep pits, the deepest at the edge of the box
    /// (Whitley et al. 1996). Two dimensions.
    Eggholder,
    /// `1 + sum x_i^2 / 4000 - prod cos(x_i / sqrt(i + 1))`: a wide bowl with ripples (Griewank 1981).
    Griewank,
    /// `418.98 n - sum x_i sin sqrt|x_i|`: the best minimum is far from the next best (Schwefel 1981).
    Schwefel,
    /// `(x^2 + y - 11)^2 + (x + y^2 - 7)^2`: four minima of the same value (Himmelblau 1972). Two dimensions.
    Himmelblau,
    /// `-sum exp(-3 |x - c|^2)` over the centres `c` (-2, -2), (2, 2), (-2, 2), (2, -2) and (0, 0): five pits that are
    /// equally deep up to 1.2e-10, in a plain. Two dimensions.
    Multimodal,
}

impl TestFunction {
    /// All of them, the easiest first.
    pub const ALL: &[TestFunction] = &[
        Self::Sphere,
        Self::Rosenbrock,
        Self::Himmelblau,
        Self::Griewank,
        Self::Rastrigin,
        Self::Ackley,
        Self::Schwefel,
        Self::Multimodal,
        Self::Eggholder,
    ];

    /// Its name in small letters, as in `rosenbrock`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sphere => "sphere",
            Self::Rosenbrock => "rosenbrock",
            Self::Rastrigin => "rastrigin",
            Self::Ackley => "ackley",
            Self::Eggholder => "eggholder",
            Self::Griewank => "griewank",
            Self::Schwefel => "schwefel",
            Self::Himmelblau => "himmelblau",
            Self::Multimodal => "multimodal",
        }
    }

    /// The function of a [`name`](Self::name).
    ///
    /// # Errors
    /// [`Error::UnknownName`], with the nearest name.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let named = Self::ALL.iter().find(|function| function.name() == name);
        named
            .copied()
            .ok_or_else(|| Error::unknown("test function", name, Self::ALL.iter().map(|f| f.name())))
    }

    /// The box it is usually searched in: the same bounds in every dimension.
    pub fn bounds(self) -> (f64, f64) {
        let half = match self {
            Self::Sphere | Self::Rastrigin => 5.12,
            Self::Rosenbrock | Self::Himmelblau => 5.0,
            Self::Ackley => 32.0,
            Self::Eggholder => 512.0,
            Self::Griewank => 600.0,
            Self::Schwefel => 500.0,
            Self::Multimodal => 4.0,
        };
        (-half, half)
    }

    /// The function over points of so many dimensions, not shifted.
    ///
    /// # Errors
    /// [`Error::Constant`] if it is not defined there: Eggholder, Himmelblau and the multimodal one have two
    /// dimensions, Rosenbrock at least two, the others at least one.
    pub fn in_dimensions(self, dimensions: usize) -> Result<TestProblem, Error> {
        let (fits, allowed) = match self {
            Self::Eggholder | Self::Himmelblau | Self::Multimodal => (dimensions == 2, "2"),
            Self::Rosenbrock => (dimensions >= 2, "at least 2"),
            _ => (dimensions >= 1, "at least 1"),
        };
        if !fits {
            return Err(Error::constant(format!("dimensions of {}", self.name()), allowed, dimensions));
        }
        Ok(TestProblem { function: self, shift: vec![0.0; dimensions] })
    }

    /// Where its least values are, as far as they are known: one point or several of (nearly) the same value.
    fn argmins(self, dimensions: usize) -> Vec<Vec<f64>> {
        let everywhere = |at: f64| vec![vec![at; dimensions]];
        match self {
            Self::Sphere | Self::Rastrigin | Self::Ackley | Self::Griewank => everywhere(0.0),
            Self::Rosenbrock => everywhere(1.0),
            Self::Schwefel => everywhere(420.968_746_359_982_05),
            Self::Eggholder => vec![vec![512.0, 404.231_805_129_771_6]],
            Self::Himmelblau => vec![
                vec![3.0, 2.0],
                vec![-2.805_118_086_952_745, 3.131_312_518_250_573],
                vec![-3.779_310_253_377_747, -3.283_185_991_286_17],
                vec![3.584_428_340_330_492, -1.848_126_526_964_404],
            ],
            Self::Multimodal => {
                // The middle one is the deepest, by 1.2e-10.
                formulas::CENTRES.iter().rev().map(|centre| centre.to_vec()).collect()
            }
        }
    }
}

/// A [`TestFunction`] of so many dimensions, moved by a shift: `f(x - shift)`.
///
/// ```
/// use gradus::search::TestFunction;
///
/// let problem = TestFunction::Sphere.in_dimensions(2)?;
/// assert_eq!((problem.value(&[3.0, 4.0]), problem.gradient(&[3.0, 4.0])), (25.0, vec![6.0, 8.0]));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TestProblem {
    function: TestFunction,
    shift: Vec<f64>,
}

impl TestProblem {
    /// The function moved by `shift`, whose length is the number of dimensions. The box stays where it is.
    ///
    /// # Errors
    /// [`Error::Length`] for another length, [`Error::Constant`] for a number that is not finite.
    pub fn shifted(self, shift: &[f64]) -> Result<Self, Error> {
        let what = || format!("shift of {}", self.function.name());
        if shift.len() != self.dimensions() {
            return Err(Error::Length { what: what(), expected: self.dimensions(), got: shift.len() });
        }
        for (at, value) in shift.iter().enumerate() {
            crate::error::finite(&format!("{}[{at}]", what()), *value)?;
        }
        Ok(Self { function: self.function, shift: shift.to_vec() })
    }

    /// The function.
    pub fn function(&self) -> TestFunction {
        self.function
    }

    /// Its number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.shift.len()
    }

    /// How far it is moved.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// Lower and upper bound of each dimension.
    pub fn bounds(&self) -> Vec<(f64, f64)> {
        vec![self.function.bounds(); self.dimensions()]
    }

    /// The function's value at `x`; NaN if `x` has another length.
    pub fn value(&self, x: &[f64]) -> f64 {
        match self.moved(x) {
            Some(x) => formulas::value(self.function, &x),
            None => f64::NAN,
        }
    }

    /// The gradient at `x`, all NaN if `x` has another length. At the few points where the function has none (the
    /// middle of Ackley's funnel, the creases of Eggholder), what has none counts as 0.
    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        match self.moved(x) {
            Some(x) => formulas::gradient(self.function, &x),
            None => vec![f64::NAN; self.dimensions()],
        }
    }

    /// The least value in the box of the function that is not shifted.
    pub fn minimum(&self) -> f64 {
        match self.function {
            TestFunction::Eggholder => -959.640_662_720_850_6,
            TestFunction::Multimodal => -1.0 - 4.0 * (-24.0_f64).exp(),
            _ => 0.0,
        }
    }

    /// Where the least value is, the shift added: one point, or four for Himmelblau's function and five for the
    /// multimodal one.
    pub fn argmins(&self) -> Vec<Vec<f64>> {
        let mut all = self.function.argmins(self.dimensions());
        for x in &mut all {
            x.iter_mut().zip(&self.shift).for_each(|(x, shift)| *x += shift);
        }
        all
    }

    /// The same function in WGSL and f32, for a search on the device: `fn objective() -> f32`, which reads its member
    /// by `x(i)` and its size as `DIMENSIONS`. The shift is written into it.
    pub fn wgsl(&self) -> String {
        text::objective(self.function, &self.shift)
    }

    fn moved(&self, x: &[f64]) -> Option<Vec<f64>> {
        (x.len() == self.dimensions())
            .then(|| x.iter().zip(&self.shift).map(|(x, shift)| x - shift).collect())
    }
}
