//! What a folder holds of an earlier run, and whether this one is the same.

use std::path::Path;

use gradus::Error;
use gradus::train::Checkpoint;
use serde_json::{Map, Value, json};

use super::outputs;
use super::settings::Settings;
use crate::data::Sets;
use crate::document::child;

/// What a checkpoint knows its run by: the run file with all defaults, but not where its files are, and the data.
pub(super) struct Identity {
    file: Value,
    pub(super) data: Value,
}

/// How many differences are listed.
const MOST: usize = 8;

impl Identity {
    pub(super) fn new(complete: &Map<String, Value>, sets: &Sets) -> Self {
        let (train, test) = sets.counts();
        let checksum = format!("{:08x}", sets.checksum());
        let data = json!({"train": train, "test": test, "shape": sets.shape(), "checksum": checksum});
        Self { file: without_paths(complete.clone().into()), data }
    }

    /// As a checkpoint keeps it.
    pub(super) fn to_map(&self) -> Map<String, Value> {
        Map::from_iter([("file".into(), self.file.clone()), ("data".into(), self.data.clone())])
    }

    /// Refuses an earlier run whose file is `name`, if it is another.
    fn compare(&self, settings: &Settings, name: &str, file: &Value, data: &Value) -> Result<(), Error> {
        let refuse = |reason: String| Error::File { path: name.into(), reason };
        let mut found = Vec::new();
        let theirs = without_paths(file.clone());
        differences(&theirs, &self.file, "", &mut found);
        let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
        let mut said: Vec<String> = found
            .iter()
            .map(|(place, theirs, ours)| {
                let (line, name) = (settings.document.line(place), settings.document.name());
                format!("its {place} is {}, line {line} of {name} has {}", shown(*theirs), shown(*ours))
            })
            .collect();
        if data != &self.data {
            said.push(format!("its data are {data}, these are {}", self.data));
        }
        if said.is_empty() {
            return Ok(());
        }
        let more = said.len().saturating_sub(MOST);
        said.truncate(MOST);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(refuse(format!("it is another run: {}{more}", said.join("; "))))
    }
}

/// Refuses a folder in which another run's files would be replaced.
pub(super) fn refuse_to_replace(settings: &Settings, out: &Path) -> Result<(), Error> {
    let files = [out.join(outputs::RUN), settings.last.clone()];
    match files.iter().find(|file| file.exists()) {
        None => Ok(()),
        Some(file) => Err(Error::File {
            path: out.display().to_string(),
            reason: format!(
                "it holds a run ({}): go on with it by --resume, or name another folder",
                file.strip_prefix(out).unwrap_or(file).display()
            ),
        }),
    }
}

/// The checkpoint to go on from, if there is one. Refuses that of another run.
pub(super) fn checkpoint(
    settings: &Settings,
    identity: &Identity,
    out: &Path,
) -> Result<Option<Checkpoint>, Error> {
    if settings.last.exists() {
        let checkpoint = Checkpoint::read(&settings.last)?;
        let run = |key: &str| checkpoint.run.get(key);
        let (Some(file), Some(data)) = (run("file"), run("data")) else {
            return Err(checkpoint.refuse("it is not of a run from a run file"));
        };
        identity.compare(settings, &settings.last.display().to_string(), file, data)?;
        return Ok(Some(checkpoint));
    }
    // Killed before its first checkpoint, or with its checkpoints elsewhere.
    let path = out.join(outputs::RUN);
    if let Ok(bytes) = std::fs::read(&path) {
        let name = path.display().to_string();
        let broken = |error: serde_json::Error| Error::File { path: name.clone(), reason: error.to_string() };
        let file: Value = serde_json::from_slice(&bytes).map_err(broken)?;
        identity.compare(settings, &name, &file, &identity.data)?;
    }
    Ok(None)
}

/// Without the keys of the data that name files: a checksum tells the data apart.
fn without_paths(mut file: Value) -> Value {
    if let Some(data) = file.get_mut("data").and_then(Value::as_object_mut) {
        for key in ["path", "test", "folder"] {
            data.remove(key);
        }
    }
    file
}

type Difference<'v> = (String, Option<&'v Value>, Option<&'v Value>);

/// The places where two values differ, as deep as they have the same form.
fn differences<'v>(theirs: &'v Value, ours: &'v Value, place: &str, found: &mut Vec<Difference<'v>>) {
    match (theirs, ours) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let place = child(place, key);
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => differences(one, other, &place, found),
                    (one, other) => found.push((place, one, other)),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &child(place, &format!("[{index}]")), found);
            }
        }
        (one, other) if one != other => found.push((place.into(), Some(one), Some(other))),
        _ => {}
    }
}
