use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::Error;

/// An [`Error::File`].
pub(super) fn refuse(path: &Path, reason: impl Into<String>) -> Error {
    Error::File { path: path.display().to_string(), reason: reason.into() }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

/// Reads a file field by field; one whose name ends with `.gz` is unpacked.
///
/// Memory is taken as bytes come, so that a header cannot ask for more than the file holds.
pub(super) struct Reader<'a> {
    path: &'a Path,
    source: Box<dyn Read>,
}

impl<'a> Reader<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| refuse(path, e.to_string()))?;
        let file = BufReader::new(file);
        let source: Box<dyn Read> =
            if is_gzip(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { path, source })
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        refuse(self.path, reason)
    }

    /// The `size` bytes of `field`.
    pub(super) fn bytes(&mut self, field: &str, size: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.source
            .by_ref()
            .take(size as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| self.refuse(format!("{field}: {e}")))?;
        if bytes.len() < size {
            return Err(self.refuse(format!("{field}: truncated, {} of {size} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(field, N)?;
        Ok(std::array::from_fn(|at| bytes[at]))
    }

    /// Refuses a file that goes on behind `field`.
    pub(super) fn end(&mut self, field: &str) -> Result<(), Error> {
        let read = self.source.read(&mut [0]);
        match read {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.refuse(format!("goes on behind the {field}"))),
            Err(e) => Err(self.refuse(format!("damaged, or goes on, behind the {field}: {e}"))),
        }
    }
}

/// Writes a file; one whose name ends with `.gz` is packed, always to the same bytes.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let packed = || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    let written = if is_gzip(path) {
        packed().and_then(|packed| std::fs::write(path, packed))
    } else {
        std::fs::write(path, bytes)
    };
    written.map_err(|e| refuse(path, e.to_string()))
}
