//! Upper bounds of loop iterations in one invocation.

use super::history::pairs_of;
use super::inner_products::{OF_PAIR, PRODUCTS};
use super::tiles::{levels, tiles};
use super::vectors::most_lanes;
use crate::layout::Layout;

/// The most iterations of one invocation with a history of 10,000 pairs.
#[derive(Debug, Default)]
pub(crate) struct MostTrips {
    pub(crate) lanes: usize,
    pub(crate) sums: usize,
    pub(crate) pairs: usize,
}

pub(crate) fn most_trips(layout: &Layout) -> MostTrips {
    let longest = layout.windows().map(|window| window.len).max().unwrap_or(1);
    let pairs = pairs_of(longest, 10_000, layout.limits().binding_bytes);
    let with_outer = |trips: usize| trips + trips.div_ceil(16);
    let mut most = MostTrips { pairs, ..MostTrips::default() };
    let spans = layout.spans().len();
    for frozen in [vec![false; spans], (0..spans).map(|tensor| tensor % 2 == 1).collect()] {
        let penalties = vec![<_>::default(); spans];
        let (tiles, lanes) =
            tiles(layout, &frozen, &penalties, most_lanes(layout, PRODUCTS.max(OF_PAIR * pairs)));
        let of_lane = tiles.iter().map(|tile| tile.call.len.div_ceil(tile.call.lanes)).max().unwrap_or(0);
        most.lanes = most.lanes.max(with_outer(of_lane as usize));
        let of_sum = levels(lanes).iter().map(|level| level.len.div_ceil(level.left)).max().unwrap_or(0);
        most.sums = most.sums.max(with_outer(of_sum as usize));
    }
    most
}
