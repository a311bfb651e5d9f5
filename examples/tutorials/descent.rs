//! Optimizers of the library on functions of two parameters.

use anyhow::Result;
use gradus::grad::Transforms;
use gradus::optim::{AnyRule, from_json};
use gradus::{Gpu, ParamStore};
use plotters::prelude::RGBColor;
use serde_json::Value;

use crate::curves::Curve;

/// A gradient at a point.
pub(crate) type Slope<'f> = &'f dyn Fn([f64; 2]) -> [f64; 2];

/// The points that an optimizer goes through, the first one included. `rule` is its name with its options.
pub(crate) fn descend(
    gpu: &Gpu,
    rule: &Value,
    transforms: Transforms,
    start: [f64; 2],
    steps: usize,
    slope: Slope<'_>,
) -> Result<Vec<(f64, f64)>> {
    let mut params = ParamStore::builder().tensor("x", [2], &to_f32(start)).build(gpu)?;
    let rule: Box<dyn AnyRule> = from_json(rule)?;
    let mut optimizer = rule.build(&params)?;
    optimizer.set_transforms(transforms, &params)?;
    let mut points = vec![(start[0], start[1])];
    let mut at = start;
    for _ in 0..steps {
        params.write_grads(&to_f32(slope(at)))?;
        optimizer.step(&mut params)?;
        let x = params.read("x")?;
        at = [x[0].into(), x[1].into()];
        points.push((at[0], at[1]));
    }
    Ok(points)
}

#[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
fn to_f32(of: [f64; 2]) -> [f32; 2] {
    of.map(|value| value as f32)
}

/// A curve without a band, over the numbers from 0.
pub(crate) fn numbered(name: impl Into<String>, color: RGBColor, y: Vec<f64>) -> Curve {
    let x = (0..y.len()).map(|number| number as f64).collect();
    Curve { name: name.into(), color, x, y, band: Vec::new() }
}
