//! How the sum over a window is split if it is too long for one invocation.

use crate::graph::ops::split::{RUN, even_tile, is_long};

/// Rows of a tile of the kernels for CPU adapters at most, which they store in a loop.
const MOST_ROWS: u64 = 16;

/// Parts of the sum over a window: ranges of its rows, its columns and its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowParts {
    pub(super) rows: u32,
    pub(super) columns: u32,
    pub(super) channels: u32,
    pub(super) column_parts: u32,
    pub(super) channel_parts: u32,
    pub(super) count: u32,
}

impl WindowParts {
    /// `terms` is the number of products per iteration, which covers `channels` in steps. A sum that is not `long`
    /// has one part.
    fn new([rows, columns]: [u32; 2], channels: u32, terms: u32, long: bool) -> Self {
        let mut parts = Self { rows, columns, channels, column_parts: 1, channel_parts: 1, count: 1 };
        if long {
            let most = |taken: u32| (RUN / (terms * taken)).max(1);
            parts.channels = even_tile(channels, most(1));
            parts.columns = even_tile(columns, most(parts.channels));
            parts.rows = even_tile(rows, most(parts.channels * parts.columns));
            parts.column_parts = columns.div_ceil(parts.columns);
            parts.channel_parts = channels.div_ceil(parts.channels);
            parts.count = rows.div_ceil(parts.rows) * parts.column_parts * parts.channel_parts;
        }
        parts
    }

    /// For the plain kernels: an iteration covers four channels of the band.
    pub(super) fn plain(kernel: [u32; 2], quads: u32) -> Self {
        let [rows, columns, channels] = [kernel[0], kernel[1], quads].map(u64::from);
        let trips = rows * (1 + columns * (1 + channels));
        Self::new(kernel, quads, 4, is_long(trips, rows * columns * channels * 4))
    }

    /// For the kernels of CPU adapters: an iteration covers a kernel row and two channels.
    pub(super) fn broadcast(kernel: [u32; 2], in_channels: u32) -> Self {
        let pairs = in_channels.div_ceil(2);
        let terms = kernel[1] * in_channels.min(2);
        let [rows, channels] = [kernel[0], pairs].map(u64::from);
        let long = is_long(rows * (1 + channels) + MOST_ROWS, rows * channels * u64::from(terms));
        Self::new([kernel[0], 1], pairs, terms, long)
    }
}
