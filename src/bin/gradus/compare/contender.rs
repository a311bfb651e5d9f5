//! The optimizers that are compared.

use anyhow::{Context, Result, bail};
use gradus::optim::{self, AnyRule, OptimizerOptions};
use serde_json::{Value, json};

/// An optimizer with its options.
pub(crate) struct Contender {
    /// Its place among the others, from 1.
    pub(crate) number: usize,
    /// As given, with the rate.
    pub(crate) json: Value,
    /// Distinct from those of the others.
    pub(crate) label: String,
    pub(crate) rule: Box<dyn AnyRule>,
    pub(crate) options: OptimizerOptions,
}

/// Rates that are customary where the default of the library, which is that of torch, is not: those of Keras for the first
/// two, of You et al. 2017 for LARS, and of Zeiler 2012 for Adadelta.
const CUSTOMARY: [(&str, f64); 4] = [("SGD", 0.01), ("RMSprop", 1e-3), ("Lars", 0.1), ("Adadelta", 1.0)];

/// Those that are compared unless others are given.
pub(crate) fn usual() -> Vec<Value> {
    let named = ["RMSprop", "Adagrad", "Adam", "AdamW", "Lion"].map(|name| json!({"name": name}));
    [vec![json!({"name": "SGD", "momentum": 0.9})], named.to_vec()]
        .concat()
        .into_iter()
        .map(with_rate)
        .collect()
}

/// An optimizer from the command line.
pub(crate) fn from_text(text: &str) -> Result<Value> {
    let json = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).with_context(|| format!("--optimizer {text}"))?
    } else {
        json!({"name": text})
    };
    optim::from_json_with_options(&json).with_context(|| format!("--optimizer {text}"))?;
    Ok(with_rate(json))
}

/// With its customary rate unless it has one, and so for a rule within it.
fn with_rate(mut json: Value) -> Value {
    if let Some(fields) = json.as_object_mut() {
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        let rate = CUSTOMARY.iter().find(|(known, _)| *known == name).map(|(_, rate)| *rate);
        if let (Some(rate), false) = (rate, fields.contains_key("lr")) {
            fields.insert("lr".into(), rate.into());
        }
        if let Some(inner) = fields.get_mut("inner") {
            *inner = with_rate(inner.take());
        }
    }
    json
}

/// Reads all, each with a label of its own.
pub(crate) fn contenders(all: &[Value]) -> Result<Vec<Contender>> {
    let mut read = Vec::new();
    for (index, json) in all.iter().enumerate() {
        let (rule, options) =
            optim::from_json_with_options(json).with_context(|| format!("--optimizer {json}"))?;
        read.push(Contender {
            number: index + 1,
            json: json.clone(),
            label: label(json, false),
            rule,
            options,
        });
    }
    for (index, one) in read.iter().enumerate() {
        if let Some(other) = read[..index].iter().find(|other| other.is_same(one)) {
            bail!("--optimizer {} is given twice: as number {} and {}", one.json, other.number, one.number);
        }
    }
    let labels: Vec<String> = read.iter().map(|one| one.label.clone()).collect();
    for one in &mut read {
        if labels.iter().filter(|label| **label == one.label).count() > 1 {
            one.label = label(&one.json, true);
            if !one.json.as_object().is_some_and(|fields| fields.contains_key("lr")) {
                one.label += &format!(" lr {}", one.rule.lr());
            }
        }
    }
    Ok(read)
}

impl Contender {
    /// Whether both are the same with all defaults.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.rule.to_json() == other.rule.to_json() && self.options == other.options
    }

    /// Where it comes from, for messages.
    pub(crate) fn place(&self) -> String {
        format!("--optimizer {}", self.json)
    }

    /// A label for pictures, where there is little room.
    pub(crate) fn short(&self) -> String {
        const MOST: usize = 21;
        if self.label.chars().count() <= MOST {
            return self.label.clone();
        }
        let number = format!("… #{}", self.number);
        let kept = MOST - number.chars().count();
        self.label.chars().take(kept).collect::<String>().trim_end_matches([' ', ',']).to_owned() + &number
    }

    /// The name of its runs' files.
    pub(crate) fn stem(&self) -> String {
        let name = self.rule.name().chars().filter(|c| c.is_ascii_alphanumeric()).take(40);
        format!("{:02}-{}", self.number, name.collect::<String>())
    }
}

/// The name and the options, such as `SGD momentum 0.9`, with or without the rate.
fn label(json: &Value, with_lr: bool) -> String {
    let Some(fields) = json.as_object() else { return json.to_string() };
    let shown = fields.iter().filter(|(field, _)| *field != "name" && (with_lr || *field != "lr"));
    let parts: Vec<String> = shown
        .map(|(field, value)| match value {
            Value::Object(_) if field == "inner" => label(value, with_lr),
            Value::String(text) => format!("{field} {text}"),
            other => format!("{field} {other}"),
        })
        .collect();
    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    [name, &parts.join(", ")].join(" ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(texts: &[&str]) -> Vec<String> {
        let all: Vec<Value> = texts.iter().map(|text| from_text(text).unwrap()).collect();
        contenders(&all).unwrap().into_iter().map(|one| one.label).collect()
    }

    #[test]
    fn labels_are_as_short_as_they_can_be_and_distinct() {
        assert_eq!(
            labels(&["AdamW", "Lion", r#"{"name": "SGD", "momentum": 0.9}"#]),
            ["AdamW", "Lion", "SGD momentum 0.9"]
        );
        let two = ["AdamW", r#"{"name": "AdamW", "lr": 0.01}"#, r#"{"name": "AdamW", "state": "bf16"}"#];
        assert_eq!(labels(&two), ["AdamW lr 0.001", "AdamW lr 0.01", "AdamW state bf16"]);
        let inner = r#"{"name": "Lookahead", "inner": {"name": "SGD"}, "sync_period": 3}"#;
        assert_eq!(labels(&[inner]), ["Lookahead SGD, sync_period 3"]);
        let long = r#"{"name": "SGD", "momentum": 0.9, "nesterov": true}"#;
        let all: Vec<Value> = ["SGD", long].iter().map(|text| from_text(text).unwrap()).collect();
        assert_eq!(contenders(&all).unwrap()[1].short(), "SGD momentum 0.9… #2");
    }

    #[test]
    fn rates_are_customary_unless_given() {
        let rate = |text: &str| contenders(&[from_text(text).unwrap()]).unwrap()[0].rule.lr();
        assert_eq!(rate("SGD"), 0.01);
        assert_eq!(rate(r#"{"name": "SGD", "lr": 0.5}"#), 0.5);
        assert_eq!(rate("AdamW"), 1e-3);
        let inner = from_text(r#"{"name": "Lookahead", "inner": {"name": "SGD"}}"#).unwrap();
        assert_eq!(inner["inner"]["lr"], 0.01);
        assert_eq!(usual()[0], json!({"name": "SGD", "momentum": 0.9, "lr": 0.01}));
        for (name, _) in CUSTOMARY {
            from_text(name).unwrap();
        }
    }

    #[test]
    fn the_same_one_twice_is_refused() {
        let all = ["AdamW", r#"{"name": "AdamW", "lr": 1e-3}"#].map(|text| from_text(text).unwrap());
        let error = contenders(&all).err().unwrap().to_string();
        assert!(error.contains("is given twice: as number 1 and 2"), "{error}");
        let error = format!("{:#}", from_text("AdmaW").unwrap_err());
        assert!(
            error.starts_with("--optimizer AdmaW: unknown optimizer \"AdmaW\", did you mean \"AdamW\"?"),
            "{error}"
        );
    }
}
