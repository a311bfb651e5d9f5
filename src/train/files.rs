//! Files that are whole: each is written beside its place and then renamed to it.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What a file in the making has after its name.
const PARTIAL: &str = ".partial";

/// Writes a file so that, whenever the process or the machine stops, `path` is what it was or all of the new.
///
/// `write` fills `<file name>.partial` beside it, which is synced to the disk and then renamed; on Unix its
/// folder is synced as well. Should `write` fail or panic, or the disk be full, the partial file is removed
/// again. One that a killed process left behind is overwritten by the next call, or removed by [`sweep`].
/// A target has one writer at a time; a link is replaced, not followed.
///
/// ```no_run
/// // Writes a file.
/// gradus::train::files::write_atomic("runs/loss.csv", |file| file.write_all(b"epoch,loss\n"))?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`], with the path of the target. The earlier file is then untouched, except where the
/// reason says that the new one is in place and only its folder could not be synced.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    replace(path, write).map_err(|reason| refused(path, &reason))
}

/// Removes the partial files that killed processes left in `folder`, and returns how many.
///
/// Only a regular file called `<target>.partial` goes, for a `target` (its file name alone) that `is_target`
/// takes. A folder that does not exist has none. Nobody may be writing these targets meanwhile.
///
/// # Errors
/// [`Error::File`] for a folder that cannot be read or a file that cannot be removed.
pub fn sweep(folder: impl AsRef<Path>, is_target: impl Fn(&str) -> bool) -> Result<usize, Error> {
    let folder = folder.as_ref();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|reason| refused(folder, &reason))?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(|reason| refused(folder, &reason))?;
        let name = entry.file_name();
        let is_ours = name.to_str().and_then(|name| name.strip_suffix(PARTIAL)).is_some_and(&is_target);
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path()).map_err(|reason| refused(&entry.path(), &reason))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn refused(path: &Path, reason: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// Removes a partial file, unless it was renamed before.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // There is nothing to do about a file that stays, and the first error matters more.
        let _ = fs::remove_file(&self.0);
    }
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().ok_or_else(|| io::Error::other("it does not name a file"))?.to_owned();
    name.push(PARTIAL);
    // Before `file`, so that it is dropped after it: an open file cannot be removed everywhere.
    let partial = Partial(path.with_file_name(name));
    let mut file = BufWriter::new(File::create(&partial.0)?);
    write(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    drop(file);
    fs::rename(&partial.0, path)?;
    sync_folder(path)
        .map_err(|e| io::Error::new(e.kind(), format!("in place, but its folder could not be synced: {e}")))
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
