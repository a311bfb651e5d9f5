//! A step in five phases: poll, describe, prepare, encode and commit. Its `StepSpec` holds what belongs to the step,
//! the `StepLedger` what outlives it.

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
