//! The folder of a comparison: its settings, and a pair of files for each finished run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use gradus::Error;
use gradus::train::files::{self, FolderLock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contender::Contender;
use super::problem::Problem;
use super::record::{Record, Times};
use super::settings::Whole;

const SETTINGS: &str = "compare.json";
const RUNS: &str = "runs";
const WRITTEN: [&str; 5] = [SETTINGS, "results.csv", "steps.csv", "times.csv", "compare.svg"];

pub(crate) struct Folder {
    path: PathBuf,
    _lock: FolderLock,
}

impl Folder {
    /// The settings of the runs in a folder, if there are any.
    pub(crate) fn saved(path: &Path) -> Result<Option<Whole>> {
        read(&path.join(SETTINGS)).with_context(|| format!("--out {}", path.display()))
    }

    /// Creates the folder if needed, checks that it is writable and not in use, and removes leftovers of killed programs.
    pub(crate) fn open(path: &Path, whole: &Whole) -> Result<Self> {
        let name = || format!("--out {} must be a folder that can be written", path.display());
        fs::create_dir_all(path.join(RUNS)).with_context(name)?;
        let lock = match FolderLock::new(path) {
            Err(error @ Error::Locked { .. }) => return Err(error.into()),
            lock => lock.with_context(name)?,
        };
        files::sweep(path, |target| WRITTEN.contains(&target))?;
        files::sweep(path.join(RUNS), |target| target.ends_with(".json"))?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        match Self::saved(path)? {
            // Another program may have begun in the meantime.
            Some(saved) => whole.check(&saved).with_context(|| format!("--out {}", path.display()))?,
            None => folder.write(SETTINGS, &json(whole)?)?,
        }
        Ok(folder)
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(files::write_atomic(self.path.join(name), |file| file.write_all(text.as_bytes()))?)
    }

    /// Keeps a finished run: its times first, so that a run that is there has them.
    pub(crate) fn keep(
        &self,
        contender: &Contender,
        seed: u64,
        (record, times): &(Record, Times),
    ) -> Result<()> {
        let [of_record, of_times] = names(contender, seed);
        self.write(&of_times, &json(times)?)?;
        self.write(&of_record, &json(record)?)
    }

    /// A run, if it is finished.
    pub(crate) fn read(
        &self,
        problem: &Problem,
        contender: &Contender,
        seed: u64,
    ) -> Result<Option<(Record, Times)>> {
        let [of_record, of_times] = names(contender, seed).map(|name| self.path.join(name));
        let (Some(record), Some(times)) = (read::<Record>(&of_record)?, read::<Times>(&of_times)?) else {
            return Ok(None);
        };
        let is_whole = record.is_whole(problem.epochs, problem.steps_per_epoch());
        ensure!(
            is_whole && record.seed == seed,
            "{}: it is not a whole run of this comparison: remove it, and it is run anew",
            of_record.display()
        );
        Ok(Some((record, times)))
    }
}

/// The files of a run and of its times.
fn names(contender: &Contender, seed: u64) -> [String; 2] {
    let stem = contender.stem();
    [".json", ".times.json"].map(|end| format!("{RUNS}/{stem}-seed-{seed}{end}"))
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

/// Reads a file that may be missing.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("{}: {error}", path.display()),
        Ok(text) => text,
    };
    let place = || format!("{}: gradus compare did not write this: remove it", path.display());
    serde_json::from_str(&text).map(Some).with_context(place)
}
