//! What is refused once the data are known, and where it stands in the run file.

use gradus::Error;
use gradus::schedule::Interval;
use serde_json::Value;

use super::settings::Settings;
use crate::fields::unknown;
use crate::models::Model;

/// Updates of an epoch. Refuses a number of batches that makes no whole updates, and too many updates.
pub(super) fn steps_per_epoch(settings: &Settings, batches: u64) -> Result<u64, Error> {
    let document = &settings.document;
    let of = settings.transforms.accumulate.as_ref().map_or(1, |accumulate| accumulate.steps);
    if !batches.is_multiple_of(of) {
        let listed = document.json()["transforms"].as_array();
        let index = listed.and_then(|list| list.iter().position(|entry| entry["name"] == "accumulate"));
        let place = format!("transforms[{}].steps", index.unwrap_or(0));
        let reason = format!("must divide the {batches} batches of an epoch, got {of} (see also drop_last)");
        return Err(document.wrong(&place, &reason));
    }
    let steps = batches / of;
    let Some(all) = steps.checked_mul(settings.epochs) else {
        return Err(document
            .wrong("epochs", &format!("must be at most {}, got {}", u64::MAX / steps, settings.epochs)));
    };
    if let Some(schedule) = &settings.schedule {
        let last = match schedule.interval() {
            Interval::Step => all - 1,
            Interval::Epoch => settings.epochs - 1,
        };
        schedule.at(last, settings.rule.lr()).map_err(|error| {
            let reason = format!("the run has {all} steps in {} epochs: {error}", settings.epochs);
            document.wrong("schedule", &reason)
        })?;
    }
    Ok(steps)
}

/// Refuses a callback that would follow a value which nobody logs. `metrics` are those beside the loss.
pub(super) fn check_monitors(settings: &Settings, metrics: &[&str]) -> Result<(), Error> {
    let listed = settings.document.json().get("callbacks").and_then(Value::as_array);
    let listed = listed.map_or(&[][..], Vec::as_slice);
    // These log values of their own, by tensor and by group.
    let logs = |entry: &Value| {
        let name = if entry.is_string() { entry } else { &entry["name"] };
        name == "GradientMonitor" || name == "LearningRateMonitor"
    };
    if listed.iter().any(logs) {
        return Ok(());
    }
    let metrics = || std::iter::once(&"loss").chain(metrics);
    let of = |set: &'static str| metrics().map(move |name| format!("{set}_{name}"));
    let known: Vec<String> = of("train").chain(of("val")).chain(["lr".into()]).collect();
    let known: Vec<&str> = known.iter().map(|name| &name[..]).collect();
    for (index, entry) in listed.iter().enumerate() {
        let monitor = entry.get("monitor").and_then(Value::as_str);
        if let Some(name) = monitor.filter(|name| !known.contains(name)) {
            let place = format!("callbacks[{index}].monitor");
            return Err(settings.document.wrong(&place, &unknown("metric", name, &known).to_string()));
        }
    }
    Ok(())
}

/// The layer of a list that an error is about, by the number that its name begins with.
pub(super) fn of_layer(model: &Model, error: &Error) -> String {
    let text = error.to_string();
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    match model {
        Model::Layers(_) if !digits.is_empty() => format!("model.layers[{digits}]"),
        _ => "model".into(),
    }
}

/// An error of building a trainer, in the section that has the key that it names.
pub(super) fn of_trainer(settings: &Settings, error: &Error) -> Error {
    let document = &settings.document;
    if matches!(error, Error::DeviceLost(_) | Error::Device { .. } | Error::Kernel { .. }) {
        return error.clone();
    }
    if matches!(error, Error::DeviceFeature { .. }) {
        return document.refuse("autocast", error);
    }
    let sections = ["optimizer", "transforms", "averages", "schedule"];
    let named = sections.into_iter().find(|section| document.names(section, error));
    document.refuse(named.unwrap_or("model"), error)
}
