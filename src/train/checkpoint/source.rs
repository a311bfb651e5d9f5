//! The bytes of a checkpoint, read no further than its header can be believed.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::Metadata;

/// The one metadata key of a checkpoint.
pub(super) const KEY: &str = "gradus";

/// As many bytes as a header of safetensors may have.
pub(super) const MOST_HEADER: u64 = 100_000_000;

/// Where the header begins, behind its length.
const LENGTH: usize = size_of::<u64>();

/// All bytes of a safetensors file with the key of a checkpoint, whose length is what its header says.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    read_from(&mut file, metadata.is_file().then_some(metadata.len()))
}

/// As [`read`], from a source of `length` bytes, or of as many as it has.
fn read_from(source: &mut impl Read, length: Option<u64>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    pull(source, LENGTH as u64, &mut bytes)?;
    let said: [u8; LENGTH] =
        bytes.as_slice().try_into().map_err(|_| broken(SafeTensorError::HeaderTooSmall))?;
    let said = u64::from_le_bytes(said);
    if said > MOST_HEADER {
        return Err(broken(SafeTensorError::HeaderTooLarge));
    }
    let begin = LENGTH as u64 + said;
    if length.is_some_and(|length| length < begin) {
        return Err(broken(SafeTensorError::InvalidHeaderLength));
    }
    pull(source, said, &mut bytes)?;
    if (bytes.len() as u64) < begin {
        return Err(broken(SafeTensorError::InvalidHeaderLength));
    }
    let text = std::str::from_utf8(&bytes[LENGTH..]);
    let text = text.map_err(|e| broken(SafeTensorError::InvalidHeader(e)))?;
    let header: Metadata =
        serde_json::from_str(text).map_err(|e| broken(SafeTensorError::InvalidHeaderDeserialization(e)))?;
    let whole = begin.saturating_add(header.data_len() as u64);
    if length.is_some_and(|length| length != whole) {
        return Err(broken(SafeTensorError::MetadataIncompleteBuffer));
    }
    if header.metadata().as_ref().is_none_or(|metadata| !metadata.contains_key(KEY)) {
        return Err(no_key());
    }
    // One byte more than there should be tells whether there are more.
    pull(source, (whole - begin).saturating_add(1), &mut bytes)?;
    Ok(bytes)
}

/// Appends at most `size` bytes. Memory is taken as they come.
fn pull(source: &mut impl Read, size: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    source.take(size).read_to_end(bytes).map(drop).map_err(|e| e.to_string())
}

pub(super) fn broken(error: impl Display) -> String {
    format!("it is not a whole safetensors file: {error}")
}

pub(super) fn no_key() -> String {
    format!("it is not a checkpoint: there is no metadata key {KEY:?}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A head and zeros without an end; it counts what is pulled.
    struct Endless {
        head: Vec<u8>,
        pulled: usize,
    }

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            for byte in bytes.iter_mut() {
                *byte = self.head.get(self.pulled).copied().unwrap_or(0);
                self.pulled += 1;
            }
            Ok(bytes.len())
        }
    }

    fn pulled(header: &str, length: Option<u64>) -> (String, usize) {
        let head = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let mut source = Endless { head, pulled: 0 };
        let said = read_from(&mut source, length).map(|bytes| format!("{} bytes", bytes.len()));
        (said.unwrap_or_else(|reason| reason), source.pulled)
    }

    #[test]
    fn no_more_is_read_than_a_header_that_is_believed_says() {
        let whole = "it is not a whole safetensors file:";
        let tensor = |len: u64, metadata: &str| {
            let shape = len / 4;
            format!(
                r#"{{"__metadata__":{metadata},"w":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,{len}]}}}}"#
            )
        };
        let other = tensor(1 << 40, r#"{"format":"pt"}"#);
        let (said, pulled_of_other) = pulled(&other, None);
        assert_eq!(said, r#"it is not a checkpoint: there is no metadata key "gradus""#);
        assert_eq!(pulled_of_other, 8 + other.len());

        let ours = tensor(400, r#"{"gradus":"{}"}"#);
        let end = (8 + ours.len() + 400) as u64;
        assert_eq!(pulled(&ours, None), (format!("{} bytes", end + 1), 8 + ours.len() + 401));
        for length in [end - 1, end + 1, u64::MAX] {
            let said = format!("{whole} incomplete metadata, file not fully covered");
            assert_eq!(pulled(&ours, Some(length)), (said, 8 + ours.len()), "{length}");
        }
        assert_eq!(pulled(&ours, Some(20)), (format!("{whole} invalid header length"), 8));

        for (size, reason) in [(u64::MAX, "header too large"), (MOST_HEADER + 1, "header too large")] {
            let mut source = Endless { head: size.to_le_bytes().to_vec(), pulled: 0 };
            assert_eq!(read_from(&mut source, None).unwrap_err(), format!("{whole} {reason}"));
            assert_eq!(source.pulled, 8);
        }
        let zeros = &mut Endless { head: Vec::new(), pulled: 0 };
        assert!(read_from(zeros, None).unwrap_err().starts_with(whole));
        assert_eq!(zeros.pulled, 8);
    }
}
