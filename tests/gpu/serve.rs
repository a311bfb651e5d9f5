//! The example `serve`: what it answers, what it refuses, and what its demonstration asserts.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use gradus::params::Weights;
use gradus::train::Checkpoint;
use gradus::train::data::npy;

use crate::common::gpu;
use crate::example::{built, done, example, stderr, stdout};
use crate::folder::Folder;

const PIXELS: usize = 64;

/// A model of a short run, beside what that run printed.
fn model(folder: &Folder) -> (std::path::PathBuf, String) {
    let out = folder.join("out");
    let said = stdout(&done(example().args(["--quick", "--out"]).arg(&out)));
    (out.join("model.safetensors"), said)
}

fn serve(model: &Path, requests: &[u8]) -> Output {
    let mut command = built("serve");
    command.arg("--load").arg(model).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(requests).unwrap();
    child.wait_with_output().unwrap()
}

/// The first words of the answers, and the rest: a table of times after an empty line.
fn answers(output: &Output) -> (Vec<String>, String) {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stdout(output);
    let (answers, times) = text.split_once("\n\n").unwrap();
    (answers.lines().map(str::to_owned).collect(), times.to_owned())
}

/// The first of UCI's digits, which are 0, 1, 2 and so on.
fn digits(count: usize) -> Vec<f32> {
    smartcore::dataset::digits::load_dataset().data[..count * PIXELS].to_vec()
}

fn line(image: &[f32], separator: &str) -> String {
    image.iter().map(f32::to_string).collect::<Vec<_>>().join(separator)
}

#[test]
fn each_image_is_answered_by_a_line_as_train_cnn_predicts_it() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("serve");
    let (model, _) = model(&folder);
    let (three, path) = (digits(3), folder.join("some images.npy"));
    npy::write(&path, &[3, 1, 8, 8], &three).unwrap();
    let predicted = stdout(&done(example().arg("--predict").arg(&path).arg("--load").arg(&model)));
    let predicted: Vec<&str> = predicted.lines().collect();
    // Spaces, commas, both, a line end of Windows, and a last line without any.
    let requests = [
        line(&three[..64], " ") + "\n",
        format!("  {}\r\n", line(&three[64..128], ", ")),
        format!("{}\n", path.display()),
        line(&three[128..], ","),
    ];
    let (lines, times) = answers(&serve(&model, requests.concat().as_bytes()));
    let expected = [&predicted[..2], &predicted[..], &predicted[2..]].concat();
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, class) in lines.iter().zip(expected) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [answered, probability, time, "ms"] = words[..] else { panic!("{line}") };
        assert_eq!(answered, class);
        assert!((0.1..=1.0).contains(&probability.parse::<f32>().unwrap()), "{line}");
        assert!(time.parse::<f64>().unwrap() > 0.0);
    }
    let rows: Vec<Vec<&str>> = times.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["images", "requests", "first"]);
    assert_eq!([rows[1][..2].to_vec(), rows[2][..2].to_vec()], [["1", "3"], ["3", "1"]]);
    // A batch size that was seen once has no other times.
    assert_eq!(rows[2][4..], ["-", "-", "-"]);
    assert_eq!(times.lines().last(), Some("0 lines were refused"));
}

