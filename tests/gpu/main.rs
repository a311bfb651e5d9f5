//! What needs an adapter. Without one it fails and says how to install a software driver, unless
//! `GRADUS_ALLOW_NO_GPU` is set.

mod checkpoint;
mod common;
mod custom_rule;
mod dropout;
mod embed;
mod example;
mod factored_rules;
#[path = "../shared/folder.rs"]
mod folder;
mod fuse;
mod grad;
mod grad_cost;
mod grad_custom;
mod grad_examples;
mod grad_gate;
mod grad_refusals;
mod grad_riders;
mod grad_scaler;
mod grad_skip;
mod graph;
mod hazards;
mod joined;
mod losses;
mod memory;
mod network;
mod ops;
mod optim;
mod oracle;
mod params;
mod pointwise;
mod pools;
mod reference;
mod refusals;
mod replay;
mod resident;
mod rules;
mod schedules;
mod softmax;
mod state;
mod train;
mod transforms;
