//! Output and exit of an example.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Prints a line. Returns an error where `println!` would panic, for example if the reader of a pipe has exited.
pub(crate) fn say(line: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

/// Ends the program. An error is printed as one line, with exit code 1.
pub(crate) fn exit(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
