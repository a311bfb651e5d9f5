//! `gradus run` where there is an adapter: equal runs leave equal files, whatever interrupts them.

#[path = "../shared/folder.rs"]
mod folder;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use folder::Folder;
use gradus::{Gpu, GpuOptions};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Whether there is a device; none is an error unless `GRADUS_ALLOW_NO_GPU` is set.
fn has_gpu() -> bool {
    match Gpu::new(GpuOptions::default()) {
        Ok(_) => true,
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            false
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

/// All callbacks, in two epochs of 45 steps.
const ALL: &str = r#"
seed = 3
epochs = 2
model = "mlp"
data = "digits"
[optimizer]
name = "AdamW"
lr = 0.01
state = "8bit"
least_8bit = 64
[schedule]
name = "StepLR"
step_size = 30
[averages]
kind = "ema"
decay = 0.9
[[transforms]]
name = "clip_grad_norm"
max_norm = 1
[[callbacks]]
name = "TerminateOnNaN"
[[callbacks]]
name = "LearningRateMonitor"
[[callbacks]]
name = "GradientMonitor"
every = 5
[[callbacks]]
name = "EarlyStopping"
patience = 1
restore_best_weights = true
[[callbacks]]
name = "CSVLogger"
path = "logs/steps.csv"
every = 1
[[callbacks]]
name = "CSVLogger"
path = "./history.csv"
[[callbacks]]
name = "TensorBoard"
folder = "events"
[[callbacks]]
name = "Progress"
style = "lines"
[[callbacks]]
name = "ModelCheckpoint"
monitor = "val_accuracy"
mode = "max"
every_n_steps = 10
keep = 2
"#;

fn command(file: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gradus"));
    command.arg("run").arg(file).arg("--out").arg(out).env_remove("RUST_BACKTRACE");
    command
}

fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn failed(mut command: Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    said
}

fn resumed(file: &Path, out: &Path) -> Command {
    let mut command = command(file, out);
    command.arg("--resume");
    command
}

/// All files below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true => found
                .extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes))),
            false => {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, when: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{when}");
    for (name, bytes) in one {
        assert!(*bytes == other[name], "{when}: {name} differs");
    }
}

fn written(folder: &Folder, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn equal_runs_leave_equal_files_and_a_run_can_be_repeated_from_its_folder() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-twice");
    let file = written(&folder, "run.toml", ALL);
    let (one, two, three) = (folder.join("one"), folder.join("two"), folder.join("three"));
    let said = done(command(&file, &one));
    assert!(said.contains("1437 samples to train on, 360 to test on"), "{said}");
    assert!(said.contains("\ntest: loss ") && said.contains("\ntest with averages: loss "), "{said}");
    done(command(&file, &two));
    let expected = files(&one);
    assert_same(&expected, &files(&two), "twice");
    let names = [
        "about.json",
        "best.safetensors",
        "events/events.out.tfevents.gradus",
        "history.csv",
        "last.safetensors",
        "logs/steps.csv",
        "model.safetensors",
        "report.svg",
        "run.json",
        "step-00000080.safetensors",
        "step-00000090.safetensors",
    ];
    assert_eq!(expected.keys().collect::<Vec<_>>(), names);
    done(command(&one.join("run.json"), &three));
    assert_same(&expected, &files(&three), "from run.json");
    // Once it is done there is nothing left to do.
    done(resumed(&file, &one));
    assert_same(&expected, &files(&one), "resumed at its end");
    let said = failed(command(&file, &one));
    assert!(said.contains("it holds a run (run.json): go on with it by --resume"), "{said}");
    assert_same(&expected, &files(&one), "refused");
}

/// Rows that a run has written, one for each step whose report has arrived.
fn rows(out: &Path) -> usize {
    std::fs::read(out.join("logs/steps.csv"))
        .map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// Kills a run once it has written so many rows, and some time after; returns whether it had ended by itself.
fn killed(mut command: Command, out: &Path, after: usize, then: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while rows(out) < after && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(300), "it takes too long");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(then);
    let ended = child.try_wait().unwrap().is_some();
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    ended
}

