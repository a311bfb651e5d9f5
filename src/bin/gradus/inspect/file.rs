//! A safetensors file, of which no more is in memory than its header and a piece of a tensor.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::values::Summary;

/// Largest header of the format.
const MOST_HEADER: u64 = 100_000_000;
/// Bytes of the length before it.
const LENGTH: usize = 8;
/// Bytes that are read at once: a multiple of each element's size.
const PIECE: usize = 1 << 20;

pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Dtype,
    pub(super) elements: u64,
    /// Its bytes, counted from the end of the header.
    pub(super) start: u64,
    pub(super) end: u64,
}

pub(super) struct Opened {
    file: File,
    begin: u64,
    /// In the order of their names.
    pub(super) tensors: Vec<Tensor>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Opened {
    /// Reads the header and checks that the file has exactly the bytes that it says.
    pub(super) fn new(path: &Path) -> Result<Self, String> {
        let broken = |reason: &dyn std::fmt::Display| format!("it is not a whole safetensors file: {reason}");
        let mut file = File::open(path).map_err(|error| error.to_string())?;
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() {
            return Err("it is no file".into());
        }
        let mut length = [0; LENGTH];
        file.read_exact(&mut length).map_err(|_| broken(&"it is shorter than a header's length"))?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER || LENGTH as u64 + length > found.len() {
            return Err(broken(&format!("a header of {length} bytes in {}", found.len())));
        }
        let mut header = Vec::new();
        (&mut file).take(length).read_to_end(&mut header).map_err(|error| error.to_string())?;
        serde_json::from_slice::<Names>(&header).map_err(|error| broken(&error))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| broken(&error))?;
        let begin = LENGTH as u64 + length;
        let tensors = listed(&header, found.len() - begin).map_err(|reason| broken(&reason))?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { file, begin, tensors, metadata })
    }

    /// Least, mean and largest number of a tensor.
    pub(super) fn summary(&mut self, index: usize) -> Result<Summary, String> {
        let Tensor { dtype, start, end, .. } = self.tensors[index];
        let mut summary = Summary::new(dtype);
        let (mut left, mut piece) = (end - start, vec![0; PIECE]);
        self.file.seek(SeekFrom::Start(self.begin + start)).map_err(|error| error.to_string())?;
        while left > 0 && summary.is_known() {
            let size = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            self.file.read_exact(&mut piece[..size]).map_err(|error| error.to_string())?;
            summary.add(&piece[..size]);
            left -= size as u64;
        }
        Ok(summary)
    }
}

/// The tensors of a header, which was checked: they follow on each other. They must fill the `bytes` behind it.
fn listed(header: &Metadata, bytes: u64) -> Result<Vec<Tensor>, String> {
    if header.data_len() as u64 != bytes {
        return Err(format!("its tensors have {} bytes, {bytes} follow on its header", header.data_len()));
    }
    let tensor = |(name, info): (String, &TensorInfo)| {
        let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let elements = info.shape.iter().map(|extent| *extent as u64).product();
        Tensor { name, shape: info.shape.clone(), dtype: info.dtype, elements, start, end }
    };
    let mut tensors: Vec<Tensor> = header.tensors().into_iter().map(tensor).collect();
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tensors)
}

/// Refuses two entries of one name, of which parsers keep one silently.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
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
