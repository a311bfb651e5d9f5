use std::fmt;

use crate::Error;

/// Which classes were taken for which: a row for each true class, a column for each predicted one.
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
    counts: Vec<u64>,
}

/// The class of each row of `classes` logits: the place of its largest, of equal ones the first, as
/// [`accuracy`](crate::graph::Var::accuracy) has it.
///
/// # Errors
/// [`Error::Length`] if the last row is not whole or there are no classes.
pub fn classes_of(logits: &[f32], classes: usize) -> Result<Vec<u32>, Error> {
    if classes == 0 || !logits.len().is_multiple_of(classes) {
        let expected = logits.len().next_multiple_of(classes.max(1));
        let what = format!("logits in rows of {classes}");
        return Err(Error::Length { what, expected, got: logits.len() });
    }
    let largest = |row: &[f32]| (1..classes).fold(0, |best, at| if row[at] > row[best] { at } else { best });
    Ok(logits
        .chunks_exact(classes)
        .map(|row| u32::try_from(largest(row)).expect("classes are counted in u32"))
        .collect())
}

impl Confusion {
    /// The table of predictions from logits.
    ///
    /// # Errors
    /// As [`classes_of`]; [`Error::Length`] unless there is a label for each row; [`Error::Constant`] for a
    /// label that names no class.
    pub fn of_logits(logits: &[f32], labels: &[u32], classes: usize) -> Result<Self, Error> {
        let predicted = classes_of(logits, classes)?;
        if predicted.len() != labels.len() {
            let what = "labels of the predictions".into();
            return Err(Error::Length { what, expected: predicted.len(), got: labels.len() });
        }
        let mut counts = vec![0; classes * classes];
        for (index, (label, class)) in labels.iter().zip(predicted).enumerate() {
            let label = *label as usize;
            if label >= classes {
                return Err(Error::constant(format!("label {index}"), format!("below {classes}"), label));
            }
            counts[label * classes + class as usize] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// Samples of class `label` that were taken for `predicted`; 0 for a class that does not exist.
    #[must_use]
    pub fn count(&self, label: usize, predicted: usize) -> u64 {
        let exist = label < self.classes && predicted < self.classes;
        if exist { self.counts[label * self.classes + predicted] } else { 0 }
    }

    /// The part of all samples that were taken for what they are; NaN of none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        right as f64 / self.counts.iter().sum::<u64>() as f64
    }
}

/// The table with a row and a column of class numbers, and the recall of each class.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.counts.iter().copied().max().unwrap_or(0).max(self.classes as u64);
        let width = widest.to_string().len() + 1;
        write!(f, "true\\predicted")?;
        for class in 0..self.classes {
            write!(f, "{class:>width$}")?;
        }
        writeln!(f, "  recall")?;
        for (label, row) in self.counts.chunks(self.classes).enumerate() {
            write!(f, "{label:>14}")?;
            for count in row {
                write!(f, "{count:>width$}")?;
            }
            let all: u64 = row.iter().sum();
            match all {
                0 => writeln!(f, "       -")?,
                _ => writeln!(f, "  {:.4}", row[label] as f64 / all as f64)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
