//! Losses by torch's names.

use gradus::Error;
use gradus::graph::Var;
use gradus::nn::{CrossEntropy, HuberLoss, SmoothL1Loss};
use serde_json::{Value, json};

use crate::fields::{Fields, config, unknown};

/// What a run minimises.
pub(super) enum Loss {
    CrossEntropy { label_smoothing: f64 },
    Mse,
    L1,
    SmoothL1 { beta: f64 },
    Huber { delta: f64 },
}

const OF_LABELS: [&str; 1] = ["cross_entropy"];
const OF_NUMBERS: [&str; 4] = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"];

impl Loss {
    /// From a name or a table with a name, and the table with all defaults. Without either, that of the targets.
    pub(super) fn from_json(json: Option<&Value>, labels: bool) -> Result<(Self, Value), Error> {
        let known: &[&str] = if labels { &OF_LABELS } else { &OF_NUMBERS };
        let table = match json {
            None => json!({"name": known[0]}),
            Some(Value::String(name)) => json!({"name": name}),
            Some(table @ Value::Object(_)) => table.clone(),
            Some(other) => return Err(config("loss", format!("expected a name or a table, got {other}"))),
        };
        let name = table.get("name").ok_or_else(|| config("loss", "missing field `name`"))?;
        let name =
            name.as_str().ok_or_else(|| config("loss", format!("name: expected a string, got {name}")))?;
        if !known.contains(&name) {
            if OF_LABELS.contains(&name) || OF_NUMBERS.contains(&name) {
                let targets = if labels { "labels of classes" } else { "numbers" };
                let reason =
                    format!("\"{name}\" does not suit targets that are {targets}: {}", known.join(", "));
                return Err(config("loss", reason));
            }
            return Err(unknown("loss", name, known));
        }
        let options: &[&str] = match name {
            "cross_entropy" => &["name", "label_smoothing"],
            "smooth_l1_loss" => &["name", "beta"],
            "huber_loss" => &["name", "delta"],
            _ => &["name"],
        };
        let mut fields = Fields::new(&format!("loss {name}"), &table, options)?;
        fields.required::<String>("name")?;
        let loss = match name {
            "cross_entropy" => Self::CrossEntropy { label_smoothing: fields.or("label_smoothing", 0.0)? },
            "smooth_l1_loss" => Self::SmoothL1 { beta: fields.or("beta", 1.0)? },
            "huber_loss" => Self::Huber { delta: fields.or("delta", 1.0)? },
            "l1_loss" => Self::L1,
            _ => Self::Mse,
        };
        Ok((loss, fields.end()))
    }

    pub(super) fn of(&self, outputs: &Var, target: &Var) -> Var {
        match *self {
            Self::CrossEntropy { label_smoothing } => {
                outputs.cross_entropy_with(CrossEntropy::new().label_smoothing(label_smoothing), target)
            }
            Self::Mse => outputs.mse_loss(target),
            Self::L1 => outputs.l1_loss(target),
            Self::SmoothL1 { beta } => outputs.smooth_l1_loss_with(SmoothL1Loss::new().beta(beta), target),
            Self::Huber { delta } => outputs.huber_loss_with(HuberLoss::new().delta(delta), target),
        }
    }
}
