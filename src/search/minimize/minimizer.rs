//! The methods, and what each can take.

use crate::error::Error;

/// A classical method for [`minimize_scalar_function`](super::minimize_scalar_function), named as in scipy.
///
/// | method | uses gradients | bounds | constraints | good for |
/// |---|---|---|---|---|
/// | [`Bfgs`](Self::Bfgs) | yes | | | smooth functions of up to some hundred dimensions |
/// | [`LbfgsB`](Self::LbfgsB) | yes | yes | | smooth functions of any number of dimensions |
/// | [`NelderMead`](Self::NelderMead) | | yes | | rough functions of few dimensions |
/// | [`Powell`](Self::Powell) | | yes | | functions whose variables hardly depend on each other |
/// | [`ConjugateGradient`](Self::ConjugateGradient) | yes | | | many dimensions with little memory |
/// | [`NewtonCg`](Self::NewtonCg) | yes, and curvature | | | smooth functions near a minimum |
/// | [`TrustRegion`](Self::TrustRegion) | yes, and curvature | | | smooth functions that curve downwards in places |
/// | [`Cobyla`](Self::Cobyla) | | yes | yes | constraints without gradients |
/// | [`Slsqp`](Self::Slsqp) | yes | yes | yes | smooth functions with smooth constraints |
///
/// All are local: they find the minimum whose valley they start in.
/// [`MinimizeOptions::multi_start`](super::MinimizeOptions::multi_start) tries several.
///
/// ```
/// use gradus::search::Minimizer;
///
/// assert_eq!(Minimizer::from_name("SLSQP")?, Minimizer::Slsqp);
/// assert!(Minimizer::Slsqp.takes_constraints() && Minimizer::Bfgs.uses_gradient());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Minimizer {
    /// Quasi-Newton with a full matrix: `BFGS` (Nocedal and Wright 2006, Alg. 6.1).
    Bfgs,
    /// Quasi-Newton with the last ten steps, in a box: `L-BFGS-B` (Zhu et al. 1997, ACM TOMS 778, version 3.0).
    LbfgsB,
    /// A simplex that reflects, grows and shrinks: `Nelder-Mead` (Lagarias et al. 1998).
    NelderMead,
    /// Line searches along directions that are replaced by the progress made: `Powell` (Powell 1964).
    Powell,
    /// Nonlinear conjugate gradients, Polak and Ribière's that are not negative: `CG` (Nocedal and Wright 2006, sec. 5.2).
    ConjugateGradient,
    /// Newton steps by conjugate gradients and a line search: `Newton-CG` (Nocedal and Wright 2006, Alg. 7.1).
    NewtonCg,
    /// Newton steps by conjugate gradients within a region of trust: `trust-ncg` (Steihaug 1983; Nocedal and Wright
    /// 2006, Alg. 4.1 and 7.2).
    TrustRegion,
    /// Linear models of objective and constraints: `COBYLA` (Powell 1994).
    Cobyla,
    /// Sequential least-squares quadratic programs: `SLSQP` (Kraft 1988).
    Slsqp,
}

impl Minimizer {
    /// All of them.
    pub const ALL: &[Minimizer] = &[
        Self::Bfgs,
        Self::LbfgsB,
        Self::NelderMead,
        Self::Powell,
        Self::ConjugateGradient,
        Self::NewtonCg,
        Self::TrustRegion,
        Self::Cobyla,
        Self::Slsqp,
    ];

    /// Its name in scipy, as in `L-BFGS-B`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bfgs => "BFGS",
            Self::LbfgsB => "L-BFGS-B",
            Self::NelderMead => "Nelder-Mead",
            Self::Powell => "Powell",
            Self::ConjugateGradient => "CG",
            Self::NewtonCg => "Newton-CG",
            Self::TrustRegion => "trust-ncg",
            Self::Cobyla => "COBYLA",
            Self::Slsqp => "SLSQP",
        }
    }

    /// The method of a [`name`](Self::name), in small or capital letters.
    ///
    /// # Errors
    /// [`Error::UnknownName`], with the nearest name.
    pub fn from_name(name: &str) -> Result<Self, Error> {
        let named = Self::ALL.iter().find(|method| method.name().eq_ignore_ascii_case(name));
        named.copied().ok_or_else(|| Error::unknown("method", name, Self::ALL.iter().map(|m| m.name())))
    }

    /// Whether it keeps to bounds.
    pub fn takes_bounds(self) -> bool {
        matches!(self, Self::LbfgsB | Self::NelderMead | Self::Powell | Self::Cobyla | Self::Slsqp)
    }

    /// Whether it keeps to constraints.
    pub fn takes_constraints(self) -> bool {
        matches!(self, Self::Cobyla | Self::Slsqp)
    }

    /// Whether it uses gradients: those of [`MinimizeOptions::gradient`](super::MinimizeOptions::gradient), or finite
    /// differences.
    pub fn uses_gradient(self) -> bool {
        !matches!(self, Self::NelderMead | Self::Powell | Self::Cobyla)
    }

    /// The tolerance where [`MinimizeOptions::tol`](super::MinimizeOptions::tol) is not set; the field's own meaning of
    /// it is documented there.
    pub(super) fn default_tolerance(self) -> f64 {
        match self {
            Self::Bfgs | Self::LbfgsB | Self::ConjugateGradient | Self::NewtonCg => 1e-5,
            Self::NelderMead | Self::Powell | Self::TrustRegion => 1e-4,
            Self::Cobyla | Self::Slsqp => 1e-6,
        }
    }

    pub(super) fn names_that(fits: fn(Self) -> bool) -> String {
        let fit: Vec<&str> = Self::ALL.iter().filter(|m| fits(**m)).map(|m| m.name()).collect();
        fit.join(", ")
    }
}
