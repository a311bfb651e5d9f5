//! Golden data: what other libraries computed and ours must reproduce. `README.md` here says how.

mod custom;
mod early_stopping;
#[path = "../../examples/replay/files.rs"]
mod files;
mod harness;
#[path = "../shared/kernels.rs"]
mod kernels;
mod layers;
mod lbfgs;
mod not_yet;
mod optim;
#[path = "../../examples/replay/recorded.rs"]
mod recorded;
mod recurrent;
mod schedules;

use harness::Runner;
use not_yet::NOT_YET;

/// Every kind of golden data. One without a runner is neither run nor printed.
const KINDS: &[(&str, Option<Runner>)] = &[
    ("optim", Some(optim::run)),
    ("schedules", Some(schedules::run)),
    ("early_stopping", Some(early_stopping::run)),
    ("layers", Some(layers::run)),
    ("lbfgs", Some(lbfgs::run)),
    ("blackbox", None),
];

#[test]
fn every_kind_agrees() {
    let folder = harness::folder();
    let wanted = std::env::var("GRADUS_GOLDEN_KINDS").ok();
    let kinds = selected(wanted.as_deref()).expect("GRADUS_GOLDEN_KINDS");
    // A test thread on its own leaves "test ... " before what is printed first.
    println!();
    let mut failures = Vec::new();
    for (kind, runner) in kinds {
        let report = runner(&folder, &NOT_YET);
        println!("golden {kind}: {report}");
        failures.extend(report.failures.into_iter().map(|failure| format!("{kind} {failure}")));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The kinds that have a runner, or those of them in a comma list.
fn selected(wanted: Option<&str>) -> Result<Vec<(&'static str, Runner)>, String> {
    let wanted: Option<Vec<&str>> = wanted.map(|list| list.split(',').map(str::trim).collect());
    for name in wanted.iter().flatten() {
        if !KINDS.iter().any(|(kind, _)| kind == name) {
            return Err(format!("unknown kind {name:?}"));
        }
    }
    let is_wanted = |kind: &str| wanted.as_ref().is_none_or(|list| list.contains(&kind));
    Ok(KINDS
        .iter()
        .filter(|(kind, _)| is_wanted(kind))
        .filter_map(|(kind, runner)| Some((*kind, (*runner)?)))
        .collect())
}

#[test]
fn kinds_are_selected_by_name() {
    let names = |wanted| selected(wanted).map(|kinds| kinds.into_iter().map(|(kind, _)| kind).collect());
    assert_eq!(names(Some("blackbox, schedules")), Ok(vec!["schedules"]));
    assert!(names(None).is_ok_and(|kinds: Vec<&str>| kinds.contains(&"schedules")));
    assert_eq!(names(Some("schedule")), Err("unknown kind \"schedule\"".to_owned()));
}
