//! Assembles the attention kernels, with the layouts of all rows as constants.

use std::collections::BTreeSet;

use super::kernels::{AT, Kernels, shared_tile, tiles};
use super::rows::Rows;
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{Candidate, Capabilities, KernelKind, MAX_TRIPS, Uniform, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::ops::split::even_tile;
use crate::graph::shape::u;
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape {
        pub(super) work: u32,
        pub(super) first: u32,
        pub(super) end: u32,
        pub(super) stream: u32,
        pub(super) scale: f32,
        pub(super) p: f32,
        pub(super) keep: f32,
    }
}
uniform! {
    pub(crate) struct GradShape {
        pub(super) work: u32,
        pub(super) first: u32,
        pub(super) end: u32,
        pub(super) stream: u32,
        pub(super) scale: f32,
        pub(super) p: f32,
        pub(super) keep: f32,
        pub(super) adds_scores: u32,
        pub(super) adds_values: u32,
    }
}
uniform! {
    pub(crate) struct RowsShape { pub(super) quads: u32 }
}

/// Maximum number of quads of a sum that one invocation, or one workgroup, holds.
const TILE: u32 = 16;
const SHARED_TILE: u32 = 32;

/// Rows of a tile that a workgroup shares.
const ROWS: usize = 32;

/// Rows of a block that is broadcast: as many at any width of subgroups, because the softmax is taken block by block, and
/// its bits are not to depend on that width.
const BROADCAST: u32 = 8;

/// Maximum number of product steps that are unrolled. More would take longer to compile.
const UNROLL: u32 = 4;

/// Sizes of a node. `planes` combines all leading axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) planes: usize,
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Number of elements of a query and of a value.
    pub(super) features: [usize; 2],
}

/// How an invocation obtains the rows of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The lanes of a subgroup, of which there are so many, load a block of them, which is broadcast.
    Broadcast { lanes: u32 },
    /// The lanes of a workgroup load a tile of rows into shared memory.
    Tiled,
    /// Each invocation loads all rows itself.
    Direct,
}

impl Way {
    pub(super) fn of(sizes: &Sizes, capabilities: &Capabilities) -> Self {
        match Candidate::choose(WAYS, sizes, capabilities) {
            KernelKind::CpuSubgroup => Self::Broadcast { lanes: capabilities.lanes() },
            KernelKind::Gpu => Self::Tiled,
            KernelKind::Plain => Self::Direct,
        }
    }
}

const WAYS: &[Candidate<Sizes, KernelKind>] = &[
    Candidate { kind: KernelKind::CpuSubgroup, fits: |_, _| true, way: KernelKind::CpuSubgroup },
    // With less than a tile of rows lanes would be idle, and the sums of larger heads would not fit in registers.
    Candidate {
        kind: KernelKind::Gpu,
        fits: |sizes, _| {
            sizes.queries.min(sizes.keys) >= ROWS
                && sizes.features.iter().all(|features| *features <= 4 * SHARED_TILE as usize)
        },
        way: KernelKind::Gpu,
    },
    Candidate { kind: KernelKind::Plain, fits: |_, _| true, way: KernelKind::Plain },
];

/// What all kernels of a node share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    pub(super) way: Way,
    pub(super) sizes: Sizes,
    pub(super) is_causal: bool,
    pub(super) scale: f32,
    pub(super) mask: Option<Rows>,
    pub(super) dropout: Option<Dropout>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    pub(super) random: Operand,
    pub(super) stream: u32,
    pub(super) p: f32,
    pub(super) keep: f32,
}

/// A kernel being assembled: its declarations and their operands.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    head: String,
    storage: Vec<Binding>,
    operands: Vec<Operand>,
}

impl Text {
    pub(super) fn bind(&mut self, name: &str, access: Binding, kind: &str, operand: Operand) {
        self.storage.push(access);
        self.operands.push(operand);
        let access = if access == Read { "read" } else { "read_write" };
        let binding = self.storage.len();
        self.head +=
            &format!("@group(0) @binding({binding}) var<storage, {access}> {name}: array<{kind}>;\n");
    }

