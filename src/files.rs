//! Files that are whole: each is written beside its place and then renamed to it. And files of tensors, which are read no
//! further than they can be believed.

pub(crate) mod record;
pub(crate) mod tensors;

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What a file in the making has after its name and its number.
const PARTIAL: &str = ".partial";

/// Hexadecimal digits of that number.
const DIGITS: usize = 16;

/// The file by which a folder is locked.
const LOCK: &str = ".lock";

/// How often a file that was removed in between is made again.
const ATTEMPTS: usize = 100;

/// Writes a file so that, whenever the process or the machine stops, `path` is what it was or all of the new.
///
/// `write` fills `<file name>.<16 hexadecimal digits>.partial` beside it, which is synced to the disk and then
/// renamed; on Unix its folder is synced as well. The digits are drawn for each call and the file is new, so that
/// several writers of one target, in one process or in several, each bring a whole file, and the last one stays.
/// Should `write` fail or panic, or the disk be full, the partial file is removed again. One that a killed process
/// left behind is removed by [`sweep`]. A link is replaced, not followed.
///
/// ```no_run
/// // Writes a file.
/// gradus::train::files::write_atomic("runs/loss.csv", |file| file.write_all(b"epoch,loss\n"))?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`], with the path of the target; also for a device, a pipe or a socket, which a file cannot replace.
/// The earlier file is then untouched, except where the reason says that the new one is in place and only its folder
/// could not be synced.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    replace(path, write).map_err(|reason| refused(path, &reason))
}

/// Removes the partial files that killed processes left in `folder`, and returns how many.
///
/// Only a regular file called as [`write_atomic`] calls them goes, for a `target` (its file name alone) that
/// `is_target` takes; so do those of version 0.1, `<target>.partial`. One that is being written stays: its writer
/// holds a lock of the system on it, which ends with the process. Where the file system has no locks, or the file
/// cannot be opened, it stays too. A folder that does not exist has none.
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
        let is_ours = entry.file_name().to_str().is_some_and(|name| is_partial(name, &is_target));
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            removed += usize::from(remove_unheld(&path).map_err(|reason| refused(&path, &reason))?);
        }
    }
    Ok(removed)
}

/// A folder that one run keeps its files in, until this is dropped or its process ends in any way.
///
/// A lock of the system on the empty file `.lock` in the folder. A run that ends by itself removes the file; one that
/// was killed leaves it, without the lock. On file systems that have no locks every run gets one.
#[derive(Debug)]
#[must_use = "the folder is locked for as long as this lives"]
pub struct FolderLock {
    path: PathBuf,
    /// It holds the lock, so it is dropped last.
    _file: File,
}

impl FolderLock {
    /// Locks a folder that exists.
    ///
    /// ```no_run
    /// // Writes a file.
    /// use gradus::train::files::FolderLock;
    ///
    /// let lock = FolderLock::new("runs/first")?;
    /// assert!(FolderLock::new("runs/first").is_err());
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] if another one is held; [`Error::File`] if `.lock` cannot be made or is not a file.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join(LOCK);
        for _ in 0..ATTEMPTS {
            let file = match open_lock(&path) {
                // Another run has ended in between.
                Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => continue,
                file => file.map_err(|reason| refused(&path, &reason))?,
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked { folder: folder.display().to_string() });
                }
                Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                    return Err(refused(&path, &error));
                }
                _ => {}
            }
            // Else another run has removed the file between its opening and its locking, and the lock locks nothing.
            if is_at(&file, &path) {
                return Ok(Self { _file: file, path });
            }
        }
        Err(refused(&path, &io::Error::other("it was removed again and again")))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Elsewhere a file that somebody has opened cannot be told from its successor, so it stays.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file to lock; a link is refused, because what it points to may be anything.
fn open_lock(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        file => return file,
    }
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is in the way: it must be a file"));
    }
    OpenOptions::new().write(true).open(path)
}

/// Whether `path` still names the file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|found| (found.dev(), found.ino()));
    let theirs = id(fs::symlink_metadata(path));
    theirs.is_some() && theirs == id(file.metadata())
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn refused(path: &Path, reason: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// Whether a partial file of this name belongs to one of the targets.
fn is_partial(name: &str, is_target: impl Fn(&str) -> bool) -> bool {
    let Some(rest) = name.strip_suffix(PARTIAL) else { return false };
    let is_number = |number: &str| {
        number.len() == DIGITS && number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let target = rest.rsplit_once('.').filter(|(_, number)| is_number(number)).map(|(target, _)| target);
    is_target(rest) || target.is_some_and(is_target)
}

/// Removes a partial file unless it is, or may be, being written; whether it was removed.
fn remove_unheld(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(false);
        }
        file => file?,
    };
    // Held until it is gone, so that its writer either finds it gone or keeps it.
    if file.try_lock().is_err() {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// A file in the making, locked; removed unless it was renamed before.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn new(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it does not name a file"))?;
        for _ in 0..ATTEMPTS {
            // Keys that the standard library draws anew for each call.
            let number = RandomState::new().build_hasher().finish();
            let mut name = name.to_owned();
            name.push(format!(".{number:0DIGITS$x}{PARTIAL}"));
            let path = target.with_file_name(name);
            // A file or a link that is there already is neither opened nor followed.
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Without locks on this file system no sweep takes it either.
            let _ = file.lock();
            // A sweep may have come before the lock.
            if is_at(&file, &path) {
                return Ok(Self { path, file });
            }
        }
        Err(io::Error::other("its partial file was removed again and again"))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // There is nothing to do about a file that stays, and the first error matters more.
        let _ = fs::remove_file(&self.path);
    }
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(io::Error::other("it is a device, a pipe or a socket, which a file cannot replace"));
    }
    let partial = Partial::new(path)?;
    let mut file = BufWriter::new(&partial.file);
    write(&mut file)?;
    file.flush()?;
    drop(file);
    partial.file.sync_all()?;
    fs::rename(&partial.path, path)?;
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
