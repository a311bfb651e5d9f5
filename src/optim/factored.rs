//! Row and column statistics of factored rules: index maps, tiles and tables.

mod gathering;
pub(crate) mod index_maps;
pub(crate) mod ranges;
pub(crate) mod sizes;
pub(crate) mod statistics;
mod tables;
pub(crate) mod tiles;
