//! Atomic file writes, folder locks, and validated reading of safetensors files.

pub(crate) mod record;
pub(crate) mod tensors;

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Extension of a partial file, after the target's name and a number.
const PARTIAL: &str = ".partial";

/// Hexadecimal digits of that number.
const DIGITS: usize = 16;

/// Name of the file that locks a folder.
const LOCK: &str = ".lock";

/// How often to retry after another process removed the file.
const ATTEMPTS: usize = 100;

/// Writes a file atomically: if the process or the machine stops at any time, `path` holds either the old or the
/// complete new content.
///
/// `write` fills a new file `<file name>.<16 hexadecimal digits>.partial` in the same folder. It is synced to disk
/// and renamed; on Unix the folder is synced too. The digits are random, so several writers of one target, in one or
/// several processes, each write a complete file and the last one remains. If `write` fails or panics, or the disk is
/// full, the partial file is removed. [`sweep`] removes partial files left by killed processes. A symbolic link is
/// replaced, not followed.
///
/// ```no_run
/// // Writes a file.
/// gradus::train::files::write_atomic("runs/loss.csv", |file| file.write_all(b"epoch,loss\n"))?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] with the path of the target, also if the target is a device, a pipe or a socket. The old file is
/// then unchanged, unless the reason says that the new file is in place and only its folder could not be synced.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    replace(path, write).map_err(|reason| refused(path, &reason))
}

/// Removes partial files that killed processes left in `folder`, and returns their number.
///
/// Removes only regular files named as by [`write_atomic`] (or by version 0.1: `<target>.partial`) whose `target`, a
/// file name, is accepted by `is_target`. A file that is still being written is kept: its writer holds an OS lock on
/// it, which ends with the process. A file is also kept if the file system has no locks or the file cannot be opened.
/// A missing folder counts as empty.
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

/// Exclusive use of a folder by one run, until this is dropped or its process ends.
///
/// It is an OS lock on the empty file `.lock` in the folder. A run that ends normally removes the file; a killed run
/// leaves it behind, unlocked. On file systems without locks, every run gets a lock.
///
/// ```no_run
/// // Writes a file into the folder.
/// use gradus::train::files::FolderLock;
///
/// let lock = FolderLock::new("run")?; // refused while another program holds it
/// drop(lock); // or when the program ends, however it ends
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the folder is locked for as long as this lives"]
pub struct FolderLock {
    path: PathBuf,
    /// Holds the OS lock, so it is dropped last.
    _file: File,
}

impl FolderLock {
    /// Locks an existing folder.
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
    /// [`Error::Locked`] if another run holds the lock; [`Error::File`] if `.lock` cannot be created or is not a
    /// regular file.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join(LOCK);
        for _ in 0..ATTEMPTS {
            let file = match open_lock(&path) {
                // Another run ended in between and removed the file.
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
            // If another run removed the file between opening and locking it, this lock has no effect.
            if is_at(&file, &path) {
                return Ok(Self { _file: file, path });
            }
        }
        Err(refused(&path, &io::Error::other("it was removed again and again")))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Other systems cannot tell an open file from its successor, so the file is kept there.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the lock file. Refuses a symbolic link, because its target could be anything.
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

/// Whether `path` still refers to this open file.
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

/// Whether this is the name of a partial file of one of the targets.
fn is_partial(name: &str, is_target: impl Fn(&str) -> bool) -> bool {
    let Some(rest) = name.strip_suffix(PARTIAL) else { return false };
    let is_number = |number: &str| {
        number.len() == DIGITS && number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let target = rest.rsplit_once('.').filter(|(_, number)| is_number(number)).map(|(target, _)| target);
    is_target(rest) || target.is_some_and(is_target)
}

/// Removes a partial file unless it is, or could be, in use by its writer. Returns whether it was removed.
fn remove_unheld(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(false);
        }
        file => file?,
    };
    // The lock is held until the file is gone, so that its writer either finds it missing or keeps it.
    if file.try_lock().is_err() {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// A locked file being written. Dropping it removes it, unless it was renamed.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn new(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or_else(|| io::Error::other("it does not name a file"))?;
        for _ in 0..ATTEMPTS {
            // The standard library uses random keys for each `RandomState`.
            let number = RandomState::new().build_hasher().finish();
            let mut name = name.to_owned();
            name.push(format!(".{number:0DIGITS$x}{PARTIAL}"));
            let path = target.with_file_name(name);
            // An existing file or link is neither opened nor followed.
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // On a file system without locks this fails, but then `sweep` removes no file either.
            let _ = file.lock();
            // `sweep` may have removed it before it was locked.
            if is_at(&file, &path) {
                return Ok(Self { path, file });
            }
        }
        Err(io::Error::other("its partial file was removed again and again"))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // If the file cannot be removed, report the original error instead.
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
