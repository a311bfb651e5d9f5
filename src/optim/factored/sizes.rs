//! Elements for each invocation and workgroup, as in the kernels.

use crate::gpu::MAX_TRIPS;

/// Workgroup size of the kernel that joins pieces.
pub(crate) const FINISH_LANES: usize = 256;
/// Maximum number of pieces of a value that one invocation joins alone, as in frame/finish.wgsl.
pub(crate) const MOST_ALONE: usize = 128;
/// Invocations that add what tiles have measured of a tensor, and half of what they add at most.
pub(crate) const RATIO_LANES: usize = 256;
pub(crate) const HALF_OF_ADDED: usize = RATIO_LANES * (MAX_TRIPS / 8 * 3);

/// Maximum width of a tile in vectors of four: one for each invocation of its workgroup.
pub(crate) const TILE_WIDTH: usize = 256;
