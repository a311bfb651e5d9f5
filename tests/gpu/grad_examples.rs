//! The examples of gradient transforms assert what they show; here they run.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::gpu;
use crate::folder::Folder;

/// Built by `cargo test` beside the tests. What it printed.
pub(crate) fn run(example: &str, args: &[&str]) -> String {
    let tests = std::env::current_exe().unwrap();
    let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: `cargo build --release --examples` makes it", path.display());
    let output = Command::new(path).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_robust_optimizer_improves() {
    if gpu().is_none() {
        return;
    }
    let trace = run("robust_optimizer", &["--seed", "4", "--steps", "4000"]);
    assert!(trace.lines().last().unwrap().starts_with("the loss fell from "), "{trace}");
    assert_eq!(trace.lines().count(), 1 + 10 + 2, "{trace}");
}

#[test]
fn the_safeguards_are_drawn() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("safeguards");
    let out = folder.join("picture");
    run("safeguards", &["--out", out.to_str().unwrap()]);
    let svg = fs::read_to_string(out.join("safeguards.svg")).unwrap();
    let picture = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<_> = picture.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for title in ["Gradients as they are", "Clipped to a norm of 1", "With noise"] {
        assert!(texts.contains(&title), "{title} is missing");
    }
    // The original in each panel, and the outline of what became of it in two.
    let stairs = |tag: &str| {
        let shapes = picture.descendants().filter(|node| node.has_tag_name(tag));
        let corners =
            shapes.map(|node| node.attribute("points").unwrap_or_default().split_whitespace().count());
        corners.filter(|corners| *corners > 50).count()
    };
    assert_eq!([stairs("polygon"), stairs("polyline")], [3, 2]);
}
