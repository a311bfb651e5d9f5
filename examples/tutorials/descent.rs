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
    let mut ways = descend_all(gpu, rule, transforms, &[start], steps, slope)?;
    Ok(ways.remove(0))
}

/// The same from several starts at once, for rules that treat each parameter alone.
pub(crate) fn descend_all(
    gpu: &Gpu,
    rule: &Value,
    transforms: Transforms,
    starts: &[[f64; 2]],
    steps: usize,
    slope: Slope<'_>,
) -> Result<Vec<Vec<(f64, f64)>>> {
    let mut params = ParamStore::builder().tensor("x", [starts.len(), 2], &to_f32(starts)).build(gpu)?;
    let rule: Box<dyn AnyRule> = from_json(rule)?;
    let mut optimizer = rule.build(&params)?;
    optimizer.set_transforms(transforms, &params)?;
    let mut ways: Vec<Vec<(f64, f64)>> = starts.iter().map(|start| vec![(start[0], start[1])]).collect();
    let mut at = starts.to_vec();
    for _ in 0..steps {
        let gradients: Vec<[f64; 2]> = at.iter().map(|at| slope(*at)).collect();
        params.write_grads(&to_f32(&gradients))?;
        optimizer.step(&mut params)?;
        let values = params.read("x")?;
        for ((at, way), x) in at.iter_mut().zip(&mut ways).zip(values.chunks(2)) {
            *at = [x[0].into(), x[1].into()];
            way.push((at[0], at[1]));
        }
    }
    Ok(ways)
}

#[expect(clippy::cast_possible_truncation, reason = "parameters are f32")]
fn to_f32(points: &[[f64; 2]]) -> Vec<f32> {
    points.iter().flatten().map(|value| *value as f32).collect()
}

/// A curve without a band, over the numbers from 0.
pub(crate) fn numbered(name: impl Into<String>, color: RGBColor, y: Vec<f64>) -> Curve {
    let x = (0..y.len()).map(|number| number as f64).collect();
    Curve { name: name.into(), color, x, y, band: Vec::new() }
}
