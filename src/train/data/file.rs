use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;

/// An [`Error::File`].
pub(super) fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.into() }
}

/// The bytes of a file, unpacked if its name ends in `.gz`.
#[cfg(feature = "csv")]
pub(super) fn unpacked(path: &Path) -> Result<Box<dyn Read + Send + Sync>, Error> {
    let file = File::open(path).map_err(|e| refuse(path, e.to_string()))?;
    unpacking(path, file)
}

fn unpacking(path: &Path, file: File) -> Result<Box<dyn Read + Send + Sync>, Error> {
    let file = BufReader::new(file);
    if is_gzip(path) { gzip::unpacked(path, file) } else { Ok(Box::new(file)) }
}

/// The bytes of a deflate stream, which is a part of the file `path`.
pub(super) fn inflated(
    path: &Path,
    packed: impl io::BufRead + Send + Sync + 'static,
) -> Result<Box<dyn Read + Send + Sync>, Error> {
    gzip::inflated(path, packed)
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// Maximum number of unpacked bytes for each deflated byte: a match of 258 bytes takes at least two bits.
pub(super) const MOST_PACKED: u64 = 1032;

/// Size of the first read in bytes; each later read at most doubles the total.
const FIRST_READ: usize = 1 << 16;

/// Reads a file field by field; files whose names end in `.gz` are unpacked.
///
/// Memory is allocated as bytes arrive, never more than a field needs, so a header cannot claim more than the file
/// holds.
pub(super) struct Reader {
    path: PathBuf,
    source: Box<dyn Read + Send + Sync>,
    /// Number of bytes left; for a packed file, an upper bound. `None` if it is not a regular file.
    left: Option<u64>,
    packed: bool,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| refuse(path, e.to_string()))?;
        let metadata = file.metadata().map_err(|e| refuse(path, e.to_string()))?;
        let length = metadata.is_file().then_some(metadata.len());
        let packed = is_gzip(path);
        let left = if packed { length.map(|len| len.saturating_mul(MOST_PACKED)) } else { length };
        Ok(Self { path: path.to_owned(), source: unpacking(path, file)?, left, packed })
    }

    /// Reads a part of a file that has `length` bytes unpacked. Errors call it `path`.
    pub(super) fn of(path: PathBuf, source: Box<dyn Read + Send + Sync>, length: u64) -> Self {
        Self { path, source, left: Some(length), packed: false }
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        refuse(&self.path, reason)
    }

    /// Reads the `size` bytes of `field`.
    pub(super) fn bytes(&mut self, field: &str, size: usize) -> Result<Vec<u8>, Error> {
        if let Some(left) = self.left
            && size as u64 > left
        {
            return Err(self.refuse(match self.packed {
                true => format!("{field}: truncated, a file of this length cannot hold {size} bytes"),
                false => format!("{field}: truncated, {left} of {size} bytes"),
            }));
        }
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let part = (size - bytes.len()).min(bytes.len().max(FIRST_READ));
            if bytes.try_reserve_exact(part).is_err() {
                return Err(self.refuse(format!("{field}: there is no memory for {size} bytes")));
            }
            let read = self.source.by_ref().take(part as u64).read_to_end(&mut bytes);
            let read = read.map_err(|e| self.refuse(format!("{field}: {e}")))?;
            if read == 0 {
                return Err(self.refuse(format!("{field}: truncated, {} of {size} bytes", bytes.len())));
            }
        }
        self.left = self.left.map(|left| left - size as u64);
        Ok(bytes)
    }

    /// Reads the `size` bytes of `field`, which must be the last ones of the file.
    pub(super) fn last(&mut self, field: &str, size: usize) -> Result<Vec<u8>, Error> {
        let behind = || format!("has extra bytes after the {field}");
        if !self.packed && self.left.is_some_and(|left| left > size as u64) {
            return Err(self.refuse(behind()));
        }
        let bytes = self.bytes(field, size)?;
        let read = self.source.read(&mut [0]);
        match read {
            Ok(0) => Ok(bytes),
            Ok(_) => Err(self.refuse(behind())),
            Err(e) => Err(self.refuse(format!("damaged, or has extra bytes, after the {field}: {e}"))),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(field, N)?;
        Ok(std::array::from_fn(|at| bytes[at]))
    }
}

