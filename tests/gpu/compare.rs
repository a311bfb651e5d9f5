//! `gradus compare` as its users run it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use roxmltree::{Document, Node};
use serde_json::Value;

use crate::common::gpu;
use crate::folder::Folder;

/// Three optimizers, the second of which diverges, on a small network.
const TINY: [&str; 14] = [
    "--optimizer",
    "AdamW",
    "--optimizer",
    r#"{"name": "SGD", "lr": 1e30}"#,
    "--optimizer",
    r#"{"name": "SGD", "momentum": 0.9, "lr": 0.1}"#,
    "--model",
    r#"{"layers": ["Flatten", {"name": "Linear", "out_features": 16}, "ReLU", {"name": "Linear", "out_features": 10}]}"#,
    "--seeds",
    "3",
    "--epochs",
    "2",
    "--batch-size",
    "128",
];

fn command(out: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
    command.arg("compare").args(args).arg("--out").arg(out);
    command
}

fn run(out: &Path, args: &[&str]) -> Output {
    command(out, args).output().unwrap()
}

fn succeeds(out: &Path, args: &[&str]) -> String {
    let output = run(out, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All files that hold no times.
fn without_times(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let of = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let all = [of(out), of(&out.join("runs"))].concat().into_iter().filter(|path| path.is_file());
    let named = all.map(|path| (path.strip_prefix(out).unwrap().display().to_string(), path));
    let kept =
        named.filter(|(name, _)| !name.contains("times") && !name.ends_with(".svg") && name != ".lock");
    kept.map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

#[test]
fn a_comparison_is_ranked_and_what_diverges_comes_last() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("compare-ranked");
    let out = folder.join("out");
    let said = succeeds(&out, &TINY);
    let table: Vec<Vec<&str>> = said
        .lines()
        .skip_while(|line| !line.starts_with("rank"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let names: Vec<String> = table[1..4].iter().map(|row| row[1..].join(" ")).collect();
    assert!(names[0].starts_with("SGD momentum 0.9 0.1 "), "{said}");
    assert!(names[1].starts_with("AdamW 0.001 "), "{said}");
    assert!(names[2].starts_with("SGD 1e30 - - - - ") && names[2].ends_with("3 of 3 diverged"), "{said}");
    assert!(said.contains("[9/9] ") && said.contains("SGD seed 3: diverged in step 2"), "{said}");

    let results = fs::read_to_string(out.join("results.csv")).unwrap();
    let rows: Vec<Vec<&str>> = results.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 9);
    // Four tensors in blocks of 64, in a group of blocks of 256: two moments, none, one.
    let padded = (1024_u64 + 64 + 192 + 64).next_multiple_of(256) * 4;
    for (row, bytes) in rows[1..].iter().zip([2, 2, 2, 0, 0, 0, 1, 1, 1]) {
        assert_eq!((row[3], row[4].parse()), ("1210", Ok(bytes * padded)), "{row:?}");
    }
    // 1,437 samples are 12 batches of 128 or fewer.
    assert_eq!((rows[1][5], rows[1][10], rows[4][5], rows[4][10]), ("24", "", "1", "2"));
    let steps = fs::read_to_string(out.join("steps.csv")).unwrap();
    assert_eq!(steps.lines().count(), 1 + 3 * (24 + 1 + 24));
    let times = fs::read_to_string(out.join("times.csv")).unwrap();
    assert_eq!(times.lines().count(), 1 + 3 * (2 + 2));
    is_page(&fs::read_to_string(out.join("compare.svg")).unwrap());
}

/// Eight panels, a name for each optimizer in each, nothing outside and no odd numbers.
fn is_page(svg: &str) {
    let picture = Document::parse(svg).unwrap();
    let texts: Vec<&str> = picture
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .filter_map(|node| node.text())
        .map(str::trim)
        .collect();
    let headings = [
        "Training loss",
        "Validation loss",
        "Validation accuracy",
        "Convergence",
        "Time an epoch, without evaluation",
        "Loss after the last epoch (pale: training, full: validation)",
        "Stability of the training loss",
        "Optimizer state, as measured",
    ];
    for heading in headings {
        assert_eq!(texts.iter().filter(|text| **text == heading).count(), 1, "{heading}");
    }
    let named = |name: &str| texts.iter().filter(|text| **text == name).count();
    assert_eq!((named("AdamW"), named("SGD momentum 0.9")), (8, 8));
    // What has diverged in step 2 has a loss of step 1, one before it, and no accuracy or variance.
    assert_eq!((named("SGD"), named("diverged")), (6, 1));
    let view: Vec<f64> =
        picture.root_element().attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
    for node in picture.root_element().children() {
        for (x, y) in points(&node) {
            assert!((0.0..=view[2]).contains(&x) && (0.0..=view[3]).contains(&y), "{node:?}");
        }
        let odd = |text: &str| text.contains("NaN") || text.contains("inf");
        assert!(!node.attributes().any(|attribute| odd(attribute.value())), "{node:?}");
    }
}

fn points(node: &Node<'_, '_>) -> Vec<(f64, f64)> {
    let number = |name: &str| node.attribute(name).map(|text| text.parse::<f64>().unwrap());
    let pairs = [("x", "y"), ("x1", "y1"), ("x2", "y2")];
    let single = pairs.iter().filter_map(|(x, y)| number(x).zip(number(y)));
    let list = node.attribute("points").unwrap_or_default().split_whitespace().map(|pair| {
        let (x, y) = pair.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    });
    single.chain(list).collect()
}

#[test]
fn a_killed_comparison_goes_on_to_the_same_bytes() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("compare-killed");
    let (whole, killed) = (folder.join("whole"), folder.join("killed"));
    succeeds(&whole, &TINY);
    for last in ["01-AdamW-seed-1.json", "03-SGD-seed-1.json", "02-SGD-seed-3.json"] {
        let mut child = command(&killed, &TINY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while !killed.join("runs").join(last).exists() && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(300), "{last} should be there by now");
            sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = succeeds(&killed, &TINY);
    assert!(said.contains(" of 9 runs are in "), "{said}");
    assert_eq!(without_times(&killed), without_times(&whole));
    // Nothing is left to run, and what is left out is as before.
    let said = succeeds(&killed, &[]);
    assert!(said.contains("9 of 9 runs are in ") && !said.contains("seed 1:"), "{said}");
    assert_eq!(without_times(&killed), without_times(&whole));
}

#[test]
fn other_settings_are_refused_with_the_difference() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("compare-other");
    let out = folder.join("out");
    let few =
        ["--optimizer", "AdamW", "--model", TINY[7], "--seeds", "1", "--epochs", "1", "--batch-size", "512"];
    succeeds(&out, &few);
    let before = without_times(&out);
    let rows: [(&[&str], &str); 7] = [
        (&["--epochs", "3"], "its --epochs is 1, not 3: leave the option out"),
        (&["--seeds", "2"], "its --seeds is 1, not 2"),
        (&["--batch-size", "64"], "its --batch-size is 512, not 64"),
        (&["--model", "mlp"], "its --model is {\"layers\":"),
        (&["--optimizer", "Lion"], "its --optimizer is [{\"name\":\"AdamW\"}], not [{\"name\":\"Lion\"}]"),
        (
            &["--schedule", r#"{"name": "ConstantLR"}"#],
            "its --schedule is none, not {\"name\":\"ConstantLR\"}",
        ),
        (&["--data", r#"{"name": "digits", "normalize": false}"#], "its --data is "),
    ];
    for (args, message) in rows {
        let output = run(&out, args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(message), "{args:?}: {said}");
        assert_eq!(without_times(&out), before);
    }
    // The same with its defaults written out.
    succeeds(&out, &["--optimizer", r#"{"name": "AdamW", "lr": 0.001}"#, "--data", "digits"]);

    let path = out.join("runs/01-AdamW-seed-1.json");
    let mut run_of: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    run_of["steps"]["loss"].as_array_mut().unwrap().pop();
    fs::write(&path, run_of.to_string()).unwrap();
    for _ in 0..2 {
        let said = String::from_utf8(run(&out, &[]).stderr).unwrap();
        assert!(said.contains("01-AdamW-seed-1.json: ") && said.contains("remove it"), "{said}");
        fs::write(&path, "{").unwrap();
    }
    fs::remove_file(&path).unwrap();
    succeeds(&out, &[]);
    assert_eq!(without_times(&out), before);
}

#[test]
fn what_does_not_suit_an_optimizer_is_refused_before_the_first_run() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("compare-unsuited");
    let out = folder.join("out");
    let cycle = r#"{"name": "OneCycleLR", "max_lr": 1, "total_steps": 6}"#;
    let rows: [(&[&str], &str); 2] = [
        (&["--optimizer", "Adagrad", "--schedule", cycle], "it cycles the momentum"),
        (&["--optimizer", "Muon"], "expected a matrix"),
    ];
    for (args, message) in rows {
        let tiny = [
            "--model",
            TINY[7],
            "--seeds",
            "1",
            "--epochs",
            "2",
            "--batch-size",
            "512",
            "--optimizer",
            "AdamW",
        ];
        let output = run(&out, &[&tiny[..], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("--optimizer {{\"name\":\"{}\"}}", args[1])), "{said}");
        assert!(!output.status.success() && said.contains(message), "{said}");
        assert!(!out.exists());
    }
}

#[test]
fn rates_of_a_schedule_are_recorded_each_step() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("compare-rates");
    let out = folder.join("out");
    let schedule = r#"{"name": "StepLR", "step_size": 2, "gamma": 0.5}"#;
    let args = ["--optimizer", "AdamW", "--model", TINY[7], "--schedule", schedule, "--seeds", "1"];
    succeeds(&out, &[&args[..], &["--epochs", "2", "--batch-size", "512"]].concat());
    let steps = fs::read_to_string(out.join("steps.csv")).unwrap();
    let rates: Vec<&str> = steps.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    assert_eq!(rates, ["0.001", "0.001", "0.0005", "0.0005", "0.00025", "0.00025"]);
}
