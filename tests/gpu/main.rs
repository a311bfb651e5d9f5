//! What needs an adapter. Without one it fails and says how to install a software driver, unless
//! `GRADUS_ALLOW_NO_GPU` is set.

mod checkpoint;
mod common;
mod custom_rule;
mod dropout;
mod embed;
mod example;
mod folder;
mod fuse;
mod graph;
mod hazards;
mod joined;
mod losses;
mod network;
mod ops;
mod optim;
mod oracle;
mod params;
mod pointwise;
mod pools;
mod reference;
mod refusals;
mod resident;
mod rules;
mod schedules;
mod softmax;
mod state;
mod train;
mod transforms;