    /// Binds rows under a name, and declares their layout as a constant with the same name in capitals.
    pub(super) fn bind_rows(&mut self, name: &str, access: Binding, rows: &Rows) {
        self.bind(name, access, "vec4f", rows.of);
        self.head += &rows.declared(&name.to_uppercase());
    }

    pub(super) fn put(&mut self, text: &str) {
        self.head += text;
    }

    pub(super) fn emit<S: Uniform>(
        &self,
        lowering: &mut Lowering,
        layer: &str,
        (name, texts): (&str, &[&str]),
        constants: &[(&str, u32)],
        groups: usize,
        shape: S,
    ) {
        let wgsl = expand(&[&self.head, &texts.concat()[..]].concat(), constants, &[]);
        let kernel = source::<S>(name, wgsl, &self.storage);
        lowering.emit(layer, kernel, crate::gpu::grid(groups), &self.operands, shape);
    }
}

/// One side of the attention: the rows for scores, and the rows of values or of their gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) scores: Rows,
    pub(super) values: Rows,
}

/// A kernel that iterates over the rows of the other side for each row of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) own_is_query: bool,
    /// Whether it needs products of values, as the gradients of scores do.
    pub(super) takes_products: bool,
    /// Quads of each kind of sum that one invocation holds.
    pub(super) tiles: [u32; 2],
}

impl Common {
    pub(super) fn quads(&self) -> [u32; 2] {
        self.sizes.features.map(|features| u(features.div_ceil(4)))
    }

    /// Rows of the other side that are processed together.
    fn block(&self) -> u32 {
        match self.way {
            Way::Broadcast { .. } => BROADCAST,
            Way::Tiled => u(ROWS),
            Way::Direct => 4,
        }
    }

    fn unrolls(&self) -> [u32; 2] {
        self.quads().map(|quads| (1..=UNROLL).rev().find(|n| quads.is_multiple_of(*n)).unwrap_or(1))
    }

    fn rows(&self, queries: bool) -> usize {
        if queries { self.sizes.queries } else { self.sizes.keys }
    }

    /// Quads per tile of a sum.
    pub(super) fn tile(&self, quads: u32) -> u32 {
        even_tile(quads, if self.way == Way::Tiled { SHARED_TILE } else { TILE })
    }

    /// Whether both sums, with one tile each, fit together.
    pub(super) fn fits_both(&self, tiles: [u32; 2]) -> bool {
        self.quads() == tiles && tiles.iter().sum::<u32>() <= 2 * TILE
    }

    /// Loop iterations of one block.
    fn trips(&self, walk: Walk) -> u32 {
        let [score, value] = self.quads();
        if self.way == Way::Tiled {
            let products = |quads: u32| quads.div_ceil(8) + quads;
            let of_values = if walk.takes_products { products(value) } else { 0 };
            let weighted = walk.tiles.map(|tile| 8 * shared_tile(tile).0).iter().sum::<u32>();
            return 1 + products(score) + of_values + weighted;
        }
        let [score_unroll, value_unroll] = self.unrolls();
        let products = if walk.takes_products { value / value_unroll } else { 0 };
        1 + score / score_unroll + products
    }

    /// Ranges of rows of the other side, one per dispatch.
    pub(super) fn runs(&self, walk: Walk) -> impl Iterator<Item = [u32; 2]> {
        let blocks = (u(MAX_TRIPS) / self.trips(walk)).max(1);
        let (run, others) = (blocks * self.block(), u(self.rows(!walk.own_is_query)));
        (0..others).step_by(run as usize).map(move |first| [first, (first + run).min(others)])
    }

    /// FLOP of one range of rows of the other side: for the scores, plus the given numbers of other products with
    /// rows of scores and of values. For causal attention, approximately those of the visible pairs.
    pub(super) fn flops(&self, [first, end]: [u32; 2], walk: Walk, [scores, values]: [u64; 2]) -> u64 {
        let Sizes { planes, queries, keys, features, .. } = self.sizes;
        let own = self.rows(walk.own_is_query) as u64;
        let pairs = planes as u64 * own * u64::from(end - first);
        let most = (queries * keys) as u64;
        // Query `i` sees keys up to `i`.
        let causal: u64 = (0..queries).map(|query| keys.min(query + 1) as u64).sum();
        let pairs = if self.is_causal { pairs * causal / most.max(1) } else { pairs };
        2 * pairs * ((1 + scores) * features[0] as u64 + values * features[1] as u64)
    }

