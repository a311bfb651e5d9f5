//! A network learns without gradients: 8x8 digits, 64-32-10, by a natural evolution strategy over its parameters.
//!
//! The 1,797 digits of UCI that `smartcore` carries, 1,437 to learn from. Each generation is evaluated on the device, and
//! nothing comes back but the best loss.
//!
//! `cargo run --release --example search_digits [-- <method>]`, where the method is `SNES`, the default, or `OpenAIES`.

#[path = "support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use gradus::graph::Graph;
use gradus::predict::Predictor;
use gradus::search::{Method, Objective, OpenAIES, SNES, Search};
use gradus::train::{GraphLoss, classes_of};
use gradus::{Gpu, GpuOptions};

const MEMBERS: usize = 64;
const MOST_GENERATIONS: u64 = 1500;
const WANTED: f64 = 0.9;

fn main() -> Result<()> {
    let start = Instant::now();
    let name = std::env::args().nth(1);
    let method: Method = match name.as_deref() {
        None | Some("SNES") => SNES { sigma: 0.1, width_rate: Some(0.05), ..Default::default() }.into(),
        Some("OpenAIES") => OpenAIES { sigma: 0.05, lr: 0.05, ..Default::default() }.into(),
        Some(other) => bail!("expected SNES or OpenAIES, got {other}"),
    };
    let [train, test] = digits::read()?;
    let scaled = |pixels: &[f32]| pixels.iter().map(|pixel| pixel / 16.0).collect::<Vec<f32>>();
    let (images, unseen) = (scaled(&train.pixels), scaled(&test.pixels));
    let labels: Vec<u32> = train.labels.iter().copied().map(u32::from).collect();

    let graph = Graph::new();
    let input = graph.input("images", [train.labels.len(), 64]);
    let logits = input.linear(32).tanh().linear(10);
    let loss = logits.cross_entropy(&graph.labels("labels", train.labels.len()));
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut params = graph.store(&gpu, 1)?;
    let mut own = GraphLoss::new(&graph, &loss, &mut params, &[("images", &images), ("labels", &labels)])?;
    println!("{} parameters by {}, {MEMBERS} members", own.dimensions(), method.name());

    let builder = Search::builder(own.space(), method).members(MEMBERS).start(&own.get()?);
    let mut search = builder.budget(MOST_GENERATIONS * MEMBERS as u64).target(0.3).build(&gpu)?;
    let mut shown = 0;
    let found = search.minimize_with(&mut Objective::device(&mut own), |so_far| {
        if so_far.nit >= shown + 100 {
            shown = so_far.nit;
            println!("generation {:>4}: loss {:.4}, {:.0?}", so_far.nit, so_far.fun, start.elapsed());
        }
        true
    })?;
    own.set(&found.x)?;

    let mut predictor = Predictor::new(&graph, params, &[("logits", &logits)])?;
    let classes = classes_of(&predictor.predict(&[("images", &unseen)])?.take("logits")?.values, 10)?;
    let right =
        classes.iter().zip(&test.labels).filter(|(class, label)| **class == u32::from(**label)).count();
    let accuracy = right as f64 / test.labels.len() as f64;
    println!(
        "{} generations, loss {:.4}, {right} of {} unseen digits: {accuracy:.3}, {:.0?}",
        found.nit,
        found.fun,
        test.labels.len(),
        start.elapsed()
    );
    ensure!(accuracy >= WANTED, "expected {WANTED}");
    Ok(())
}
