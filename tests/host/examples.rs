//! Each public type has an example in its docs, and each public name one meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::send_sync::sources;

/// What rules are made of: hidden, because they are sealed.
const HIDDEN: &[&str] = &[
    "Block",
    "Course",
    "Decay",
    "EvalParams",
    "Family",
    "Granularity",
    "Kept",
    "KernelListing",
    "Mu",
    "NewtonSchulz",
    "Recurrence",
    "Reduced",
    "Reset",
    "Sealed",
    "Shader",
    "Slot",
    "Statistic",
    "TileSize",
    "Trial",
    "Weight",
];

/// Public structs, enums and traits of a file, with the lines of their docs.
fn documented(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (mut docs, mut found) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let code = line.trim_start();
        let item = ["pub struct ", "pub enum ", "pub trait "].iter().find_map(|kind| code.strip_prefix(kind));
        // In the text of macros, names come from their input.
        let item = item.filter(|name| !name.starts_with('$'));
        if let Some(rest) = item {
            let name = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap();
            found.push((name, std::mem::take(&mut docs)));
        } else if code.starts_with("///") {
            docs.push(code);
        } else if code.is_empty() || code.ends_with(['{', '}', ';']) {
            docs.clear();
        }
    }
    found
}

/// Whether docs have a block of Rust that is compiled.
fn has_example(docs: &[&str]) -> bool {
    let fences =
        docs.iter().map(|line| line.trim_start_matches('/').trim()).filter(|line| line.starts_with("```"));
    // Every other one ends a block.
    fences.step_by(2).any(|fence| matches!(fence, "```" | "```no_run" | "```rust"))
}

fn library() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_public_type_has_an_example() {
    let (mut missing, mut seen) = (Vec::new(), 0);
    for (path, text) in &library() {
        for (name, docs) in documented(text) {
            if name.ends_with("Hyper") || HIDDEN.contains(&name) {
                continue;
            }
            seen += 1;
            if !has_example(&docs) {
                missing.push(format!("{name} of {}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "without an example: {missing:#?}");
    assert!(seen > 250, "{seen}");
}

#[test]
fn a_type_without_an_example_is_found() {
    let text = "/// With one.\n///\n/// ```\n/// let x = 1;\n/// ```\n#[derive(Debug)]\npub struct A {\n    /// ```\n    pub x: f32,\n}\n\n\
        /// Without.\n///\n/// ```text\n/// ```\npub enum B {}\n";
    let found: Vec<(&str, bool)> =
        documented(text).iter().map(|(name, docs)| (*name, has_example(docs))).collect();
    assert_eq!(found, [("A", true), ("B", false)]);
}

#[test]
fn one_name_has_one_meaning() {
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (path, text) in library() {
        for (name, _) in documented(&text) {
            places.entry(name.into()).or_default().insert(path.clone());
        }
    }
    places.retain(|_, paths| paths.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}
