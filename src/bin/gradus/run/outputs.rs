//! Where the files of a run are, within its folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use gradus::Error;
use gradus::train::callbacks::{ModelCheckpoint, TensorBoard};
use serde_json::{Value, json};

use crate::fields::{config, constant};

/// The run file with all defaults, by which the run can be repeated.
pub(super) const RUN: &str = "run.json";
/// What else a run depends on: version, adapter, data.
pub(super) const ABOUT: &str = "about.json";
/// The curves.
pub(super) const REPORT: &str = "report.svg";
/// The weights at the end.
pub(super) const MODEL: &str = "model.safetensors";
/// Those that no callback writes.
pub(super) const OWN: [&str; 4] = [RUN, ABOUT, REPORT, MODEL];
/// The rows of the epochs.
const HISTORY: &str = "history.csv";

/// The files that callbacks write.
pub(super) struct Outputs {
    folder: PathBuf,
    /// Who writes each file.
    taken: BTreeMap<PathBuf, String>,
    last: Option<PathBuf>,
}

impl Outputs {
    pub(super) fn new(folder: &Path) -> Self {
        let own = OWN.into_iter().chain([".lock"]);
        let taken = own.map(|name| (folder.join(name), "the run itself".to_owned())).collect();
        Self { folder: folder.into(), taken, last: None }
    }

    /// The callbacks that every run has, unless they are listed.
    pub(super) fn usual(listed: &[Value]) -> impl Iterator<Item = Value> {
        let usual = [
            json!({"name": "CSVLogger", "path": HISTORY}),
            json!({"name": "TensorBoard"}),
            json!({"name": "Progress"}),
            json!({"name": "ModelCheckpoint"}),
        ];
        let is = |one: &Value, other: &Value| match other["name"].as_str() {
            Some("CSVLogger") => {
                let path = one.get("path").and_then(Value::as_str).unwrap_or(HISTORY);
                one["name"] == "CSVLogger" && normal(path).as_deref() == Some(Path::new(HISTORY))
            }
            // A whole terminal shows what its lines would.
            Some("Progress") => one["name"] == "Progress" || one["name"] == "Dashboard",
            _ => one["name"] == other["name"],
        };
        let missing: Vec<Value> =
            usual.into_iter().filter(|usual| !listed.iter().any(|listed| is(listed, usual))).collect();
        missing.into_iter()
    }

    /// The checkpoint that a run goes on from.
    pub(super) fn last(&self) -> PathBuf {
        self.last.clone().unwrap_or_else(|| ModelCheckpoint::new(&self.folder).last())
    }

    /// A callback with the default of where it writes, and as it is made for the folder.
    pub(super) fn place(&mut self, mut entry: Value) -> Result<(Value, Value), Error> {
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        let (key, default) = match &name[..] {
            "CSVLogger" => ("path", HISTORY),
            "ModelCheckpoint" | "TensorBoard" => ("folder", "."),
            _ => return Ok((entry.clone(), entry)),
        };
        let what = format!("callback {name}");
        if entry.get(key).is_none() {
            entry[key] = default.into();
        }
        let given = &entry[key];
        let path =
            given.as_str().ok_or_else(|| config(&what, format!("{key}: expected a string, got {given}")))?;
        let inside = normal(path).filter(|inside| key == "folder" || !inside.as_os_str().is_empty());
        let inside = inside.ok_or_else(|| constant(key, "a path within the run's folder", given))?;
        let path = if inside.as_os_str().is_empty() { self.folder.clone() } else { self.folder.join(inside) };
        let mut placed = entry.clone();
        placed[key] =
            path.to_str().ok_or_else(|| config(&what, format!("{key}: must be UTF-8, got {path:?}")))?.into();
        for file in self.written(&name, &path, &placed) {
            // One may not be a folder of the other either.
            let meets = |taken: &&PathBuf| taken.starts_with(&file) || file.starts_with(taken);
            if let Some(taken) = self.taken.keys().find(meets) {
                let by = &self.taken[taken];
                let shown = taken.strip_prefix(&self.folder).unwrap_or(taken).display().to_string();
                return Err(config(&what, format!("{key}: {shown} is written by {by} too: choose another")));
            }
            self.taken.insert(file, name.clone());
        }
        Ok((entry, placed))
    }

    /// The files of a callback whose names are known before.
    fn written(&mut self, name: &str, path: &Path, placed: &Value) -> Vec<PathBuf> {
        match name {
            "CSVLogger" => vec![path.to_owned()],
            "TensorBoard" => vec![TensorBoard::new(path).path()],
            _ => {
                let saves = ModelCheckpoint::new(path);
                let saves = match placed.get("last").and_then(Value::as_str) {
                    Some(last) => saves.last_name(last),
                    None => saves,
                };
                self.last.get_or_insert(saves.last());
                vec![saves.last(), saves.best()]
            }
        }
    }
}

/// A path without what leads nowhere; none for one that leaves its folder.
fn normal(path: &str) -> Option<PathBuf> {
    let parts = Path::new(path).components().filter(|part| *part != Component::CurDir);
    parts.map(|part| matches!(part, Component::Normal(_)).then_some(part)).collect()
}
