//! The tutorials' pictures: each has a file, a row and a place on the index page.

#[path = "../../examples/tutorials/index.rs"]
mod index;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use index::{ELSEWHERE, Entry, page};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The names of the table in `main.rs`: rows such as `("name", "Title", name::draw)`.
fn listed() -> BTreeSet<String> {
    let text = read("examples/tutorials/main.rs");
    let table = text.split("const TUTORIALS").nth(1).unwrap().split("];").next().unwrap();
    let names: Vec<&str> =
        table.split("::draw").filter_map(|before| before.rsplit([' ', '\n']).next()).collect();
    let (_, names) = names.split_last().unwrap();
    for name in names {
        assert!(table.contains(&format!("\"{name}\"")), "{name} has another name on the command line");
    }
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_tutorial_of_the_folder_is_listed() {
    let files = fs::read_dir(root().join("examples/tutorials")).unwrap().map(|entry| entry.unwrap().path());
    let draws: BTreeSet<String> = files
        .filter(|path| fs::read_to_string(path).unwrap().contains("pub(crate) fn draw(stage: &Stage)"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(draws, listed());
    assert!(draws.len() >= 15, "{draws:?}");
}

#[test]
fn the_page_of_the_docs_names_every_tutorial() {
    let docs = read("docs/tutorials.md");
    let missing: Vec<String> =
        listed().into_iter().filter(|name| !docs.contains(&format!("`tutorials -- {name}`"))).collect();
    assert!(missing.is_empty(), "docs/tutorials.md does not name {missing:?}");
    let named = docs.split("`tutorials -- ").skip(1).map(|rest| rest.split('`').next().unwrap());
    let unknown: Vec<&str> = named.filter(|name| !listed().contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/tutorials.md names {unknown:?}, which are no tutorials");
}

/// Two pictures, one with characters that HTML has a meaning for.
fn entries() -> Vec<Entry> {
    let entry = |name, title, shows: &str| Entry { name, title, shows: shows.to_owned() };
    vec![entry("first", "One & two", "1 < 2 \"quoted\" > 0"), entry("second", "Plain", "It falls.")]
}

#[test]
fn the_index_shows_every_picture_with_its_sentence() {
    let text = page(&entries(), |picture| picture == "safeguards.svg");
    let (doctype, html) = text.split_once('\n').unwrap();
    assert_eq!(doctype, "<!DOCTYPE html>");
    let html = roxmltree::Document::parse(html).unwrap();
    let all = |tag: &str| html.descendants().filter(|node| node.has_tag_name(tag)).collect::<Vec<_>>();
    let pictures: Vec<&str> = all("img").iter().map(|image| image.attribute("src").unwrap()).collect();
    assert_eq!(pictures, ["first.svg", "second.svg", "safeguards.svg"]);
    assert_eq!(all("img")[0].attribute("alt"), Some("1 < 2 \"quoted\" > 0"));
    let said: Vec<&str> = all("p").iter().filter_map(|paragraph| paragraph.text()).collect();
    for Entry { shows, .. } in entries() {
        assert!(said.contains(&shows.as_str()), "{shows:?} is not said");
    }
    for other in ELSEWHERE {
        assert!(said.contains(&other.shows), "{:?} is not said", other.shows);
    }
    // Each link leads to a section.
    let sections: Vec<&str> = all("section").iter().map(|section| section.attribute("id").unwrap()).collect();
    let links: Vec<&str> = all("a").iter().map(|link| &link.attribute("href").unwrap()[1..]).collect();
    assert_eq!(links, sections);
    assert_eq!(links.len(), 2 + ELSEWHERE.len());
}

#[test]
fn the_index_is_one_file_with_a_dark_mode() {
    let text = page(&entries(), |_| true);
    assert!(text.contains("prefers-color-scheme: dark"));
    for outside in ["://", "@import", "<script", "<link", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[test]
fn what_other_examples_draw_exists() {
    for other in ELSEWHERE {
        let name = other.command.split("--example ").nth(1).unwrap().split(' ').next().unwrap();
        let folder = root().join("examples").join(name);
        let source = if folder.is_dir() { folder } else { folder.with_extension("rs") };
        assert!(source.exists(), "there is no example {name}");
        let files = if source.is_dir() {
            fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path()).collect()
        } else {
            vec![source]
        };
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for picture in other.pictures {
            assert!(text.contains(&format!("\"{picture}\"")), "{name} does not draw {picture}");
        }
    }
}
