//! The lists of the docs are what the library has.

use std::collections::BTreeSet;

use gradus::optim::{LBFGS, RULES};

/// The names in backquotes in the row of a table that begins with `head`.
fn row<'a>(text: &'a str, head: &str) -> BTreeSet<&'a str> {
    let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(head)).collect();
    assert_eq!(rows.len(), 1, "rows that begin with {head:?}");
    rows[0].split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_names_every_optimizer_and_no_other() {
    let named = row(include_str!("../../docs/contents.md"), "| optimizers |");
    let known: BTreeSet<&str> = RULES.iter().map(|entry| entry.name).chain([LBFGS::NAME]).collect();
    let missing: Vec<_> = known.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not named: {missing:?}; not known: {unknown:?}");
}

#[test]
fn a_row_is_its_names() {
    let text = "| a | `X` |\n| b | `Y`, with Z, `W`; more |\n";
    assert_eq!(row(text, "| b |"), BTreeSet::from(["W", "Y"]));
}
