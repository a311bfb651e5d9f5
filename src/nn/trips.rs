//! Checks that no invocation of any kernel makes more than [`MAX_TRIPS`] loop iterations (trips).
//!
//! [`tables`] gives, for each kernel with a loop, the number of trips of its busiest invocation as a function of the
//! kernel's sizes. Graphs of extreme sizes are lowered, which needs no device and little memory, and each dispatch is
//! checked against the bound. Graphs of ordinary sizes run on the device with a counter in each loop body, and the
//! count must match the table.
//!
//! A new kernel with a loop needs one row in its family's table, and a dispatch in graphs of both kinds.

mod attention;
mod convolutions;
mod embedding;
mod graphs;
mod lines;
mod loops;
mod measure;
mod norms;
mod products;
mod sequences;
mod sizes;

use std::collections::BTreeSet;

use self::graphs::Subject;
use self::loops::loops_of;
use self::sizes::{Sizes, stem};
use crate::gpu::{Capabilities, MAX_TRIPS};
use crate::graph::autodiff;
use crate::graph::lowering::{Lowering, Step};

/// Total number of loop iterations of one invocation. Each pass through a loop body counts, so a loop of 4 inside a
/// loop of 3 makes 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trips {
    /// The number of the busiest invocation.
    Exactly(usize),
    /// An upper bound for all invocations.
    AtMost(usize),
}

impl Trips {
    fn most(self) -> usize {
        let (Self::Exactly(trips) | Self::AtMost(trips)) = self;
        trips
    }
}

/// The trips of a kernel, by the stem of its file name.
type Row = (&'static str, fn(&Sizes<'_>) -> Trips);

fn tables() -> impl Iterator<Item = Row> {
    let rows = [
        lines::ROWS,
        norms::ROWS,
        products::ROWS,
        convolutions::ROWS,
        embedding::ROWS,
        attention::ROWS,
        sequences::ROWS,
    ];
    rows.into_iter().flatten().copied()
}

fn row(kernel: &str) -> Option<Row> {
    tables().find(|(name, _)| *name == stem(kernel))
}

/// The table's trips for a dispatch; `None` for a kernel or variant without loops.
fn trips(step: &Step) -> Option<Trips> {
    if loops_of(&step.kernel.wgsl) == 0 {
        return None;
    }
    row(&step.kernel.name).map(|(_, trips)| trips(&Sizes::of(step)))
}

fn lower(subject: &Subject, capabilities: &Capabilities) -> Lowering {
    autodiff::lower(&subject.graph, &subject.options, capabilities)
        .unwrap_or_else(|error| panic!("{}: {error}", subject.name))
}

/// Names in the tables that no dispatch of these graphs uses.
fn untried(subjects: &[Subject]) -> Vec<&'static str> {
    let mut tried = BTreeSet::new();
    let kinds = Capabilities::of_each_kind();
    for (subject, offered) in subjects.iter().flat_map(|s| kinds.map(|offered| (s, offered))) {
        let steps = lower(subject, &offered).steps;
        let looping = steps.iter().filter(|step| trips(step).is_some());
        tried.extend(looping.map(|step| stem(&step.kernel.name).to_owned()));
    }
    tables().map(|(name, _)| name).filter(|name| !tried.contains(*name)).collect()
}

#[test]
fn every_kernel_with_a_loop_has_a_row() {
    let mut looping = BTreeSet::new();
    let mut missing = BTreeSet::new();
    for listing in super::kernel_listings() {
        let name = stem(&listing.source.name).to_owned();
        if loops_of(&listing.source.wgsl) == 0 {
            continue;
        }
        if row(&name).is_none() {
            missing.insert(name.clone());
        }
        looping.insert(name);
    }
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    assert_eq!(missing, [""; 0], "kernels with loops and without a row of trips");
    let idle: Vec<&str> = tables().map(|(name, _)| name).filter(|name| !looping.contains(*name)).collect();
    assert_eq!(idle, [""; 0], "rows of kernels that have no loop, or that no listing has");
    let names: Vec<&str> = tables().map(|(name, _)| name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a kernel has two rows");
}

#[test]
fn every_row_is_tried_by_extreme_and_by_ordinary_graphs() {
    assert_eq!(untried(&graphs::extreme()), [""; 0], "rows that no extreme graph tries");
    assert_eq!(untried(&graphs::ordinary()), [""; 0], "rows that no ordinary graph tries");
    let fewer: Vec<Subject> =
        graphs::ordinary().into_iter().filter(|s| !s.name.contains("accuracy of")).collect();
    assert!(untried(&fewer).contains(&"accuracy"), "the search for untried rows finds none");
}

#[test]
fn no_loop_exceeds_the_bound_whatever_the_sizes() {
    let mut beyond = Vec::new();
    let kinds = Capabilities::of_each_kind();
    for (subject, offered) in graphs::extreme().iter().flat_map(|s| kinds.map(|offered| (s, offered))) {
        for step in lower(subject, &offered).steps {
            if let Some(trips) = trips(&step)
                && trips.most() > MAX_TRIPS
            {
                beyond.push(format!("{} ({offered:?}), {}: {trips:?}", subject.name, step.label));
            }
        }
    }
    assert!(beyond.is_empty(), "more than {MAX_TRIPS} trips in one invocation:\n{}", beyond.join("\n"));
}

#[test]
fn the_table_says_what_the_device_counts() {
    let mut wrong = Vec::new();
    for gpu in measure::gpus() {
        for subject in graphs::ordinary() {
            let lowering = lower(&subject, gpu.capabilities());
            for (step, counted) in measure::count(&gpu, &subject.graph, &lowering) {
                let Some(trips) = trips(step) else { continue };
                let agrees = match trips {
                    Trips::Exactly(trips) => counted == trips,
                    Trips::AtMost(most) => counted <= most,
                };
                if !agrees {
                    let what = format!("{} ({:?}), {}", subject.name, gpu.kernel_kind(), step.label);
                    wrong.push(format!("{what}: counted {counted}, the table says {trips:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
