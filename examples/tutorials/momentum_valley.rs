//! Gradient descent and momentum in a valley that is fifty times steeper across than along.

use anyhow::{Result, ensure};
use gradus::grad::Transforms;
use plotters::prelude::*;
use serde_json::json;

use crate::contour::{self, Grid};
use crate::curves;
use crate::descent::{descend, numbered};
use crate::paths::{self, Path};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage, key};

const STEPS: usize = 60;
const START: [f64; 2] = [-4.0, 1.1];
const RATE: f64 = 0.09;
const MOMENTUM: f64 = 0.7;
const GREY: RGBColor = RGBColor(190, 190, 190);

fn value(x: f64, y: f64) -> f64 {
    0.2 * x * x + 10.0 * y * y
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let rules = [
        ("gradient descent", json!({"name": "SGD", "lr": RATE})),
        ("momentum", json!({"name": "SGD", "lr": RATE, "momentum": MOMENTUM})),
        ("Adam", json!({"name": "Adam", "lr": 0.3})),
    ];
    let mut ways = Vec::new();
    for ((name, rule), color) in rules.into_iter().zip(COLORS) {
        let slope = |[x, y]: [f64; 2]| [0.4 * x, 20.0 * y];
        let points = descend(&stage.gpu, &rule, Transforms::default(), START, STEPS, &slope)?;
        ways.push(Path { name: name.to_owned(), color, points });
    }
    let distance = |way: &Path| way.points.iter().map(|(x, y)| x.hypot(*y)).collect::<Vec<f64>>();
    let distances: Vec<_> =
        ways.iter().map(|way| numbered(way.name.clone(), way.color, distance(way))).collect();
    let grid = Grid::new(120, ((-4.6, 1.6), (-1.5, 1.5)), value);
    let levels: Vec<(f64, RGBColor)> =
        [0.05, 0.3, 1.0, 2.0, 4.0, 7.0, 11.0, 16.0].map(|level| (level, GREY)).to_vec();
    let line = format!(
        "f = 0.2 x² + 10 y². Gradient descent and momentum {MOMENTUM} at the same rate of {RATE}; Adam at 0.3."
    );
    let title = "In a narrow valley momentum keeps what steps have in common";
    let svg = sheet((880, 420), title, &[&line, "Ring: the start. Cross: the minimum."], |body| {
        let areas = cells(body, 1, 2, 14)?;
        let (x, y) = (Scale::linear(-4.6..1.6, "x"), Scale::linear(-1.5..1.5, "y"));
        let mut plot = panel(&areas[0], "The first 25 steps", (&x, &y), 8)?;
        contour::draw(&mut plot, &grid, &levels)?;
        let first: Vec<Path> =
            ways.iter().map(|way| Path { points: way.points[..=25].to_vec(), ..way.clone() }).collect();
        paths::draw(&mut plot, &first)?;
        paths::cross(&mut plot, (0.0, 0.0))?;
        let names: Vec<_> = ways.iter().map(|way| (way.name.as_str(), way.color)).collect();
        key::row(&areas[0], (70, 29), &names)?;
        let (x, y) =
            (Scale::linear(0.0..STEPS as f64, "step"), Scale::log(1e-5..10.0, "distance to the minimum"));
        let mut plot = panel(&areas[1], "Convergence", (&x, &y), 116)?;
        curves::draw(&areas[1], &mut plot, &distances)
    })?;
    let [plain, momentum, adam] = [0, 1, 2].map(|at| distances[at].end());
    let expected = START[0].abs() * (1.0 - 0.4 * RATE).powi(60);
    ensure!((plain / expected - 1.0).abs() < 1e-3, "gradient descent ends at {plain}, not at {expected}");
    ensure!(momentum < 1e-2 * plain, "momentum ends at {momentum}, gradient descent at {plain}");
    let shows = format!(
        "After {STEPS} steps at the same rate gradient descent is {plain:.2} from the minimum and momentum {momentum:.0e}: \
         steps across the valley cancel, steps along it add up. Adam, with a rate of 0.3, is {adam:.2} away."
    );
    Ok(Picture { svg, shows })
}
