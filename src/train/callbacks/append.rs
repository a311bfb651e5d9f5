//! Files that grow while a run goes on, and are cut back where it resumes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A file that is only appended to.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: File,
    length: Length,
    sum: crc32fast::Hasher,
}

/// How much of a file a checkpoint knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Length {
    bytes: u64,
    crc32: u32,
}

impl AppendFile {
    /// A new file in a folder that is created if needed; replaces an earlier one.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let refuse = |error: std::io::Error| refused(path, error);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(refuse)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(refuse)?;
        let length = Length { bytes: 0, crc32: 0 };
        Ok(Self { path: path.into(), file, length, sum: crc32fast::Hasher::new() })
    }

    /// A file of an interrupted run, cut back to what a checkpoint knows of it.
    pub(super) fn resume(path: &Path, length: Length) -> Result<Self, Error> {
        let refuse = |error: std::io::Error| refused(path, error);
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(refuse)?;
        let mut sum = crc32fast::Hasher::new();
        let (mut left, mut piece) = (length.bytes, vec![0; 1 << 16]);
        while left > 0 {
            let most = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            let read = file.read(&mut piece[..most]).map_err(refuse)?;
            if read == 0 {
                let (has, of) = (length.bytes - left, length.bytes);
                return Err(refused(
                    path,
                    format!("it has {has} bytes, the checkpoint's run had written {of}"),
                ));
            }
            sum.update(&piece[..read]);
            left -= read as u64;
        }
        if sum.clone().finalize() != length.crc32 {
            let reason =
                format!("its first {} bytes are not those that the checkpoint's run wrote", length.bytes);
            return Err(refused(path, reason));
        }
        file.set_len(length.bytes).map_err(refuse)?;
        file.seek(SeekFrom::Start(length.bytes)).map_err(refuse)?;
        Ok(Self { path: path.into(), file, length, sum })
    }

    /// Opens the file of a run that begins, or that resumes where it had written `length`.
    pub(super) fn open(path: &Path, length: Option<Length>) -> Result<Self, Error> {
        length.map_or_else(|| Self::create(path), |length| Self::resume(path, length))
    }

    /// Appends bytes; readers of the file see them at once.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| refused(&self.path, error))?;
        self.sum.update(bytes);
        self.length.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Puts all of it on disk; returns how much that is.
    pub(super) fn sync(&mut self) -> Result<Length, Error> {
        self.file.sync_data().map_err(|error| refused(&self.path, error))?;
        self.length.crc32 = self.sum.clone().finalize();
        Ok(self.length)
    }
}

fn refused(path: &Path, reason: impl ToString) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.to_string() }
}
