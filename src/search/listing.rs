use super::kernels::{Own, Run, objective_source, stage_source};
use super::method::{NoHyper, Over, Shape};
use super::methods::Method;
use super::objective::Form;
use super::ranking;
use crate::gpu::{Block, Field, KernelListing, Uniform};

/// Every kernel of searches, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    let listing = |source, hyper: &'static [Field]| KernelListing {
        source,
        blocks: vec![
            Block::of::<Run>("Run"),
            Block { name: "Hyper", fields: hyper.into(), bytes: 4 * hyper.len() },
        ],
    };
    let own = [Own::Best, Own::Rows, Own::Told].into_iter().map(Own::source).chain(ranking::sources());
    let mut all: Vec<KernelListing> = own.map(|source| listing(source, NoHyper::FIELDS)).collect();
    let sphere = "fn objective() -> f32 {\n    var sum = noise(0u);\n    for (var i = 0u; i < DIMENSIONS; i++) {\n        \
                  sum += x(i) * x(i);\n    }\n    return sum;\n}\n";
    for is_plain in [false, true] {
        all.push(listing(objective_source(sphere, Form::Lane, 3, is_plain), NoHyper::FIELDS));
        let by_lanes =
            sphere.replace("objective()", "objective(lane: u32)").replace("noise(0u)", "noise(lane)");
        all.push(listing(objective_source(&by_lanes, Form::Workgroup, 3, is_plain), NoHyper::FIELDS));
    }
    let shape = Shape { members: 128, dimensions: 3, generations: Some(10) };
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
