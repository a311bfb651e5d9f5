use std::collections::BTreeMap;
use std::fmt;

use crate::Error;

/// Confusion matrix: a row per true class, a column per predicted class.
///
/// ```
/// use gradus::train::Confusion;
///
/// let logits = [0.1, 0.9, 2.0, -1.0, 0.0, 1.0];
/// let table = Confusion::of_logits(&logits, &[1, 0, 0], 2)?;
/// assert_eq!((table.count(0, 0), table.count(0, 1), table.count(1, 1)), (1, 1, 1));
/// assert_eq!(format!("{:.4}", table.accuracy()), "0.6667");
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// Number of samples by true and predicted class. Pairs without samples take no memory.
    counts: BTreeMap<(usize, usize), u64>,
}

/// The predicted class of each row of `classes` logits: the index of its largest logit, of equal ones the first, as in
/// [`accuracy`](crate::graph::Var::accuracy).
///
/// # Errors
/// [`Error::Length`] if the last row is incomplete or `classes` is 0; [`Error::Constant`] if a class number would not
/// fit u32.
pub fn classes_of(logits: &[f32], classes: usize) -> Result<Vec<u32>, Error> {
    if classes == 0 || !logits.len().is_multiple_of(classes) {
        let expected = logits.len().next_multiple_of(classes.max(1));
        let what = format!("logits in rows of {classes}");
        return Err(Error::Length { what, expected, got: logits.len() });
    }
    let Ok(last) = u32::try_from(classes - 1) else {
        return Err(Error::constant("classes", format!("at most {}", 1_u64 << u32::BITS), classes));
    };
    let largest = |row: &[f32]| {
        (0..=last)
            .zip(row)
            .fold((0, row[0]), |best, (at, &logit)| if logit > best.1 { (at, logit) } else { best })
    };
    Ok(logits.chunks_exact(classes).map(|row| largest(row).0).collect())
}

impl Confusion {
    /// The confusion matrix of predictions from logits.
    ///
    /// # Errors
    /// As [`classes_of`]; [`Error::Length`] unless there is one label per row; [`Error::Constant`] for a label that is
    /// not below `classes`.
    pub fn of_logits(logits: &[f32], labels: &[u32], classes: usize) -> Result<Self, Error> {
        let predicted = classes_of(logits, classes)?;
        if predicted.len() != labels.len() {
            let what = "labels of the predictions".into();
            return Err(Error::Length { what, expected: predicted.len(), got: labels.len() });
        }
        let mut counts = BTreeMap::new();
        for (index, (label, class)) in labels.iter().zip(predicted).enumerate() {
            let label = *label as usize;
            if label >= classes {
                return Err(Error::constant(format!("label {index}"), format!("below {classes}"), label));
            }
            *counts.entry((label, class as usize)).or_default() += 1;
        }
        Ok(Self { classes, counts })
    }

    /// Number of samples of class `label` predicted as `predicted`; 0 for a class that does not exist.
    #[must_use]
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        self.counts.get(&(label, predicted)).copied().unwrap_or(0)
    }

    /// The fraction of samples that were predicted correctly; NaN without samples.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right = self.counts.iter().filter(|((label, predicted), _)| label == predicted);
        sum(right.map(|(_, count)| count)) as f64 / sum(self.counts.values()) as f64
    }
}

/// The matrix with class numbers, and the recall of each class.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.counts.values().copied().max().unwrap_or(0).max(self.classes as u64);
        let width = widest.to_string().len() + 1;
        write!(f, "true\\predicted")?;
        for class in 0..self.classes {
            write!(f, "{class:>width$}")?;
        }
        writeln!(f, "  recall")?;
        for label in 0..self.classes {
            write!(f, "{label:>14}")?;
            for predicted in 0..self.classes {
                write!(f, "{:>width$}", self.count(label, predicted))?;
            }
            match sum(self.counts.range((label, 0)..=(label, usize::MAX)).map(|(_, count)| count)) {
                0 => writeln!(f, "       -")?,
                all => writeln!(f, "  {:.4}", self.count(label, label) as f64 / all as f64)?,
            }
        }
        Ok(())
    }
}

/// A sum of counts that cannot overflow.
fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u128 {
    counts.map(|count| u128::from(*count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_take_no_memory_and_no_number_begins_again_at_0() {
        // The full matrix of this many classes would have 2^64 entries.
        #[cfg(target_pointer_width = "64")]
        {
            let table = Confusion::of_logits(&[], &[], 1 << 32).unwrap();
            assert_eq!((table.count(0, 0), table.count(1 << 31, 7)), (0, 0));
            assert!(table.accuracy().is_nan());
            let message = "classes must be at most 4294967296, got 4294967297";
            assert_eq!(Confusion::of_logits(&[], &[], (1 << 32) + 1).unwrap_err().to_string(), message);
            assert!(classes_of(&[], usize::MAX).is_err());
        }
        let mut logits = vec![0.0; 3 << 20];
        (logits[5], logits[(1 << 20) + 5], logits[(3 << 20) - 1]) = (1.0, 1.0, 1.0);
        let table = Confusion::of_logits(&logits, &[5, 7, (1 << 20) - 1], 1 << 20).unwrap();
        assert_eq!((table.count(5, 5), table.count(7, 5)), (1, 1));
        assert_eq!(table.accuracy(), 2.0 / 3.0);

        let counts = [((0, 0), u64::MAX), ((0, 1), u64::MAX), ((1, 1), 1)].into();
        let table = Confusion { classes: 2, counts };
        assert_eq!(table.accuracy(), 0.5);
        assert!(table.to_string().contains("  0.5000\n"), "{table}");
    }

    #[test]
    fn a_table_is_printed_with_its_recalls() {
        let one_hot = |class: usize| (0..3).map(move |at| if at == class { 1.0 } else { 0.0 });
        let logits: Vec<f32> = [0, 1, 1, 0].into_iter().flat_map(one_hot).collect();
        let table = Confusion::of_logits(&logits, &[0, 1, 0, 0], 3).unwrap();
        let text = "true\\predicted 0 1 2  recall\n             0 2 1 0  0.6667\n             1 0 1 0  1.0000\n             2 0 0 0       -\n";
        assert_eq!(table.to_string(), text);
        assert_eq!(table.accuracy(), 0.75);
        assert_eq!((table.count(0, 1), table.count(3, 0), table.count(0, 3)), (1, 0, 0));
    }

    #[test]
    fn of_equal_logits_the_first_is_taken_and_nan_is_not() {
        assert_eq!(classes_of(&[1.0, 1.0, f32::NAN, 0.5, 0.0, f32::NAN], 3).unwrap(), [0, 0]);
        assert_eq!(classes_of(&[], 3).unwrap(), [0; 0]);
    }

    #[test]
    fn refusals_carry_the_numbers() {
        let rows = [
            (Confusion::of_logits(&[0.0; 4], &[0], 3), "logits in rows of 3: expected 6 elements, got 4"),
            (Confusion::of_logits(&[0.0; 4], &[0], 0), "logits in rows of 0: expected 4 elements, got 4"),
            (
                Confusion::of_logits(&[0.0; 6], &[0], 3),
                "labels of the predictions: expected 2 elements, got 1",
            ),
            (Confusion::of_logits(&[0.0; 6], &[0, 3], 3), "label 1 must be below 3, got 3"),
        ];
        for (result, message) in rows {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
    }
}