#[test]
fn a_line_that_is_no_request_is_named_and_the_next_one_answered() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("serve-refusals");
    let (model, _) = model(&folder);
    let other = folder.join("other.npy");
    npy::write(&other, &[2, 7, 8], &[0.0_f32; 112]).unwrap();
    let allowed = "a request must be 64 numbers, an image of [1, 8, 8], or a path that ends in .npy";
    let (image, long) = (line(&digits(1), " "), "7 ".repeat(40_000));
    let with = |pixel: &str| [pixel, image.split_once(' ').unwrap().1].join(" ").into_bytes();
    let bad: Vec<(Vec<u8>, String)> = vec![
        (vec![], format!("{allowed}, got 0 numbers")),
        (image[2..].into(), format!("{allowed}, got 63 numbers")),
        (format!("{image} 5").into(), format!("{allowed}, got 65 numbers")),
        (b"digit.png".into(), format!("{allowed}, got \"digit.png\" as number 1")),
        (with("nan"), "number 1 must be finite, got NaN".into()),
        (with("1e39"), "number 1 must be finite, got inf".into()),
        (vec![0xff, b'1'], "a line must be UTF-8: invalid utf-8 sequence of 1 bytes from index 0".into()),
        (long.into(), "a line must have at most 65536 bytes".into()),
        (
            other.display().to_string().into(),
            format!(
                "{}: shape: must be a number of images of [[1, 8, 8], [64], [8, 8]], got [2, 7, 8]",
                other.display()
            ),
        ),
    ];
    let mut requests = Vec::new();
    for (line, _) in &bad {
        requests.extend([line, image.as_bytes()].map(|line| [line, &b"\n"[..]].concat()).concat());
    }
    let (lines, times) = answers(&serve(&model, &requests));
    assert_eq!(lines.len(), 2 * bad.len(), "{lines:?}");
    for (number, (_, reason)) in (0..).zip(&bad) {
        assert_eq!(lines[2 * number], format!("error: line {}: {reason}", 2 * number + 1));
        assert!(lines[2 * number + 1].starts_with("0  "), "{}", lines[2 * number + 1]);
    }
    assert_eq!(times.lines().last(), Some("9 lines were refused"));

    let mut checkpoint = Checkpoint::read(&model).unwrap();
    checkpoint.params.get_mut("linear2.weight").unwrap().values.fill(3e38);
    checkpoint.write(&model).unwrap();
    let (lines, _) = answers(&serve(&model, image.as_bytes()));
    let reason = "the probabilities are not finite: the image or the weights are too large";
    assert_eq!(lines, [format!("error: line 1: {reason}")]);
}

#[test]
fn the_demonstration_reaches_the_accuracy_of_the_model_and_notices_another_one() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("serve-demo");
    let (model, trained) = model(&folder);
    let accuracy = trained.lines().last().unwrap().strip_prefix("test accuracy: ").unwrap();
    let accuracy = accuracy.split_whitespace().next().unwrap();
    let demo = |count: &str| {
        let mut command = built("serve");
        command.args(["--demo", count, "--load"]).arg(&model);
        command
    };
    let said = stdout(&done(&mut demo("360")));
    let rows: Vec<Vec<&str>> = said.lines().map(|row| row.split_whitespace().collect()).collect();
    for (row, [images, requests]) in [["1", "360"], ["8", "45"], ["40", "1"], ["64", "5"]].iter().enumerate()
    {
        assert_eq!(rows[row + 1][..2], [*images, *requests], "{said}");
    }
    let last = format!("accuracy: {accuracy} of 360 digits in batches of 1, 8 and 64");
    assert_eq!(said.lines().last(), Some(&last[..]));
    assert!(stdout(&done(&mut demo("7"))).contains(" of 7 digits"));
    assert!(!demo("361").output().unwrap().status.success());

    // The same record over parameters that were changed.
    let mut checkpoint = Checkpoint::read(&model).unwrap();
    let bias = &mut checkpoint.params.get_mut("linear2.bias").unwrap().values;
    bias[3] += 100.0;
    checkpoint.write(&model).unwrap();
    let refused = demo("360").output().unwrap();
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("should be right, got 3"), "{}", stderr(&refused));
}

#[test]
fn a_model_that_is_none_of_train_cnn_s_is_refused_and_none_at_all_says_how_to_get_one() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("serve-models");
    let said = stderr(&built("serve").output().unwrap());
    assert_eq!(said, "error: --load: which model? `train_cnn --out run` makes run/model.safetensors\n");
    let path = folder.join("weights.safetensors");
    let mut weights = Weights::new();
    weights.insert("linear1.weight", [2, 2], vec![0.0; 4]).unwrap();
    weights.write(&path).unwrap();
    let refused = serve(&path, b"");
    assert!(!refused.status.success());
    let said = stderr(&refused);
    assert!(said.lines().any(|line| line.starts_with(&format!("error: {}: ", path.display()))), "{said}");

    // Images of another size are served, but the demonstration has none of them.
    let (data, out) = (folder.join("data"), folder.join("out"));
    done(built("digits_to_idx").arg(&data).args(["--side", "9"]));
    done(example().args(["--quick", "--model", "mlp", "--data"]).arg(&data).arg("--out").arg(&out));
    let model = out.join("model.safetensors");
    let (lines, _) = answers(&serve(&model, "0 ".repeat(81).as_bytes()));
    assert_eq!(lines.len(), 1);
    let refused = built("serve").args(["--demo", "8", "--load"]).arg(&model).output().unwrap();
    let said =
        "error: --demo sends UCI's digits, [1, 8, 8]; the model must be of them, not of others, [1, 9, 9]";
    assert!(stderr(&refused).lines().any(|line| line == said), "{}", stderr(&refused));
}
