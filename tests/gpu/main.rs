//! What needs an adapter. Without one it fails and says how to install a software driver, unless
//! `GRADUS_ALLOW_NO_GPU` is set.

mod common;
mod embed;
mod fuse;
mod graph;
mod hazards;
mod losses;
mod network;
mod ops;
mod optim;
mod oracle;
mod params;
mod pools;
mod reference;
mod state;
mod train;
