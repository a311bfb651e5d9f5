//! What rules need that keep row and column statistics in place of elements: index maps, tiles and tables.

pub(crate) mod index_maps;
pub(crate) mod sizes;
pub(crate) mod tables;
pub(crate) mod tiles;
