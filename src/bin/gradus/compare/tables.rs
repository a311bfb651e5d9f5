//! Results as tables.

use super::summary::Summary;

/// A table for the terminal, the best first.
pub(crate) fn printed(all: &[Summary<'_>]) -> String {
    let mut ranked: Vec<&Summary<'_>> = all.iter().collect();
    ranked.sort_by(|a, b| {
        let (a, b) = (a.rank(), b.rank());
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
    });
    let width = all.iter().map(|one| one.contender.label.chars().count()).max().unwrap_or(0).max(9);
    let runs = all.first().map_or(0, |one| one.runs.len());
    let many = if runs == 1 { "one seed".to_owned() } else { format!("medians over {runs} seeds") };
    let mut text = format!(
        "\n{:>4}  {:<width$}  {:>8}  {:>10}  {:>8}  {:>12}  {:>7}  {:>11}  {many}\n",
        "rank", "optimizer", "lr", "train_loss", "val_loss", "val_accuracy", "s/epoch", "bytes/param"
    );
    for (rank, one) in ranked.iter().enumerate() {
        let diverged = match one.diverged() {
            0 => String::new(),
            some => format!("  {some} of {runs} diverged"),
        };
        let line = format!(
            "{:>4}  {:<width$}  {:>8}  {:>10}  {:>8}  {:>12}  {:>7}  {:>11.2}{diverged}",
            rank + 1,
            one.contender.label,
            rate(one.contender.rule.lr()),
            number(one.train_loss().median),
            number(one.val_loss().median),
            number(one.val_accuracy().median),
            number(one.seconds().median),
            one.bytes(),
        );
        text += line.trim_end();
        text.push('\n');
    }
    text + "\n"
}

fn rate(lr: f64) -> String {
    if lr == 0.0 || (1e-5..1e5).contains(&lr) { lr.to_string() } else { format!("{lr:e}") }
}

/// With about four digits; a dash for what is not a number.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".into(),
        size if size == 0.0 || (1e-3..1e4).contains(&size) => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// The last values of each run.
pub(crate) fn results(all: &[Summary<'_>]) -> String {
    let mut text = String::from(
        "optimizer,seed,base_lr,parameters,state_bytes,steps,train_loss,train_accuracy,val_loss,val_accuracy,diverged\n",
    );
    for one in all {
        let (label, lr) = (field(&one.contender.label), one.contender.rule.lr());
        for (record, _) in one.runs {
            let epochs = &record.epochs;
            let columns =
                [&epochs.train_loss, &epochs.train_accuracy, &epochs.val_loss, &epochs.val_accuracy];
            let last = |column: &Vec<f64>| match record.diverged {
                None => column.last().map(f64::to_string).unwrap_or_default(),
                Some(_) => String::new(),
            };
            let values = columns.map(last).join(",");
            let (seed, parameters, bytes) = (record.seed, record.parameters, record.state_bytes);
            let steps = record.steps.loss.len();
            let diverged = record.diverged.map(|step| step.to_string()).unwrap_or_default();
            text += &format!("{label},{seed},{lr},{parameters},{bytes},{steps},{values},{diverged}\n");
        }
    }
    text
}

/// Each step of each run.
pub(crate) fn steps(all: &[Summary<'_>]) -> String {
    let mut text = String::from("optimizer,seed,step,lr,loss,accuracy\n");
    for one in all {
        let label = field(&one.contender.label);
        for (record, _) in one.runs {
            let values = record.steps.lr.iter().zip(&record.steps.loss).zip(&record.steps.accuracy);
            for (step, ((lr, loss), accuracy)) in values.enumerate() {
                text += &format!("{label},{},{},{lr},{loss},{accuracy}\n", record.seed, step + 1);
            }
        }
    }
    text
}

/// Seconds of the steps of each epoch of each run.
pub(crate) fn times(all: &[Summary<'_>]) -> String {
    let mut text = String::from("optimizer,seed,epoch,seconds\n");
    for one in all {
        let label = field(&one.contender.label);
        for (record, times) in one.runs {
            for (epoch, seconds) in times.epochs.iter().enumerate() {
                text += &format!("{label},{},{},{seconds}\n", record.seed, epoch + 1);
            }
        }
    }
    text
}

/// A field of CSV (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}
