//! Callbacks by name.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CSVLogger, Callback, EarlyStopping, GradientMonitor, LearningRateMonitor, ModelCheckpoint, Progress,
    ProgressStyle, ReduceLROnPlateauCallback, TensorBoard, TerminateOnNaN,
};
use crate::config;
use crate::error::Error;
use crate::schedule;

type Fields = Map<String, Value>;
type Reader = fn(&'static str, &Fields) -> Result<Made, Error>;

/// A callback, and the object that describes it with all fields.
type Made = (Box<dyn Callback>, Value);

/// Every callback that [`from_json`] knows.
const CALLBACKS: &[(&str, Reader)] = &[
    ("CSVLogger", typed::<CSVLogger>),
    #[cfg(feature = "dashboard")]
    ("Dashboard", |name, fields| {
        let complete = config::write(name, &config::read::<Nothing>("callback", name, fields)?);
        Ok((Box::new(super::Dashboard::new()), complete))
    }),
    ("EarlyStopping", |name, fields| {
        let stopping = EarlyStopping::from_json(&fields.clone().into())?;
        let complete = config::write(name, &stopping);
        Ok((Box::new(stopping), complete))
    }),
    ("GradientMonitor", gradient_monitor),
    ("LearningRateMonitor", |name, fields| {
        let complete = config::write(name, &config::read::<Nothing>("callback", name, fields)?);
        Ok((Box::new(LearningRateMonitor::new()), complete))
    }),
    ("ModelCheckpoint", typed::<ModelCheckpoint>),
    ("Progress", progress),
    ("ReduceLROnPlateau", reduce_lr),
    ("TensorBoard", typed::<TensorBoard>),
    ("TerminateOnNaN", |name, fields| {
        let complete = config::write(name, &config::read::<Nothing>("callback", name, fields)?);
        Ok((Box::new(TerminateOnNaN), complete))
    }),
];

/// A callback whose fields are its options.
fn typed<C>(name: &'static str, fields: &Fields) -> Result<Made, Error>
where
    C: Callback + DeserializeOwned + Serialize + 'static,
{
    let callback = config::read::<C>("callback", name, fields)?;
    let complete = config::write(name, &callback);
    Ok((Box::new(callback), complete))
}

/// Creates the callback that a JSON object describes, such as `{"name": "ModelCheckpoint", "folder": "runs/first",
/// "monitor": "val_loss", "keep": 2}`.
///
/// Fields are named as the methods and fields of the types, and omitted ones take their defaults. `CSVLogger` needs `path`,
/// `ModelCheckpoint` and `TensorBoard` need `folder`. `Dashboard` needs the feature `dashboard`. `Progress` has the field `style`: `auto`, `bar`, `lines` or `silent`.
/// Ranges are checked when a run begins.
///
/// ```
/// use gradus::train::callbacks;
///
/// let named = callbacks::from_json(&serde_json::json!({"name": "GradientMonitor", "every": 5}))?;
/// assert_eq!((named.name(), named.norms_every()), ("GradientMonitor", 5));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::UnknownName`] with the most similar name, for an unknown name or field; [`Error::Config`] for a missing field
/// or a wrong type.
pub fn from_json(json: &Value) -> Result<Box<dyn Callback>, Error> {
    Ok(read(json)?.0)
}

/// The object from which [`from_json`] makes the same callback, with the defaults of the fields that `json` leaves out.
///
/// ```
/// use gradus::train::callbacks;
/// use serde_json::json;
///
/// let complete = callbacks::with_defaults(&json!({"name": "GradientMonitor", "every": 5}))?;
/// assert_eq!(complete, json!({"name": "GradientMonitor", "every": 5, "per_tensor": true, "dead_units": true}));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// As [`from_json`].
pub fn with_defaults(json: &Value) -> Result<Value, Error> {
    Ok(read(json)?.1)
}

fn read(json: &Value) -> Result<Made, Error> {
    let (name, fields) = config::named("callback", json)?;
    let found = CALLBACKS.iter().find(|(known, _)| *known == name);
    let unknown = || Error::unknown("callback", &name, CALLBACKS.iter().map(|(known, _)| *known));
    let (name, read) = found.ok_or_else(unknown)?;
    read(name, &fields)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn gradient_monitor(name: &'static str, fields: &Fields) -> Result<Made, Error> {
    #[derive(Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Form {
        every: u64,
        per_tensor: bool,
        dead_units: bool,
    }
    impl Default for Form {
        fn default() -> Self {
            Self { every: 10, per_tensor: true, dead_units: true }
        }
    }
    let form: Form = config::read("callback", name, fields)?;
    let Form { every, per_tensor, dead_units } = form;
    let monitor = GradientMonitor::new(every).per_tensor(per_tensor).dead_units(dead_units);
    Ok((Box::new(monitor), config::write(name, &form)))
}

fn progress(name: &'static str, fields: &Fields) -> Result<Made, Error> {
    #[derive(Default, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Form {
        style: ProgressStyle,
    }
    let form: Form = config::read("callback", name, fields)?;
    Ok((Box::new(Progress::new(form.style)), config::write(name, &form)))
}

/// The fields of the schedule of that name, and the name of the metric.
fn reduce_lr(name: &'static str, fields: &Fields) -> Result<Made, Error> {
    let mut fields = fields.clone();
    let monitor = match fields.remove("monitor") {
        None => ReduceLROnPlateauCallback::default().monitor,
        Some(Value::String(monitor)) => monitor,
        Some(other) => {
            let reason = format!("monitor: expected a string, got {other}");
            return Err(Error::Config { what: format!("callback {name}"), reason });
        }
    };
    let plateau = config::read::<schedule::ReduceLROnPlateau>("callback", name, &fields);
    let plateau = plateau.map_err(|error| match error {
        Error::UnknownName { kind, name, known, .. } => {
            Error::unknown(kind, &name, known.split(", ").chain(["monitor"]))
        }
        other => other,
    })?;
    let mut complete = config::write(name, &plateau);
    complete["monitor"] = monitor.as_str().into();
    Ok((Box::new(ReduceLROnPlateauCallback { monitor, plateau }), complete))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::train::callbacks::RunInfo;

    #[test]
    fn each_is_made_by_its_name() {
        for (name, _) in CALLBACKS {
            let json = match *name {
                "CSVLogger" => json!({"name": name, "path": "a.csv", "every": 3}),
                "ModelCheckpoint" => {
                    json!({"name": name, "folder": "a", "monitor": "val_loss", "mode": "max", "keep": 2})
                }
                "TensorBoard" => json!({"name": name, "folder": "a", "histograms": 0}),
                "ReduceLROnPlateau" => json!({"name": name, "monitor": "train_loss", "patience": 3}),
                "Progress" => json!({"name": name, "style": "silent"}),
                _ => json!({"name": name}),
            };
            let callback = from_json(&json).unwrap();
            assert_eq!(callback.name(), *name);
            callback.check(&RunInfo::default()).unwrap();
            let complete = with_defaults(&json).unwrap();
            assert_eq!(with_defaults(&complete).unwrap(), complete);
            for (field, value) in json.as_object().unwrap() {
                assert_eq!(complete[field], *value);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            (
                json!({"name": "EarlyStoping"}),
                "unknown callback \"EarlyStoping\", did you mean \"EarlyStopping\"?",
            ),
            (json!({"name": "CSVLogger"}), "callback CSVLogger: missing field `path`"),
            (
                json!({"name": "ReduceLROnPlateau", "monitr": "loss"}),
                "unknown field of ReduceLROnPlateau \"monitr\", did you mean \"monitor\"?",
            ),
            (
                json!({"name": "ReduceLROnPlateau", "monitor": 3}),
                "callback ReduceLROnPlateau: monitor: expected a string",
            ),
            (
                json!({"name": "TerminateOnNaN", "patience": 3}),
                "unknown field of TerminateOnNaN \"patience\"",
            ),
            (
                json!({"name": "Progress", "style": "loud"}),
                "callback Progress: style: unknown variant `loud`",
            ),
            (
                json!({"name": "ModelCheckpoint", "folder": "a", "state": {}}),
                "unknown field of ModelCheckpoint \"state\"",
            ),
            (
                json!({"name": "GradientMonitor", "every": -1}),
                "callback GradientMonitor: every: invalid value",
            ),
        ];
        for (json, message) in rows {
            let error = from_json(&json).map(|callback| callback.name().to_owned()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
