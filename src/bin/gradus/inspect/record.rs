//! The record of a checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use gradus::Error;
use gradus::optim::{SlotBits, TensorState};
use gradus::train::Checkpoint;
use serde_json::Value;

/// The metadata key of a checkpoint's record.
pub(super) const KEY: &str = "gradus";

/// What the record says, of a file that is checked against its checksum. `text` is the record itself.
pub(super) fn of(path: &Path, text: &str) -> Result<String, Error> {
    let checkpoint = Checkpoint::read(path)?;
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let mut said = String::new();
    let mut line = |key: &str, value: &str| writeln!(said, "{key:<12} {value}").expect("a string takes all");
    line("checkpoint", &format!("format {}, checksum {} fits", json["format"], json["checksum"]));
    line("step", &checkpoint.step.to_string());
    line("seed", &checkpoint.seed.to_string());
    let optimizer = &checkpoint.optimizer;
    line("optimizer", &format!("{}, {} steps", optimizer.optimizer, optimizer.attempted));
    for group in &optimizer.param_groups {
        let options = Value::from(group.options.clone());
        line("group", &format!("{}: {} tensors, {options}", super::shown(&group.name), group.params.len()));
    }
    for (slot, precisions) in precisions(&optimizer.state) {
        line("state", &format!("{slot} in {}", precisions.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if let Some(averages) = &optimizer.averages {
        line("averages", &averages.options.to_json().to_string());
    }
    if !checkpoint.frozen.is_empty() {
        line("frozen", &checkpoint.frozen.join(", "));
    }
    for (key, value) in [("schedule", &checkpoint.schedule), ("transforms", &checkpoint.transforms)] {
        if let Some(value) = value {
            line(key, &value.to_string());
        }
    }
    if let Some(gate) = checkpoint.gate {
        line(
            "gate",
            &format!("{} applied, {} skipped, scale {}", gate.applied, gate.skipped, gate.loss_scale),
        );
    }
    if let Some(stopping) = &checkpoint.early_stopping
        && let (Some(best), Some(epoch)) = (stopping.best.0, stopping.best_epoch)
    {
        line("stopping", &format!("best {best} after epoch {}, {} without since", epoch + 1, stopping.wait));
    }
    for (key, value) in &checkpoint.run {
        line("run", &format!("{}: {}", super::shown(key), super::cut(&value.to_string())));
    }
    Ok(said)
}

/// What each slot of the optimizer is stored as, in some of the tensors.
fn precisions(state: &BTreeMap<String, TensorState>) -> BTreeMap<&str, BTreeSet<&'static str>> {
    let mut all: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
    for tensor in state.values() {
        for slot in tensor.slots.keys() {
            let precision = match tensor.stored.get(slot) {
                None => "f32",
                Some(SlotBits::Bf16) => "bf16",
                Some(SlotBits::Int8 { .. }) => "8bit",
            };
            all.entry(slot).or_default().insert(precision);
        }
    }
    all
}