/// Kills runs at random moments, and goes on.
fn kill_and_resume(turns: std::ops::Range<u64>) {
    let folder = Folder::new(&format!("run-killed-{}", turns.start));
    let file = written(&folder, "run.toml", ALL);
    let whole = folder.join("whole");
    done(command(&file, &whole));
    let expected = files(&whole);
    let (of, mut early) = (turns.end - turns.start, 0);
    for turn in turns {
        let out = folder.join(format!("{turn}"));
        let mut random = Pcg64::seed_from_u64(turn);
        let (after, then) =
            (random.random_range(0..92), Duration::from_micros(random.random_range(0..40_000)));
        let ended = killed(resumed(&file, &out), &out, after, then);
        let saved = out.join("last.safetensors");
        let step = saved.exists().then(|| gradus::train::Checkpoint::read(&saved).unwrap().step);
        println!(
            "turn {turn}: killed at {} rows, last checkpoint {step:?}, ended before: {ended}",
            rows(&out)
        );
        early += u64::from(!ended);
        done(resumed(&file, &out));
        assert_same(&expected, &files(&out), &format!("turn {turn}, killed {then:?} after {after} rows"));
    }
    println!("{of} of {of} equal, {early} of them killed before their end");
    assert!(early > 0);
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_files() {
    if has_gpu() {
        kill_and_resume(0..3);
    }
}

#[test]
#[ignore = "20 kills take minutes"]
fn a_run_that_is_killed_at_any_of_20_moments_goes_on_to_the_same_files() {
    if has_gpu() {
        kill_and_resume(3..23);
    }
}

#[test]
fn another_run_is_not_resumed_and_its_differences_are_named() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-other");
    let table: String = (0..40).map(|row| format!("{},{},{}\n", row % 7, row % 5, row % 2)).collect();
    std::fs::write(folder.join("a.csv"), format!("p,q,y\n{table}")).unwrap();
    std::fs::write(folder.join("b.csv"), format!("p,q,y\n{table}").replacen("6,", "5,", 1)).unwrap();
    let text = "epochs = 1\nbatch_size = 8\nmodel.layers = [\n  {name = \"Linear\", out_features = 4},\n  \"ReLU\",\n  {name = \"Linear\", out_features = 2},\n]\n\
        data = {name = \"csv\", path = \"a.csv\"}\n[optimizer]\nname = \"SGD\"\nlr = 0.1\n";
    let out = folder.join("out");
    done(command(&written(&folder, "run.toml", text), &out));
    let before = files(&out);
    let rows = [
        (
            "out_features = 4",
            "out_features = 5",
            "its model.layers[0].out_features is 4, line 4 of other.toml has 5",
        ),
        ("lr = 0.1", "lr = 0.2", "its optimizer.lr is 0.1, line 11 of other.toml has 0.2"),
        ("lr = 0.1", "momentum = 0.9", "its optimizer.momentum is 0.0, line 11 of other.toml has 0.9"),
        ("\"SGD\"", "\"Lion\"", "its optimizer.betas is nothing, line 9 of other.toml has [0.9,0.99]"),
        ("epochs = 1", "epochs = 2", "its epochs is 1, line 1 of other.toml has 2"),
        ("a.csv", "b.csv", "its data are {\"checksum\":\""),
        ("\"ReLU\"", "\"Tanh\"", "its model.layers[1] is \"ReLU\", line 5 of other.toml has \"Tanh\""),
    ];
    for (from, to, message) in rows {
        let said = failed(resumed(&written(&folder, "other.toml", &text.replace(from, to)), &out));
        assert!(
            said.contains(&format!("last.safetensors: it is another run: {message}"))
                || said.contains(message),
            "{message}: {said}"
        );
        assert_same(&before, &files(&out), "refused");
    }
    // The same data under another name are the same run.
    std::fs::rename(folder.join("a.csv"), folder.join("c.csv")).unwrap();
    done(resumed(&written(&folder, "moved.toml", &text.replace("a.csv", "c.csv")), &out));
}

