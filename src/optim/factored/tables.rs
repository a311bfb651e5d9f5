use std::sync::Arc;

use super::gathering::ONE;
use super::index_maps::{Axes, IndexMap, NONE, count};
use super::ranges::{Places, StatisticRanges};
use super::sizes::{FINISH_LANES, MOST_ALONE};
use super::tiles::{self, Tile};
use crate::gpu::Capabilities;
use crate::layout::{Layout, Span};
use crate::optim::rule::Statistic;
use crate::optim::windows::cut_at_windows;

/// Workgroup size of statistics.wgsl.
const LANES: usize = 128;

/// The tables of all tensors as they are uploaded, and the rows of each tensor.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) index_maps: Vec<IndexMap>,
    /// Gathering workgroups of plain and of general tensors: index map, first invocation, first part.
    pub(super) gather: [Vec<[u32; 3]>; 2],
    /// Joining workgroups: index map, first output, first part.
    pub(super) finish: Vec<[u32; 3]>,
    /// First value, stride and count of each mean.
    pub(super) means: Vec<[usize; 3]>,
    pub(super) tiles: [Vec<Tile>; 2],
    /// First sum and number of sums over the tiles of each tensor, and their total.
    pub(super) sums_of: Vec<[u32; 2]>,
    pub(super) sums: usize,
    /// Number of partial results of invocations that share an output.
    pub(super) parts: usize,
    pub(super) ranges: StatisticRanges,
}

/// A tensor whose rows are being added.
struct Tensor<'a> {
    number: usize,
    span: &'a Span,
    own: &'a [Statistic],
    axes: Axes<'a>,
    /// The first window of the tensor, and the number of its windows.
    first_window: usize,
    windows: usize,
    first_map: usize,
}

/// The ranges of all statistics, one after the other, and their end; `of` gives the statistics of a tensor.
pub(super) fn places(layout: &Layout, of: impl Fn(&Span) -> Vec<Statistic>) -> (Places, usize) {
    let (mut places, mut end) = (Places::new(), 0_usize);
    for span in layout.spans() {
        let mut own = Vec::new();
        for statistic in of(span) {
            let place = end..end + statistic.len(&span.shape);
            end = place.end.next_multiple_of(4);
            own.push((statistic.key.to_string(), place));
        }
        places.push(own);
    }
    (places, end)
}

impl Tables {
    /// `state` is the end of all statistics; with `is_mean` they are means, otherwise maxima.
    pub(super) fn new(
        layout: &Layout,
        capabilities: &Capabilities,
        of: impl Fn(&Span) -> Vec<Statistic>,
        (places, state, is_mean): (Places, usize, bool),
    ) -> Self {
        let mut tables = Self::default();
        tables.ranges.places = Arc::new(places);
        for (number, span) in layout.spans().iter().enumerate() {
            let own = of(span);
            tables.ranges.gather.begin_tensor(&tables.gather);
            tables.ranges.finish.push(tables.finish.len());
            tables.ranges.means.push(tables.means.len());
            tables.ranges.tiles.begin_tensor(&tables.tiles);
            if own.is_empty() {
                tables.sums_of.push([count(tables.sums), 0]);
                tables.ranges.general.push(false);
                continue;
            }
            let first_window = layout.window_of(span.first);
            let tensor = Tensor {
                number,
                span,
                own: &own,
                axes: Axes::new(&span.shape, &own),
                first_window,
                windows: layout.window_of(span.first + span.len - 1) - first_window + 1,
                first_map: tables.index_maps.len(),
            };
            tables.add_tiles(layout, capabilities, &tensor);
            tables.add_index_maps(layout, &tensor, (state, is_mean));
            let first_part = tables.parts;
            if is_mean {
                tables.add_gathers(&tensor);
            }
            tables.add_finishes(&tensor, first_part, is_mean);
        }
        tables.ranges.gather.end(&tables.gather);
        tables.ranges.tiles.end(&tables.tiles);
        tables.ranges.finish.push(tables.finish.len());
        tables.ranges.means.push(tables.means.len());
        tables
    }

