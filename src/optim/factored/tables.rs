use std::ops::Range;
use std::sync::Arc;

use super::index_maps::{Axes, IndexMap, NONE, ONE, count};
use super::sizes::{FINISH_LANES, MOST_ALONE};
use super::tiles;
use super::tiles::Tile;
use crate::Error;
use crate::gpu::{Buffer, Gpu};
use crate::layout::{Layout, Span};
use crate::optim::layerwise::tiles::{RowRanges, filled};
use crate::optim::rule::Statistic;
use crate::optim::rule::any::AnyRule;
use crate::optim::windows::cut_at_windows;

/// Invocations of a workgroup of statistics.wgsl.
const LANES: usize = 128;

/// The values that stand for tensors, how they are gathered, and where they lie.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) index_maps: Buffer<IndexMap>,
    /// State; then what is computed in a step: the next maxima, or means; and a ratio for each tensor.
    pub(crate) values: Arc<Buffer<f32>>,
    pub(crate) ratios: Range<usize>,
    /// Elements of each tensor.
    pub(crate) lens: Buffer<f32>,
    /// What invocations have gathered, where several share an output.
    pub(crate) parts: Buffer<f32>,
    /// View, first invocation and first part of each workgroup: of plain tensors, then of others.
    pub(crate) gather: Buffer<[u32; 3]>,
    pub(crate) gather_of: ByShape,
    /// View, first output and first part of each workgroup.
    pub(crate) finish: Buffer<[u32; 3]>,
    pub(crate) finish_of: Vec<usize>,
    /// What workgroups measure and update: of plain tensors, then of others.
    pub(crate) tiles: Buffer<Tile>,
    pub(crate) tiles_of: ByShape,
    /// Sums over tiles; the first of each tensor and how many.
    pub(crate) sums: Buffer<[f32; 2]>,
    pub(crate) sums_of: Buffer<[u32; 2]>,
    /// Whether each tensor has another shape than most have.
    pub(crate) general: Vec<bool>,
    /// First value, stride, count and place of each mean.
    pub(crate) means: Buffer<[u32; 4]>,
    pub(crate) means_of: Vec<usize>,
    pub(crate) places: Arc<Places>,
    /// What groups keep of each shape that they have.
    built: Vec<(usize, Span, Vec<Statistic>)>,
}

/// The rows of two tables that lie one behind the other: that of plain tensors and that of others.
#[derive(Debug, Default)]
pub(crate) struct ByShape {
    ends: [RowRanges; 2],
    /// Where the rows of others begin.
    others: usize,
}

impl ByShape {
    fn begin_tensor<T>(&mut self, rows: &[Vec<T>; 2]) {
        self.ends.iter_mut().zip(rows).for_each(|(ends, rows)| ends.begin_tensor(rows.len()));
    }

    fn begin_window<T>(&mut self, window: usize, rows: &[Vec<T>; 2]) {
        self.ends.iter_mut().zip(rows).for_each(|(ends, rows)| ends.begin_window(window, rows.len()));
    }

    fn end<T>(&mut self, rows: &[Vec<T>; 2]) {
        self.ends.iter_mut().zip(rows).for_each(|(ends, rows)| ends.end(rows.len()));
        self.others = rows[0].len();
    }

    /// The rows of some tensors, by window, and whether they are of others than plain ones.
    pub(crate) fn of(&self, tensors: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, bool)> {
        let plain = self.ends[0].of(tensors.clone()).map(|(window, rows)| (window, rows, false));
        let others = self.ends[1]
            .of(tensors)
            .map(|(window, rows)| (window, rows.start + self.others..rows.end + self.others, true));
        plain.chain(others)
    }
}

/// Names and places of each tensor's values.
pub(crate) type Places = Vec<Vec<(String, Range<usize>)>>;

#[derive(Default)]
struct Tables {
    index_maps: Vec<IndexMap>,
    /// Of plain tensors, and of others.
    gather: [Vec<[u32; 3]>; 2],
    finish: Vec<[u32; 3]>,
    means: Vec<[usize; 3]>,
    tiles: [Vec<Tile>; 2],
    /// What tiles leave of each tensor, and of all.
    sums_of: Vec<[u32; 2]>,
    sums: usize,
    general: Vec<bool>,
    parts: usize,
}

