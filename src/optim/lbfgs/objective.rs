use crate::error::Error;

/// A point along a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Number of the point in the search; 0 is the start.
    pub(super) id: usize,
    /// Distance from the start, in lengths of the direction.
    pub(super) t: f64,
    /// The loss; NaN if it is not finite.
    pub(super) loss: f64,
    /// Inner product of the gradient there and the direction; NaN if the loss is.
    pub(super) slope: f64,
}

/// The function that a line search minimizes: a loss along a direction.
pub(super) trait Objective {
    type Error: From<Error>;

    /// Evaluates the function at distance `t`. Of the earlier points, only those in `keep` can be taken later.
    async fn at(&mut self, t: f64, keep: &[Point]) -> Result<Point, Self::Error>;

    /// The start, with the slope that was measured with the last point.
    fn start(&self) -> Point;

    /// The largest magnitude in the direction; known after the first evaluation.
    fn longest(&self) -> f64;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A function of one number, for tests: value and derivative.
    pub(crate) struct Curve<F> {
        pub(crate) function: F,
        pub(crate) seen: Vec<f64>,
    }

    impl<F: Fn(f64) -> (f64, f64)> Objective for Curve<F> {
        type Error = Error;

        async fn at(&mut self, t: f64, keep: &[Point]) -> Result<Point, Error> {
            assert!(keep.len() <= 2, "there is room for two");
            self.seen.push(t);
            let (loss, slope) = (self.function)(t);
            Ok(Point { id: self.seen.len(), t, loss, slope })
        }

        fn start(&self) -> Point {
            let (loss, slope) = (self.function)(0.0);
            Point { id: 0, t: 0.0, loss, slope }
        }

        fn longest(&self) -> f64 {
            1.0
        }
    }
}
