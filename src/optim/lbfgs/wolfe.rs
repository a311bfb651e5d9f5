use super::objective::{Objective, Point};

const C1: f64 = 1e-4;
const C2: f64 = 0.9;
const TOLERANCE: f64 = 1e-9;

/// The strong Wolfe search of `torch.optim.LBFGS`: bracketing, then cubic interpolation. Evaluates at least one point,
/// and at most `most` more.
pub(super) async fn strong_wolfe<L: Objective>(
    objective: &mut L,
    t: f64,
    most: u64,
) -> Result<Point, L::Error> {
    let first = objective.at(t, &[]).await?;
    let (start, longest) = (objective.start(), objective.longest());
    let mut search = Search { objective, start, longest, most, count: 0 };
    match search.bracket(first).await? {
        Bracket::Found(point) => Ok(point),
        Bracket::Between(ends) => search.narrow(ends).await,
    }
}

struct Search<'a, L> {
    objective: &'a mut L,
    start: Point,
    longest: f64,
    most: u64,
    /// Number of points after the first one.
    count: u64,
}

enum Bracket {
    /// A point that satisfies the conditions.
    Found(Point),
    /// An interval that contains such a point, or the best two points if no more may be evaluated.
    Between([Point; 2]),
}

impl<L: Objective> Search<'_, L> {
    fn armijo_fails(&self, new: &Point) -> bool {
        new.loss > self.start.loss + C1 * new.t * self.start.slope
    }

    fn is_flat(&self, new: &Point) -> bool {
        new.slope.abs() <= -C2 * self.start.slope
    }

    /// Grows the step from the start until a bracket is found.
    async fn bracket(&mut self, first: Point) -> Result<Bracket, L::Error> {
        let (mut previous, mut new) = (self.start, first);
        loop {
            if self.count >= self.most {
                return Ok(Bracket::Between([self.start, new]));
            }
            if self.armijo_fails(&new) || (self.count > 1 && new.loss >= previous.loss) {
                return Ok(Bracket::Between([previous, new]));
            }
            if self.is_flat(&new) {
                return Ok(Bracket::Found(new));
            }
            if new.slope >= 0.0 {
                return Ok(Bracket::Between([previous, new]));
            }
            let bounds = (new.t + 0.01 * (new.t - previous.t), new.t * 10.0);
            let t = cubic(&previous, &new, bounds);
            previous = new;
            new = self.objective.at(t, &[previous]).await?;
            self.count += 1;
        }
    }

    /// Narrows a bracket until a point in it satisfies the conditions. Returns the better end if there is none.
    async fn narrow(&mut self, mut bracket: [Point; 2]) -> Result<Point, L::Error> {
        let order = |bracket: &[Point; 2]| if bracket[0].loss <= bracket[1].loss { (0, 1) } else { (1, 0) };
        let (mut low, mut high) = order(&bracket);
        let mut stuck = false;
        while self.count < self.most {
            let (left, right) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
            if (right - left) * self.longest < TOLERANCE {
                break;
            }
            let mut t = cubic(&bracket[0], &bracket[1], (left, right));
            // The second time at an end or near it: a tenth of the bracket away from it.
            let margin = 0.1 * (right - left);
            let near = (right - t).min(t - left) < margin;
            if near && (stuck || t >= right || t <= left) {
                t = if (t - right).abs() < (t - left).abs() { right - margin } else { left + margin };
                stuck = false;
            } else {
                stuck = near;
            }
            let new = self.objective.at(t, &bracket).await?;
            self.count += 1;
            if self.armijo_fails(&new) || new.loss >= bracket[low].loss {
                bracket[high] = new;
                (low, high) = order(&bracket);
            } else {
                let done = self.is_flat(&new);
                if !done && new.slope * (bracket[high].t - bracket[low].t) >= 0.0 {
                    bracket[high] = bracket[low];
                }
                bracket[low] = new;
                if done {
                    break;
                }
            }
        }
        Ok(bracket[low])
    }
}

/// Minimum of the cubic through two points with their slopes, clamped to bounds.
fn cubic(one: &Point, two: &Point, (low, high): (f64, f64)) -> f64 {
    let d1 = one.slope + two.slope - 3.0 * (one.loss - two.loss) / (one.t - two.t);
    let square = d1 * d1 - one.slope * two.slope;
    let d2 = square.sqrt();
    let (near, far) = if one.t <= two.t { (one, two) } else { (two, one) };
    let least = far.t - (far.t - near.t) * ((far.slope + d2 - d1) / (far.slope - near.slope + 2.0 * d2));
    // There is no minimum, or all values are equal.
    if least.is_nan() { f64::midpoint(low, high) } else { least.max(low).min(high) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::lbfgs::objective::tests::Curve;

    fn search(function: impl Fn(f64) -> (f64, f64), t: f64, most: u64) -> (Point, Vec<f64>) {
        let mut objective = Curve { function, seen: Vec::new() };
        let point = pollster::block_on(strong_wolfe(&mut objective, t, most)).unwrap();
        (point, objective.seen)
    }

    #[test]
    fn a_parabola_is_solved_by_one_cubic() {
        let bowl = |t: f64| ((t - 1.0).powi(2), 2.0 * (t - 1.0));
        // Far beyond the minimum the loss has risen: the bracket is [0, 4], and the cubic through it is the parabola.
        let (point, seen) = search(bowl, 4.0, 25);
        assert_eq!((point.t, &seen[..]), (1.0, &[4.0, 1.0][..]));
        // Far before it the step grows by at most ten.
        let (point, seen) = search(bowl, 0.01, 25);
        assert_eq!((point.t, &seen[..]), (0.1, &[0.01, 0.1][..]));
    }

    #[test]
    fn without_further_points_the_better_end_is_taken() {
        let bowl = |t: f64| ((t - 1.0).powi(2), 2.0 * (t - 1.0));
        let (point, seen) = search(bowl, 4.0, 0);
        assert_eq!((point.id, seen.len()), (0, 1));
        let (point, _) = search(bowl, 1.5, 0);
        assert_eq!(point.t, 1.5);
    }

    #[test]
    fn the_conditions_hold_at_what_is_found() {
        let wave = |t: f64| ((3.0 * t).sin() * 0.3 - t + 0.1 * t * t, 0.9 * (3.0 * t).cos() - 1.0 + 0.2 * t);
        for t in [0.01, 0.3, 1.0, 7.0, 30.0] {
            let (point, seen) = search(wave, t, 25);
            let (start, slope) = wave(0.0);
            assert!(point.loss <= start + C1 * point.t * slope, "{t}: {point:?}");
            assert!(point.slope.abs() <= C2 * slope.abs(), "{t}: {point:?} {seen:?}");
        }
    }
}
