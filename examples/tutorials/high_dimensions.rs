//! Distances of random points: the more dimensions, the more alike.

use anyhow::{Result, ensure};
use gradus::graph::Graph;
use gradus::nn::Init;

use crate::histogram::{self, Values};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const DIMENSIONS: [usize; 4] = [2, 10, 100, 1000];
const POINTS: usize = 200;

/// The distances of all pairs of normal points, in units of their mean.
fn distances(stage: &Stage, dimensions: usize) -> Result<Vec<f32>> {
    let graph = Graph::new();
    graph.parameter("points", [POINTS, dimensions], Init::Normal { std: 1.0 });
    let values = graph.store(&stage.gpu, 1)?.read("points")?;
    let points: Vec<&[f32]> = values.chunks(dimensions).collect();
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    let all: Vec<f32> = (0..POINTS)
        .flat_map(|first| (0..first).map(move |second| (first, second)))
        .map(|(first, second)| distance(points[first], points[second]))
        .collect();
    let mean = all.iter().sum::<f32>() / all.len() as f32;
    Ok(all.into_iter().map(|distance| distance / mean).collect())
}

/// Standard deviation around 1.
fn deviation(values: &[f32]) -> f64 {
    (values.iter().map(|x| (f64::from(*x) - 1.0).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let mut all = Vec::new();
    for dimensions in DIMENSIONS {
        let values = distances(stage, dimensions)?;
        let (measured, expected) = (deviation(&values), 1.0 / (2.0 * dimensions as f64).sqrt());
        ensure!(
            (0.8..1.2).contains(&(measured / expected)),
            "{dimensions} dimensions: deviation {measured}, expected {expected}"
        );
        all.push((format!("{dimensions}"), measured, values));
    }
    let line = format!("All pairs of {POINTS} normal points in 2, 10, 100 and 1,000 dimensions.");
    let title = "In many dimensions all points are about equally far apart";
    let svg = sheet((880, 380), title, &[&line], |body| {
        let area = &cells(body, 1, 1, 0)?[0];
        let (x, y) =
            (Scale::linear(0.0..3.0, "distance, in units of the mean"), Scale::log(0.8..2e4, "pairs"));
        let mut plot = panel(area, "Distances", (&x, &y), 8)?;
        let series: Vec<Values<'_>> =
            all.iter().zip(COLORS).map(|((name, _, values), color)| Values { name, color, values }).collect();
        histogram::draw(area, &mut plot, 120, &series)
    })?;
    let said: Vec<String> =
        all.iter().map(|(name, deviation, _)| format!("{:.1} % in {name}", 100.0 * deviation)).collect();
    let shows = format!(
        "Distances of random points deviate from their mean by {} dimensions: as one over the root of twice the number.",
        said.join(", ")
    );
    Ok(Picture { svg, shows })
}
