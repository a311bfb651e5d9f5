//! Where searches begin: normal, uniform, on a grid, in a Latin hypercube.

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::grad::Transforms;
use gradus::graph::Graph;
use gradus::nn::Init;
use gradus::search::{LHSSearch, Search, Space};
use plotters::prelude::*;
use serde_json::json;

use crate::contour::{self, Grid};
use crate::descent::descend_all;
use crate::sheet::{COLORS, Panel, Scale, UNITS, cells, panel, sheet, units};
use crate::{Picture, Stage};

const POINTS: usize = 25;
const HALF: f64 = 2.0;
/// Steps of Adam from each point.
const STEPS: usize = 150;

type Point = (f64, f64);

/// Many pits, the deepest near the middle.
fn value(x: f64, y: f64) -> f64 {
    (5.0 * x).sin() * (5.0 * y).cos() * (-0.1 * (x * x + y * y)).exp()
}

fn slope([x, y]: [f64; 2]) -> [f64; 2] {
    let bell = (-0.1 * (x * x + y * y)).exp();
    let wave = (5.0 * x).sin() * (5.0 * y).cos();
    [
        bell * (5.0 * (5.0 * x).cos() * (5.0 * y).cos() - 0.2 * x * wave),
        bell * (-5.0 * (5.0 * x).sin() * (5.0 * y).sin() - 0.2 * y * wave),
    ]
}

fn points_of(values: &[f32]) -> Vec<Point> {
    values.chunks(2).map(|at| (f64::from(at[0]), f64::from(at[1]))).collect()
}

/// Values of the library's initialisers.
fn drawn(gpu: &Gpu, init: Init) -> Result<Vec<Point>> {
    let graph = Graph::new();
    graph.parameter("x", [POINTS, 2], init);
    Ok(points_of(&graph.store(gpu, 5)?.read("x")?))
}

fn grid() -> Vec<Point> {
    let at = |number: usize| -HALF + 2.0 * HALF * number as f64 / 4.0;
    (0..POINTS).map(|number| (at(number % 5), at(number / 5))).collect()
}

fn hypercube(gpu: &Gpu) -> Result<Vec<Point>> {
    let space = Space::cube(2, -HALF, HALF);
    let builder = Search::builder(space, LHSSearch::default()).members(POINTS).budget(POINTS as u64).seed(5);
    Ok(points_of(&builder.build(gpu)?.ask()?))
}

/// Of 25 layers of each dimension, how many have a point, in the dimension with fewer.
fn layers(points: &[Point]) -> usize {
    let met = |of: fn(&Point) -> f64| {
        let mut met = [false; POINTS];
        for point in points {
            let place = (of(point) + HALF) / (2.0 * HALF) * POINTS as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in [0, POINTS)")]
            let layer = place.clamp(0.0, POINTS as f64 - 0.5) as usize;
            met[layer] |= (-HALF..=HALF).contains(&of(point));
        }
        met.into_iter().filter(|met| *met).count()
    };
    met(|point| point.0).min(met(|point| point.1))
}

/// Where Adam goes from all points at once.
fn ends(gpu: &Gpu, points: &[Point]) -> Result<Vec<Point>> {
    let starts: Vec<[f64; 2]> = points.iter().map(|point| [point.0, point.1]).collect();
    let adam = json!({"name": "Adam", "lr": 0.02});
    let ways = descend_all(gpu, &adam, Transforms::default(), &starts, STEPS, &slope)?;
    Ok(ways.into_iter().filter_map(|way| way.last().copied()).collect())
}

/// How many pits have an end.
fn pits(ends: &[Point]) -> usize {
    let mut pits: Vec<Point> = Vec::new();
    for end in ends {
        if pits.iter().all(|pit| (pit.0 - end.0).hypot(pit.1 - end.1) > 0.2) {
            pits.push(*end);
        }
    }
    pits.len()
}

fn draw_points(plot: &mut Panel<'_>, points: &[Point], ends: &[Point]) -> Result<()> {
    let range = -2.5..2.5;
    let inside = |point: &Point| range.contains(&point.0) && range.contains(&point.1);
    for (from, to) in points.iter().zip(ends).filter(|(from, to)| inside(from) && inside(to)) {
        plot.draw_series([PathElement::new(vec![*from, *to], COLORS[0].stroke_width(units(1)))])?;
        plot.draw_series([Circle::new(*to, 3 * UNITS, COLORS[0].filled())])?;
        plot.draw_series([Circle::new(*from, 4 * UNITS, COLORS[1].filled())])?;
    }
    Ok(())
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let starts = [
        ("normal", drawn(&stage.gpu, Init::Normal { std: 1.0 })?),
        ("uniform", drawn(&stage.gpu, Init::Uniform { bound: HALF })?),
        ("grid", grid()),
        ("Latin hypercube", hypercube(&stage.gpu)?),
    ];
    let mut all = Vec::new();
    for (name, points) in starts {
        let ends = ends(&stage.gpu, &points)?;
        let lowest = ends.iter().map(|at| value(at.0, at.1)).fold(f64::INFINITY, f64::min);
        all.push((name, layers(&points), pits(&ends), lowest, points, ends));
    }
    let met = |at: usize| all[at].1;
    ensure!(met(3) == POINTS && met(2) == 5, "layers of the hypercube: {}, of the grid: {}", met(3), met(2));
    ensure!(met(0) < 22 && met(1) < 22, "layers of normal points: {}, of uniform ones: {}", met(0), met(1));
    for (name, _, pits, lowest, ..) in &all {
        ensure!(*pits >= 5 && *lowest < -0.9, "{name}: {pits} pits, the lowest {lowest}");
    }
    let field = Grid::new(100, ((-2.5, 2.5), (-2.5, 2.5)), value);
    let levels: Vec<(f64, RGBColor)> =
        [(-0.8, 150), (-0.5, 170), (-0.2, 190), (0.2, 210), (0.5, 220), (0.8, 228)]
            .map(|(level, grey)| (level, RGBColor(grey, grey, grey)))
            .to_vec();
    let lines = [
        "Orange: 25 points. Blue: where Adam goes from each. Layers: of 25 slices of each dimension, those that have a point.",
        "Darker level lines are lower.",
    ];
    let title = "A Latin hypercube leaves no slice of any dimension without a point";
    let svg = sheet((880, 880), title, &lines, |body| {
        for (area, (name, layers, pits, _, points, ends)) in cells(body, 2, 2, 14)?.iter().zip(&all) {
            let axis = Scale::linear(-2.5..2.5, "");
            let heading = format!("{name}: {layers} layers of 25, {pits} pits found");
            let mut plot = panel(area, &heading, (&axis, &axis), 8)?;
            contour::draw(&mut plot, &field, &levels)?;
            draw_points(&mut plot, points, ends)?;
        }
        Ok(())
    })?;
    let said: Vec<String> =
        all.iter().map(|(name, layers, pits, ..)| format!("{name} {layers} ({pits} pits)")).collect();
    let shows = format!(
        "Of 25 layers of the box, 25 points are in so many, in the dimension with fewer: {}.",
        said.join(", ")
    );
    Ok(Picture { svg, shows })
}