    /// The number of tiles of quads, the number of invocations (or groups of them), and the number of workgroups.
    pub(super) fn work(&self, walk: Walk) -> (usize, usize, usize) {
        let [score, value] = [0, 1].map(|kind| match walk.tiles[kind] {
            0 => 1,
            tile => self.quads()[kind].div_ceil(tile) as usize,
        });
        let tiles = score.max(value);
        let rows = self.rows(walk.own_is_query);
        match self.way {
            Way::Broadcast { lanes } => {
                let groups = rows.div_ceil(lanes as usize) * self.sizes.planes * tiles;
                (tiles, groups, groups)
            }
            Way::Tiled => {
                let groups = rows.div_ceil(ROWS) * self.sizes.planes * tiles;
                (tiles, groups, groups)
            }
            Way::Direct => {
                let work = rows * self.sizes.planes * tiles;
                (tiles, work, work.div_ceil(64))
            }
        }
    }

    pub(super) fn constants(&self, walk: Walk) -> Vec<(&'static str, u32)> {
        let Sizes { planes, heads, queries, keys, features } = self.sizes;
        let ([score_quads, value_quads], [score_unroll, value_unroll]) = (self.quads(), self.unrolls());
        let (own, other) = if walk.own_is_query { (queries, keys) } else { (keys, queries) };
        let mut constants = vec![
            ("PLANES", u(planes)),
            ("HEADS", u(heads)),
            ("QUERIES", u(queries)),
            ("KEYS", u(keys)),
            ("OWN", u(own)),
            ("OTHER", u(other)),
            ("QUERY_QUADS", u(queries.div_ceil(4))),
            ("SCORE_QUADS", score_quads),
            ("VALUE_QUADS", value_quads),
            ("SCORE_COLUMNS", u(features[0])),
            ("VALUE_COLUMNS", u(features[1])),
            ("SCORE_UNROLL", score_unroll),
            ("VALUE_UNROLL", value_unroll),
            ("SCORE_TILE", walk.tiles[0]),
            ("VALUE_TILE", walk.tiles[1]),
            // WGSL arrays have at least one element.
            ("SCORE_SUMS", walk.tiles[0].max(1)),
            ("VALUE_SUMS", walk.tiles[1].max(1)),
            ("BLOCK", self.block()),
            ("QUADS", self.block() / 4),
            ("CAUSAL", u32::from(self.is_causal)),
            ("OWN_IS_QUERY", u32::from(walk.own_is_query)),
            ("TRIPS", self.trips(walk)),
        ];
        if let Way::Broadcast { lanes } = self.way {
            let loads = BROADCAST.div_ceil(lanes);
            constants.extend([
                ("LANES", lanes),
                ("LOADS", loads),
                ("AT_ONCE", u32::from(loads == 1)),
                ("IN_SEVERAL", u32::from(loads > 1)),
            ]);
        }
        if self.way == Way::Tiled {
            let names = [
                ["SCORE_CHUNKS", "SCORE_LANE_QUADS", "SCORE_LANE_ALL", "SCORE_LANE_SUMS", "SCORE_WIDTH"],
                ["VALUE_CHUNKS", "VALUE_LANE_QUADS", "VALUE_LANE_ALL", "VALUE_LANE_SUMS", "VALUE_WIDTH"],
            ];
            for (names, tile) in names.into_iter().zip(walk.tiles) {
                let (chunks, quads) = shared_tile(tile);
                let all = chunks * quads;
                constants.extend(names.into_iter().zip([chunks, quads, all, (4 * all).max(1), 8 * quads]));
            }
            let loads = |side: usize| 4 * shared_tile(walk.tiles[side]).1;
            constants.extend([("SCORE_LOADS", loads(0)), ("VALUE_LOADS", loads(1))]);
        }
        constants
    }

