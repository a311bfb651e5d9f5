//! Fast sums of smooth functions over long ranges of integers.

/// Coefficients of Gregory's formula from the second on, for differences of order 1, 2, ...
const GREGORY: [f64; 8] = [
    1.0 / 12.0,
    1.0 / 24.0,
    19.0 / 720.0,
    3.0 / 160.0,
    863.0 / 60_480.0,
    275.0 / 24_192.0,
    33_953.0 / 3_628_800.0,
    8_183.0 / 1_036_800.0,
];
const ORDER: usize = GREGORY.len();

/// Number of intervals per panel.
const INTERVALS: usize = 32;
/// Up to this many terms are summed directly.
const FEW: usize = 256;
/// Relative tolerance of a panel.
const OFF: f64 = 1e-14;

/// The sum of `term` from step `first` to step `last`, both included. `term` must be smooth and of one sign.
///
/// A panel of many terms is evaluated at 33 of them. Gregory's formula (Hildebrand 1974, Introduction to Numerical
/// Analysis, section 5.8) gives the same integral from these points as from all terms, and so the sum of all. If the
/// highest difference shows that this is not accurate, the panel is halved. `None` after `most` terms.
pub(super) fn smooth_sum<E>(
    first: u64,
    last: u64,
    most: usize,
    mut term: impl FnMut(u64) -> Result<f64, E>,
) -> Result<Option<f64>, E> {
    let (mut sum, mut taken) = (0.0_f64, 0);
    let mut panels = vec![(first, last)];
    while let Some((first, last)) = panels.pop() {
        if taken > most {
            return Ok(None);
        }
        let stride = (last - first) / INTERVALS as u64;
        if last - first < FEW as u64 {
            taken += FEW;
            for step in first..=last {
                sum += term(step)?;
            }
            continue;
        }
        taken += INTERVALS + 2 * ORDER;
        let end = first + stride * INTERVALS as u64;
        let panel = panel(first, stride, &mut term)?;
        if panel.off <= OFF * panel.sum.abs().max(sum.abs()) {
            sum += panel.sum;
            for step in end + 1..=last {
                sum += term(step)?;
            }
        } else {
            // The second half first: the first half is often negligible compared with it.
            let middle = first + (last - first) / 2;
            panels.extend([(first, middle), (middle + 1, last)]);
        }
    }
    Ok(Some(sum))
}

struct Panel {
    sum: f64,
    off: f64,
}

fn panel<E>(first: u64, stride: u64, term: &mut impl FnMut(u64) -> Result<f64, E>) -> Result<Panel, E> {
    let last = first + stride * INTERVALS as u64;
    let coarse: Vec<f64> =
        (0..=INTERVALS as u64).map(|index| term(first + index * stride)).collect::<Result<_, E>>()?;
    let fine = |from: u64, term: &mut dyn FnMut(u64) -> Result<f64, E>| -> Result<Vec<f64>, E> {
        (0..=ORDER as u64).map(|index| term(from + index)).collect()
    };
    let head = fine(first, term)?;
    let tail = fine(last - ORDER as u64, term)?;
    let ends = (coarse[0] + coarse[INTERVALS]) / 2.0;
    let (far, off) = correction(&coarse[..=ORDER], &coarse[INTERVALS - ORDER..]);
    let (near, _) = correction(&head, &tail);
    let stride = stride as f64;
    let integral = stride * (coarse.iter().sum::<f64>() - ends - far);
    Ok(Panel { sum: integral + near + ends, off: stride * off })
}

/// The error of the trapezoidal rule, from the terms at both ends; and its last term.
fn correction(head: &[f64], tail: &[f64]) -> (f64, f64) {
    let (mut head, mut tail) = (head.to_vec(), tail.to_vec());
    let (mut sum, mut last) = (0.0, 0.0);
    for (order, coefficient) in GREGORY.iter().enumerate() {
        differences(&mut head);
        differences(&mut tail);
        let (forward, backward) = (head[0], tail[tail.len() - 1]);
        let forward = if order.is_multiple_of(2) { -forward } else { forward };
        sum += coefficient * (backward + forward);
        last = coefficient * (backward.abs() + forward.abs());
    }
    (sum, last)
}

fn differences(values: &mut Vec<f64>) {
    for index in 1..values.len() {
        values[index - 1] = values[index] - values[index - 1];
    }
    values.pop();
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn assert_sums(name: &str, first: u64, last: u64, term: impl Fn(f64) -> f64) {
        let mut taken = 0;
        let got = smooth_sum(first, last, 1 << 20, |step| {
            taken += 1;
            Ok::<f64, Infallible>(term(step as f64))
        });
        let got = got.unwrap().unwrap();
        // Adds the small terms first, to keep rounding errors small.
        let mut terms: Vec<f64> = (first..=last).map(|step| term(step as f64)).collect();
        terms.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let want: f64 = terms.iter().sum();
        assert!((got - want).abs() <= 3e-13 * want.abs(), "{name}: got {got}, expected {want}");
        assert!(taken < 10_000, "{name}: {taken} terms");
    }

    #[test]
    fn it_is_the_sum_of_all_terms() {
        assert_sums("few", 3, 200, |x| x * x);
        assert_sums("a line", 0, 1_000_000, |x| 2.0 * x + 1.0);
        assert_sums("a cube", 5, 1_000_007, |x| x * x * x);
        assert_sums("a pole before it", 1, 2_000_000, |x| 1.0 / (x * x));
        assert_sums("a pole behind it", 0, 2_000_000, |x| 1.0 / (2_000_001.0 - x).powi(2));
        assert_sums("a fast decay", 0, 2_000_000, |x| 0.9_f64.powf(x));
        assert_sums("a fast growth", 0, 2_000_000, |x| 0.9_f64.powf(2_000_000.0 - x));
        assert_sums("a slow decay", 0, 2_000_000, |x| (-1e-5 * x).exp());
        assert_sums("a part of a wave", 0, 1_000_000, |x| (1e-6 * x).sin());
    }

    #[test]
    fn one_that_is_not_smooth_ends_as_well() {
        let rough =
            |step: u64| Ok::<f64, Infallible>((step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as f64);
        assert_eq!(smooth_sum(0, u64::MAX - 1, 1 << 16, rough), Ok(None));
    }
}
