//! Event files, as TensorBoard itself reads them.

use std::process::Command;

use super::*;

/// Prints scalars, in order, and histograms: tag, step, value; minimum, maximum, number and the numbers in buckets.
const SCRIPT: &str = r#"
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0})
events.Reload()
for tag in sorted(events.Tags()["scalars"]):
    for event in events.Scalars(tag):
        print("scalar", tag, event.step, repr(event.value), repr(event.wall_time), sep="\t")
for tag in sorted(events.Tags()["histograms"]):
    for event in events.Histograms(tag):
        h = event.histogram_value
        print("histogram", tag, event.step, repr(h.min), repr(h.max), int(h.num), int(sum(h.bucket)), sep="\t")
"#;

/// What TensorBoard reads of a folder; `None`, visibly, where Python has no TensorBoard. `GRADUS_PYTHON` names one that has.
fn read(folder: &Path) -> Option<Vec<Vec<String>>> {
    let python = std::env::var("GRADUS_PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!(
            "SKIPPED: {python} has no tensorboard: `pip install tensorboard`, or GRADUS_PYTHON names one that has"
        );
        return None;
    }
    let read = Command::new(&python).args(["-c", SCRIPT]).arg(folder).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// A number in the precision of event files.
#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32")]
fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

#[test]
fn tensorboard_reads_scalars_and_histograms_with_their_values() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-events"));
    let mut trainer = adamw(&gpu);
    let mut callbacks = Callbacks::new()
        .with(GradientMonitor::new(2))
        .with(CSVLogger::steps(folder.join("steps.csv"), 1))
        .with(TensorBoard::new(folder.join("logs")).histograms(2));
    let report = fit(&mut trainer, &sets, &epochs(3), &mut callbacks).unwrap();
    let Some(rows) = read(&folder.join("logs")) else { return };
    let of = |kind: &str, tag: &str| -> Vec<&Vec<String>> {
        rows.iter().filter(|row| row[0] == kind && row[1] == tag).collect()
    };
    // Each epoch's values, with its steps.
    for name in report.history.columns() {
        let expected: Vec<(String, f64)> = report
            .history
            .rows()
            .iter()
            .zip(report.history.column(name).unwrap())
            .map(|(row, value)| (row.steps.to_string(), single(value)))
            .collect();
        let got: Vec<(String, f64)> = of("scalar", &format!("epoch/{name}"))
            .into_iter()
            .map(|row| (row[2].clone(), row[3].parse().unwrap()))
            .collect();
        assert_eq!(got, expected, "{name}");
    }
    // Each step's.
    let csv = std::fs::read_to_string(folder.join("steps.csv")).unwrap();
    let columns: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    for (column, name) in columns.iter().enumerate().skip(2) {
        let cells = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let expected: Vec<(String, f64)> = cells
            .filter(|cells| !cells[column].is_empty())
            .map(|cells| (cells[1].into(), single(cells[column].parse().unwrap())))
            .collect();
        let got: Vec<(String, f64)> = of("scalar", &format!("batch/{name}"))
            .into_iter()
            .map(|row| (row[2].clone(), row[3].parse().unwrap()))
            .collect();
        assert_eq!(got, expected, "{name}");
    }
    // Times say the steps.
    assert!(rows.iter().filter(|row| row[0] == "scalar").all(|row| row[4] == format!("{}.0", row[2])));
    // The second epoch's weights and gradients, of as many numbers as there are.
    for span in trainer.params().layout().spans() {
        for set in ["weights", "gradients"] {
            let found = of("histogram", &format!("{set}/{}", span.name));
            assert_eq!(found.len(), 1, "{set} {}", span.name);
            let row = found[0];
            assert_eq!(
                (&row[2][..], &row[5][..], &row[6][..]),
                ("10", &span.len.to_string()[..], &row[5][..])
            );
            let (min, max): (f64, f64) = (row[3].parse().unwrap(), row[4].parse().unwrap());
            assert!(min <= max && max != 0.0, "{row:?}");
        }
    }
}
