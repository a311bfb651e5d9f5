//! Where four optimizers go on four functions.

use anyhow::{Result, bail, ensure};
use gradus::grad::Transforms;
use gradus::search::{TestFunction, TestProblem};
use plotters::prelude::*;
use serde_json::json;

use crate::contour::{self, Grid};
use crate::descent::descend;
use crate::paths::{self, Path};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage, key};

const NAMES: [&str; 4] = ["gradient descent", "momentum", "RMSprop", "Adam"];

/// A function, the box that is shown, where all begin, and the rate of each.
struct Scene {
    function: TestFunction,
    heading: &'static str,
    x: (f64, f64),
    y: (f64, f64),
    start: [f64; 2],
    rates: [f64; 4],
    steps: usize,
    /// How many level lines, and whether their levels are powers.
    levels: (i32, bool),
}

const SCENES: [Scene; 4] = [
    Scene {
        function: TestFunction::Rosenbrock,
        heading: "Rosenbrock: one bent valley",
        x: (-2.0, 2.0),
        y: (-1.0, 3.0),
        start: [-1.5, 2.6],
        rates: [8e-4, 1e-3, 0.02, 0.1],
        steps: 500,
        levels: (9, true),
    },
    Scene {
        function: TestFunction::Rastrigin,
        heading: "Rastrigin: a minimum near each whole number",
        x: (-0.7, 4.1),
        y: (-4.1, 0.7),
        start: [3.4, -2.6],
        rates: [2e-3, 5e-3, 0.02, 0.7],
        steps: 200,
        levels: (7, false),
    },
    Scene {
        function: TestFunction::Ackley,
        heading: "Ackley: a funnel in a rough plain",
        x: (-1.2, 2.8),
        y: (-2.8, 1.2),
        start: [2.3, -1.7],
        rates: [0.02, 0.04, 0.02, 0.6],
        steps: 200,
        levels: (9, false),
    },
    Scene {
        function: TestFunction::Eggholder,
        heading: "Eggholder: deep pits, the deepest at the edge",
        x: (-130.0, 520.0),
        y: (-130.0, 520.0),
        start: [-20.0, 120.0],
        rates: [1.0, 2.0, 2.0, 80.0],
        steps: 200,
        levels: (7, false),
    },
];

/// Grey levels over the values of the grid, darker where they are lower.
fn levels(scene: &Scene, problem: &TestProblem) -> Vec<(f64, RGBColor)> {
    let ends = |(low, high): (f64, f64)| (0..=40).map(move |at| low + (high - low) * f64::from(at) / 40.0);
    let values = ends(scene.y).flat_map(|y| ends(scene.x).map(move |x| problem.value(&[x, y])));
    let highest = values.fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = (problem.minimum(), highest);
    let (count, powers) = scene.levels;
    (1..=count)
        .map(|number| {
            let part = f64::from(number) / f64::from(count + 1);
            let level = if powers {
                low + (high - low) * 1e-4_f64.powf(1.0 - part)
            } else {
                low + (high - low) * part
            };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in [150, 225]")]
            let grey = (150.0 + 75.0 * part) as u8;
            (level, RGBColor(grey, grey, grey))
        })
        .collect()
}