    /// Binds the mask and the random numbers, after all other inputs.
    pub(super) fn bind(&self, text: &mut Text) {
        if let Some(mask) = &self.mask {
            text.bind("mask", Read, "f32", mask.of);
            text.put(&mask.declared("MASK"));
            text.put(&format!("const MASK_KEY: u32 = {}u;\n", mask.inner()));
        }
        if let Some(dropout) = &self.dropout {
            text.bind("random", Read, "vec4u", dropout.random);
        }
    }

    /// Stream, probability and scale of the dropout.
    pub(super) fn drops(&self) -> (u32, f32, f32) {
        self.dropout.map_or((0, 0.0, 1.0), |dropout| (dropout.stream, dropout.p, dropout.keep))
    }

    /// The WGSL files that make up a kernel, and its name with the variant.
    pub(super) fn texts(&self, kernels: &Kernels) -> (String, String) {
        let walks = include_str!("../../../../shaders/shared/attention.wgsl");
        let (name, kernel, loads) = match self.way {
            Way::Broadcast { .. } => {
                let loads = include_str!("../../../../shaders/shared/attention_subgroup.wgsl");
                (format!("{}[subgroup]", kernels.stem), kernels.kernel, [walks, loads].concat())
            }
            Way::Tiled => (format!("{}_tiled", kernels.stem), kernels.tiled, tiles(kernels.has_gradients)),
            Way::Direct => {
                let loads = include_str!("../../../../shaders/shared/attention_plain.wgsl");
                (kernels.stem.to_owned(), kernels.kernel, [walks, loads].concat())
            }
        };
        let mask = match self.mask {
            Some(_) => include_str!("../../../../shaders/shared/attention_mask.wgsl"),
            None => include_str!("../../../../shaders/shared/attention_unmasked.wgsl"),
        };
        let drop = match self.dropout {
            Some(_) => [
                include_str!("../../../../shaders/shared/attention_dropout.wgsl"),
                include_str!("../../../../shaders/shared/random.wgsl"),
            ]
            .to_vec(),
            None => vec![include_str!("../../../../shaders/shared/attention_undropped.wgsl")],
        };
        let shared = [
            kernel,
            include_str!("../../../../shaders/shared/attention_seen.wgsl"),
            AT,
            include_str!("../../../../shaders/shared/math.wgsl"),
            &loads,
            mask,
        ];
        (name, [&shared[..], &drop].concat().concat())
    }
}

/// Where gradients are written, and whether they are added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outputs {
    pub(super) scores: Option<(Rows, bool)>,
    pub(super) values: Option<(Rows, bool)>,
}

impl Outputs {
    /// Binds the outputs, each buffer once, and declares how a quad is stored.
    pub(super) fn bind(&self, text: &mut Text) {
        let mut bound: Vec<(Operand, &str)> = Vec::new();
        let outputs = [("scores", self.scores), ("values", self.values)];
        for (what, (rows, _)) in outputs.iter().filter_map(|(what, output)| Some((what, (*output)?))) {
            let known = bound.iter().find(|(of, _)| *of == rows.of).map(|(_, buffer)| *buffer);
            let buffer = known.unwrap_or(what);
            if known.is_none() {
                text.bind(&format!("out_{what}"), ReadWrite, "vec4f", rows.of);
                bound.push((rows.of, what));
            }
            let upper = what.to_uppercase();
            let (name, columns) = (format!("OUT_{upper}"), upper.trim_end_matches('S'));
            text.put(&rows.declared(&name));
            text.put(&format!(
                "fn store_{what}(place: Place, quad: u32, sum: vec4f) {{
    let i = at(place.plane, place.row, {name}) + quad;
    var value = inside_of(sum, quad, {columns}_COLUMNS);
    if shape.adds_{what} != 0u {{
        value += out_{buffer}[i];
    }}
    out_{buffer}[i] = value;
}}
"
            ));
        }
    }

    /// Number of buffers.
    pub(super) fn buffers(&self) -> usize {
        let outputs = [self.scores, self.values];
        outputs.iter().flatten().map(|(rows, _)| rows.of).collect::<BTreeSet<_>>().len()
    }
}
