//! What a run file says.

use std::path::{Path, PathBuf};

use gradus::Error;
use gradus::grad::Transforms;
use gradus::optim::{self, AnyRule, Averages, OptimizerOptions};
use gradus::schedule::{self, Schedule};
use gradus::train::callbacks::{self, Callback};
use serde_json::{Map, Value, json};

use super::outputs::Outputs;
use crate::data::Source;
use crate::document::{Document, child};
use crate::fields::{config, unknown};
use crate::models::Model;

/// The keys of a run file.
const KEYS: [&str; 14] = [
    "seed",
    "epochs",
    "batch_size",
    "shuffle",
    "drop_last",
    "autocast",
    "model",
    "data",
    "loss",
    "optimizer",
    "schedule",
    "transforms",
    "averages",
    "callbacks",
];

/// A callback with its place in the file, if it is listed there.
type Placed = (Option<String>, Box<dyn Callback>);

/// Everything about a run but its data and its device.
pub(super) struct Settings {
    pub(super) document: Document,
    pub(super) seed: u64,
    pub(super) epochs: u64,
    pub(super) batch_size: usize,
    pub(super) shuffle: bool,
    pub(super) drop_last: bool,
    pub(super) autocast: bool,
    pub(super) model: Model,
    pub(super) source: Source,
    pub(super) rule: Box<dyn AnyRule>,
    pub(super) options: OptimizerOptions,
    pub(super) schedule: Option<Box<dyn Schedule>>,
    pub(super) transforms: Transforms,
    pub(super) averages: Option<Averages>,
    pub(super) callbacks: Vec<Placed>,
    /// The checkpoint to go on from.
    pub(super) last: PathBuf,
    /// The run file with all defaults, but without its loss, whose default is that of the data.
    pub(super) complete: Map<String, Value>,
}

impl Settings {
    /// Reads a run file, for a run whose files are in the folder `out`.
    pub(super) fn read(path: &Path, out: &Path) -> Result<Self, Error> {
        let mut reader = Reader { document: Document::read(path)?, complete: Map::new() };
        reader.check_keys()?;
        let (seed, epochs) = (reader.or("seed", 0)?, reader.number("epochs")?);
        let batch_size = reader.or("batch_size", 32_usize)?;
        for (key, value) in [("epochs", epochs), ("batch_size", batch_size as u64)] {
            if value == 0 {
                return Err(reader.document.wrong(key, "must be at least 1, got 0"));
            }
        }
        let (shuffle, drop_last) = (reader.or("shuffle", true)?, reader.or("drop_last", false)?);
        let autocast = reader.or("autocast", false)?;
        let model = reader.required("model", Model::from_json)?;
        let folder = reader.document.folder().to_owned();
        let source = reader.required("data", |json| Source::from_json(json, &folder))?;
        let (rule, options) = reader.optimizer()?;
        let schedule = reader.schedule()?;
        let averages = reader.averages()?;
        let transforms = reader.transforms()?;
        let mut outputs = Outputs::new(out);
        let callbacks = reader.callbacks(&mut outputs)?;
        let Reader { document, complete } = reader;
        let last = outputs.last();
        Ok(Self {
            document,
            seed,
            epochs,
            batch_size,
            shuffle,
            drop_last,
            autocast,
            model,
            source,
            rule,
            options,
            schedule,
            transforms,
            averages,
            callbacks,
            last,
            complete,
        })
    }
}

/// A name alone is a table with that name.
fn table(json: &Value) -> Value {
    if json.is_string() { json!({"name": json}) } else { json.clone() }
}

struct Reader {
    document: Document,
    complete: Map<String, Value>,
}

impl Reader {
    fn check_keys(&self) -> Result<(), Error> {
        let Some(root) = self.document.json().as_object() else {
            return Err(self.document.wrong("", "expected a table with the keys of a run"));
        };
        match root.keys().find(|key| !KEYS.contains(&&key[..])) {
            Some(key) => Err(self.document.wrong(key, &unknown("key", key, &KEYS).to_string())),
            None => Ok(()),
        }
    }