impl Statistics {
    /// # Errors
    /// [`Error::Limit`] where a table or the values of all tensors exceed one binding.
    pub(crate) fn new<'r, R: AnyRule + 'r>(
        gpu: &Gpu,
        layout: &Layout,
        rules: impl Fn(usize) -> &'r R,
        is_mean: bool,
    ) -> Result<Self, Error> {
        let statistics = |span: &Span| rules(span.group).statistics(&span.shape);
        let mut places = Places::new();
        let mut state = 0;
        for span in layout.spans() {
            if u32::try_from(span.len).is_err() {
                return Err(too_large(&span.name, span.len, 1 << 32));
            }
            let mut own = Vec::new();
            for statistic in statistics(span) {
                let first = state;
                own.push((statistic.key.to_string(), first..first + statistic.len(&span.shape)));
                state = own.last().map_or(0, |(_, place)| place.end).next_multiple_of(4);
            }
            places.push(own);
        }
        check_binding(layout, "state of all tensors", state)?;
        let mut tables = Tables::default();
        let (mut finish_of, mut means_of) = (Vec::new(), Vec::new());
        let (mut gather_of, mut tiles_of) = (ByShape::default(), ByShape::default());
        let mut built = Vec::<(usize, Span, Vec<Statistic>)>::new();
        for (tensor, span) in layout.spans().iter().enumerate() {
            let own = statistics(span);
            let window = layout.window_of(span.first);
            gather_of.begin_tensor(&tables.gather);
            finish_of.push(tables.finish.len());
            means_of.push(tables.means.len());
            tiles_of.begin_tensor(&tables.tiles);
            if own.is_empty() {
                tables.sums_of.push([count(tables.sums), 0]);
                tables.general.push(false);
                continue;
            }
            let first_map = tables.index_maps.len();
            let windows = layout.window_of(span.first + span.len - 1) - window + 1;
            let axes = Axes::new(&span.shape, &own);
            let is_plain = axes.are_plain();
            let first_sum = tables.sums;
            for (window, range) in cut_at_windows(layout, span.first..span.first + span.len) {
                tiles_of.begin_window(window, &tables.tiles);
                let before = window * layout.window_len() + range.start - span.first;
                tiles::cut(&axes, before / 4, range.start / 4..range.end.div_ceil(4), |mut tile| {
                    tile.index_map = count(first_map);
                    tile.part = count(tables.sums);
                    tables.sums += tile.parts(gpu.capabilities());
                    tables.tiles[usize::from(!is_plain)].push(tile);
                });
            }
            tables.sums_of.push([count(first_sum), count(tables.sums - first_sum)]);
            let firsts: Vec<usize> = places[tensor].iter().map(|(_, place)| place.start).collect();
            tables.general.push(!is_plain);
            let means = axes.kept_means([firsts[0], firsts.get(1).copied().unwrap_or(0)]);
            for (statistic, first) in own.iter().zip(&firsts) {
                let mut index_map = axes.index_map(statistic, span.first, (windows, layout.window_len()));
                debug_assert!(!is_plain || index_map.four != ONE, "a plain tensor has vectors of four");
                index_map.first_map = count(first_map);
                index_map.values = count(*first);
                index_map.ratio = count(tensor);
                if !is_mean {
                    index_map.means = count(state + first);
                } else if !means.is_empty() {
                    index_map.means = count(state + tables.means.len());
                }
                tables.index_maps.push(index_map);
            }
            tables.means.extend(means);
            let parts = tables.parts;
            for cut in (0..windows).filter(|_| is_mean) {
                gather_of.begin_window(window + cut, &tables.gather);
                let mut parts = parts;
                for index in first_map..tables.index_maps.len() {
                    let index_map = &tables.index_maps[index];
                    let whole = index_map.all_pieces == 1;
                    let threads = index_map.units as usize * index_map.pieces as usize;
                    let own = (index_map.pieces * index_map.outputs) as usize;
                    let at = if whole { NONE } else { count(parts + cut * own) };
                    let firsts = (0..threads).step_by(LANES);
                    tables.gather[usize::from(!is_plain)]
                        .extend(firsts.map(|first| [count(index), count(first), at]));
                    parts += if whole { 0 } else { own * windows };
                }
                tables.parts = parts;
            }
            let mut at = parts;
            for index in first_map..tables.index_maps.len() {
                let index_map = &tables.index_maps[index];
                if is_mean && index_map.all_pieces == 1 {
                    continue;
                }
                let alone = !is_mean || index_map.all_pieces as usize <= MOST_ALONE;
                let firsts = (0..index_map.outputs as usize).step_by(if alone { FINISH_LANES } else { 1 });
                tables.finish.extend(firsts.map(|first| [count(index), count(first), count(at)]));
                // Maxima leave no pieces.
                at += if is_mean { index_map.outputs as usize * index_map.all_pieces as usize } else { 0 };
            }
            if !built.iter().any(|(group, known, _)| (*group, &known.shape) == (span.group, &span.shape)) {
                built.push((span.group, span.clone(), own));
            }
        }
        gather_of.end(&tables.gather);
        tiles_of.end(&tables.tiles);
        finish_of.push(tables.finish.len());
        means_of.push(tables.means.len());
        Self::upload(gpu, layout, tables, (state, is_mean), tiles_of).map(|built_tables| Self {
            gather_of,
            finish_of,
            means_of,
            places: Arc::new(places),
            built,
            ..built_tables
        })
    }

