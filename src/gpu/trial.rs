//! What kernels for GPUs can be given instead of what is chosen for the device, to measure it.

/// Tile, parts and checks of products and convolutions in tiles of workgroup memory. Nothing that is not given changes.
///
/// None of it changes a bit but `parts`, which is another order of the same sum.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The tile, also where sizes do not fill it.
    pub tile: Option<TileSize>,
    /// Parts that the sums of a product are split into, as far as parts are multiples of 256 steps and no chain is too long.
    pub parts: Option<u32>,
    /// What is checked in kernels that run without checks otherwise.
    pub checks: Kept,
}

impl Trial {
    /// What is chosen for the device.
    pub(crate) const NONE: Self =
        Self { tile: None, parts: None, checks: Kept { bounds: false, loops: false, zeroing: false } };
}

/// Checks that a kernel keeps: a part of what wgpu does by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// Indices are held to the ends of arrays.
    pub bounds: bool,
    /// Iterations of loops are counted.
    pub loops: bool,
    /// Workgroup memory is set to zero in front.
    pub zeroing: bool,
}

/// The tiles of products, rows by columns.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileSize {
    /// 128 by 128, of 256 invocations.
    Large,
    /// 64 by 64, of 128 invocations.
    Medium,
    /// 64 by 64, of 256 invocations.
    MediumShared,
    /// 32 by 32, of 64 invocations.
    Small,
    /// 256 by 32, of 256 invocations.
    Tall,
    /// 32 by 256, of 256 invocations.
    Wide,
}

impl TileSize {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Large, Self::Medium, Self::MediumShared, Self::Small, Self::Tall, Self::Wide];
}
