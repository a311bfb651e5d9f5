/// Newton-Schulz orthogonalization of a direction: `steps` iterations of `x = c0 * x + (c1 * a + c2 * a * a) * x` with
/// `a = x * x^T`, then `scale * x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonSchulz {
    /// The coefficients `c0`, `c1` and `c2`.
    pub coefficients: [f64; 3],
    /// Number of iterations.
    pub steps: u64,
    /// Factor of the result.
    pub scale: f64,
}