fn run(stage: &Stage, scene: &Scene, problem: &TestProblem) -> Result<Vec<Path>> {
    let [plain, momentum, rmsprop, adam] = scene.rates;
    let rules = [
        json!({"name": "SGD", "lr": plain}),
        json!({"name": "SGD", "lr": momentum, "momentum": 0.9}),
        json!({"name": "RMSprop", "lr": rmsprop}),
        json!({"name": "Adam", "lr": adam}),
    ];
    let slope = |x: [f64; 2]| {
        let gradient = problem.gradient(&x);
        [gradient[0], gradient[1]]
    };
    let mut ways = Vec::new();
    for ((rule, name), color) in rules.iter().zip(NAMES).zip(COLORS) {
        let points = descend(&stage.gpu, rule, Transforms::default(), scene.start, scene.steps, &slope)?;
        ways.push(Path { name: name.to_owned(), color, points });
    }
    Ok(ways)
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let mut runs = Vec::new();
    for scene in &SCENES {
        let problem = scene.function.in_dimensions(2)?;
        let ways = run(stage, scene, &problem)?;
        let value = |(x, y): (f64, f64)| problem.value(&[x, y]) - problem.minimum();
        let gaps: Vec<f64> = ways.iter().map(|way| value(way.end())).collect();
        let first = value(ways[0].points[0]);
        ensure!(gaps.iter().all(|gap| *gap < first), "{}: {gaps:?} from {first}", scene.function.name());
        runs.push((scene, problem, ways, gaps));
    }
    let lines = [
        "Ring: the start of all. Discs: where each ends. Cross: the minimum. Grey: level lines, darker where it is lower.",
    ];
    let shows = check(&runs.iter().map(|(.., gaps)| gaps.clone()).collect::<Vec<_>>())?;
    let title = "Momentum and Adam are faster along a valley; most stay in the pit where they begin";
    let svg = sheet((880, 860), title, &lines, |body| {
        let names: Vec<_> = NAMES.into_iter().zip(COLORS).collect();
        key::row(body, (0, 6), &names)?;
        let (_, below) = body.split_vertically(20 * crate::sheet::UNITS);
        for (area, (scene, problem, ways, _)) in cells(&below, 2, 2, 14)?.iter().zip(&runs) {
            let (x, y) = (Scale::linear(scene.x.0..scene.x.1, ""), Scale::linear(scene.y.0..scene.y.1, ""));
            let mut plot = panel(area, scene.heading, (&x, &y), 8)?;
            let grid = Grid::new(120, (scene.x, scene.y), |x, y| problem.value(&[x, y]));
            contour::draw(&mut plot, &grid, &levels(scene, problem))?;
            paths::draw(&mut plot, ways)?;
            for minimum in problem.argmins() {
                paths::cross(&mut plot, (minimum[0], minimum[1]))?;
            }
        }
        Ok(())
    })?;
    Ok(Picture { svg, shows })
}

/// What the picture shows, from the differences to the minimum: of each function, of each optimizer.
fn check(gaps: &[Vec<f64>]) -> Result<String> {
    let [rosenbrock, rastrigin, ackley, eggholder] = gaps else { bail!("{} functions", gaps.len()) };
    ensure!(rosenbrock[1].max(rosenbrock[3]) < 0.05 * rosenbrock[0], "Rosenbrock: {rosenbrock:?}");
    // The pits next to the starts.
    for (name, gaps, pit) in
        [("Rastrigin", rastrigin, 17.909), ("Ackley", ackley, 6.560), ("Eggholder", eggholder, 753.07)]
    {
        ensure!((gaps[0] - pit).abs() < 0.01 * pit, "{name}: gradient descent ends {} above", gaps[0]);
    }
    ensure!(rastrigin[1] < 0.7 * rastrigin[0], "Rastrigin: momentum ends in the first pit, {rastrigin:?}");
    ensure!(ackley[3] < 0.2 * ackley[0], "Ackley: Adam ends outside of the middle, {ackley:?}");
    ensure!(eggholder[3] < 0.8 * eggholder[0], "Eggholder: Adam ends in the first pit, {eggholder:?}");
    Ok(format!(
        "Above the minimum of Rosenbrock gradient descent ends by {:.2}, RMSprop by {:.2}, Adam by {:.3} and momentum by {:.4} \
         after 500 steps. Among many pits gradient descent ends in the next one: by {:.1} on Rastrigin, {:.2} on Ackley and \
         {:.0} on Eggholder. Speed carries momentum to {:.1} on Rastrigin; large steps carry Adam to {:.2} on Ackley and \
         {:.0} on Eggholder.",
        rosenbrock[0],
        rosenbrock[2],
        rosenbrock[3],
        rosenbrock[1],
        rastrigin[0],
        ackley[0],
        eggholder[0],
        rastrigin[1],
        ackley[3],
        eggholder[3]
    ))
}
