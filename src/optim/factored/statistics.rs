use std::ops::Range;
use std::sync::Arc;

use super::index_maps::{IndexMap, count};
use super::ranges::StatisticRanges;
use super::tables::{Tables, places};
use super::tiles::Tile;
use crate::Error;
use crate::gpu::{Buffer, Gpu};
use crate::layout::{Layout, Span};
use crate::optim::layerwise::tiles::filled;
use crate::optim::rule::Statistic;
use crate::optim::rule::any::AnyRule;

/// Row and column statistics of all tensors: the buffers, and the tables with which kernels gather and read them.
#[derive(Debug)]
pub(crate) struct Statistics {
    pub(crate) index_maps: Buffer<IndexMap>,
    /// The state, then values computed in a step (the next maxima, or means), then a ratio for each tensor.
    pub(crate) values: Arc<Buffer<f32>>,
    pub(crate) ratios: Range<usize>,
    /// Number of elements of each tensor.
    pub(crate) lens: Buffer<f32>,
    /// Partial results of invocations that share an output.
    pub(crate) parts: Buffer<f32>,
    /// Index map, first invocation and first part of each gathering workgroup: of plain tensors, then of general ones.
    pub(crate) gather: Buffer<[u32; 3]>,
    /// Index map, first output and first part of each joining workgroup.
    pub(crate) finish: Buffer<[u32; 3]>,
    /// Tiles to measure and update: of plain tensors, then of general ones.
    pub(crate) tiles: Buffer<Tile>,
    /// Sums over tiles; for each tensor, its first sum and their number.
    pub(crate) sums: Buffer<[f32; 2]>,
    pub(crate) sums_of: Buffer<[u32; 2]>,
    /// First value, stride, count and destination of each mean.
    pub(crate) means: Buffer<[u32; 4]>,
    pub(crate) ranges: StatisticRanges,
    /// The statistics that groups keep for each of their shapes.
    built: Built,
}

/// By group and tensor.
type Built = Vec<(usize, Span, Vec<Statistic>)>;

impl Statistics {
    /// `rules` are those of the groups; with `is_mean` the statistics are means, otherwise maxima.
    ///
    /// # Errors
    /// [`Error::Limit`] if a table or the values of all tensors do not fit one binding.
    pub(crate) fn new<'r, R: AnyRule + 'r>(
        gpu: &Gpu,
        layout: &Layout,
        rules: impl Fn(usize) -> &'r R,
        is_mean: bool,
    ) -> Result<Self, Error> {
        let of = |span: &Span| rules(span.group).statistics(&span.shape);
        if let Some(span) = layout.spans().iter().find(|span| u32::try_from(span.len).is_err()) {
            return Err(too_large(&span.name, span.len, 1 << 32));
        }
        let (places, state) = places(layout, of);
        check_binding(layout, "state of all tensors", state)?;
        let mut built = Built::new();
        for span in layout.spans() {
            if !built.iter().any(|(group, known, _)| (*group, &known.shape) == (span.group, &span.shape)) {
                built.push((span.group, span.clone(), of(span)));
            }
        }
        let tables = Tables::new(layout, gpu.capabilities(), of, (places, state, is_mean));
        Self::upload(gpu, layout, tables, (state, is_mean, built))
    }

    fn upload(
        gpu: &Gpu,
        layout: &Layout,
        mut tables: Tables,
        (state, is_mean, built): (usize, bool, Built),
    ) -> Result<Self, Error> {
        // Bindings start at multiples of 256 bytes.
        let computed = if is_mean { tables.means.len() } else { state };
        let first_ratio = (state + computed).next_multiple_of(64);
        let ratios = first_ratio..first_ratio + layout.spans().len();
        for index_map in &mut tables.index_maps {
            index_map.ratio += count(first_ratio);
        }
        let means: Vec<[u32; 4]> = (state..)
            .zip(&tables.means)
            .map(|(place, [first, stride, terms])| [*first, *stride, *terms, place].map(count))
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a mean over so many has rounded more")]
        let lens: Vec<f32> = layout.spans().iter().map(|span| span.len as f32).collect();
        let (gather, tiles) = (tables.gather.concat(), tables.tiles.concat());
        // Maxima need no sums.
        let sums = if is_mean { tables.sums } else { 0 };
        for (what, words) in [
            ("values of all tensors", ratios.end),
            ("partial values of all tensors", tables.parts),
            ("index maps of all tensors", tables.index_maps.len() * size_of::<IndexMap>() / 4),
            ("workgroups over all tensors", gather.len() * 3),
            ("tiles of all tensors", tiles.len() * size_of::<Tile>() / 4),
            ("sums over tiles of all tensors", sums * 2),
            ("means of all tensors", means.len() * 4),
        ] {
            check_binding(layout, what, words)?;
        }
        Ok(Self {
            index_maps: filled(gpu, "index maps", &tables.index_maps)?,
            values: Arc::new(Buffer::storage(gpu, "values of tensors", ratios.end.next_multiple_of(4))?),
            ratios,
            lens: filled(gpu, "lens", &lens)?,
            parts: Buffer::storage(gpu, "partial values", tables.parts)?,
            gather: filled(gpu, "workgroups of statistics", &gather)?,
            finish: filled(gpu, "workgroups of finish", &tables.finish)?,
            means: filled(gpu, "means", &means)?,
            tiles: filled(gpu, "tiles", &tiles)?,
            sums: Buffer::storage(gpu, "sums over tiles", sums)?,
            sums_of: filled(gpu, "sums of tensors", &tables.sums_of)?,
            ranges: tables.ranges,
            built,
        })
    }

    /// Whether kernels for plain tensors are needed, and whether kernels for general tensors are.
    pub(crate) fn kinds(&self) -> [bool; 2] {
        [false, true].map(|general| self.ranges.general.contains(&general))
    }

    /// Refuses options with which a group would need statistics other than those it has.
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
    // Offsets are 32-bit.
    let limit = layout.limits().binding_bytes.min(4 * u64::from(u32::MAX));
    if words as u64 * 4 <= limit { Ok(()) } else { Err(too_large(what, words, limit)) }
}
