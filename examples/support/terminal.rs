//! What an example says, and how it ends.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Prints a line; an error where `println!` would panic, as when the reader of a pipe has gone.
pub(crate) fn say(line: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

/// Ends the program: with the error in one line and code 1, if there is one.
pub(crate) fn exit(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