    /// A section that `read` makes something of, together with its table with all defaults.
    fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Value) -> Result<(T, Value), Error>,
    ) -> Result<Option<T>, Error> {
        let Some(json) = self.document.json().get(key) else { return Ok(None) };
        let (value, complete) = read(json).map_err(|error| self.document.refuse(key, &error))?;
        self.complete.insert(key.into(), complete);
        Ok(Some(value))
    }

    fn required<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&Value) -> Result<(T, Value), Error>,
    ) -> Result<T, Error> {
        self.optional(key, read)?.ok_or_else(|| self.document.wrong(key, "it is missing"))
    }

    /// A value with a default.
    fn or<T: serde::de::DeserializeOwned + serde::Serialize>(
        &mut self,
        key: &str,
        default: T,
    ) -> Result<T, Error> {
        let value = match self.document.json().get(key) {
            None => default,
            Some(json) => {
                T::deserialize(json).map_err(|error| self.document.wrong(key, &error.to_string()))?
            }
        };
        self.complete.insert(key.into(), serde_json::to_value(&value).unwrap_or_default());
        Ok(value)
    }

    fn number(&mut self, key: &str) -> Result<u64, Error> {
        match self.document.json().get(key) {
            Some(_) => self.or(key, 0),
            None => Err(self.document.wrong(key, "it is missing")),
        }
    }

    fn optimizer(&mut self) -> Result<(Box<dyn AnyRule>, OptimizerOptions), Error> {
        self.required("optimizer", |json| {
            let (rule, options) = optim::from_json_with_options(&table(json))?;
            let mut complete = serde_json::to_value(&options).unwrap_or_default();
            if let (Value::Object(all), Value::Object(fields)) = (&mut complete, rule.to_json()) {
                all.extend(fields);
            }
            Ok(((rule, options), complete))
        })
    }

    fn schedule(&mut self) -> Result<Option<Box<dyn Schedule>>, Error> {
        self.optional("schedule", |json| {
            let schedule = schedule::from_json(&table(json))?;
            let complete = schedule.to_json().unwrap_or_else(|| json.clone());
            Ok((schedule, complete))
        })
    }

    fn averages(&mut self) -> Result<Option<Averages>, Error> {
        self.optional("averages", |json| {
            let averages = Averages::from_json(json)?;
            let complete = averages.to_json();
            Ok((averages, complete))
        })
    }

    /// The entries of a list.
    fn list(&self, key: &str) -> Result<Vec<Value>, Error> {
        match self.document.json().get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list.iter().map(table).collect()),
            Some(other) => Err(self.document.wrong(key, &format!("expected a list of tables, got {other}"))),
        }
    }

    fn transforms(&mut self) -> Result<Transforms, Error> {
        let list = self.list("transforms")?;
        let mut transforms = Transforms::default();
        // The first that is refused is the one to name.
        for count in 1..=list.len() {
            let read = Transforms::from_json(&Value::from(&list[..count]));
            let place = format!("transforms[{}]", count - 1);
            transforms = read.map_err(|error| self.document.refuse(&place, &error))?;
        }
        if !list.is_empty() {
            self.complete.insert("transforms".into(), transforms.to_json());
        }
        Ok(transforms)
    }

    /// Those of the file, and behind them those that every run has.
    fn callbacks(&mut self, outputs: &mut Outputs) -> Result<Vec<Placed>, Error> {
        let (mut made, mut complete) = (Vec::new(), Vec::new());
        let listed = self.list("callbacks")?;
        let places = (0..listed.len()).map(|index| Some(child("callbacks", &format!("[{index}]"))));
        let own = places.zip(listed).collect::<Vec<_>>();
        let names = own.iter().map(|(_, json)| json.clone()).collect::<Vec<_>>();
        for (place, json) in own.into_iter().chain(Outputs::usual(&names).map(|json| (None, json))) {
            let refuse = |error: Error| match &place {
                Some(place) => self.document.refuse(place, &error),
                None => self.document.refuse("callbacks", &error),
            };
            match json.as_object() {
                Some(table) if table.contains_key("name") => (),
                Some(_) => return Err(refuse(config("callback", "missing field `name`"))),
                None => {
                    return Err(refuse(config(
                        "callback",
                        format!("expected a name or a table, got {json}"),
                    )));
                }
            }
            let (entry, placed) = outputs.place(json).map_err(refuse)?;
            complete.push(callbacks::with_defaults(&entry).map_err(refuse)?);
            let callback = callbacks::from_json(&placed).map_err(refuse)?;
            made.push((place, callback));
        }
        self.complete.insert("callbacks".into(), complete.into());
        Ok(made)
    }
}