/// A small model and many steps, whose rows are in CSV or in events.
fn many_steps(callback: &str, events: u64) -> String {
    format!(
        "epochs = 3\nbatch_size = 4\nmodel.layers = [\"Flatten\", {{name = \"Linear\", out_features = 10}}]\ndata = \"digits\"\n\
         optimizer = {{name = \"SGD\", lr = 0.01}}\n[[callbacks]]\nname = \"LearningRateMonitor\"\n{callback}\n\
         [[callbacks]]\nname = \"TensorBoard\"\nevery = {events}\nhistograms = 0\n\
         [[callbacks]]\nname = \"ModelCheckpoint\"\nevery_n_steps = 60\n"
    )
}

/// A limit on the size of files stands for a full disk: each write past it fails.
#[test]
#[cfg(unix)]
fn a_full_disk_stops_the_run_and_it_goes_on_to_the_same_files_once_there_is_space() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-full");
    let steps = many_steps("[[callbacks]]\nname = \"CSVLogger\"\npath = \"logs/steps.csv\"\nevery = 1", 0);
    // What is written, its largest file, who writes it.
    let rows = [
        (steps, "logs/steps.csv", "CSVLogger"),
        (many_steps("", 1), "events.out.tfevents.gradus", "TensorBoard"),
        (ALL.to_owned(), "last.safetensors", "ModelCheckpoint"),
    ];
    for (row, (text, largest, callback)) in rows.iter().enumerate() {
        let file = written(&folder, &format!("{row}.toml"), text);
        let (whole, out) = (folder.join(format!("{row}-whole")), folder.join(format!("{row}")));
        done(command(&file, &whole));
        let expected = files(&whole);
        let most = expected[*largest].len() * 3 / 4;
        if callback == &"ModelCheckpoint" {
            // All checkpoints are as large: one is written before the disk is full.
            killed(command(&file, &out), &out, 40, Duration::ZERO);
        } else {
            assert!(expected.iter().all(|(name, bytes)| name == largest || bytes.len() < most));
        }
        let limited = || {
            let mut shell = Command::new("bash");
            // The signal is ignored, so that writes fail as on a full disk.
            let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", most / 1024);
            shell.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_gradus"), "run"]);
            shell.arg(&file).arg("--out").arg(&out).arg("--resume").env_remove("RUST_BACKTRACE");
            shell
        };
        for _ in 0..2 {
            let said = failed(limited());
            println!("at most {most} bytes: {}", said.trim());
            assert!(said.contains(&format!("Error: callback {callback}: {}", out.display())), "{said}");
            assert!(said.contains("File too large"), "{said}");
            // What was saved before is whole.
            gradus::train::Checkpoint::read(out.join("last.safetensors")).unwrap();
            assert!(!files(&out).keys().any(|name| name.ends_with(".partial")));
        }
        done(resumed(&file, &out));
        assert_same(&expected, &files(&out), &format!("at most {most} bytes"));
    }
}

#[test]
fn numbers_are_predicted_from_tables_and_arrays() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-numbers");
    let mut table = String::from("name;a;b;y\n");
    for row in 0..200_u16 {
        let (a, b) = (f32::from(row % 13) / 13.0, f32::from(row % 7) / 7.0);
        table += &format!("r{row};{a};{b};{}\n", 2.0 * a - b);
    }
    std::fs::write(folder.join("table.csv"), table).unwrap();
    let common = "seed = 1\nepochs = 20\nbatch_size = 20\nshuffle = true\n\
        model.layers = [{name = \"Linear\", out_features = OUT}]\noptimizer = {name = \"SGD\", lr = 0.1, momentum = 0.9}\n\
        transforms = [{name = \"accumulate\", steps = 2}]\ncallbacks = [{name = \"Progress\", style = \"silent\"}]\n";
    let csv = "[data]\nname = \"csv\"\npath = \"table.csv\"\ndelimiter = \";\"\ntask = \"regression\"\nfeatures = [\"a\", 2]\n";
    let file = written(&folder, "csv.toml", &(common.replace("OUT", "1") + "loss = \"huber_loss\"\n" + csv));
    let loss = |said: &str| -> f64 { said.rsplit_once("loss ").unwrap().1.trim().parse().unwrap() };
    let said = done(command(&file, &folder.join("csv")));
    assert!(loss(&said) < 1e-3, "{said}");
    let history = std::fs::read_to_string(folder.join("csv/history.csv")).unwrap();
    assert!(history.starts_with("epoch,steps,train_loss,val_loss,lr\n1,4,"), "{history}");
}

