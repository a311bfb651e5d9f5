//! The record of a checkpoint: JSON stored under a metadata key. It starts with a checksum of the rest of the record
//! and of all tensors.

use std::collections::HashMap;

use serde_json::Value;

use super::tensors::{TensorFile, Views};

/// The only metadata key of a checkpoint.
pub(crate) const KEY: &str = "gradus";

/// The format version that this crate reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// Start of the record, followed by its checksum.
const PREFIX: &str = r#"{"checksum":""#;

/// The metadata text for a JSON record and the tensors of its file.
pub(crate) fn seal(record: &str, tensors: &Views<'_>) -> String {
    let rest = record.strip_prefix('{').expect("a record is an object");
    format!("{PREFIX}{:08x}\",{rest}", checksum(rest, tensors))
}

/// The JSON record without its checksum, which must match the record and the tensors.
pub(crate) fn unseal(file: &TensorFile<'_>) -> Result<String, String> {
    let text = file.metadata.get(KEY).ok_or_else(no_key)?;
    let changed = || "it was changed since it was written: its checksum does not fit".to_owned();
    let (sum, rest) =
        text.strip_prefix(PREFIX).and_then(|rest| rest.split_once("\",")).ok_or_else(changed)?;
    if sum != format!("{:08x}", checksum(rest, &file.tensors)) {
        return Err(changed());
    }
    Ok(format!("{{{rest}"))
}

/// Parses a JSON record of the supported format.
pub(crate) fn parse(record: &str) -> Result<Value, String> {
    let json: Value = serde_json::from_str(record).map_err(|e| format!("record: {e}"))?;
    let format = json.get("format").and_then(Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        let found = format.map_or("no format".into(), |format| format!("format {format}"));
        return Err(format!("it has {found}, this version reads format {FORMAT}"));
    }
    Ok(json)
}

/// Refuses a file that has no record.
pub(crate) fn check_key(metadata: Option<&HashMap<String, String>>) -> Result<(), String> {
    metadata.filter(|metadata| metadata.contains_key(KEY)).map(drop).ok_or_else(no_key)
}

fn no_key() -> String {
    format!("it is not a checkpoint: there is no metadata key {KEY:?}")
}

/// CRC-32 of the record after its checksum, and of the tensors in order of their names.
fn checksum(record: &str, tensors: &Views<'_>) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(record.as_bytes());
    for (name, view) in tensors {
        sum.update(format!("\n{name} {:?} {:?}\n", view.dtype(), view.shape()).as_bytes());
        sum.update(view.data());
    }
    sum.finalize()
}