/// Writes a file with [`files::write_atomic`]. Files whose names end in `.gz` are packed, equal contents to equal
/// bytes.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    gzip::check(path)?;
    files::write_atomic(path, |file| match is_gzip(path) {
        false => fill(file),
        true => gzip::pack(file, fill),
    })
}

#[cfg(feature = "gzip")]
mod gzip {
    use flate2::Compression;
    use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
    use flate2::write::GzEncoder;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as without the feature")]
    pub(super) fn check(_path: &Path) -> Result<(), Error> {
        Ok(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as without the feature")]
    pub(super) fn unpacked(
        _path: &Path,
        file: BufReader<File>,
    ) -> Result<Box<dyn Read + Send + Sync>, Error> {
        Ok(Box::new(MultiGzDecoder::new(file)))
    }

    #[expect(clippy::unnecessary_wraps, reason = "as without the feature")]
    pub(super) fn inflated(
        _path: &Path,
        packed: impl io::BufRead + Send + Sync + 'static,
    ) -> Result<Box<dyn Read + Send + Sync>, Error> {
        Ok(Box::new(DeflateDecoder::new(packed)))
    }

    pub(super) fn pack(
        file: &mut dyn Write,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut encoder = GzEncoder::new(file, Compression::default());
        fill(&mut encoder)?;
        encoder.finish().map(drop)
    }
}

#[cfg(not(feature = "gzip"))]
mod gzip {
    use super::*;

    pub(super) fn check(path: &Path) -> Result<(), Error> {
        match is_gzip(path) {
            true => Err(refuse(path, "packed with gzip, which needs the feature `gzip`")),
            false => Ok(()),
        }
    }

    pub(super) fn unpacked(path: &Path, file: BufReader<File>) -> Result<Box<dyn Read + Send + Sync>, Error> {
        check(path)?;
        Ok(Box::new(file))
    }

    pub(super) fn inflated(
        path: &Path,
        _packed: impl io::BufRead + Send + Sync + 'static,
    ) -> Result<Box<dyn Read + Send + Sync>, Error> {
        Err(refuse(path, "packed with deflate, which needs the feature `gzip`"))
    }

    /// Not called: [`check`] has refused.
    pub(super) fn pack(
        file: &mut dyn Write,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        fill(file)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Bytes without an end, counted.
    struct Endless(Arc<AtomicU64>);

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            bytes.fill(7);
            self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes.len())
        }
    }

    fn endless(left: Option<u64>, packed: bool) -> (Reader, Arc<AtomicU64>) {
        let pulled = Arc::new(AtomicU64::new(0));
        let source = Box::new(Endless(pulled.clone()));
        (Reader { path: "x".into(), source, left, packed }, pulled)
    }

    #[test]
    fn a_field_takes_no_more_than_its_size_and_one_byte_tells_whether_the_file_ends() {
        for size in [0, 1, FIRST_READ - 1, FIRST_READ, FIRST_READ + 1, 1_000_003] {
            for (left, packed) in [(None, false), (None, true), (Some(u64::MAX), true)] {
                let (mut reader, pulled) = endless(left, packed);
                let bytes = reader.bytes("field", size).unwrap();
                assert_eq!((bytes.len(), pulled.load(Ordering::Relaxed)), (size, size as u64));
                assert_eq!(bytes.capacity(), size);
                let error = reader.last("rest", size).unwrap_err().to_string();
                assert_eq!(error, "x: has extra bytes after the rest");
                assert_eq!(pulled.load(Ordering::Relaxed), 2 * size as u64 + 1);
            }
        }
    }

    #[test]
    fn what_the_length_of_a_file_rules_out_is_refused_before_a_byte_is_read() {
        let rows = [
            (100, false, 101, "x: field: truncated, 100 of 101 bytes"),
            (101, false, 100, "x: has extra bytes after the field"),
            (100, true, 101, "x: field: truncated, a file of this length cannot hold 101 bytes"),
            (1 << 40, false, usize::MAX, "x: field: truncated, 1099511627776 of 18446744073709551615 bytes"),
        ];
        for (left, packed, size, message) in rows {
            let (mut reader, pulled) = endless(Some(left), packed);
            assert_eq!(reader.last("field", size).unwrap_err().to_string(), message);
            assert_eq!(pulled.load(Ordering::Relaxed), 0);
        }
    }
}
