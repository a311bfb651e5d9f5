//! The protocol by which `benches/models.rs --peers` drives a library: one JSON request per line on standard input.
//!
//! `{"model", "weights", "batch", "steps"}` loads a model and runs its first steps; the answer is their losses.
//! `{"time": n}` runs n more steps; the answer is the time in seconds.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use safetensors::SafeTensors;
use serde_json::Value;

/// A model with its optimizer and a batch.
pub trait Training {
    /// A step of AdamW. It need not be finished on return.
    fn step(&mut self) -> Result<()>;

    /// The loss of the last step, after all steps are finished.
    fn loss(&mut self) -> Result<f32>;
}

/// Named tensors: shapes as in torch, and values.
pub struct Tensors(HashMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    fn read(path: &str) -> Result<Self> {
        let bytes = std::fs::read(Path::new(path)).with_context(|| path.to_owned())?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let values = |bytes: &[u8]| {
            bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
                .collect()
        };
        let all = tensors.tensors().into_iter();
        Ok(Self(all.map(|(name, view)| (name, (view.shape().to_vec(), values(view.data())))).collect()))
    }

    /// Shape and values of a tensor; an error if it is missing.
    pub fn get(&self, name: &str) -> Result<(&[usize], &[f32])> {
        let (shape, values) = self.0.get(name).with_context(|| format!("no tensor {name}"))?;
        Ok((shape, values))
    }

    /// A transposed matrix: torch's `[out, in]` as `[in, out]`.
    pub fn transposed(&self, name: &str) -> Result<([usize; 2], Vec<f32>)> {
        let (shape, values) = self.get(name)?;
        let &[rows, columns] = shape else { bail!("{name} is no matrix: {shape:?}") };
        let at = |i: usize| values[i % rows * columns + i / rows];
        Ok(([columns, rows], (0..rows * columns).map(at).collect()))
    }
}

/// Answers requests until the input ends. `build` creates a model by name, with its weights and its batch, `x` and
/// `y`.
pub fn serve(build: impl Fn(&str, &Tensors, &Tensors) -> Result<Box<dyn Training>>) -> Result<()> {
    let mut training = None;
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let text = |name: &str| request[name].as_str().with_context(|| format!("no {name}"));
        let answer: Vec<f64> = if let Some(steps) = request["time"].as_u64() {
            let model: &mut Box<dyn Training> = training.as_mut().context("no model")?;
            let start = Instant::now();
            (0..steps).try_for_each(|_| model.step())?;
            model.loss()?;
            vec![start.elapsed().as_secs_f64()]
        } else {
            let files = [Tensors::read(text("weights")?)?, Tensors::read(text("batch")?)?];
            let model = training.insert(build(text("model")?, &files[0], &files[1])?);
            let steps = request["steps"].as_u64().context("no steps")?;
            (0..steps)
                .map(|_| {
                    model.step()?;
                    Ok(model.loss()?.into())
                })
                .collect::<Result<_>>()?
        };
        println!("{}", serde_json::to_string(&answer)?);
        std::io::stdout().flush()?;
    }
    Ok(())
}
