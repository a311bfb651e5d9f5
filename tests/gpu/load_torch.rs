//! The example `load_torch` as its users run it: torch's logits by name, and what does not fit in one line.

use std::path::Path;

use gradus::params::Weights;

use crate::common::gpu;
use crate::example::{built, done, stderr, stdout};
use crate::folder::Folder;

fn shipped(model: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/load_torch")
        .join(model)
        .with_extension("safetensors")
}

#[test]
fn both_models_give_the_logits_of_torch() {
    let Some(_) = gpu() else { return };
    let text = stdout(&done(&mut built("load_torch")));
    for line in ["lstm: loaded 11 of 11 tensors", "transformer: loaded 29 of 29 tensors"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(text.matches("from torch's").count(), 2, "{text}");
}

#[test]
fn weights_of_another_model_are_refused_in_one_line() {
    let Some(_) = gpu() else { return };
    let output = built("load_torch").args(["--model", "lstm"]).arg(shipped("transformer")).output().unwrap();
    let text = stderr(&output);
    // Drivers write lines of their own.
    let refusals = text.lines().filter(|line| line.contains("these weights do not fit")).count();
    assert!(!output.status.success() && refusals == 1, "{text}");
    for part in ["missing: embedding.weight", "unexpected: blocks.0.attn", "of other shapes: head.weight"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_part_of_a_model_is_loaded_where_that_is_asked_for() {
    let Some(_) = gpu() else { return };
    let folder = Folder::new("load_torch_partly");
    let path = folder.join("body.safetensors");
    let mut weights = Weights::read(shipped("lstm")).unwrap();
    weights.remove("head.bias").unwrap();
    weights.insert("tail.bias", [5], [0.0; 5]).unwrap();
    weights.write(&path).unwrap();
    let load = |partly: &[&str]| {
        built("load_torch").args(["--model", "lstm"]).args(partly).arg(&path).output().unwrap()
    };
    let refused = load(&[]);
    assert!(!refused.status.success() && stderr(&refused).contains("did you mean \"head.bias\"?"));
    let text = stdout(&load(&["--partly"]));
    assert!(text.contains("loaded 10 of 11 tensors; missing: head.bias; unexpected: tail.bias"), "{text}");
}
