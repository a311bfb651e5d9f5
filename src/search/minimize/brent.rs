//! Minimization along a line.

/// `(3 - sqrt 5) / 2`.
const GOLDEN: f64 = 0.381_966_011_250_105_1;

/// A place on a line and the value there.
pub(super) type Place = (f64, f64);

/// The interval `[low, high]` and the best place within it, where one is known.
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) inside: Option<Place>,
}

/// A local minimum of `f` in an interval: parabolas where they fit, golden sections elsewhere, at most 500 evaluations.
///
/// Ends where the place is known to `relative * |place| + absolute`.
///
/// Source: Brent 1973, Algorithms for Minimization without Derivatives, ch. 5 (`localmin`).
pub(super) fn brent<E>(
    interval: Interval,
    (relative, absolute): (f64, f64),
    f: &mut impl FnMut(f64) -> Result<f64, E>,
) -> Result<Place, E> {
    let Interval { mut low, mut high, inside } = interval;
    let mut best = match inside {
        Some(place) => place,
        None => {
            let at = low + GOLDEN * (high - low);
            (at, f(at)?)
        }
    };
    let (mut second, mut third) = (best, best);
    let (mut step, mut before) = (0.0_f64, 0.0_f64);
    for _ in 1..500 {
        let middle = 0.5 * (low + high);
        let tol = relative * best.0.abs() + absolute;
        if (best.0 - middle).abs() <= 2.0 * tol - 0.5 * (high - low) {
            break;
        }
        let parabola = if before.abs() > tol { vertex(best, second, third) } else { None };
        let fits = |to: f64| to.abs() < 0.5 * before.abs() && best.0 + to > low && best.0 + to < high;
        match parabola.filter(|to| fits(*to)) {
            Some(to) => {
                (before, step) = (step, to);
                let near_end = best.0 + to - low < 2.0 * tol || high - best.0 - to < 2.0 * tol;
                if near_end {
                    step = if middle >= best.0 { tol } else { -tol };
                }
            }
            None => {
                before = if best.0 >= middle { low - best.0 } else { high - best.0 };
                step = GOLDEN * before;
            }
        }
        let at = best.0 + if step >= 0.0 { step.abs().max(tol) } else { -step.abs().max(tol) };
        let tried = (at, f(at)?);
        if tried.1 <= best.1 {
            if tried.0 >= best.0 {
                low = best.0
            } else {
                high = best.0
            }
            (third, second, best) = (second, best, tried);
        } else {
            if tried.0 < best.0 {
                low = tried.0
            } else {
                high = tried.0
            }
            if tried.1 <= second.1 || second.0 == best.0 {
                (third, second) = (second, tried);
            } else if tried.1 <= third.1 || third.0 == best.0 || third.0 == second.0 {
                third = tried;
            }
        }
    }
    Ok(best)
}

/// The step from `best` to the lowest place of the parabola through three places.
fn vertex(best: Place, second: Place, third: Place) -> Option<f64> {
    let r = (best.0 - second.0) * (best.1 - third.1);
    let q = (best.0 - third.0) * (best.1 - second.1);
    let p = (best.0 - third.0) * q - (best.0 - second.0) * r;
    let to = -p / (2.0 * (q - r));
    to.is_finite().then_some(to)
}

/// An interval around a minimum, from 0 and 1 on downhill by growing steps, at most 100 of them; where the function falls
/// on and on, the last three places.
///
/// Source: Press et al. 1992, Numerical Recipes, sec. 10.1 (without its parabolas).
pub(super) fn bracket<E>(start: Place, f: &mut impl FnMut(f64) -> Result<f64, E>) -> Result<Interval, E> {
    const GROW: f64 = 1.618_034;
    let (mut a, mut b) = (start, (1.0, f(1.0)?));
    if a.1 < b.1 {
        (a, b) = (b, a);
    }
    let mut c = b;
    for _ in 0..100 {
        let at = b.0 + GROW * (b.0 - a.0);
        c = (at, f(at)?);
        if c.1 >= b.1 {
            break;
        }
        (a, b) = (b, c);
    }
    Ok(Interval { low: a.0.min(c.0), high: a.0.max(c.0), inside: Some(b) })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_minimum_on_a_line_is_found_as_exactly_as_asked() {
        let mut calls = 0;
        let mut f = |x: f64| -> Result<f64, Infallible> {
            calls += 1;
            Ok((x - 0.3).powi(2) + (x - 0.3).powi(4))
        };
        let whole = |inside| Interval { low: -4.0, high: 9.0, inside };
        for tol in [1e-2, 1e-6] {
            let Ok((at, _)) = brent(whole(None), (0.0, tol), &mut f);
            assert!((at - 0.3).abs() <= 2.0 * tol, "{at} to {tol}");
        }
        let Ok((at, value)) = brent(whole(Some((0.31, 1e-4))), (0.0, 1e-8), &mut f);
        assert!((at - 0.3).abs() < 1e-6 && value < 1e-12);
        assert!(calls < 100, "{calls}");
    }

    #[test]
    fn a_minimum_at_an_end_is_approached() {
        let Ok((at, _)) =
            brent(Interval { low: 2.0, high: 5.0, inside: None }, (0.0, 1e-6), &mut |x: f64| {
                Ok::<f64, Infallible>(x)
            });
        assert!((2.0..2.0 + 1e-5).contains(&at), "{at}");
    }

    #[test]
    fn brackets_hold_the_minimum_wherever_it_is() {
        for minimum in [-300.0, -0.2, 0.4, 0.9, 7.0, 1e6] {
            let mut f = |x: f64| Ok::<f64, Infallible>((x - minimum).powi(2));
            let Ok(start) = f(0.0);
            let Ok(found) = bracket((0.0, start), &mut f);
            assert!(found.low <= minimum && minimum <= found.high, "{minimum}: {} {}", found.low, found.high);
        }
    }
}
