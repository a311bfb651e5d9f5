//! Ranges, ticks and their labels.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// One axis: its ends, as logarithms where it is `log`, and values with their labels.
#[derive(Debug)]
pub(crate) struct Axis {
    pub(super) log: bool,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

/// A value that ranges can be computed with: what has diverged is NaN, and what is next to nothing is 0.
pub(super) fn tame(value: f64) -> f64 {
    match value.abs() {
        size if size < 1e-100 => 0.0,
        size if size < 1e100 => value,
        _ => f64::NAN,
    }
}

impl Axis {
    /// An axis of whole numbers, with about `count` ticks.
    pub(super) fn whole(first: f64, last: f64, count: f64) -> Self {
        let pad = if first < last { 0.0 } else { 0.5 };
        let (low, high) = (first - pad, last + pad);
        let step = step((high - low) / count).max(1.0);
        let ticks = multiples(low, high, step).map(|tick| (tick, format!("{tick}"))).collect();
        Self { log: false, low, high, ticks }
    }

    /// An axis for these values, which are [`tame`]; NaNs do not count.
    ///
    /// It is logarithmic if the largest is over 50 times as large as a fifth of them, and all are positive.
    /// The few tiny rates at the end of a schedule do not make it so.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { log: false, low: 0.0, high: 1.0, ticks: Vec::new() };
        };
        if min > 0.0 && max > 50.0 * values[values.len() / 5] {
            Self::logarithmic(min.log10(), max.log10())
        } else {
            Self::linear(min, max)
        }
    }

    fn linear(min: f64, max: f64) -> Self {
        let largest = min.abs().max(max.abs());
        // Differences that labels would not show are none.
        let pad = match max - min {
            span if span > 1e-4 * largest => 0.06 * span,
            _ if largest > 0.0 => 0.1 * largest,
            _ => 1.0,
        };
        let low = if min >= 0.0 { (min - pad).max(0.0) } else { min - pad };
        Self::spanning(low, max + pad)
    }

    /// A linear axis with exactly these ends.
    pub(crate) fn spanning(low: f64, high: f64) -> Self {
        let step = step((high - low) / 5.0);
        let far = high.abs().max(low.abs());
        let ticks = multiples(low, high, step).map(|tick| (tick, label(tick, far, step))).collect();
        Self { log: false, low, high, ticks }
    }

    fn logarithmic(min: f64, max: f64) -> Self {
        let pad = 0.04 * (max - min);
        Self::spanning_powers(min - pad, max + pad)
    }

    /// A logarithmic axis whose ends are ten to exactly these powers.
    pub(crate) fn spanning_powers(low: f64, high: f64) -> Self {
        let every = ((high - low) / 7.0).ceil();
        let parts: &[f64] = match high - low {
            decades if decades < 2.2 => &[1.0, 2.0, 5.0],
            decades if decades < 4.5 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let ticks = multiples(low.floor(), high, every)
            .flat_map(|decade| parts.iter().map(move |part| (decade, part)))
            .filter(|(decade, part)| (low..=high).contains(&(decade + part.log10())))
            .map(|(decade, part)| (part * 10_f64.powf(decade), power(*part, decade)))
            .collect();
        Self { log: true, low, high, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "values lie within the axis, and casts saturate")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let place = if self.log { value.log10() } else { *value };
        let part = (place - self.low) / (self.high - self.low);
        from + (part * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light points are lines between those of the ticks; there are none.
        let shown = if hint.weight().allow_light_points() { &[] } else { &self.ticks[..] };
        shown.iter().map(|(tick, _)| *tick).collect()
    }

    fn range(&self) -> Range<f64> {
        if self.log { 10_f64.powf(self.low)..10_f64.powf(self.high) } else { self.low..self.high }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// 1, 2 or 5 times a power of ten, near `rough`.
fn step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let part = match rough / power {
        part if part < 1.5 => 1.0,
        part if part < 3.5 => 2.0,
        part if part < 7.5 => 5.0,
        _ => 10.0,
    };
    part * power
}

fn multiples(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    // Adding 0 takes the sign from a zero.
    let first = (low / step).ceil() + 0.0;
    (0..32).map(move |index| (first + f64::from(index)) * step).take_while(move |tick| *tick <= high)
}

/// With the digits that tell multiples of `step` from one another.
fn label(tick: f64, largest: f64, step: f64) -> String {
    // A hair more, because the logarithm of 0.001 may be short of -3.
    let exponent = |value: f64| (value.log10() + 1e-9).floor();
    let decimals = (-exponent(step)).max(0.0);
    if decimals <= exponent(largest) - exponent(step) + 3.0 && largest < 1e6 {
        return format!("{tick:.*}", count(decimals));
    }
    if tick == 0.0 {
        return "0".to_owned();
    }
    format!("{tick:.*e}", count(exponent(tick.abs()) - exponent(step)))
}

/// `part` times ten to the power of `decade`.
fn power(part: f64, decade: f64) -> String {
    if (-3.0..5.0).contains(&decade) {
        return format!("{:.*}", count(-decade), part * 10_f64.powf(decade));
    }
    format!("{part}e{decade}")
}

/// A number of digits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is small and saturates")]
fn count(digits: f64) -> usize {
    digits.clamp(0.0, 17.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        let place = |tick: &(f64, String)| axis.map(&tick.0, (0, 1000));
        assert!(axis.low < axis.high && axis.ticks.iter().all(|tick| (0..=1000).contains(&place(tick))));
        axis.ticks.iter().map(|(_, label)| &label[..]).collect()
    }

    #[test]
    fn ticks_are_few_and_round() {
        let rows: [(&[f64], bool, &[&str]); 13] = [
            (&[12.0, 99.2], false, &["20", "40", "60", "80", "100"]),
            (&[97.1, 98.9], false, &["97.0", "97.5", "98.0", "98.5", "99.0"]),
            (&[0.0, 5e-3], false, &["0.000", "0.001", "0.002", "0.003", "0.004", "0.005"]),
            (&[0.0, 3e-5], false, &["0", "5e-6", "1.0e-5", "1.5e-5", "2.0e-5", "2.5e-5", "3.0e-5"]),
            (&[-3e7, 2e7], false, &["-3e7", "-2e7", "-1e7", "0", "1e7", "2e7"]),
            (&[0.69312, 0.69316], false, &["0.64", "0.66", "0.68", "0.70", "0.72", "0.74", "0.76"]),
            (&[0.6925, 0.6935], false, &["0.6926", "0.6928", "0.6930", "0.6932", "0.6934"]),
            (&[1e-3, 1e-3], false, &["0.00090", "0.00095", "0.00100", "0.00105", "0.00110"]),
            (&[0.0], false, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (&[2.3, 1.0, 0.04, 0.03], true, &["0.05", "0.1", "0.2", "0.5", "1", "2"]),
            (&[2.3, 1e-3, 1e-3], true, &["0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3"]),
            (&[1e6, 1e-12, 1e-12], true, &["1e-12", "1e-9", "1e-6", "0.001", "1", "1000", "1e6"]),
            (&[f64::NAN], false, &[]),
        ];
        for (values, log, expected) in rows {
            let axis = Axis::of(values.iter().copied());
            assert_eq!((axis.log, &labels(&axis)[..]), (log, expected), "{values:?}");
        }
    }

    #[test]
    fn a_few_tiny_values_do_not_make_an_axis_logarithmic() {
        let cosine = |epoch: f64| 0.5 + 0.5 * (std::f64::consts::PI * epoch / 30.0).cos() + 1e-9;
        assert!(!Axis::of((1..=30).map(|epoch| cosine(epoch.into()))).log);
        assert!(Axis::of((0..30).map(|epoch| 0.1_f64.powi(epoch / 10))).log);
    }

    #[test]
    fn no_value_is_too_large_or_too_small() {
        let sizes = [f64::MAX, 1e100, 9e99, 1.0, 1e-99, 1e-101, 5e-324, 0.0, f64::NAN, f64::INFINITY];
        let all = || sizes.into_iter().flat_map(|size| [size, -size]).map(tame);
        for one in all() {
            for other in all() {
                for axis in [Axis::of([one, other].into_iter()), Axis::of([one, other, other].into_iter())] {
                    labels(&axis);
                    let inside = |value: f64| (0..=1000).contains(&axis.map(&value, (0, 1000)));
                    assert!([one, other].into_iter().filter(|value| !value.is_nan()).all(inside));
                }
            }
        }
    }

    #[test]
    fn epochs_are_whole() {
        for (first, last, expected) in [
            (1.0, 1.0, &["1"][..]),
            (1.0, 3.0, &["1", "2", "3"]),
            (1.0, 30.0, &["5", "10", "15", "20", "25", "30"]),
            (1.0, 1000.0, &["200", "400", "600", "800", "1000"]),
        ] {
            assert_eq!(labels(&Axis::whole(first, last, 5.0)), expected);
        }
    }
}
