//! The folder of a run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gradus::Error;
use gradus::train::Checkpoint;
use gradus::train::files::{self, FolderLock};

pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const HISTORY: &str = "history.csv";
pub(crate) const REPORT: &str = "report.svg";

/// The folder of a run: writable, and not in use by another run.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: FolderLock,
}

impl Folder {
    /// Creates the folder if needed, checks that it is writable and not in use, and removes leftovers of killed runs.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = || format!("--out {} must be a folder that can be written", path.display());
        fs::create_dir_all(path).with_context(name)?;
        let lock = match FolderLock::new(path) {
            Err(error @ Error::Locked { .. }) => return Err(error.into()),
            lock => lock.with_context(name)?,
        };
        files::sweep(path, |target| [MODEL, HISTORY, REPORT].contains(&target))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(files::write_atomic(self.path.join(name), |file| file.write_all(text.as_bytes()))?)
    }

    pub(crate) fn write_model(&self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.write(self.path.join(MODEL)).context("not saved, what was saved before stays")
    }
}
