//! `gradus preview` as its users run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::folder::Folder;

fn run(out: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
    command.arg("preview").args(args).arg("--out").arg(out).output().unwrap()
}

#[test]
fn curves_go_to_the_terminal_a_table_and_a_picture() {
    let folder = Folder::new("preview");
    let out = folder.join("out");
    let output = run(
        &out,
        &[
            "--schedule",
            r#"{"name": "StepLR", "step_size": 2, "gamma": 0.5}"#,
            "--schedule",
            r#"{"name": "StepLR", "step_size": 1, "gamma": 0.5, "interval": "epoch"}"#,
            "--schedule",
            r#"{"name": "ReduceLROnPlateau", "patience": 0}"#,
            "--schedule",
            r#"{"name": "ChainedScheduler", "schedulers": [{"name": "ConstantLR", "factor": 0.0}]}"#,
            "--steps",
            "5",
            "--base-lr",
            "0.5",
            "--steps-per-epoch",
            "3",
            "--metrics",
            "-1,-2,2",
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("  5.00e-1 |ccc"), "{said}");
    assert!(said.contains("\na  StepLR gamma 0.5, step_size 2\n"), "{said}");
    assert!(said.contains("\nd  ChainedScheduler (ConstantLR factor 0.0)\n"), "{said}");
    let table = fs::read_to_string(out.join("lr.csv")).unwrap();
    let rows = [
        "step,StepLR,StepLR_2,ReduceLROnPlateau,ChainedScheduler",
        "0,0.5,0.5,0.5,0",
        "1,0.5,0.5,0.5,0",
        "2,0.25,0.5,0.5,0",
        "3,0.25,0.25,0.05,0",
        "4,0.125,0.25,0.05,0",
    ];
    assert_eq!(table.lines().collect::<Vec<_>>(), rows);
    let picture = fs::read_to_string(out.join("lr.svg")).unwrap();
    let picture = roxmltree::Document::parse(&picture).unwrap();
    for color in ["#0072B2", "#D55E00", "#009E73", "#CC79A7"] {
        let is_line = |node: &roxmltree::Node<'_, '_>| {
            node.has_tag_name("polyline") && node.attribute("stroke") == Some(color)
        };
        assert_eq!(picture.descendants().filter(is_line).count(), 2, "{color}: a curve and its legend");
    }
}

#[test]
fn what_cannot_be_drawn_is_refused_with_its_place() {
    let folder = Folder::new("lr-preview-refused");
    let rows = [
        (r#"{"name": "StepLr"}"#, "unknown schedule \"StepLr\", did you mean \"StepLR\"?"),
        (r#"{"name": "ReduceLROnPlateau"}"#, "it follows a metric: see --metrics"),
        (r#"{"name": "ExponentialLR", "gamma": 1, "interval": "epoch"}"#, "see --steps-per-epoch"),
        (r#"{"name": "OneCycleLR", "max_lr": 1, "total_steps": 3}"#, "step must be at most 3"),
        ("{", "EOF while parsing"),
    ];
    for (schedule, message) in rows {
        let out = folder.join("none");
        let output = run(&out, &["--steps", "9", "--base-lr", "1", "--schedule", schedule]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(message) && said.contains(schedule), "{said}");
        assert!(!out.exists());
    }
}
