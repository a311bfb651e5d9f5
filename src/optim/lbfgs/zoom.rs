use super::objective::{Objective, Point};

const SLOPE_RTOL: f64 = 1e-4;
const CURVATURE_RTOL: f64 = 0.9;
const APPROXIMATE_RTOL: f64 = 1e-6;
const INTERVAL: f64 = 1e-5;
const INCREASE: f64 = 2.0;
const MOST: usize = 20;

/// The search of `optax.scale_by_zoom_linesearch` with its defaults: doubles the step until an interval is found, then
/// interpolates. A point whose loss is not finite is too far. Returns the start if no point is finite.
pub(super) async fn zoom<L: Objective>(objective: &mut L) -> Result<Point, L::Error> {
    let mut last = objective.start();
    // The best point so far that decreases the loss enough, whatever its slope.
    let mut safe = last;
    let mut interval: Option<Interval> = None;
    for count in 1..=MOST {
        let t = match &interval {
            Some(interval) => interval.middle(),
            None if count == 1 => 1.0,
            None => INCREASE * last.t,
        };
        let new = objective.at(t, &[safe]).await?;
        let start = objective.start();
        let decrease = decrease_error(&start, &new);
        let decreases = decrease <= 0.0;
        let done = decreases && curvature_error(&start, &new) <= 0.0;
        let mut tiny = false;
        if let Some(interval) = &mut interval {
            if decreases && new.loss < safe.loss {
                safe = new;
            }
            tiny = (interval.high.t - interval.low.t).abs() <= INTERVAL && safe.t > 0.0;
            interval.narrow(new, decreases);
        } else {
            if decreases {
                safe = new;
            }
            if !decreases || (new.loss >= last.loss && count > 1) {
                interval = Some(Interval { low: last, high: new, third: last });
            } else if new.slope >= 0.0 {
                interval = Some(Interval { low: new, high: last, third: new });
            }
        }
        if done {
            return Ok(new);
        }
        if tiny || count == MOST {
            return Ok(if safe.t > 0.0 || decrease.is_infinite() { safe } else { new });
        }
        last = new;
    }
    Ok(safe)
}

struct Interval {
    low: Point,
    high: Point,
    /// The third point of the cubic.
    third: Point,
}

impl Interval {
    fn middle(&self) -> f64 {
        let (low, high) = (self.low.t, self.high.t);
        let (left, right, width) = (low.min(high), low.max(high), (high - low).abs());
        let inside = |t: f64, margin: f64| t > left + margin * width && t < right - margin * width;
        let cubic = cubic(&self.low, &self.high, &self.third);
        if inside(cubic, 0.2) {
            return cubic;
        }
        let quadratic = quadratic(&self.low, &self.high);
        if inside(quadratic, 0.1) { quadratic } else { f64::midpoint(low, high) }
    }

    fn narrow(&mut self, new: Point, decreases: bool) {
        let Self { low, high, .. } = *self;
        if !decreases || new.loss >= low.loss {
            (self.high, self.third) = (new, high);
        } else if new.slope * (high.t - low.t) >= 0.0 {
            (self.low, self.high, self.third) = (new, low, high);
        } else {
            (self.low, self.third) = (new, low);
        }
    }
}

/// Zero if a point satisfies Armijo's condition or the approximate one of Hager and Zhang 2006, ACM TOMS 32, eq. 23;
/// otherwise the smaller violation.
fn decrease_error(start: &Point, new: &Point) -> f64 {
    if new.loss.is_nan() || new.slope.is_nan() {
        return f64::INFINITY;
    }
    let armijo = new.loss - start.loss - SLOPE_RTOL * new.t * start.slope;
    let slope = new.slope - (2.0 * SLOPE_RTOL - 1.0) * start.slope;
    let rise = new.loss - start.loss - APPROXIMATE_RTOL * start.loss.abs();
    armijo.min(slope.max(rise)).max(0.0)
}

fn curvature_error(start: &Point, new: &Point) -> f64 {
    (new.slope.abs() - CURVATURE_RTOL * start.slope.abs()).max(0.0)
}

/// Minimum of the cubic through three points, with the slope at the first; NaN if there is none.
fn cubic(a: &Point, b: &Point, c: &Point) -> f64 {
    let (db, dc) = (b.t - a.t, c.t - a.t);
    let denominator = (db * dc).powi(2) * (db - dc);
    let (rise_b, rise_c) = (b.loss - a.loss - a.slope * db, c.loss - a.loss - a.slope * dc);
    let third = (dc * dc * rise_b - db * db * rise_c) / denominator;
    let second = (db.powi(3) * rise_c - dc.powi(3) * rise_b) / denominator;
    a.t + (-second + (second * second - 3.0 * third * a.slope).sqrt()) / (3.0 * third)
}

/// Minimum of the parabola through two points, with the slope at the first.
fn quadratic(a: &Point, b: &Point) -> f64 {
    let db = b.t - a.t;
    a.t - a.slope / (2.0 * (b.loss - a.loss - a.slope * db) / (db * db))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::lbfgs::objective::tests::Curve;

    #[test]
    fn a_point_that_is_not_finite_is_too_far() {
        // The logarithm's barrier at 0.5.
        let barrier = |t: f64| {
            if t >= 0.5 { (f64::NAN, f64::NAN) } else { (-t - 0.1 * (0.5 - t).ln(), -1.0 + 0.1 / (0.5 - t)) }
        };
        let mut objective = Curve { function: barrier, seen: Vec::new() };
        let point = pollster::block_on(zoom(&mut objective)).unwrap();
        assert!(point.t > 0.0 && point.t < 0.5 && point.loss < objective.start().loss, "{point:?}");
        assert_eq!(objective.seen[..2], [1.0, 0.5]);
    }

    #[test]
    fn where_nothing_is_finite_the_start_is_given() {
        let cliff = |t: f64| if t > 0.0 { (f64::NAN, f64::NAN) } else { (1.0, -1.0) };
        let mut objective = Curve { function: cliff, seen: Vec::new() };
        assert_eq!(pollster::block_on(zoom(&mut objective)).unwrap().id, 0);
        assert_eq!(objective.seen.len(), MOST);
    }

    #[test]
    fn the_interval_doubles_until_the_slope_turns() {
        let bowl = |t: f64| ((t - 5.0).powi(2), 2.0 * (t - 5.0));
        let mut objective = Curve { function: bowl, seen: Vec::new() };
        let point = pollster::block_on(zoom(&mut objective)).unwrap();
        assert_eq!((point.t, &objective.seen[..]), (1.0, &[1.0][..]));
        let steep = |t: f64| ((t - 50.0).powi(2), 2.0 * (t - 50.0));
        let mut objective = Curve { function: steep, seen: Vec::new() };
        let point = pollster::block_on(zoom(&mut objective)).unwrap();
        assert_eq!((point.t, &objective.seen[..]), (8.0, &[1.0, 2.0, 4.0, 8.0][..]));
    }
}
