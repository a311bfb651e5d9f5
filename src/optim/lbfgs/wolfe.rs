use super::line::{Line, Point};

const C1: f64 = 1e-4;
const C2: f64 = 0.9;
const TOLERANCE: f64 = 1e-9;

/// The strong Wolfe search of `torch.optim.LBFGS`: brackets, then cubic interpolation; at most `most` points after the
/// first one. Evaluates at least one.
pub(super) async fn strong_wolfe<L: Line>(line: &mut L, t: f64, most: u64) -> Result<Point, L::Error> {
    let mut new = line.at(t, &[]).await?;
    let (start, longest) = (line.start(), line.longest());
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
        new = line.at(t, &[previous]).await?;
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
        let new = line.at(t, &bracket).await?;
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
