//! The examples that train several networks, in their short form: the accuracy that they assert, killed and resumed, and
//! the names that their files have.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::gpu;
use crate::example::{built, done, stderr, stdout};
use crate::folder::Folder;
use crate::refusals::write_data;

fn quick(example: &str, options: &[&str], out: &Path) -> Command {
    let mut command = built(example);
    command.args(["--quick", "--save-every", "20"]).args(options).arg("--out").arg(out);
    command
}

/// All files below a folder, by path.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// The same, by path within the folder.
fn kept(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let within = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    tree(folder).into_iter().map(|(path, bytes)| (within(path), bytes)).collect()
}

/// A file in the folder of a run, and the lines that it has when the run is killed.
type Moment = (&'static str, usize);

/// Runs the example whole, and for each moment again, killed then and resumed from `resume`. What the first one printed.
fn the_same_after_kills(
    example: &str,
    options: &[&str],
    moments: &[Moment],
    resume: &str,
) -> (Folder, String) {
    let folder = Folder::new(&format!("{example}-{}", options.last().unwrap_or(&"")));
    let whole = folder.join("whole");
    let said = stdout(&done(&mut quick(example, options, &whole)));
    for (turn, (file, lines)) in moments.iter().enumerate() {
        let killed = folder.join(format!("killed-{turn}"));
        let mut command = quick(example, options, &killed);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let reached =
            || fs::read_to_string(killed.join(file)).is_ok_and(|text| text.lines().count() >= *lines);
        while !reached() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended before {file} has {lines} lines");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut again = quick(example, options, &killed);
        let resumed = stdout(&done(again.arg("--resume").arg(killed.join(resume))));
        assert!(resumed.contains("going on after step "), "{resumed}");
        assert_eq!(said.lines().last(), resumed.lines().last());
        assert!(
            kept(&killed) == kept(&whole),
            "{example} {options:?}: other files after {file}, {lines} lines"
        );
    }
    (folder, said)
}

/// The tensors of a file that begin with `params.`, without it, and their shapes.
fn params(model: &Path) -> BTreeMap<String, Vec<usize>> {
    let bytes = fs::read(model).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let params = tensors.filter_map(|(name, tensor)| {
        Some((name.strip_prefix("params.")?.to_owned(), tensor.shape().to_vec()))
    });
    params.collect()
}

#[test]
fn a_residual_network_reaches_its_bound_and_has_torchvisions_names() {
    if gpu().is_none() {
        return;
    }
    let model = "model.safetensors";
    let (folder, said) =
        the_same_after_kills("train_cnn", &["--model", "resnet"], &[("history.csv", 1)], model);
    assert!(said.lines().last().unwrap().ends_with("(bound: 0.94)"), "{said}");
    let mut want = BTreeMap::from([
        ("conv1.weight".to_owned(), vec![16, 1, 3, 3]),
        ("fc.weight".to_owned(), vec![10, 64]),
        ("fc.bias".to_owned(), vec![10]),
    ]);
    let mut batch_norm = |name: &str, channels: usize| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            want.insert(format!("{name}.{part}"), vec![channels]);
        }
        want.insert(format!("{name}.num_batches_tracked"), vec![]);
    };
    batch_norm("bn1", 16);
    for (layer, channels) in [("layer1.0", 16), ("layer2.0", 32), ("layer3.0", 64)] {
        batch_norm(&format!("{layer}.bn1"), channels);
        batch_norm(&format!("{layer}.bn2"), channels);
    }
    batch_norm("layer2.0.downsample.1", 32);
    batch_norm("layer3.0.downsample.1", 64);
    for (layer, before, channels) in [("layer1.0", 16, 16), ("layer2.0", 16, 32), ("layer3.0", 32, 64)] {
        want.insert(format!("{layer}.conv1.weight"), vec![channels, before, 3, 3]);
        want.insert(format!("{layer}.conv2.weight"), vec![channels, channels, 3, 3]);
    }
    want.insert("layer2.0.downsample.0.weight".into(), vec![32, 16, 1, 1]);
    want.insert("layer3.0.downsample.0.weight".into(), vec![64, 32, 1, 1]);
    let model = folder.join("whole").join(model);
    assert_eq!(params(&model), want);
    // The kept model takes its running statistics.
    let evaluated = stdout(&done(built("train_cnn").arg("--evaluate").arg(model)));
    assert!(said.lines().last().unwrap().starts_with(evaluated.lines().next().unwrap()), "{evaluated}");
}

