//! The quality of search, against what other libraries reached on the same functions from the same starts.
//!
//! `cargo test --release --test search -- --nocapture` prints the table. `GRADUS_GOLDEN_DIR` names the folder that holds
//! `blackbox.json`; default `tests/golden`.

mod functions;
#[path = "../shared/kernels.rs"]
mod kernels;
mod minimize;
mod population;
mod table;
