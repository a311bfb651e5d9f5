//! How much of a tensor an invocation or a workgroup takes, as in the kernels.

use crate::gpu::MAX_TRIPS;

/// Invocations of a workgroup that joins pieces of values.
pub(crate) const FINISH_LANES: usize = 256;
/// Pieces of a value that one of them joins alone, as in frame/finish.wgsl.
pub(crate) const MOST_ALONE: usize = 128;
/// Invocations that add what tiles have measured of a tensor, and half of what they add at most.
pub(crate) const RATIO_LANES: usize = 256;
pub(crate) const HALF_OF_ADDED: usize = RATIO_LANES * (MAX_TRIPS / 8 * 3);

/// The most vectors of four in a row of a tile, one for each invocation of its workgroup.
pub(crate) const TILE_WIDTH: usize = 256;
