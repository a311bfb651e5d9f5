//! Drawn configurations of an optimizer: rule, options, groups, transforms and shapes.

use gradus::grad::Transforms;
use gradus::optim::{self, Family, RULES};
use gradus::{Error, Gpu, ParamStore};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

/// What is drawn from a seed.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// A rule with options of the optimizer.
    pub(crate) rule: Value,
    /// What each group of `ParamStore` overrides.
    pub(crate) groups: Vec<Value>,
    pub(crate) transforms: Value,
    pub(crate) shapes: Vec<Vec<usize>>,
}

/// From where numbers are drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Between a quarter of the default and the default.
    Usual,
    /// Anywhere, of any type.
    Any,
}

fn one_of<T: Clone>(random: &mut Pcg64, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

/// A value that is in no default.
fn any_value(random: &mut Pcg64) -> Value {
    let values = [
        json!(0),
        json!(-1),
        json!(0.5),
        json!(1),
        json!(1e-45),
        json!(-0.0),
        json!(1e38),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(true),
        json!(null),
        json!("auto"),
        json!([]),
        json!([0.9, 0.999]),
        json!([2.0, -1.0, 0.5]),
        json!({}),
        json!({"name": "SGD"}),
    ];
    one_of(random, &values)
}

/// The same with other numbers, switches and, out of the usual range, anything.
fn varied(json: &Value, random: &mut Pcg64, range: Range) -> Value {
    if range == Range::Any && random.random_range(0..20) == 0 {
        return any_value(random);
    }
    match json {
        Value::Number(number) if number.is_f64() => {
            json!(number.as_f64().unwrap_or(0.0) * random.random_range(0.25..1.0))
        }
        Value::Bool(_) => json!(random.random::<bool>()),
        Value::Array(values) => values.iter().map(|value| varied(value, random, range)).collect(),
        Value::Object(fields) => {
            let vary = |(name, value): (&String, &Value)| {
                let same = matches!(name.as_str(), "name" | "inner") && random.random_range(0..8) > 0;
                (name.clone(), if same { value.clone() } else { varied(value, random, range) })
            };
            Value::Object(fields.iter().map(vary).collect())
        }
        other => other.clone(),
    }
}

impl Configuration {
    pub(crate) fn draw(seed: u64, range: Range) -> Self {
        let random = &mut Pcg64::seed_from_u64(seed);
        let entry = &RULES[random.random_range(0..RULES.len())];
        let mut rule = entry.default_rule().to_json();
        // A name is drawn only where anything is.
        let name = rule["name"].clone();
        rule = varied(&rule, random, range);
        if range == Range::Usual && rule.is_object() {
            rule["name"] = name;
        }
        if rule.is_object() {
            if entry.family == Family::Matrix {
                rule["adamw"] = json!({});
            }
            match random.random_range(0..4) {
                0 => rule["state"] = json!(one_of(random, &["f32", "bf16", "8bit"])),
                1 if range == Range::Any => rule["maximize"] = json!(true),
                _ => {}
            }
        }
        let groups = (0..random.random_range(1..3_usize)).map(|_| match random.random_range(0..3) {
            0 => json!({"lr": 1e-3}),
            1 if range == Range::Any => {
                json!({one_of(random, &["lr", "betas", "name", "?"]): any_value(random)})
            }
            _ => json!({}),
        });
        let groups = groups.collect();
        let transforms = [
            json!({"name": "accumulate", "steps": 2}),
            json!({"name": "grad_scaler"}),
            json!({"name": "skip"}),
            json!({"name": "clip_grad_norm", "max_norm": 1.0}),
            json!({"name": "clip_grad_value", "clip_value": 0.5}),
            json!({"name": "noise", "eta": 0.01}),
            json!({"name": "penalty", "l2": 0.01}),
        ];
        let transforms: Vec<Value> = transforms
            .iter()
            .filter_map(|transform| {
                let is_in = random.random_range(0..4) == 0;
                is_in.then(|| match range {
                    Range::Any => varied(transform, random, range),
                    Range::Usual => transform.clone(),
                })
            })
            .collect();
        let extents = [0, 1, 1, 2, 3, 4, 5, 8, 16, 17, 65];
        let shapes = (0..random.random_range(1..5_usize)).map(|_| {
            let mut shape: Vec<usize> = Vec::new();
            for _ in 0..random.random_range(0..5_usize) {
                let extent = one_of(random, &extents);
                if shape.iter().product::<usize>() * extent <= 2_000 {
                    shape.push(extent);
                }
            }
            shape
        });
        let shapes = shapes.collect();
        Self { rule, groups, transforms: json!(transforms), shapes }
    }

    fn len(&self) -> usize {
        self.shapes.iter().map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// The parameters after some steps with finite gradients.
    pub(crate) fn run(&self, gpu: &Gpu, steps: u64) -> Result<Vec<f32>, Error> {
        let data: Vec<Vec<f32>> =
            (0..).zip(&self.shapes).map(|(stream, shape)| numbers(stream, shape.iter().product())).collect();
        let mut builder = ParamStore::builder();
        let names: Vec<String> = (0..self.groups.len()).map(|group| format!("g{group}")).collect();
        for (number, group) in names.iter().enumerate() {
            let shapes = self.shapes.iter().enumerate();
            let own: Vec<_> = shapes.filter(|(at, _)| at % names.len() == number).collect();
            builder = builder.group(group, |mut group| {
                for (at, shape) in own {
                    group = group.tensor(format!("t{at}"), shape.clone(), &data[at]);
                }
                group
            });
        }
        let mut params = builder.build(gpu)?;
        let overrides: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(self.groups.iter().cloned()).collect();
        let (rule, options) = optim::from_json_with_options(&self.rule)?;
        let mut optimizer = rule.build_with_options(&params, &overrides, &options)?;
        optimizer.set_transforms(Transforms::from_json(&self.transforms)?, &params)?;
        for step in 0..steps {
            params.write_grads(&numbers(100 + step, self.len()))?;
            optimizer.step(&mut params)?;
        }
        let names: Vec<String> = params.layout().spans().iter().map(|span| span.name.clone()).collect();
        let mut all = Vec::new();
        for name in names {
            all.extend(params.read(&name)?);
        }
        Ok(all)
    }
}

/// Numbers in [-2, 2), some of them zero.
fn numbers(stream: u64, len: usize) -> Vec<f32> {
    let random = &mut Pcg64::seed_from_u64(stream);
    (0..len)
        .map(|_| if random.random_range(0..9) == 0 { 0.0 } else { random.random_range(-2.0_f32..2.0) })
        .collect()
}
