//! Histograms in exponential buckets.

/// A histogram of the finite values of a tensor.
#[derive(Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) sum_squares: f64,
    /// Upper limit and number of values of each bucket that is needed, in ascending order.
    pub(super) buckets: Vec<(f64, u64)>,
}

/// The least limit above zero, and the factor from one to the next.
const LEAST: f64 = 1e-12;
const FACTOR: f64 = 1.1;

/// Limits above zero, beyond the largest f32.
fn limits() -> Vec<f64> {
    let next = |limit: &f64| (*limit < 1e39).then_some(limit * FACTOR);
    std::iter::successors(Some(LEAST), next).collect()
}

impl Histogram {
    pub(super) fn of(values: &[f32]) -> Self {
        let above = limits();
        let all: Vec<f64> =
            above.iter().rev().map(|limit| -limit).chain([0.0]).chain(above.iter().copied()).collect();
        let mut counts = vec![0_u64; all.len()];
        let mut histogram = Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            count: 0,
            sum: 0.0,
            sum_squares: 0.0,
            buckets: Vec::new(),
        };
        for value in values.iter().filter(|value| value.is_finite()) {
            let value = f64::from(*value);
            // A value equal to a limit is in the bucket above it, as in TensorFlow.
            let bucket = all.partition_point(|limit| *limit <= value);
            counts[bucket] += 1;
            histogram.min = histogram.min.min(value);
            histogram.max = histogram.max.max(value);
            histogram.count += 1;
            histogram.sum += value;
            histogram.sum_squares += value * value;
        }
        if histogram.count == 0 {
            (histogram.min, histogram.max) = (0.0, 0.0);
        }
        // An empty bucket is only needed to say where the next one begins.
        for (bucket, count) in counts.iter().enumerate() {
            let next = counts.get(bucket + 1).copied().unwrap_or(0);
            if *count > 0 || next > 0 {
                histogram.buckets.push((all[bucket], *count));
            }
        }
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_finite_values_are_counted_between_their_limits() {
        let values = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, f32::MAX, f32::MIN, 2.5, f32::NAN, f32::INFINITY];
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.count, 9);
        assert_eq!((histogram.min, histogram.max), (f64::from(f32::MIN), f64::from(f32::MAX)));
        assert_eq!(histogram.sum, 2.5);
        assert_eq!(histogram.buckets.iter().map(|(_, count)| count).sum::<u64>(), 9);
        assert!(histogram.buckets.is_sorted_by(|one, two| one.0 < two.0));
        let finite = values.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value));
        for (index, (limit, count)) in histogram.buckets.iter().enumerate() {
            let from = index.checked_sub(1).map_or(f64::NEG_INFINITY, |before| histogram.buckets[before].0);
            let within = finite.clone().filter(|value| (from..*limit).contains(value)).count();
            assert_eq!(within as u64, *count, "[{from}, {limit})");
        }
        let none = Histogram::of(&[f32::NAN]);
        assert_eq!((none.count, none.min, none.max, none.buckets.len()), (0, 0.0, 0.0, 0));
    }
}
