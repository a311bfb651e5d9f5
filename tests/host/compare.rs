//! What `gradus compare` refuses before it looks for an adapter.

use std::process::Command;

use crate::folder::Folder;

#[test]
fn what_is_wrong_with_a_comparison_is_named_with_its_option() {
    let folder = Folder::new("compare-refused");
    let out = folder.join("none");
    let rows: [(&[&str], &[&str]); 13] = [
        (
            &["--optimizer", "AdmaW"],
            &["--optimizer AdmaW", "unknown optimizer \"AdmaW\", did you mean \"AdamW\"?"],
        ),
        (
            &["--optimizer", r#"{"name": "SGD", "momentun": 1}"#],
            &["--optimizer {", "did you mean \"momentum\"?"],
        ),
        (
            &["--optimizer", r#"{"name": "SGD", "lr": -1}"#],
            &["--optimizer {", "lr must be finite and at least 0, got -1"],
        ),
        (&["--optimizer", r#"{"name": "SGD""#], &["--optimizer {", "EOF while parsing"]),
        (&["--optimizer", "LBFGS"], &["--optimizer LBFGS", "it takes a closure"]),
        (&["--optimizer", "Lion", "--optimizer", "Lion"], &["is given twice: as number 1 and 2"]),
        (
            &[
                "--optimizer",
                "SGD",
                "--optimizer",
                "Lion",
                "--optimizer",
                r#"{"name": "SGD", "lr": 0.01, "nesterov": false}"#,
            ],
            &["\"nesterov\":false", "is given twice: as number 1 and 3"],
        ),
        (&["--model", "cmn"], &["--model", "unknown model \"cmn\", did you mean \"cnn\"?"]),
        (&["--model", r#"{"layers": ["Relu"]}"#], &["--model", "layers[0]", "did you mean \"ReLU\"?"]),
        (&["--data", "digit"], &["--data", "unknown data \"digit\", did you mean \"digits\"?"]),
        (&["--schedule", r#"{"name": "StepLr"}"#], &["--schedule {", "did you mean \"StepLR\"?"]),
        (
            &["--epochs", "2", "--schedule", r#"{"name": "OneCycleLR", "max_lr": 1, "total_steps": 88}"#],
            &["--schedule {", "step must be at most 88"],
        ),
        (&["--seeds", "0"], &["--seeds", "0 is not in 1..=1000"]),
    ];
    for (args, parts) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
        let output = command.arg("compare").args(args).arg("--out").arg(&out).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{args:?}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part} in {said}");
        }
        assert!(!out.exists());
    }
}
