//! The examples `train_rnn` and `train_transformer` in their short form, as their users run them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{gpu, noise};
use crate::example::{built, done, files, stderr, stdout};
use crate::folder::Folder;

fn short(example: &str, options: &[&str]) -> Command {
    let mut command = built(example);
    command.arg("--quick").args(options);
    command
}

/// The last line of what went wrong, which must be all.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", stdout(&output));
    let said = stderr(&output);
    // Mesa may have said something before.
    said.lines().last().unwrap().to_owned()
}

/// Runs it whole, and again with a kill somewhere and a second run that goes on: the files must be the same.
fn check_killed(folder: &Folder, example: &str, options: &[&str], turn: usize) {
    let run = |out: &str| {
        let mut command = short(example, options);
        command.args(["--save-every", "11", "--out"]).arg(folder.join(out));
        command
    };
    let started = Instant::now();
    done(&mut run("whole"));
    let part = (f64::from(noise(19, turn)) + 1.0) / 2.0;
    let killed_after = started.elapsed().mul_f64(part);
    let mut child = run("killed").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(killed_after.max(Duration::from_millis(10)));
    child.kill().unwrap();
    child.wait().unwrap();
    done(run("killed").arg("--resume").arg(folder.join("killed/model.safetensors")));
    let [whole, killed] = ["whole", "killed"].map(|out| files(&folder.join(out)));
    assert!(whole == killed, "{example} {options:?}: killed after {part:.3}");
}

#[test]
fn each_cell_solves_short_sums_and_goes_on_after_a_kill() {
    if gpu().is_none() {
        return;
    }
    for (turn, cell) in ["rnn", "lstm", "gru"].into_iter().enumerate() {
        let folder = Folder::new(&format!("sums-{cell}"));
        check_killed(&folder, "train_rnn", &["--cell", cell], turn);
        let said = stdout(&done(
            short("train_rnn", &["--cell", cell, "--seed", "2"]).arg("--out").arg(folder.join("out")),
        ));
        assert_eq!(said.lines().last(), Some("solved: below 0.04"), "{said}");
    }
}

#[test]
fn a_run_on_sums_refuses_what_it_cannot_do() {
    let output = built("train_rnn").args(["--cell", "lstn"]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("a similar value exists: 'lstm'"), "{}", stderr(&output));
    let output = built("train_rnn").args(["--seq-len", "1"]).output().unwrap();
    assert!(stderr(&output).contains("it must be an integer of at least 2"), "{}", stderr(&output));
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("sums-refused");
    let (out, model) = (folder.join("out"), folder.join("out/model.safetensors"));
    done(short("train_rnn", &["--epochs", "1"]).arg("--out").arg(&out));
    let before = fs::read(&model).unwrap();
    let with = |options: &[&str]| {
        refused(built("train_rnn").args(options).arg("--resume").arg(&model).arg("--out").arg(&out))
    };
    let of = format!("error: {}: ", model.display());
    let option = "leave the option out to go on with that";
    assert_eq!(with(&["--cell", "gru"]), format!("{of}its --cell is lstm, not gru: {option}"));
    assert_eq!(with(&["--seq-len", "9"]), format!("{of}its --seq-len is 8, not 9: {option}"));
    let other = refused(built("train_transformer").arg("--load").arg(&model));
    assert!(other.starts_with(&format!("{of}it is not a run of train_transformer: ")), "{other}");
    assert!(fs::read(&model).unwrap() == before);
}

#[test]
fn a_transformer_beats_pairs_of_characters_goes_on_after_a_kill_and_writes() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("characters");
    check_killed(&folder, "train_transformer", &["--epochs", "1"], 3);
    let said = stdout(&done(&mut short("train_transformer", &[])));
    assert_eq!(said.lines().last(), Some("lower by more than 0.5"), "{said}");
    let model = folder.join("whole/model.safetensors");
    let write = |options: &[&str]| {
        let mut command = built("train_transformer");
        command.arg("--load").arg(&model).args(options);
        command
    };
    let written = |options: &[&str]| stdout(&done(&mut write(options)));
    let prompt = ["--prompt", "And God ", "--generate", "40"];
    let text = written(&prompt);
    assert!(text.starts_with("And God ") && text.chars().count() == 8 + 40 + 1, "{text}");
    assert_eq!(written(&prompt), text, "the same seed");
    assert_ne!(written(&[&prompt[..], &["--sample-seed", "2"]].concat()), text);
    let likeliest = [&prompt[..], &["--temperature", "0"]].concat();
    assert_eq!(written(&likeliest), written(&[&likeliest[..], &["--sample-seed", "2"]].concat()));
    // A whole context, and then what no longer fits.
    let long = "a".repeat(33);
    assert!(written(&["--prompt", &long[1..], "--generate", "3"]).starts_with(&long[1..]));

    let told = |options: &[&str]| refused(&mut write(options));
    let few = "error: --prompt must have from 1 to 32 characters, as many as the model's context, got";
    assert_eq!(told(&["--prompt", &long]), format!("{few} 33"));
    assert_eq!(told(&["--prompt", ""]), format!("{few} 0"));
    let unknown = told(&["--prompt", "Caf\u{e9}"]);
    let want = r#"error: --prompt: character 4, 'é', must be one of the model's "\n !'(),.:;?ABC"#;
    assert!(unknown.starts_with(want), "{unknown}");
}

#[test]
fn texts_that_cannot_be_trained_on_are_refused_and_others_are() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("texts");
    let (path, out) = (folder.join("text.txt"), folder.join("out"));
    let train = |options: &[&str]| {
        let mut command = short("train_transformer", &["--context", "8"]);
        command.arg("--text").arg(&path).args(options);
        command
    };
    let told = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        refused(train(&[]).arg("--out").arg(&out)).replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(told(b""), "error: --text FILE: must not be empty");
    let want = "error: --text FILE: must have more than 10 characters for contexts of 8, of which a tenth is held out, got";
    assert_eq!(told(b"0123456789"), format!("{want} 10"));
    assert!(told(b"0123456789\xff").starts_with("error: --text FILE: must be UTF-8: "));
    assert!(!out.exists(), "nothing is left");
    let rows = "Der Kuckuck und der Esel, die hatten einen Streit, wer wohl am besten s\u{e4}nge.\n";
    fs::write(&path, rows.repeat(9)).unwrap();
    let said = stdout(&done(train(&["--epochs", "1"]).arg("--out").arg(&out)));
    assert!(said.lines().last().unwrap().starts_with("transformer: 0."), "{said}");
    // A run goes on with the text that it began with alone.
    fs::write(&path, rows.repeat(10)).unwrap();
    let model = out.join("model.safetensors");
    let other = refused(train(&[]).arg("--resume").arg(&model));
    assert!(
        other.starts_with(&format!("error: {}: its text is another than that of --text: ", model.display())),
        "{other}"
    );
    let prompt = ["--prompt", "s\u{e4}nge", "--generate", "9"];
    let written = stdout(&done(built("train_transformer").arg("--load").arg(&model).args(prompt)));
    assert!(written.starts_with("s\u{e4}nge") && written.chars().count() >= 5 + 9, "{written}");
}