/// What only the store of the parameters and the run's length tell.
#[test]
fn what_the_device_is_needed_for_is_refused_with_its_line() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-built");
    let text = "epochs = 1\nmodel = \"mlp\"\ndata = \"digits\"\n[optimizer]\nname = \"AdamW\"\n";
    let rows = [
        (
            "state_of.exp_agv = \"8bit\"",
            "line 6: optimizer.state_of.exp_agv: unknown slot of AdamW \"exp_agv\", did you mean \"exp_avg\"?",
        ),
        (
            "[[transforms]]\nname = \"penalty\"\nl2 = 0.1\ntensors = [\"no\"]",
            "line 9: transforms[0].tensors[0]: unknown tensor \"no\"",
        ),
        (
            "[[callbacks]]\nname = \"ModelCheckpoint\"\nevery_n_epochs = 0",
            "line 8: callbacks[0].every_n_epochs: every_n_epochs must be at least 1, got 0",
        ),
        ("[[callbacks]]\nname = \"GradientMonitor\"\nevery = 0", "line 8: callbacks[0].every: "),
    ];
    for (more, message) in rows {
        let file = written(&folder, "run.toml", &(text.to_owned() + more));
        let said = failed(command(&file, &folder.join("out")));
        assert!(said.contains(&format!("Error: {}: {message}", file.display())), "{message}: {said}");
        assert!(!folder.join("out").exists());
    }
}

#[test]
fn a_loss_that_is_no_number_ends_or_not_as_the_callbacks_say() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-nan");
    let text = "epochs = 2\nmodel = \"mlp\"\ndata = \"digits\"\noptimizer = {name = \"SGD\", lr = 1e30}\n";
    let run = |name: &str, more: &str| {
        (written(&folder, name, &(text.to_owned() + more)), folder.join(name).with_extension(""))
    };
    let (file, out) = run("on.toml", "");
    assert!(done(command(&file, &out)).contains("test: loss NaN"));
    assert!(!out.join("last.safetensors").exists(), "a run that diverged is not saved");
    assert!(std::fs::read_to_string(out.join("history.csv")).unwrap().contains("\n2,90,NaN,"));
    let (file, out) = run("ends.toml", "callbacks = [\"TerminateOnNaN\"]");
    let said = done(command(&file, &out));
    assert!(said.contains("by TerminateOnNaN: the loss of step ") && said.contains(" is NaN\n"), "{said}");
    let (file, out) = run("fails.toml", "callbacks = [{name = \"ModelCheckpoint\", monitor = \"val_loss\"}]");
    let said = failed(command(&file, &out));
    assert!(said.contains("Error: callback ModelCheckpoint: val_loss must be a number, got NaN"), "{said}");
}

#[test]
fn the_file_of_the_docs_and_that_of_the_examples_run() {
    if !has_gpu() {
        return;
    }
    let folder = Folder::new("run-docs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/run-files.md")).unwrap();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = example.replace("epochs = 8", "epochs = 1");
    let digits = std::fs::read_to_string(root.join("examples/digits.toml")).unwrap();
    let digits = digits.replace("epochs = 6", "epochs = 1");
    for (name, text) in [("docs", example), ("digits", digits)] {
        assert!(text.contains("epochs = 1\n"));
        let said = done(command(&written(&folder, &format!("{name}.toml"), &text), &folder.join(name)));
        assert!(said.contains("test: loss "), "{said}");
    }
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_gradus"));
    inspect.arg("inspect").arg(folder.join("docs/last.safetensors"));
    let said = done(inspect);
    for line in ["optimizer    AdamW, 45 steps", "state        exp_avg in 8bit, f32", "averages     {"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