#[test]
fn the_wide_network_reaches_its_bound_and_takes_images_of_28x28() {
    if gpu().is_none() {
        return;
    }
    let model = "model.safetensors";
    let (folder, said) =
        the_same_after_kills("train_cnn", &["--model", "wide-cnn"], &[("history.csv", 2)], model);
    assert!(said.lines().last().unwrap().ends_with("(bound: 0.88)"), "{said}");
    assert_eq!(params(&folder.join("whole").join(model))["fc1.weight"], [512, 256]);
    fs::create_dir(folder.join("data")).unwrap();
    write_data(&folder, 28);
    let out = folder.join("large");
    let options = ["--model", "wide-cnn", "--epochs", "1", "--batch-size", "20", "--data"];
    done(built("train_cnn").args(options).arg(folder.join("data")).arg("--out").arg(&out));
    let shapes = params(&out.join(model));
    assert_eq!(shapes["conv3.weight"], [256, 128, 3, 3]);
    assert_eq!(shapes["fc1.weight"], [512, 256 * 3 * 3]);
}

#[test]
fn three_optimizers_are_compared_and_go_on_where_they_were() {
    if gpu().is_none() {
        return;
    }
    let (folder, said) = the_same_after_kills("train_mlp", &[], &[("Adam/history.csv", 1)], "");
    let table = said.lines().rev().take(4).collect::<Vec<_>>();
    for (line, name, state) in
        [(2, "SGD", "nothing"), (1, "Adam", "exp_avg, exp_avg_sq"), (0, "RMSprop", "square_avg")]
    {
        assert!(table[line].starts_with(name) && table[line].ends_with(state), "{said}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("epoch ")).count(), 6, "{said}");
    for name in ["SGD", "Adam", "RMSprop"] {
        let shapes = params(&folder.join("whole").join(name).join("model.safetensors"));
        assert_eq!(shapes["fc1.weight"], [128, 784]);
        assert_eq!(shapes["fc2.weight"], [10, 128]);
    }
}

#[test]
fn a_body_is_frozen_and_thawed_and_a_run_goes_on_within_each_phase() {
    if gpu().is_none() {
        return;
    }
    // With the first network, with the new head, and with all.
    let moments = [("first/history.csv", 1), ("other/history.csv", 1), ("other/history.csv", 4)];
    let (folder, said) = the_same_after_kills("finetune", &[], &moments, "");
    assert!(said.lines().last().unwrap().contains("(bounds: ["), "{said}");
    let counts = said.lines().find(|line| line.contains(" dispatches a step ")).unwrap();
    let counts: Vec<u64> = counts.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(counts[0] < counts[1], "{said}");

    // Another body is no body to go on with, and one of other shapes or names is none at all.
    let whole = folder.join("whole");
    let refused = |options: &[&str], from: &Path| {
        let output = built("finetune").args(options).arg("--from").arg(from).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
            .lines()
            .find(|line| line.starts_with("error: ") && !line.contains("XDG"))
            .unwrap()
            .to_owned()
    };
    let (first, other) = (whole.join("first/model.safetensors"), whole.join("other/model.safetensors"));
    let said = refused(&["--quick", "--resume", whole.to_str().unwrap()], &other);
    assert!(said.starts_with(&format!("error: {}: it began with another body, ", other.display())), "{said}");
    let mlp = folder.join("mlp");
    done(built("train_cnn").args(["--model", "mlp", "--epochs", "1", "--out"]).arg(&mlp));
    let mlp = mlp.join("model.safetensors");
    let said = refused(&[], &mlp);
    assert!(said.contains("body.conv1.weight is missing, and 3 others"), "{said}");
    fs::create_dir(folder.join("data")).unwrap();
    write_data(&folder, 12);
    let said = refused(&["--data", folder.join("data").to_str().unwrap()], &first);
    assert!(said.contains("body.fc1.weight"), "{said}");
    // train_cnn's body goes by other names.
    let cnn = folder.join("cnn");
    done(built("train_cnn").args(["--epochs", "1", "--out"]).arg(&cnn));
    let from = cnn.join("model.safetensors");
    let output =
        done(built("finetune").args(["--head-epochs", "1", "--body-epochs", "1", "--from"]).arg(from));
    assert!(stdout(&output).lines().last().unwrap().starts_with("test accuracy: first half -, "));
}

#[test]
fn what_the_comparison_refuses_is_one_line() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("mlp-refused");
    let out = folder.join("out");
    let sgd = r#"{"name":"SGD","lr":0.05}"#;
    done(built("train_mlp").args(["--epochs", "1", "--optimizer", sgd, "--out"]).arg(&out));
    let rows = [
        (
            &["--optimizer", r#"{"name":"Sgdd"}"#][..],
            "--optimizer: unknown optimizer \"Sgdd\", did you mean \"SGD\"?",
        ),
        (&["--data", "nowhere"], "nowhere: there is no such folder"),
        (
            &["--optimizer", sgd, "--epochs", "2", "--resume", out.to_str().unwrap()],
            "its --epochs is 1, not 2: leave ",
        ),
    ];
    for (options, message) in rows {
        let output = built("train_mlp").args(options).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.lines().last().unwrap().contains(message), "{said}");
    }
    let output = built("train_cnn").args(["--model", "resnt"]).output().unwrap();
    assert!(stderr(&output).contains("similar value exists: 'resnet'"), "{}", stderr(&output));
}
