//! One step, in five phases: poll, describe, prepare, encode and commit. What it knows travels in its `StepSpec`; what
//! outlives it is in the `StepLedger`.

mod buffers;
pub(crate) mod commit;
pub(crate) mod counters;
pub(crate) mod describe;
pub(crate) mod encode;
pub(crate) mod inputs;
pub(crate) mod ledger;
pub(crate) mod poll;
pub(crate) mod prepare;
mod resets;
pub(crate) mod results;
pub(crate) mod segments;
pub(crate) mod spec;
