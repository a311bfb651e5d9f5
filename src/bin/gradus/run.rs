//! `gradus run`: trains what a TOML or JSON file describes.

mod checks;
mod earlier;
mod goal;
mod loss;
mod outputs;
mod settings;
mod train;

use std::fmt::Arguments;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use gradus::train::files::{self, FolderLock};
use gradus::{Error, Gpu};
use serde_json::{Value, json};

use crate::data::Sets;
use crate::document::{Document, child};
use earlier::Identity;
use loss::Loss;
use settings::Settings;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The run: a file whose name ends in .toml or .json. Files that it names are relative to its folder.
    file: PathBuf,
    /// Folder for everything that the run leaves: run.json by which it can be repeated, checkpoints, history.csv, event
    /// files, report.svg, model.safetensors.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Goes on from the last checkpoint in --out, bit for bit. Without one, begins.
    #[arg(long)]
    resume: bool,
}

/// Trains to the end of the last epoch, and prints what was reached.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut settings = Settings::read(&args.file, &args.out)?;
    if !args.resume {
        earlier::refuse_to_replace(&settings, &args.out)?;
    }
    let sets = settings.source.read().map_err(|error| of_data(&settings.document, &error))?;
    let loss = Loss::from_json(settings.document.json().get("loss"), matches!(sets, Sets::Labels { .. }));
    let (loss, complete) = loss.map_err(|error| settings.document.refuse("loss", &error))?;
    settings.complete.insert("loss".into(), complete);
    let identity = Identity::new(&settings.complete, &sets);
    let checkpoint = if args.resume { earlier::checkpoint(&settings, &identity, &args.out)? } else { None };
    let place = Place { out: args.out.clone(), checkpoint, identity };
    let count = sets.outputs();
    match &sets {
        Sets::Labels { train, test } => train::train(settings, &place, &loss, (train, test), count),
        Sets::Numbers { train, test } => train::train(settings, &place, &loss, (train, test), count),
    }
}

/// Where the files of a run are, and where it goes on.
struct Place {
    out: PathBuf,
    checkpoint: Option<gradus::train::Checkpoint>,
    identity: Identity,
}

impl Place {
    /// Locks the folder, clears what a killed run has left, and says in it what the run is.
    fn open(&self, settings: &Settings, gpu: &Gpu) -> Result<FolderLock> {
        let refuse = |error: std::io::Error| Error::File {
            path: self.out.display().to_string(),
            reason: error.to_string(),
        };
        std::fs::create_dir_all(&self.out).map_err(refuse)?;
        let lock = FolderLock::new(&self.out)?;
        files::sweep(&self.out, |target| outputs::OWN.contains(&target))?;
        let info = gpu.info();
        let about = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "adapter": {
                "name": info.name,
                "backend": format!("{:?}", info.backend),
                "driver": info.driver,
                "driver_info": info.driver_info,
            },
            "data": self.identity.data,
        });
        let mut run = Value::from(settings.complete.clone());
        for path in data_paths(&settings.document) {
            let absolute = std::path::absolute(settings.document.folder().join(path.1))?;
            run["data"][path.0] = absolute.to_string_lossy().into();
        }
        self.compare_about(&about)?;
        for (name, json) in [(outputs::RUN, &run), (outputs::ABOUT, &about)] {
            let text = serde_json::to_string_pretty(json)? + "\n";
            self.write(name, &text)?;
        }
        Ok(lock)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        files::write_atomic(self.out.join(name), |file| file.write_all(text.as_bytes()))
    }

    /// Says if a run goes on by another version or on another adapter, whose results may differ in the last bits.
    fn compare_about(&self, ours: &Value) -> Result<()> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        let earlier = std::fs::read(self.out.join(outputs::ABOUT)).ok();
        let theirs: Option<Value> = earlier.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        for key in ["version", "adapter"] {
            if let Some(theirs) = theirs.as_ref().filter(|theirs| theirs[key] != ours[key]) {
                let (theirs, ours) = (&theirs[key], &ours[key]);
                say(format_args!(
                    "its {key} was {theirs} and is {ours} now: the last bits may differ from here on"
                ))?;
            }
        }
        say(format_args!("going on after step {}", checkpoint.step))
    }
}

/// The keys of the data that name files, with what they name.
fn data_paths(document: &Document) -> Vec<(&'static str, PathBuf)> {
    let data = &document.json()["data"];
    let path = |key: &'static str| Some((key, PathBuf::from(data.get(key)?.as_str()?)));
    // A test array or a split is no file.
    ["path", "test", "folder"].into_iter().filter_map(path).collect()
}

/// The error with the line that named the file, or of the data.
fn of_data(document: &Document, error: &Error) -> Error {
    if let Error::File { path, .. } = error {
        let named = |named: &&(&str, PathBuf)| Path::new(path).starts_with(document.folder().join(&named.1));
        if let Some((key, _)) = data_paths(document).iter().find(named) {
            return document.wrong(&child("data", key), &error.to_string());
        }
    }
    document.refuse("data", error)
}

/// Prints a line. Not `println!`, which panics if the reader of a pipe has exited.
fn say(line: Arguments<'_>) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
