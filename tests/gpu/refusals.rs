//! What the example `train_cnn` refuses, and what it then leaves as it was.

mod rows;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use gradus::train::data::idx::{self, Images};

use crate::common::gpu;
use crate::example::{done, example, files, stderr};
use crate::folder::Folder;

const X: &str = "data/train-images-idx3-ubyte";
const Y: &str = "data/train-labels-idx1-ubyte";
const TEST_X: &str = "data/t10k-images-idx3-ubyte";
const TEST_Y: &str = "data/t10k-labels-idx1-ubyte";
const MODEL: &str = "run/model.safetensors";

/// Writes images of `side` pixels, of all grey values.
fn write_images(path: &Path, count: usize, side: usize) {
    let pixels = (0..=u8::MAX).cycle().take(count * side * side).collect();
    idx::write_images(path, &Images { shape: [1, side, side], pixels }).unwrap();
}

pub(crate) fn write_data(dir: &Path, side: usize) {
    for (count, x, y) in [(40, X, Y), (20, TEST_X, TEST_Y)] {
        write_images(&dir.join(x), count, side);
        idx::write_labels(dir.join(y), &(0..10).cycle().take(count).collect::<Vec<u8>>()).unwrap();
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A copy of the run's model as `bad.safetensors`, changed.
fn bad(dir: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join("bad.safetensors");
    fs::copy(dir.join(MODEL), &path).unwrap();
    change(&path, with);
}

/// As [`bad`], with a checksum that fits: of the record, and of every tensor behind its name, type and shape.
fn forged(dir: &Path, record: impl FnOnce(String) -> String, values: impl FnOnce(&mut [u8])) {
    bad(dir, |bytes| {
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
        let text = &header.metadata().as_ref().unwrap()["gradus"];
        let record = record(text.split_once(r#"","#).unwrap().1.to_owned());
        let first = bytes.len() - header.data_len();
        values(&mut bytes[first..]);
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let mut sum = crc32fast::Hasher::new();
        sum.update(record.as_bytes());
        for (name, tensor) in &tensors {
            sum.update(format!("\n{name} {:?} {:?}\n", tensor.dtype(), tensor.shape()).as_bytes());
            sum.update(tensor.data());
        }
        let text = format!(r#"{{"checksum":"{:08x}",{record}"#, sum.finalize());
        let metadata = [("gradus".to_owned(), text)].into();
        let written = safetensors::serialize(tensors, Some(metadata)).unwrap();
        *bytes = written;
    });
}

#[test]
fn what_is_refused_says_why_and_leaves_the_run_as_it_was() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("refused");
    let (data, run) = (folder.join("data"), folder.join("run"));
    let reset = || {
        fs::create_dir_all(&data).unwrap();
        write_data(&folder, 8);
    };
    reset();
    done(example().args(["--epochs", "2", "--data"]).arg(&data).arg("--out").arg(&run));
    let before = files(&run);
    let dir = folder.to_str().unwrap();
    for (setup, line, message) in rows::DATA.iter().chain(&rows::MODELS).chain(&rows::OPTIONS) {
        setup(&folder);
        let output = example().args(line.split(' ').map(|word| word.replace("DIR", dir))).output().unwrap();
        let said = stderr(&output);
        let want = format!("error: {}", message.replace("DIR", dir));
        assert!(
            said.lines().any(|line| line.replace('\\', "/").starts_with(&want.replace('\\', "/"))),
            "{line}\n{want}\n{said}"
        );
        assert!(
            !output.status.success() && !said.contains("panicked") && !said.contains("Caused by"),
            "{said}"
        );
        assert!(files(&run) == before, "{line}");
        let mut names: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["history.csv", "model.safetensors", "report.svg"], "{line}");
        reset();
    }
}

#[test]
fn a_reader_that_goes_away_is_an_error_and_no_panic() {
    if gpu().is_none() {
        return;
    }
    let mut child = example();
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert!(said.lines().any(|line| line.starts_with("error: standard output: ")), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

/// A limit on the size of files stands for a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_leaves_the_earlier_files() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("full");
    let run = folder.join("run");
    let args = ["--epochs", "1", "--save-every", "20", "--out", run.to_str().unwrap()];
    done(example().args(args));
    let before = files(&run);
    // Blocks of 512 bytes or of 1,024, as the shell has them: the model takes some 200,000.
    let script = r#"trap '' XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let mut limited = Command::new("sh");
    limited.args(["-c", script]).arg(example().get_program()).args(args).args(["--seed", "2"]);
    let said = stderr(&limited.output().unwrap());
    let want = format!(
        "error: not saved, what was saved before stays: {}: ",
        run.join("model.safetensors").display()
    );
    assert!(said.lines().any(|line| line.starts_with(&want) && line.contains("os error 27")), "{said}");
    assert!(files(&run) == before);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 3, "no partial file stays");
}
