//! Texts of kernels: what all share, a method's functions or the user's, and a text that calls one of them.

use super::method::{Algorithm, NoHyper, Over, Stage};
use super::methods::Method;
use super::objective;
use crate::gpu::{Binding, Block, Field, KernelListing, KernelSource, Uniform, uniform};

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

/// Kernels that belong to no method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    Best,
    Rank,
    Rows,
    Told,
}

impl Own {
    fn text(self) -> &'static str {
        match self {
            Self::Best => include_str!("../../shaders/search/frame/best.wgsl"),
            Self::Rank => include_str!("../../shaders/search/frame/rank.wgsl"),
            Self::Rows => include_str!("../../shaders/search/frame/rows.wgsl"),
            Self::Told => include_str!("../../shaders/search/frame/told.wgsl"),
        }
    }

    /// The kernel.
    pub(crate) fn source(self) -> KernelSource {
        let (name, frame) = match self {
            Self::Best => ("search_best", String::new()),
            Self::Rank => ("search_rank", String::new()),
            Self::Rows => ("search_rows", main_of("rows_of", Over::Elements)),
            Self::Told => ("search_told", MEMBERS.replace("STAGE", "told")),
        };
        source(name.into(), NoHyper::FIELDS, &[self.text(), &frame])
    }
}

const MEMBERS: &str = include_str!("../../shaders/search/frame/members.wgsl");

/// The entry point that calls a function.
fn main_of(name: &str, over: Over) -> String {
    let text = match over {
        Over::Elements => include_str!("../../shaders/search/frame/elements.wgsl"),
        Over::Sums => include_str!("../../shaders/search/frame/sums.wgsl"),
        Over::Dimensions => include_str!("../../shaders/search/frame/dimensions.wgsl"),
        Over::Total => include_str!("../../shaders/search/frame/total.wgsl"),
        Over::Ranks => "",
    };
    text.replace("STAGE", name)
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

/// The kernel of a stage.
pub(crate) fn stage_source(
    method: &str,
    algorithm: &dyn Algorithm,
    hyper: &[Field],
    stage: &Stage,
) -> KernelSource {
    match stage.over {
        Over::Ranks => Own::Rank.source(),
        over => {
            let main = main_of(stage.name, over);
            source(format!("search_{method}_{}", stage.name), hyper, &[algorithm.text(), &main])
        }
    }
}

/// What stands around the objective.
fn evaluate_frame(dimensions: usize, is_plain: bool) -> [String; 2] {
    let frame = include_str!("../../shaders/search/frame/evaluate.wgsl");
    let constants = format!("{}const PLAIN_BOX = {is_plain};\n", objective::prelude(dimensions));
    [constants + frame, MEMBERS.replace("STAGE", "evaluated")]
}

/// The kernel of an objective in WGSL.
pub(crate) fn objective_source(text: &str, dimensions: usize, is_plain: bool) -> KernelSource {
    let [frame, main] = evaluate_frame(dimensions, is_plain);
    source("search_objective".into(), NoHyper::FIELDS, &[&frame, text, &main])
}

/// All that surrounds the objective, in which names are taken.
pub(crate) fn objective_frame() -> String {
    let [frame, main] = evaluate_frame(1, true);
    [RANDOM, COMMON, &frame, &main].join("\n")
}

/// Every kernel of searches, for tests.
pub(crate) fn listings() -> Vec<KernelListing> {
    let listing = |source, hyper: &'static [Field]| KernelListing {
        source,
        blocks: vec![
            Block::of::<Run>("Run"),
            Block { name: "Hyper", fields: hyper.into(), bytes: 4 * hyper.len() },
        ],
    };
    let own = [Own::Best, Own::Rank, Own::Rows, Own::Told];
    let mut all: Vec<KernelListing> = own.iter().map(|own| listing(own.source(), NoHyper::FIELDS)).collect();
    let sphere = "fn objective() -> f32 {\n    var sum = noise(0u);\n    for (var i = 0u; i < DIMENSIONS; i++) {\n        \
                  sum += x(i) * x(i);\n    }\n    return sum;\n}\n";
    for is_plain in [false, true] {
        all.push(listing(objective_source(sphere, 3, is_plain), NoHyper::FIELDS));
    }
    let shape = super::method::Shape { members: 128, dimensions: 3, generations: Some(10) };
    for method in Method::all() {
        let algorithm = method.algorithm(shape.dimensions);
        let hyper = algorithm.hyper(shape, false).fields;
        let stages = algorithm.before().iter().chain(algorithm.after());
        for stage in stages.filter(|stage| stage.over != Over::Ranks) {
            all.push(listing(stage_source(method.name(), &*algorithm, hyper, stage), hyper));
        }
    }
    all
}