    /// Adds the tiles of a tensor and counts their sums.
    fn add_tiles(&mut self, layout: &Layout, capabilities: &Capabilities, tensor: &Tensor<'_>) {
        let Tensor { span, axes, .. } = tensor;
        let is_plain = axes.are_plain();
        let first_sum = self.sums;
        for (window, range) in cut_at_windows(layout, span.first..span.first + span.len) {
            self.ranges.tiles.begin_window(window, &self.tiles);
            let before = window * layout.window_len() + range.start - span.first;
            tiles::cut(axes, capabilities, before / 4, range.start / 4..range.end.div_ceil(4), |mut tile| {
                tile.index_map = count(tensor.first_map);
                tile.part = count(self.sums);
                self.sums += tile.parts(capabilities);
                self.tiles[usize::from(!is_plain)].push(tile);
            });
        }
        self.sums_of.push([count(first_sum), count(self.sums - first_sum)]);
        self.ranges.general.push(!is_plain);
    }

    /// Adds the index maps of a tensor and the means of its statistics that are stored.
    fn add_index_maps(&mut self, layout: &Layout, tensor: &Tensor<'_>, (state, is_mean): (usize, bool)) {
        let Tensor { number, span, own, axes, windows, first_map, .. } = tensor;
        let firsts: Vec<usize> = self.ranges.places[*number].iter().map(|(_, place)| place.start).collect();
        let means = axes.kept_means([firsts[0], firsts.get(1).copied().unwrap_or(0)]);
        for (statistic, first) in own.iter().zip(&firsts) {
            let mut index_map = axes.index_map(statistic, span.first, (*windows, layout.window_len()));
            debug_assert!(!axes.are_plain() || index_map.four != ONE, "a plain tensor has vectors of four");
            index_map.first_map = count(*first_map);
            index_map.values = count(*first);
            index_map.ratio = count(*number);
            if !is_mean {
                index_map.means = count(state + first);
            } else if !means.is_empty() {
                index_map.means = count(state + self.means.len());
            }
            self.index_maps.push(index_map);
        }
        self.means.extend(means);
    }

    /// Adds the workgroups that gather a tensor's statistics, window by window.
    fn add_gathers(&mut self, tensor: &Tensor<'_>) {
        let first_part = self.parts;
        let rows = usize::from(!tensor.axes.are_plain());
        for window in 0..tensor.windows {
            self.ranges.gather.begin_window(tensor.first_window + window, &self.gather);
            let mut parts = first_part;
            for index in tensor.first_map..self.index_maps.len() {
                let map = &self.index_maps[index];
                let whole = map.all_pieces == 1;
                let threads = map.units as usize * map.pieces as usize;
                let own = (map.pieces * map.outputs) as usize;
                let at = if whole { NONE } else { count(parts + window * own) };
                let firsts = (0..threads).step_by(LANES);
                self.gather[rows].extend(firsts.map(|first| [count(index), count(first), at]));
                parts += if whole { 0 } else { own * tensor.windows };
            }
            self.parts = parts;
        }
    }

    /// Adds the workgroups that join the pieces of a tensor's means, or store its next maxima.
    fn add_finishes(&mut self, tensor: &Tensor<'_>, first_part: usize, is_mean: bool) {
        let mut at = first_part;
        for index in tensor.first_map..self.index_maps.len() {
            let map = &self.index_maps[index];
            if is_mean && map.all_pieces == 1 {
                continue;
            }
            let alone = !is_mean || map.all_pieces as usize <= MOST_ALONE;
            let firsts = (0..map.outputs as usize).step_by(if alone { FINISH_LANES } else { 1 });
            self.finish.extend(firsts.map(|first| [count(index), count(first), count(at)]));
            // Maxima have no pieces.
            at += if is_mean { map.outputs as usize * map.all_pieces as usize } else { 0 };
        }
    }
}
