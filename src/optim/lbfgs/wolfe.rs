use super::objective::{Objective, Point};

const C1: f64 = 1e-4;
const C2: f64 = 0.9;
const TOLERANCE: f64 = 1e-9;

/// The strong Wolfe search of `torch.optim.LBFGS`: brackets, then cubic interpolation; at most `most` points after the
/// first one. Evaluates at least one.
pub(super) async fn strong_wolfe<L: Objective>(
    objective: &mut L,
    t: f64,
    most: u64,
) -> Result<Point, L::Error> {
    let mut new = objective.at(t, &[]).await?;
    let (start, longest) = (objective.start(), objective.longest());
    let armijo_fails = |new: &Point| new.loss > start.loss + C1 * new.t * start.slope;
    let flat = |new: &Point| new.slope.abs() <= -C2 * start.slope;
    let mut previous = start;
    let mut count = 0;
    let mut bracket = loop {
        if count >= most {
            break [start, new];
        }
        if armijo_fails(&new) || (count > 1 && new.loss >= previous.loss) {
            break [previous, new];
        }
        if flat(&new) {
            return Ok(new);
        }
        if new.slope >= 0.0 {
            break [previous, new];
        }
        let bounds = (new.t + 0.01 * (new.t - previous.t), new.t * 10.0);
        let t = cubic(&previous, &new, bounds);
        previous = new;
        new = objective.at(t, &[previous]).await?;
        count += 1;
    };
    let order = |bracket: &[Point; 2]| if bracket[0].loss <= bracket[1].loss { (0, 1) } else { (1, 0) };
    let (mut low, mut high) = order(&bracket);
    let mut stuck = false;
    while count < most {
        let (left, right) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
        if (right - left) * longest < TOLERANCE {
            break;
        }
        let mut t = cubic(&bracket[0], &bracket[1], (left, right));
        // Twice near an end, or at it: a tenth of the bracket away from it.
        let margin = 0.1 * (right - left);
        let near = (right - t).min(t - left) < margin;
        if near && (stuck || t >= right || t <= left) {
            t = if (t - right).abs() < (t - left).abs() { right - margin } else { left + margin };
            stuck = false;
        } else {
            stuck = near;
        }
        let new = objective.at(t, &bracket).await?;
        count += 1;
        if armijo_fails(&new) || new.loss >= bracket[low].loss {
            bracket[high] = new;
            (low, high) = order(&bracket);
        } else {
            let done = flat(&new);
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

/// Where the cubic through two points with their slopes is least, within bounds.
fn cubic(one: &Point, two: &Point, (low, high): (f64, f64)) -> f64 {
    let d1 = one.slope + two.slope - 3.0 * (one.loss - two.loss) / (one.t - two.t);
    let square = d1 * d1 - one.slope * two.slope;
    let d2 = square.sqrt();
    let (near, far) = if one.t <= two.t { (one, two) } else { (two, one) };
    let least = far.t - (far.t - near.t) * ((far.slope + d2 - d1) / (far.slope - near.slope + 2.0 * d2));
    // No minimum, or all is equal.
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
