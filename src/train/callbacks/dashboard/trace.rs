//! A curve of bounded size.

/// Points that a curve has at most.
const MOST: usize = 512;

/// Means of so many neighbouring values that there are never more than [`MOST`] points.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    points: Vec<(f64, f64)>,
    /// Values that make a point.
    every: u64,
    /// Sums of the values of the next point, and their number.
    open: (f64, f64),
    count: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { points: Vec::new(), every: 1, open: (0.0, 0.0), count: 0 }
    }
}

impl Trace {
    /// Adds a value; one that is not finite is left out.
    pub(crate) fn push(&mut self, x: f64, y: f64) {
        if !x.is_finite() || !y.is_finite() {
            return;
        }
        self.open = (self.open.0 + x, self.open.1 + y);
        self.count += 1;
        if self.count < self.every {
            return;
        }
        let count = self.count as f64;
        self.points.push((self.open.0 / count, self.open.1 / count));
        (self.open, self.count) = ((0.0, 0.0), 0);
        if self.points.len() == MOST {
            let mean = |two: &[(f64, f64)]| ((two[0].0 + two[1].0) / 2.0, (two[0].1 + two[1].1) / 2.0);
            self.points = self.points.chunks_exact(2).map(mean).collect();
            self.every *= 2;
        }
    }

    pub(crate) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_mean_in_bounded_space() {
        let mut trace = Trace::default();
        let steps = MOST as u64 * 64;
        for step in 0..steps {
            trace.push(step as f64, (step % 2) as f64);
        }
        trace.push(f64::NAN, 1.0);
        trace.push(1.0, f64::INFINITY);
        assert!((MOST / 2..MOST).contains(&trace.points().len()), "{}", trace.points().len());
        assert!(trace.points().iter().all(|(_, y)| *y == 0.5));
        assert!(trace.points().windows(2).all(|two| two[0].0 < two[1].0));
        let mean = trace.points().iter().map(|(x, _)| x).sum::<f64>() / trace.points().len() as f64;
        assert_eq!(mean, (steps - 1) as f64 / 2.0);
    }
}
