/// How a direction is made orthogonal: `steps` times `x = c0 * x + (c1 * a + c2 * a * a) * x` with `a = x * x^T`, and then
/// `scale * x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonSchulz {
    /// The three numbers of a round.
    pub coefficients: [f64; 3],
    /// Rounds.
    pub steps: u64,
    /// What the result is multiplied by.
    pub scale: f64,
}
