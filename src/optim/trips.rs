//! How often the loops of one invocation go round, for each kernel outside the graph and at extreme sizes.

use std::collections::BTreeSet;

use naga::{Block, Statement};

use super::device::blocks::STRIDE;
use super::factored::index_maps::Axes;
use super::factored::sizes::{FINISH_LANES, MOST_ALONE, RATIO_LANES};
use super::factored::tiles;
use super::layerwise::shape::ReductionShape;
use super::layerwise::tiles::TileTable;
use super::lbfgs::{MostTrips as WholeTrips, most_trips as whole_trips};
use super::listings::kernel_listings;
use super::norms::measured::most_trips as norm_trips;
use super::rule::any::AnyRule;
use super::windows::cut_at_windows;
use crate::gpu::{Capabilities, MAX_TRIPS};
use crate::grad;
use crate::layout::{GroupSpec, Layout, Limits};

/// Of a loop that halves a workgroup of up to 256.
const HALVINGS: usize = 8;

/// Kernels with a loop: the stem that their names begin with or have behind the rule's, and the iterations of one
/// invocation.
type Row = (&'static str, fn(&Sizes) -> usize);

const TABLE: [Row; 17] = [
    ("grad/norm", |sizes| grad::norm_trips(&sizes.capabilities)),
    ("grad/decide", |sizes| sizes.decide),
    ("grad/centralize", |sizes| sizes.centralize),
    ("optim/pick", |_| 8),
    ("optim/norms", |sizes| sizes.norms),
    ("optim/whole/measure", |sizes| sizes.whole.lanes),
    ("optim/whole/history", |sizes| sizes.whole.lanes),
    ("optim/whole/sums", |sizes| sizes.whole.sums),
    ("optim/whole/transform", |sizes| sizes.whole.lanes),
    ("optim/whole/combine", |sizes| sizes.whole.pairs),
    ("/statistics", |sizes| sizes.factored.statistics),
    ("/finish", |sizes| sizes.factored.finish),
    ("/means", |sizes| {
        sizes.factored.means.div_ceil(ReductionShape::of(&sizes.capabilities).lanes) + HALVINGS
    }),
    ("/measure", |sizes| sizes.reduction_tiles.0.max(sizes.tiles.0) + HALVINGS),
    ("/ratio", |sizes| sizes.reduction_tiles.1.max(sizes.tiles.1) + HALVINGS),
    // The search for a block, and a subgroup's blocks.
    ("/blocks", |_| STRIDE + 8),
    ("", |sizes| sizes.tiles.0),
];

/// What the tables that are uploaded say of a layout.
struct Sizes {
    capabilities: Capabilities,
    decide: usize,
    centralize: usize,
    norms: usize,
    whole: WholeTrips,
    factored: Factored,
    /// Of measuring, and of adding what was measured.
    reduction_tiles: (usize, usize),
    tiles: (usize, usize),
}

impl Sizes {
    fn of(layout: &Layout, capabilities: &Capabilities) -> Self {
        Self {
            capabilities: *capabilities,
            decide: grad::decide_trips(layout, capabilities),
            centralize: centralize(layout),
            norms: norm_trips(layout),
            whole: whole_trips(layout),
            factored: factored(layout),
            reduction_tiles: reduction_tiles(layout, capabilities),
            tiles: tiles(layout, capabilities),
        }
    }
}

/// The row of a kernel: the first that fits, so that the last is that of updates.
fn row_of(name: &str) -> usize {
    let stem = name.split('[').next().unwrap_or(name).trim_end_matches("/plain");
    let fits = |(row, _): &Row| if row.starts_with('/') { stem.ends_with(row) } else { stem == *row };
    TABLE.iter().position(fits).unwrap_or(TABLE.len() - 1)
}

fn centralize(layout: &Layout) -> usize {
    let matrices = layout.spans().iter().filter(|span| span.shape.len() > 1);
    let trips = |span: &crate::layout::Span| grad::centralize_trips(span.shape[0], span.len / span.shape[0]);
    // The longest row that one binding holds, too.
    matrices.map(trips).max().unwrap_or(0).max(grad::centralize_trips(1, u32::MAX as usize))
}

/// Of measuring a tile, and of adding what tiles leave of a tensor.
fn reduction_tiles(layout: &Layout, capabilities: &Capabilities) -> (usize, usize) {
    let shape = ReductionShape::of(capabilities);
    let TileTable { of, reduction_tiles } = TileTable::new(layout, shape);
    let longest = reduction_tiles.iter().map(|[_, len]| *len as usize).max().unwrap_or(0);
    let parts = of.parts(shape.parts).iter().map(|[_, parts]| *parts as usize).max().unwrap_or(0);
    (longest.div_ceil(shape.lanes), parts.div_ceil(shape.lanes))
}

fn rules() -> Vec<Box<dyn AnyRule>> {
    let json = [
        serde_json::json!({"name": "Adafactor"}),
        serde_json::json!({"name": "Adafactor", "variant": "optax", "min_dim_size_to_factor": 0}),
        serde_json::json!({"name": "SM3"}),
    ];
    json.iter().map(|json| super::from_json(json).unwrap()).collect()
}

/// Of a tile, and of adding what tiles leave of a tensor.
fn tiles(layout: &Layout, capabilities: &Capabilities) -> (usize, usize) {
    let (mut rows, mut added) = (0, 0);
    for (rule, span) in rules().iter().flat_map(|rule| layout.spans().iter().map(move |span| (rule, span))) {
        let statistics = rule.statistics(&span.shape);
        let axes = Axes::new(&span.shape, &statistics);
        let mut parts = 0;
        for (window, range) in cut_at_windows(layout, span.first..span.first + span.len) {
            let before = window * layout.window_len() + range.start - span.first;
            tiles::cut(&axes, capabilities, before / 4, range.start / 4..range.end.div_ceil(4), |tile| {
                rows = rows.max(tile.rows as usize * axes.trips_of_a_row());
                parts += tile.parts(capabilities);
            });
        }
        if rule.name() == "Adafactor" {
            added = added.max(parts.div_ceil(RATIO_LANES));
        }
    }
    (rows, added)
}

#[derive(Default)]
struct Factored {
    statistics: usize,
    finish: usize,
    means: usize,
}

fn factored(layout: &Layout) -> Factored {
    let mut most = Factored::default();
    for (rule, span) in rules().iter().flat_map(|rule| layout.spans().iter().map(move |span| (rule, span))) {
        if rule.name() != "Adafactor" {
            continue;
        }
        let statistics = rule.statistics(&span.shape);
        let axes = Axes::new(&span.shape, &statistics);
        let windows = layout.window_of(span.first + span.len - 1) - layout.window_of(span.first) + 1;
        for factor in &statistics {
            let index_map = axes.index_map(factor, span.first, (windows, layout.window_len()));
            let terms = (index_map.terms as usize).min(layout.window_len());
            let gathered = terms.div_ceil(index_map.pieces as usize);
            most.statistics = most.statistics.max(gathered);
            let pieces = index_map.all_pieces as usize;
            let joined = if pieces > MOST_ALONE { pieces.div_ceil(FINISH_LANES) + HALVINGS } else { pieces };
            most.finish = most.finish.max(joined);
        }
        most.means = most.means.max(axes.kept_mean().map_or(0, |(_, [count, ..])| count));
    }
    most
}

/// Layouts of billions of elements, of 100,000 tensors, and of shapes that are long in one way.
fn layouts() -> Vec<(String, Layout)> {
    const BINDINGS: [u64; 2] = [128 << 20, (1 << 32) - 4];
    let shapes: [&[usize]; 14] = [
        &[1 << 31],
        &[1, 50_000_000],
        &[50_000_000, 1],
        &[1, 1 << 31],
        &[1, (1 << 31) - 1],
        &[(1 << 31) - 1, 1],
        &[1 << 29, 4],
        &[4, 1 << 29],
        &[46_340, 46_340],
        &[46_341, 46_339],
        &[50_000_000, 9, 4],
        &[1 << 20, 64, 32],
        &[70_000, 33_333],
        &[1; 200],
    ];
    let mut all = Vec::new();
    for binding_bytes in BINDINGS {
        let limits = Limits { binding_bytes, buffer_bytes: 1 << 32 };
        for shape in shapes {
            let group = GroupSpec::new("g").tensor("b", [64]).tensor("w", shape);
            all.push((format!("{shape:?}"), Layout::new(&[group], limits).unwrap()));
        }
    }
    let many = (0..100_000).fold(GroupSpec::new("g"), |group, i| group.tensor(i.to_string(), [3, 50]));
    all.push(("100,000 tensors".into(), Layout::new(&[many], Limits::default()).unwrap()));
    let groups: Vec<GroupSpec> =
        (0..5000).map(|i| GroupSpec::new(format!("g{i}")).tensor(i.to_string(), [7])).collect();
    all.push(("5,000 groups".into(), Layout::new(&groups, Limits::default()).unwrap()));
    let large = (0..4).fold(GroupSpec::new("g"), |group, i| group.tensor(i.to_string(), [1 << 30]));
    all.push(("4 billion elements".into(), Layout::new(&[large], Limits::default()).unwrap()));
    all
}

#[test]
fn no_invocation_goes_round_too_often_at_any_size() {
    let mut misses = Vec::new();
    for (what, layout) in layouts() {
        for capabilities in &Capabilities::of_each_kind() {
            let sizes = Sizes::of(&layout, capabilities);
            for (kernel, trips) in TABLE {
                let trips = trips(&sizes);
                if trips > MAX_TRIPS {
                    let binding = layout.limits().binding_bytes;
                    misses.push(format!(
                        "{kernel:?}, {what}, {capabilities:?}, bindings of {binding}: {trips}"
                    ));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

fn has_loop(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Loop { .. } => true,
        Statement::Block(block) => has_loop(block),
        Statement::If { accept, reject, .. } => has_loop(accept) || has_loop(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| has_loop(&case.body)),
        _ => false,
    })
}

fn loops(wgsl: &str) -> bool {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap();
    let functions = module.functions.iter().map(|(_, function)| function);
    functions.chain(module.entry_points.iter().map(|entry| &entry.function)).any(|f| has_loop(&f.body))
}

#[test]
fn every_kernel_with_a_loop_has_a_row_and_every_row_a_kernel() {
    let mut listings = kernel_listings();
    listings.extend(grad::kernel_listings());
    listings.push(crate::params::kernel_listing());
    // What only some tensors need, and noise, which is an inner loop of all that read gradients.
    let with_loops: Vec<String> =
        listings.into_iter().filter(|l| loops(&l.source.wgsl)).map(|l| l.source.name).collect();
    let rows: BTreeSet<usize> = with_loops.iter().map(|name| row_of(name)).collect();
    assert_eq!(rows, (0..TABLE.len()).collect());
    // Nothing but updates falls into the row of updates, and of these only those over tiles and with noise loop.
    let factored = ["optim/adafactor", "optim/sm3"];
    for name in with_loops.iter().filter(|name| row_of(name) == TABLE.len() - 1) {
        let stem = name.split('[').next().unwrap().trim_end_matches("/plain");
        assert!(factored.contains(&stem) || name.contains("+noise"), "{name} is in no row");
    }
    assert!(!loops("@compute @workgroup_size(1) fn main() {}"));
}
