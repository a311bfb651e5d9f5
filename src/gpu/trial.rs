//! Overrides of the kernels selected for a device, for measurements.

/// Overrides for products and convolutions that run as tiles in workgroup memory, and for when kernels are
/// compiled. What is `None` or false stays as selected.
///
/// Only `parts` changes results, because it changes the order of the sums.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The tile size, also where the sizes do not fill a tile.
    pub tile: Option<TileSize>,
    /// Number of parts that each sum of a product is split into. Limited so that parts are multiples of 256
    /// steps and no loop is too long.
    pub parts: Option<u32>,
    /// Run-time checks for kernels that otherwise have none.
    pub checks: Kept,
    /// Whether `compile` leaves kernels uncompiled by drivers that compile at the first run.
    pub is_cold: bool,
}

impl Trial {
    /// No overrides.
    pub(crate) const NONE: Self = Self {
        tile: None,
        parts: None,
        checks: Kept { bounds: false, loops: false, zeroing: false },
        is_cold: false,
    };
}

/// Run-time checks that a kernel keeps, of those that wgpu makes by default.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// Indices are clamped to the bounds of arrays.
    pub bounds: bool,
    /// Iterations of loops are bounded.
    pub loops: bool,
    /// Workgroup memory is zeroed first.
    pub zeroing: bool,
}

/// Tile sizes of products: rows by columns, and invocations of the workgroup.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileSize {
    /// 128 by 128, 256 invocations.
    Large,
    /// 64 by 64, 128 invocations.
    Medium,
    /// 64 by 64, 256 invocations.
    MediumShared,
    /// 32 by 32, 64 invocations.
    Small,
    /// 256 by 32, 256 invocations.
    Tall,
    /// 32 by 256, 256 invocations.
    Wide,
}

impl TileSize {
    /// All tile sizes.
    pub const ALL: [Self; 6] =
        [Self::Large, Self::Medium, Self::MediumShared, Self::Small, Self::Tall, Self::Wide];
}
