//! Runs that are kept beside each other, each in a folder of its own.

use crate::folder::MODEL;
use crate::options::Options;

/// What `--resume` takes where there are several runs.
pub(crate) const RESUME: &str =
    "Goes on from the runs in this folder, bit for bit, with their options; what is not there starts afresh";

/// What `--out` takes where there are several runs.
pub(crate) const OUT: &str = "Folder for a folder of each run, with model.safetensors, history.csv and report.svg; an \
                              earlier run's are replaced";

/// The options of the run `name`: the folder of this name in those of `--out` and `--resume`.
pub(crate) fn within(options: &Options, name: &str) -> Options {
    Options {
        out: options.out.as_ref().map(|folder| folder.join(name)),
        resume: options.resume.as_ref().map(|folder| folder.join(name).join(MODEL)),
        ..options.clone()
    }
}
