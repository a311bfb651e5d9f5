//! Several runs, each in its own folder.

use crate::folder::MODEL;
use crate::options::Options;

/// Help text of `--resume` for several runs.
pub(crate) const RESUME: &str =
    "Goes on from the runs in this folder, bit for bit, with their options; what is not there starts afresh";

/// Help text of `--out` for several runs.
pub(crate) const OUT: &str = "Folder for a folder of each run, with model.safetensors, history.csv and report.svg; an \
                              earlier run's are replaced";

/// The options of the run `name`: uses the subfolder with this name of `--out` and `--resume`.
pub(crate) fn within(options: &Options, name: &str) -> Options {
    Options {
        out: options.out.as_ref().map(|folder| folder.join(name)),
        resume: options.resume.as_ref().map(|folder| folder.join(name).join(MODEL)),
        ..options.clone()
    }
}
