//! The results of the optimizers as a table.

use anyhow::{Context, Result};
use gradus::train::Evaluation;

use crate::run::{Run, Task};

/// Maximum number of epochs shown.
const MOST: usize = 5;

pub(crate) struct Row {
    pub(crate) optimizer: String,
    rate: f64,
    /// Test accuracy after each epoch.
    accuracies: Vec<f64>,
    loss: f64,
    /// The state it keeps per parameter.
    slots: String,
    pub(crate) bound: Option<f64>,
}

impl Row {
    pub(crate) fn new<T: Task>(run: &Run<'_, T>, test: &Evaluation, bound: Option<f64>) -> Result<Self> {
        let rule = run.trainer.optimizer().rules().next().context("there is one group")?;
        let used = rule.slots().iter().enumerate().filter(|(slot, _)| rule.uses(*slot));
        let slots: Vec<&str> = used.map(|(_, slot)| &*slot.name).collect();
        Ok(Self {
            optimizer: rule.name().into(),
            rate: rule.lr(),
            accuracies: run.saved.history.column("test_accuracy")?,
            loss: test.loss,
            slots: if slots.is_empty() { "nothing".into() } else { slots.join(", ") },
            bound,
        })
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.accuracies.last().copied().unwrap_or(f64::NAN)
    }
}

/// One line per row. With many epochs, shows those after each fifth of the run.
pub(crate) fn of(rows: &[Row]) -> String {
    let epochs = rows.iter().map(|row| row.accuracies.len()).max().unwrap_or(0);
    let mut shown: Vec<usize> = (1..=MOST).map(|part| (epochs * part).div_ceil(MOST)).collect();
    shown.dedup();
    let mut text = format!("{:<12}{:>8}", "", "rate");
    text.extend(shown.iter().map(|epoch| format!("{:>10}", format!("epoch {epoch}"))));
    text += &format!("{:>8}{:>11}  state", "bound", "test loss");
    for Row { optimizer, rate, accuracies, loss, slots, bound } in rows {
        text += &format!("\n{optimizer:<12}{rate:>8.0e}");
        text.extend(shown.iter().map(|epoch| match accuracies.get(epoch - 1) {
            Some(accuracy) => format!("{accuracy:>10.4}"),
            None => format!("{:>10}", ""),
        }));
        let bound = bound.map_or("-".into(), |bound| bound.to_string());
        text += &format!("{bound:>8}{loss:>11.4}  {slots}");
    }
    text
}