    fn upload(
        gpu: &Gpu,
        layout: &Layout,
        mut tables: Tables,
        (state, is_mean): (usize, bool),
        tiles_of: ByShape,
    ) -> Result<Self, Error> {
        // Bindings begin at multiples of 256 bytes.
        let computed = if is_mean { tables.means.len() } else { state };
        let first_ratio = (state + computed).next_multiple_of(64);
        let ratios = first_ratio..first_ratio + layout.spans().len();
        for index_map in &mut tables.index_maps {
            index_map.ratio += count(first_ratio);
        }
        let means: Vec<[u32; 4]> = (state..)
            .zip(&tables.means)
            .map(|(place, [first, stride, terms])| {
                [count(*first), count(*stride), count(*terms), count(place)]
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a mean reduced so many has rounded more")]
        let lens: Vec<f32> = layout.spans().iter().map(|span| span.len as f32).collect();
        let (gather, tiles) = (tables.gather.concat(), tables.tiles.concat());
        for (what, words) in [
            ("values of all tensors", ratios.end),
            ("partial values of all tensors", tables.parts),
            ("index maps of all tensors", tables.index_maps.len() * size_of::<IndexMap>() / 4),
            ("workgroups reduced all tensors", gather.len() * 3),
            ("tiles of all tensors", tiles.len() * size_of::<Tile>() / 4),
            ("sums over tiles of all tensors", if is_mean { tables.sums * 2 } else { 0 }),
            ("means of all tensors", means.len() * 4),
        ] {
            check_binding(layout, what, words)?;
        }
        // Maxima are not summed.
        let sums = if is_mean { tables.sums } else { 0 };
        Ok(Self {
            index_maps: filled(gpu, "index maps", &tables.index_maps)?,
            values: Arc::new(Buffer::storage(gpu, "values of tensors", ratios.end.next_multiple_of(4))?),
            ratios,
            lens: filled(gpu, "lens", &lens)?,
            parts: Buffer::storage(gpu, "partial values", tables.parts)?,
            gather: filled(gpu, "workgroups of gather", &gather)?,
            gather_of: ByShape::default(),
            finish: filled(gpu, "workgroups of finish", &tables.finish)?,
            finish_of: Vec::new(),
            means: filled(gpu, "means", &means)?,
            tiles: filled(gpu, "tiles", &tiles)?,
            sums: Buffer::storage(gpu, "sums over tiles", sums)?,
            sums_of: filled(gpu, "sums of tensors", &tables.sums_of)?,
            tiles_of,
            general: tables.general,
            means_of: Vec::new(),
            places: Arc::default(),
            built: Vec::new(),
        })
    }

    /// Whether kernels for plain tensors are needed, and those for others.
    pub(crate) fn kinds(&self) -> [bool; 2] {
        [false, true].map(|general| self.general.contains(&general))
    }

    /// Refuses options with which a group would keep other values than it has.
    pub(crate) fn check<R: AnyRule>(&self, group: usize, rule: &R) -> Result<(), Error> {
        let changed = |(of, span, built): &&(usize, Span, Vec<Statistic>)| {
            *of == group && rule.statistics(&span.shape) != *built
        };
        let Some((_, span, built)) = self.built.iter().find(changed) else { return Ok(()) };
        let names = |statistics: &[Statistic]| {
            statistics.iter().map(|statistic| &*statistic.key).collect::<Vec<_>>().join(", ")
        };
        Err(Error::Config {
            what: format!("optimizer {}", rule.name()),
            reason: format!(
                "with these options {} would have other state ({}) than it was built with ({}): build another optimizer",
                span.name,
                names(&rule.statistics(&span.shape)),
                names(built)
            ),
        })
    }
}

fn too_large(what: &str, elements: usize, limit: u64) -> Error {
    let limit_name = "max_storage_buffer_binding_size";
    Error::Limit { tensor: what.into(), bytes: elements as u64 * 4, limit_name, limit }
}

fn check_binding(layout: &Layout, what: &str, words: usize) -> Result<(), Error> {
    // Places are counted in 32 bits.
    let limit = layout.limits().binding_bytes.min(4 * u64::from(u32::MAX));
    if words as u64 * 4 <= limit { Ok(()) } else { Err(too_large(what, words, limit)) }
}
