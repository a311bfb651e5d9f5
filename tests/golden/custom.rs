//! Adan, which keeps four slots and knows its first step, as a rule of one's own.

use anyhow::{Context, Result, bail};
use gradus::optim::{AnyRule, CustomRule};
use gradus::{Gpu, GpuOptions};
use serde_json::{Value, json};

use crate::harness::{Envelope, Folder};
use crate::recorded::replay_rule;

/// Xie et al. 2022, arXiv:2208.06677, as optax has it.
const ADAN: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let change = hyper.has_previous * (g - (*s).previous);
    let ahead = g + hyper.one_minus_beta2 * change;
    (*s).previous = g;
    (*s).exp_avg = averaged((*s).exp_avg, g, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_diff = averaged((*s).exp_avg_diff, change, hyper.beta2, hyper.one_minus_beta2);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(ahead), hyper.beta3, hyper.one_minus_beta3);
    let direction = hyper.scale1 * (*s).exp_avg + hyper.scale2 * (*s).exp_avg_diff;
    let size = sqrt(hyper.scale3 * (*s).exp_avg_sq + hyper.eps_root) + hyper.eps;
    return p - call.lr * (direction / at_least_tiny(size) + hyper.weight_decay * p);
}";

fn adan() -> Result<CustomRule> {
    let mut builder = CustomRule::builder("Adan", ADAN).lr(1e-3);
    for slot in ["exp_avg", "exp_avg_diff", "exp_avg_sq", "previous"] {
        builder = builder.slot(slot);
    }
    for (name, default) in [("beta1", 0.98), ("beta2", 0.92), ("beta3", 0.99)] {
        builder = builder.hyper(name, default, 0.0..1.0);
    }
    for (name, default) in [("eps", 1e-8), ("eps_root", 1e-8), ("weight_decay", 0.0)] {
        builder = builder.hyper(name, default, 0.0..);
    }
    let builder = builder
        .constant("has_previous", |step, _| if step.step == 1 { 0.0 } else { 1.0 })
        .constant("one_minus_beta1", |_, h| 1.0 - h.get("beta1"))
        .constant("one_minus_beta2", |_, h| 1.0 - h.get("beta2"))
        .constant("one_minus_beta3", |_, h| 1.0 - h.get("beta3"))
        .constant("scale1", |step, h| 1.0 / step.correction(h.get("beta1")))
        .constant("scale2", |step, h| (1.0 - h.get("beta2")) / step.correction(h.get("beta2")))
        .constant("scale3", |step, h| 1.0 / step.correction(h.get("beta3")));
    Ok(builder.build()?)
}

fn of(json: &Value) -> Result<Box<dyn AnyRule>> {
    let mut rule = adan()?;
    for (field, value) in json.as_object().context("an object")? {
        match (field.as_str(), value) {
            ("name", _) => {}
            ("betas", Value::Array(betas)) => {
                for (name, beta) in ["beta1", "beta2", "beta3"].into_iter().zip(betas) {
                    rule.set(name, beta.as_f64().context("a number")?)?;
                }
            }
            (name, Value::Number(number)) => rule.set(name, number.as_f64().context("a number")?)?,
            (name, _) => bail!("unexpected {name}"),
        }
    }
    Ok(rule.into())
}

#[test]
fn adan_as_a_custom_rule_agrees() -> Result<()> {
    let gpu = match Gpu::new(crate::kernels::asked(GpuOptions::default())) {
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            println!("golden custom: SKIPPED, {error}");
            return Ok(());
        }
        gpu => gpu?,
    };
    let tolerance = json!({"rtol": 1e-5, "atol": 1e-6});
    let cases = [
        ("adan.default", json!({"name": "Adan", "lr": 0.01})),
        (
            "adan.weight_decay",
            json!({
                "name": "Adan", "lr": 0.005, "betas": [0.9, 0.8, 0.95], "eps": 1e-6, "eps_root": 1e-4,
                "weight_decay": 0.1,
            }),
        ),
    ];
    // Its own, whatever `GRADUS_GOLDEN_DIR` says.
    let folder = Folder::at(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/optim"));
    for (id, optimizer) in cases {
        let case = json!({
            "id": id, "file": format!("{id}.safetensors"), "problem": "B", "source": "optax: adan",
            "tol": tolerance, "optimizer": optimizer,
        });
        let (envelope, body) = Envelope::open(&case)?;
        let tolerance = envelope.tol.context("no tolerance")?;
        let mut worst = 0.0_f64;
        replay_rule(&gpu, &folder, &envelope, body, of, |check| {
            let wide = tolerance.times(check.width);
            worst = check
                .got
                .iter()
                .zip(check.want)
                .fold(worst, |worst, (&got, &want)| worst.max(wide.part(got, want)));
            wide.compare(&check.place.to_string(), check.got, check.want)
        })
        .context(id)?;
        println!("{id}: {worst:.3} of the tolerance");
    }
    Ok(())
}
