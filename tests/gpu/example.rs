//! The example `train_cnn` as its users run it: killed and resumed, evaluated, and asked for what it cannot do.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use gradus::train::Confusion;
use gradus::train::data::{Values, idx, npy};

use crate::common::{gpu, noise};
use crate::folder::Folder;

/// Epochs of 45 steps; the run is saved several times in each.
const RUN: [&str; 4] = ["--epochs", "2", "--save-every", "7"];

pub(crate) fn example() -> Command {
    built("train_cnn")
}

/// Built by `cargo test` beside the tests.
pub(crate) fn built(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: `cargo build --release --examples` makes it", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn run(out: &Path) -> Command {
    let mut command = example();
    command.args(RUN).arg("--out").arg(out);
    command
}

fn resumed(out: &Path) -> Command {
    let mut command = run(out);
    command.arg("--resume").arg(out.join("model.safetensors"));
    command
}

/// What a finished run leaves.
pub(crate) fn files(out: &Path) -> Vec<Vec<u8>> {
    ["model.safetensors", "history.csv", "report.svg"]
        .map(|name| fs::read(out.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")))
        .into()
}

#[test]
fn a_run_that_is_killed_at_any_moment_and_resumed_leaves_the_same_files() {
    if gpu().is_none() {
        return;
    }
    let plateau = r#"{"name": "ReduceLROnPlateau", "patience": 0, "threshold": 0.5}"#;
    for (name, options, turns) in [("cycle", &[][..], 6), ("plateau", &["--schedule", plateau], 2)] {
        let folder = Folder::new(&format!("killed-{name}"));
        let whole = folder.join("whole");
        let started = Instant::now();
        done(run(&whole).args(options));
        let took = started.elapsed();
        let want = files(&whole);
        for turn in 0..turns {
            let out = folder.join(format!("killed-{turn}"));
            let mut child =
                run(&out).args(options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let part = (f64::from(noise(17, turn)) + 1.0) / 2.0;
            std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * part));
            child.kill().unwrap();
            child.wait().unwrap();
            done(resumed(&out).args(options));
            assert!(files(&out) == want, "{name}: killed after {part:.3} of {took:?}");
            let names = fs::read_dir(&out).unwrap().count();
            assert_eq!(names, 3, "strays are swept");
        }
    }
}

#[test]
fn a_second_run_into_a_folder_is_refused_until_the_first_has_ended_in_any_way() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("two-runs");
    let (out, whole) = (folder.join("out"), folder.join("whole"));
    done(&mut run(&whole));
    let mut long = example();
    long.args(["--epochs", "100000", "--save-every", "1", "--seed", "9", "--out"]).arg(&out);
    let mut first = long.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !out.join("history.csv").exists() {
        assert!(first.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = format!(
        "error: {}: another run keeps its files in this folder: wait until it has ended, or name another folder",
        out.display()
    );
    for command in [&mut run(&out), run(&out).arg("--resident")] {
        let refused = command.output().unwrap();
        assert!(!refused.status.success());
        let error = stderr(&refused);
        assert!(error.lines().any(|line| line == said), "{error}");
    }
    assert!(first.try_wait().unwrap().is_none(), "the first run goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    done(&mut run(&out));
    assert!(files(&out) == files(&whole));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3, "neither lock nor partial file stays");
}

#[test]
fn a_kept_model_says_the_same_again() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("kept");
    let (out, other) = (folder.join("host"), folder.join("resident"));
    let said = stdout(&done(&mut run(&out)));
    let accuracy = said.lines().last().unwrap().to_owned();
    assert!(accuracy.starts_with("test accuracy: 0."), "{said}");
    // Batches that are gathered on the device are the same bits.
    done(run(&other).arg("--resident"));
    assert!(files(&other) == files(&out));
    let model = out.join("model.safetensors");
    let evaluated = stdout(&done(example().arg("--evaluate").arg(&model)));
    assert_eq!(evaluated.lines().next(), Some(&accuracy[..]));
    assert_eq!(evaluated.lines().count(), 13, "{evaluated}");
    // Going on after the end changes nothing.
    let before = files(&out);
    assert_eq!(stdout(&done(&mut resumed(&out))).lines().last(), Some(&accuracy[..]));
    assert!(files(&out) == before);
}

#[test]
fn a_prediction_repeats_what_the_evaluation_counts() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("predict");
    let (data, out, model) = (folder.join("data"), folder.join("out"), folder.join("out/model.safetensors"));
    done(built("digits_to_idx").arg(&data).args(["--gz", "--side", "11"]));
    let of_data = |command: &mut Command| stdout(&done(command.arg("--data").arg(&data)));
    of_data(example().args(["--model", "mlp", "--epochs", "12", "--out"]).arg(&out));
    let evaluated = of_data(example().arg("--evaluate").arg(&model));
    let (accuracy, table) = evaluated.split_once("\n\n").unwrap();
    let accuracy: f64 = accuracy.strip_prefix("test accuracy: ").unwrap().parse().unwrap();
    assert!(accuracy >= 0.95, "{accuracy}");

    let test = idx::read(&data, idx::Part::Test, 10).unwrap();
    let path = folder.join("x.npy");
    let predicted = || {
        let lines = stdout(&done(example().arg("--predict").arg(&path).arg("--load").arg(&model)));
        let one_hot = |class: usize| (0..10).map(move |at| if at == class { 1.0 } else { 0.0 });
        let logits: Vec<f32> = lines.lines().flat_map(|line| one_hot(line.parse().unwrap())).collect();
        Confusion::of_logits(&logits, test.y(), 10).unwrap().to_string()
    };
    let numbers = test.numbers();
    npy::write(&path, &[360, 121], &numbers).unwrap();
    assert_eq!(predicted(), table);
    npy::write(&path, &[360, 11, 11], &numbers).unwrap();
    assert_eq!(predicted(), table);
    let Values::U8(bytes) = test.values() else { panic!("IDX files hold bytes") };
    npy::write(&path, &[360, 1, 11, 11], bytes).unwrap();
    assert_eq!(predicted(), table);
}
