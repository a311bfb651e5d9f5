//! Each module uses only what its row names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module and what its row names, which includes what those may use; every module may use `error`.
const ROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("files", &[]),
    ("layout", &[]),
    ("wgsl", &[]),
    ("schedule", &["config"]),
    ("gpu", &[]),
    ("params", &["files", "gpu", "layout"]),
    ("grad", &["params", "gpu", "config"]),
    ("optim", &["grad", "params", "gpu", "schedule", "config", "wgsl", "graph"]),
    ("graph", &["params", "gpu", "wgsl", "clock"]),
    ("nn", &["graph", "config"]),
    ("predict", &["graph", "params", "gpu"]),
    ("search", &["config", "gpu", "schedule", "wgsl"]),
    (
        "train",
        &[
            "error", "clock", "config", "files", "layout", "schedule", "gpu", "params", "optim", "grad",
            "graph", "nn", "predict", "search",
        ],
    ),
];

/// Names at the root of the crate and the modules that they come from.
const ROOT: &[(&str, &str)] =
    &[("Error", "error"), ("Gpu", "gpu"), ("GpuOptions", "gpu"), ("ParamStore", "params")];

fn row(module: &str) -> Result<&'static [&'static str], String> {
    let row = ROWS.iter().find(|(name, _)| *name == module);
    row.map(|(_, uses)| *uses).ok_or_else(|| format!("{module} has no row in the table of modules"))
}

/// All that a module may use, itself included.
fn allowed(module: &str) -> Result<BTreeSet<&'static str>, String> {
    let mut all = BTreeSet::from(["error"]);
    let mut open = vec![ROWS.iter().find(|(name, _)| *name == module).map_or("error", |(name, _)| *name)];
    row(module)?;
    while let Some(next) = open.pop() {
        all.insert(next);
        open.extend(row(next)?.iter().filter(|used| !all.contains(*used)));
    }
    Ok(all)
}

/// The text without comments.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        // A literal with two slashes is cut as well; no line imports behind one.
        code += line.split("//").next().unwrap_or_default();
        code.push('\n');
    }
    code
}

/// The modules named by `crate::x` and by the first names of `crate::{x, y::{z}}`.
fn used(text: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = |text: &str| text.chars().take_while(|c| is_name(*c)).collect::<String>();
    let mut found = Vec::new();
    let text = code(text);
    for (at, matched) in text.match_indices("crate::") {
        if text[..at].ends_with(is_name) {
            continue;
        }
        let rest = text[at + matched.len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut fresh) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if is_name(c) && fresh => {
                    found.push(name(&group[at..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// The first thing that `module` uses in `text` and may not.
fn check(module: &str, text: &str) -> Result<(), String> {
    let allowed = allowed(module)?;
    for name in used(text) {
        let origin = ROOT.iter().find(|(root, _)| *root == name).map_or(&name[..], |(_, origin)| *origin);
        row(origin)?;
        if !allowed.contains(origin) {
            return Err(format!("{module} uses {name}, which its row does not name"));
        }
    }
    Ok(())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The files of `src`, by their module; `lib.rs` joins them, `bin` uses them from outside, and both belong to none.
fn files() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let module = |path: &Path| {
        let inside = path.strip_prefix(&root).unwrap().components().next().unwrap();
        Path::new(inside.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
    };
    found
        .into_iter()
        .map(|path| (path.clone(), module(&path)))
        .filter(|(_, module)| module != "lib" && module != "bin")
        .collect()
}

#[test]
fn modules_use_what_their_rows_name() {
    let files = files();
    assert!(files.len() > 40, "only {} files were found", files.len());
    for (path, module) in &files {
        let text = fs::read_to_string(path).unwrap();
        check(module, &text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

#[test]
fn siblings_do_not_import_each_other() {
    assert!(!allowed("grad").unwrap().contains("optim"), "grad lies below optim");
    // Muon's directions are made orthogonal by the graph's products.
    assert!(!allowed("graph").unwrap().contains("optim"), "graph lies below optim");
    for [one, other] in [["graph", "grad"], ["nn", "optim"], ["search", "graph"]] {
        for (module, used) in [(one, other), (other, one)] {
            assert!(!allowed(module).unwrap().contains(used), "{module} may use {used}");
        }
    }
    let users = ROWS.iter().filter(|(module, _)| allowed(module).unwrap().contains("train"));
    assert_eq!(users.map(|(module, _)| *module).collect::<Vec<_>>(), ["train"]);
}

#[test]
fn the_check_bites() {
    let rows = [
        ("graph", "use crate::optim::AdamW;", "graph uses optim, which its row does not name"),
        ("graph", "use crate::train::Trainer;", "graph uses train, which its row does not name"),
        (
            "optim",
            "use crate::{Error, nn::{Linear, Module}, gpu};",
            "optim uses nn, which its row does not name",
        ),
        (
            "layout",
            "use crate::{\n    error::Error,\n    Gpu,\n};",
            "layout uses Gpu, which its row does not name",
        ),
        ("error", "fn f() -> crate::layout::Span {}", "error uses layout, which its row does not name"),
        ("gpu", "pub use crate::config::present;", "gpu uses config, which its row does not name"),
        ("nn", "use crate::schedule;", "nn uses schedule, which its row does not name"),
        (
            "schedule",
            "let x = $crate::params::Flat::new();",
            "schedule uses params, which its row does not name",
        ),
        ("graph", "use crate::nothing::Such;", "nothing has no row in the table of modules"),
        ("novel", "", "novel has no row in the table of modules"),
    ];
    for (module, text, message) in rows {
        assert_eq!(check(module, text).unwrap_err(), message);
    }
    let good = [
        ("nn", "use crate::gpu::{Binding, Kernel}; use crate::{Error, graph::{Graph, ops}, layout::Span};"),
        ("graph", "// use crate::optim::AdamW;\n/// As [`crate::train::Trainer`].\nuse crate::ParamStore;"),
        ("optim", "use crate::config; use crate::schedule::Schedule; use mycrate::train::X;"),
        ("train", "use crate::{config, error, gpu, graph, layout, nn, optim, params, schedule};"),
    ];
    for (module, text) in good {
        check(module, text).unwrap();
    }
}
