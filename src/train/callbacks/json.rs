//! Callbacks by name.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    CSVLogger, Callback, EarlyStopping, GradientMonitor, LearningRateMonitor, ModelCheckpoint, Progress,
    ProgressStyle, ReduceLROnPlateauCallback, TensorBoard, TerminateOnNaN,
};
use crate::config;
use crate::error::Error;
use crate::schedule;

type Fields = Map<String, Value>;
type Reader = fn(&'static str, &Fields) -> Result<Box<dyn Callback>, Error>;

/// Every callback that [`from_json`] knows.
const CALLBACKS: &[(&str, Reader)] = &[
    ("CSVLogger", |name, fields| Ok(Box::new(config::read::<CSVLogger>("callback", name, fields)?))),
    #[cfg(feature = "dashboard")]
    ("Dashboard", |name, fields| {
        config::read::<Nothing>("callback", name, fields)?;
        Ok(Box::new(super::Dashboard::new()))
    }),
    ("EarlyStopping", |_, fields| Ok(Box::new(EarlyStopping::from_json(&fields.clone().into())?))),
    ("GradientMonitor", gradient_monitor),
    ("LearningRateMonitor", |name, fields| {
        config::read::<Nothing>("callback", name, fields)?;
        Ok(Box::new(LearningRateMonitor::new()))
    }),
    ("ModelCheckpoint", |name, fields| {
        Ok(Box::new(config::read::<ModelCheckpoint>("callback", name, fields)?))
    }),
    ("Progress", progress),
    ("ReduceLROnPlateau", reduce_lr),
    ("TensorBoard", |name, fields| Ok(Box::new(config::read::<TensorBoard>("callback", name, fields)?))),
    ("TerminateOnNaN", |name, fields| {
        config::read::<Nothing>("callback", name, fields)?;
        Ok(Box::new(TerminateOnNaN))
    }),
];

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
    let (name, fields) = config::named("callback", json)?;
    let found = CALLBACKS.iter().find(|(known, _)| *known == name);
    let unknown = || Error::unknown("callback", &name, CALLBACKS.iter().map(|(known, _)| *known));
    let (name, read) = found.ok_or_else(unknown)?;
    read(name, &fields)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn gradient_monitor(name: &'static str, fields: &Fields) -> Result<Box<dyn Callback>, Error> {
    #[derive(Deserialize)]
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
    let Form { every, per_tensor, dead_units } = config::read("callback", name, fields)?;
    Ok(Box::new(GradientMonitor::new(every).per_tensor(per_tensor).dead_units(dead_units)))
}

fn progress(name: &'static str, fields: &Fields) -> Result<Box<dyn Callback>, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Form {
        style: ProgressStyle,
    }
    Ok(Box::new(Progress::new(config::read::<Form>("callback", name, fields)?.style)))
}

/// The fields of the schedule of that name, and the name of the metric.
fn reduce_lr(name: &'static str, fields: &Fields) -> Result<Box<dyn Callback>, Error> {
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
    Ok(Box::new(ReduceLROnPlateauCallback { monitor, plateau }))
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
