//! Layers, initialisers and losses: thin builders of graph nodes, with torch's names and defaults.

mod layers;
mod listing;
mod losses;

pub use crate::graph::Init;
pub use layers::{Conv2d, Linear, MaxPool2d, Pair};
pub(crate) use listing::kernel_listings;
