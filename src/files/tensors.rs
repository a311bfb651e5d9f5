//! Reads safetensors files, checking their size against the header.
//!
//! Source: <https://github.com/huggingface/safetensors>.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Display};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, SafeTensors, TensorView};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// Maximum size of a safetensors header, in bytes.
pub(crate) const MOST_HEADER: u64 = 100_000_000;

/// Size of the header's length field, which precedes the header.
const LENGTH: usize = size_of::<u64>();

/// The tensors of a file by name.
pub(crate) type Views<'a> = BTreeMap<String, TensorView<'a>>;

/// Contents of a safetensors file.
#[derive(Debug)]
pub(crate) struct TensorFile<'a> {
    pub(crate) tensors: Views<'a>,
    pub(crate) metadata: HashMap<String, String>,
}

impl<'a> TensorFile<'a> {
    /// Parses the bytes of a complete file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let (length, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        serde_json::from_slice::<Names>(&bytes[LENGTH..LENGTH + length]).map_err(broken)?;
        let file = SafeTensors::deserialize(bytes).map_err(broken)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { tensors: file.tensors().into_iter().collect(), metadata })
    }
}

/// Checks that the names in a JSON object are unique. Parsers silently keep one of two equal names.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<Option<Names>>()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                    if let Some(name) = seen.replace(name) {
                        return Err(A::Error::custom(format_args!("two entries are called {name:?}")));
                    }
                }
                Ok(Names)
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// All bytes of a file whose length matches its header, if `check` accepts its metadata.
pub(crate) fn read(
    path: &Path,
    check: impl FnOnce(Option<&HashMap<String, String>>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    read_from(&mut file, metadata.is_file().then_some(metadata.len()), check)
}

/// Like [`read`], from a source that is said to have `length` bytes.
fn read_from(
    source: &mut impl Read,
    length: Option<u64>,
    check: impl FnOnce(Option<&HashMap<String, String>>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
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
    check(header.metadata().as_ref())?;
    // Reads one byte more than expected, to detect trailing bytes.
    pull(source, (whole - begin).saturating_add(1), &mut bytes)?;
    Ok(bytes)
}

/// Appends at most `size` bytes. Allocates only as bytes arrive.
fn pull(source: &mut impl Read, size: u64, bytes: &mut Vec<u8>) -> Result<(), String> {
    source.take(size).read_to_end(bytes).map(drop).map_err(|e| e.to_string())
}

pub(crate) fn broken(error: impl Display) -> String {
    format!("it is not a whole safetensors file: {error}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A header followed by endless zeros. Counts the bytes read.
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

    /// The check for checkpoints.
    fn checked(metadata: Option<&HashMap<String, String>>) -> Result<(), String> {
        metadata.filter(|metadata| metadata.contains_key("gradus")).map(drop).ok_or("there is no key".into())
    }

    fn pulled(header: &str, length: Option<u64>) -> (String, usize) {
        let head = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let mut source = Endless { head, pulled: 0 };
        let said = read_from(&mut source, length, checked).map(|bytes| format!("{} bytes", bytes.len()));
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
        assert_eq!(said, "there is no key");
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
            assert_eq!(read_from(&mut source, None, checked).unwrap_err(), format!("{whole} {reason}"));
            assert_eq!(source.pulled, 8);
        }
        let zeros = &mut Endless { head: Vec::new(), pulled: 0 };
        assert!(read_from(zeros, None, checked).unwrap_err().starts_with(whole));
        assert_eq!(zeros.pulled, 8);
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let file = |header: &str| {
            let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
            TensorFile::parse(&bytes).map(|file| file.tensors.len())
        };
        let w = r#""w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
        assert_eq!(file(&format!("{{{w}}}")), Ok(1));
        for (header, name) in [
            (format!("{{{w},{w}}}"), "w"),
            (format!(r#"{{{w},"\u0077":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#), "w"),
            (format!(r#"{{"__metadata__":{{"gradus":"a","gradus":"b"}},{w}}}"#), "gradus"),
        ] {
            let said = file(&header).unwrap_err();
            let want = format!("it is not a whole safetensors file: two entries are called {name:?}");
            assert!(said.starts_with(&want), "{said}");
        }
        assert_eq!(file(&format!(r#"{{"__metadata__":null,{w}}}"#)), Ok(1));
    }
}
