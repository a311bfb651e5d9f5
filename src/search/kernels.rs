//! Texts of kernels: what all share, a method's functions or the user's, and a text that calls one of them.

use super::method::{Algorithm, NoHyper, Over, Stage};
use super::objective::{self, Form};
use crate::gpu::{Binding, Field, KernelSource, Uniform, uniform};

uniform! {
    /// What does not change during a search.
    pub(crate) struct Run {
        pub(crate) members: u32,
        pub(crate) dimensions: u32,
        pub(crate) samples: u32,
        pub(crate) history: u32,
        pub(crate) seed_low: u32,
        pub(crate) seed_high: u32
    }
}

const RANDOM: &str = include_str!("../../shaders/shared/random.wgsl");
const COMMON: &str = include_str!("../../shaders/search/frame/common.wgsl");

/// Invocations of a workgroup.
pub(crate) const LANES: usize = 64;

/// Dimensions on a side of what a workgroup has of all pairs of dimensions.
pub(crate) const TILE: usize = 4;

/// Kernels that belong to no method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    Best,
    Rows,
    Told,
}

impl Own {
    fn text(self) -> &'static str {
        match self {
            Self::Best => include_str!("../../shaders/search/frame/best.wgsl"),
            Self::Rows => include_str!("../../shaders/search/frame/rows.wgsl"),
            Self::Told => include_str!("../../shaders/search/frame/told.wgsl"),
        }
    }

    /// The kernel.
    pub(crate) fn source(self) -> KernelSource {
        let (name, frame) = match self {
            Self::Best => ("search_best", String::new()),
            Self::Rows => ("search_rows", main_of("rows_of", Over::Elements)),
            Self::Told => ("search_told", MEMBERS.replace("STAGE", "told")),
        };
        own_source(name.into(), &[self.text(), &frame])
    }
}

const MEMBERS: &str = include_str!("../../shaders/search/frame/members.wgsl");

/// The entry point that calls a function.
fn main_of(name: &str, over: Over) -> String {
    let text = match over {
        Over::Elements => include_str!("../../shaders/search/frame/elements.wgsl"),
        Over::Sums => include_str!("../../shaders/search/frame/sums.wgsl"),
        Over::Dimensions => include_str!("../../shaders/search/frame/dimensions.wgsl"),
        Over::Pairs => include_str!("../../shaders/search/frame/pairs.wgsl"),
        Over::Matrix => include_str!("../../shaders/search/frame/matrix.wgsl"),
        Over::Total => include_str!("../../shaders/search/frame/total.wgsl"),
        Over::Workgroup => include_str!("../../shaders/search/frame/workgroup.wgsl"),
        Over::Ranks => "",
    };
    text.replace("STAGE", name)
}

/// A kernel that belongs to no method.
pub(crate) fn own_source(name: String, texts: &[&str]) -> KernelSource {
    source(name, NoHyper::FIELDS, texts)
}

/// All kernels bind the same: what some of them leave alone costs nothing.
fn source(name: String, hyper: &[Field], texts: &[&str]) -> KernelSource {
    let uniform = |bytes: usize| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("a block is small"),
        dynamic: false,
    };
    let mut bindings = vec![uniform(size_of::<Run>()), uniform(4 * hyper.len()), Binding::Read];
    bindings.extend([Binding::ReadWrite; 7]);
    let wgsl = [&[RANDOM, COMMON], texts].concat().join("\n");
    KernelSource { name, wgsl: wgsl.into(), bindings }
}

/// The kernel of a stage that has a function.
pub(crate) fn stage_source(
    method: &str,
    algorithm: &dyn Algorithm,
    hyper: &[Field],
    stage: &Stage,
) -> KernelSource {
    let main = main_of(stage.name, stage.over);
    source(format!("search_{method}_{}", stage.name), hyper, &[algorithm.text(), &main])
}

/// What stands around the objective: before it, and behind.
fn evaluate_frame(form: Form, dimensions: usize, is_plain: bool) -> [String; 2] {
    let member = include_str!("../../shaders/search/frame/member.wgsl");
    let constants = format!("{}const PLAIN_BOX = {is_plain};\n", objective::prelude(form, dimensions));
    let main = match form {
        Form::Lane => {
            include_str!("../../shaders/search/frame/evaluate.wgsl").to_owned()
                + &MEMBERS.replace("STAGE", "evaluated")
        }
        Form::Workgroup => include_str!("../../shaders/search/frame/evaluate_workgroup.wgsl").into(),
    };
    [constants + member, main]
}

/// The kernel of an objective in WGSL.
pub(crate) fn objective_source(text: &str, form: Form, dimensions: usize, is_plain: bool) -> KernelSource {
    let [frame, main] = evaluate_frame(form, dimensions, is_plain);
    own_source("search_objective".into(), &[&frame, text, &main])
}

/// All that surrounds the objective, in which names are taken.
pub(crate) fn objective_frame(form: Form) -> String {
    let [frame, main] = evaluate_frame(form, 1, true);
    [RANDOM, COMMON, &frame, &main].join("\n")
}
