//! The pages of the docs: their links lead somewhere, what they name exists, and their Rust is compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of `docs/`.
fn docs() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// Pages for readers who are new.
fn guides() -> Vec<PathBuf> {
    [docs(), ["README.md", "CONTRIBUTING.md"].map(|page| root().join(page)).into()].concat()
}

/// All pages.
fn pages() -> Vec<PathBuf> {
    let others = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "benches/RESULTS.md",
        "shaders/README.md",
        "tests/formats/README.md",
        "tests/golden/README.md",
        "tests/gpu/torch/README.md",
    ];
    [guides(), others.map(|page| root().join(page)).into()].concat()
}

/// The lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Targets of links and pictures.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')')))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The names that headings have in links.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.map(slug).collect()
}

/// What is wrong with the links of a page.
fn broken(page: &Path, text: &str) -> Vec<String> {
    let folder = page.parent().unwrap();
    let wrong = |target: &String| {
        if target.contains("://") {
            return false;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() { page.to_owned() } else { folder.join(path) };
        !path.exists() || (!anchor.is_empty() && !anchors(&read(&path)).contains(anchor))
    };
    links(text).into_iter().filter(wrong).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = read(&page);
        assert_eq!(broken(&page, &text), [""; 0], "{}", page.display());
        seen += links(&text).len();
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn a_link_to_nothing_is_found() {
    let page = root().join("README.md");
    let text = "[a](docs/nothing.md) [b](ARCHITECTURE.md#nothing) [c](ARCHITECTURE.md#map)\n```\n[d](no.md)\n```\n[e](#x)";
    assert_eq!(broken(&page, text), ["docs/nothing.md", "ARCHITECTURE.md#nothing", "#x"]);
}

#[test]
fn each_page_is_linked_and_its_rust_compiled() {
    let library = read(&root().join("src/lib.rs"));
    let linked: BTreeSet<PathBuf> = guides()
        .iter()
        .flat_map(|page| links(&read(page)).into_iter().map(|target| page.parent().unwrap().join(target)))
        .map(|path| plain(&path))
        .collect();
    for page in docs() {
        let name = page.file_name().unwrap().to_str().unwrap();
        let listed = format!("\"../docs/{name}\"");
        assert!(library.contains(&listed), "docs/{name} is missing among the pages of src/lib.rs");
        assert!(linked.contains(&page), "no page links to docs/{name}");
    }
}

/// A path without `..`, and without what follows a `#`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    PathBuf::from(plain.to_string_lossy().split('#').next().unwrap())
}

#[test]
fn the_readme_is_read_in_a_minute() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= 150, "{lines}");
}

#[test]
fn the_oldest_rust_is_that_of_the_manifest() {
    let manifest = read(&root().join("Cargo.toml"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let said = format!("Rust {} or newer", version.trim_matches('"'));
    for page in ["README.md", "CONTRIBUTING.md"] {
        assert!(read(&root().join(page)).contains(&said), "{page} should say {said:?}");
    }
}

/// The words that follow `before` anywhere in a text.
fn words_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let ends = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'));
    text.split(before).skip(1).map(|rest| rest.split(ends).next().unwrap()).collect()
}

#[test]
fn commands_name_examples_benches_and_targets_that_there_are() {
    let makefile = read(&root().join("Makefile"));
    for page in guides() {
        let text = read(&page);
        for name in words_after(&text, "--example ") {
            let path = root().join("examples").join(name);
            let exists = path.join("main.rs").exists() || path.with_extension("rs").exists();
            assert!(exists || name == "NAME", "{}: no example {name}", page.display());
        }
        for name in words_after(&text, "--bench ") {
            let path = root().join("benches").join(name).with_extension("rs");
            assert!(path.exists(), "{}: no bench {name}", page.display());
        }
        for name in words_after(&text, "`make ") {
            assert!(makefile.contains(&format!("\n{name}:")), "{}: no target {name}", page.display());
        }
    }
}

/// Paths of the repository in backquotes.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let folders = ["src/", "tests/", "examples/", "shaders/", "benches/", "docs/", ".ci/"];
    let quoted = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(move |word| {
        folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(['<', ' ', '*'])
    })
}

#[test]
fn paths_in_backquotes_exist() {
    let mut seen = 0;
    for page in guides() {
        for path in paths(&read(&page)) {
            let whole = root().join(path);
            assert!(whole.exists() || whole.with_extension("rs").exists(), "{}: no {path}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
