use super::kernels::Call;
use crate::gpu::{MAX_TRIPS, UniformRing};
use crate::grad::PenaltyFactors;
use crate::layout::Layout;
use crate::optim::step::counters::StepCounter;
use crate::optim::step::segments::collect;
use crate::optim::windows::cut_at_windows;

/// Minimum number of vectors that a lane adds.
const OF_LANE: usize = 16;
const MOST_LANES: usize = 16_384;
/// Number of partial sums that are reduced to one.
const OF_SUM: usize = 128;

/// A range of a window without frozen tensors.
#[derive(Debug)]
pub(super) struct Tile {
    pub(super) window: usize,
    pub(super) call: Call,
    /// Byte offset of its uniforms.
    pub(super) offset: u32,
    pub(super) group: usize,
    pub(super) penalty: PenaltyFactors,
}

/// A dispatch that adds partial sums.
#[derive(Debug, PartialEq)]
pub(super) struct Level {
    pub(super) len: u32,
    pub(super) left: u32,
}

/// The ranges that are not frozen, split where penalties differ, and the number of lanes that share their inner
/// products: at most `most`, plus one for each split.
pub(super) fn tiles(
    layout: &Layout,
    frozen: &[bool],
    penalties: &[PenaltyFactors],
    most: usize,
) -> (Vec<Tile>, usize) {
    let mut segments = Vec::new();
    let counters = vec![StepCounter::default(); layout.spans().len()];
    collect(layout, &counters, frozen, penalties, None, &mut segments);
    let windows: Vec<usize> = layout.windows().map(|window| window.len).collect();
    let narrow = |value: usize| u32::try_from(value).expect("windows are counted in 32 bits");
    let vectors = segments.iter().map(|segment| segment.range.len() / 4).sum::<usize>();
    let of_lane = vectors.div_ceil(most.max(1)).max(OF_LANE);
    let (mut tiles, mut out) = (Vec::new(), 0);
    let parts = segments.iter().flat_map(|segment| {
        cut_at_windows(layout, segment.range.clone()).map(move |(window, range)| (segment, window, range))
    });
    for (segment, window, range) in parts {
        let len = range.len() / 4;
        // A lane takes one iteration for each vector, and one more for every sixteen.
        let lanes = len.div_ceil(of_lane).min(MOST_LANES.max(len.div_ceil(MAX_TRIPS / 4 * 3)));
        let call = Call {
            first: narrow(range.start / 4),
            len: narrow(len),
            lanes: narrow(lanes),
            out: narrow(out),
            total: 0,
            stride: narrow(windows[window] / 4),
        };
        let offset = narrow(tiles.len() * UniformRing::ALIGN);
        tiles.push(Tile { window, call, offset, group: segment.group, penalty: segment.penalty });
        out += lanes;
    }
    tiles.iter_mut().for_each(|tile| tile.call.total = narrow(out));
    (tiles, out)
}

/// The dispatches that reduce each product to one sum.
pub(super) fn levels(lanes: usize) -> Vec<Level> {
    let narrow = |value: usize| u32::try_from(value).expect("lanes are few");
    let (mut levels, mut len) = (Vec::new(), lanes);
    while len > 1 || (levels.is_empty() && len > 0) {
        let groups = len.div_ceil(OF_SUM);
        levels.push(Level { len: narrow(len), left: narrow(groups) });
        len = groups;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};

    #[test]
    fn frozen_tensors_are_left_out_and_runs_are_cut_at_windows() {
        let groups = [GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("y", [20])];
        let layout = Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap();
        let (tiles, lanes) = tiles(&layout, &[false, true, false], &[PenaltyFactors::default(); 3], 1000);
        let found: Vec<_> = tiles
            .iter()
            .map(|tile| (tile.window, tile.call.first, tile.call.len, tile.call.lanes, tile.call.out))
            .collect();
        let want =
            [(0, 0, 4096, 256, 0), (1, 0, 4096, 256, 256), (2, 0, 1808, 113, 512), (2, 1840, 16, 1, 625)];
        assert_eq!((found, lanes), (want.to_vec(), 626));
        assert!(tiles.iter().all(|tile| tile.call.total == 626));
        assert_eq!(super::tiles(&layout, &[true; 3], &[PenaltyFactors::default(); 3], 1000).1, 0);
        assert_eq!(super::tiles(&layout, &[false; 3], &[PenaltyFactors::default(); 3], 100).1, 41 + 41 + 19);
    }

    #[test]
    fn levels_end_at_one() {
        let groups = |lanes| levels(lanes).iter().map(|level| level.left).collect::<Vec<_>>();
        assert_eq!(groups(0), [0; 0]);
        assert_eq!(groups(1), [1]);
        assert_eq!(groups(128), [1]);
        assert_eq!(groups(129), [2, 1]);
        assert_eq!(groups(16_385), [129, 2, 1]);
    }
}
