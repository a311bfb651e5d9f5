//! Where the members of three methods are, after some generations.

use anyhow::{Context, Result, ensure};
use gradus::Gpu;
use gradus::search::{CMA, GA, Method, PSO, Search, TestFunction, TestProblem};
use plotters::prelude::*;

use crate::Args;
use crate::contour::{self, Grid};
use crate::curves::quantile;
use crate::runs::space;
use crate::sheet::{COLORS, Scale, UNITS, cells, panel, save, sheet, units};

const MEMBERS: usize = 40;
const SHOWN: [usize; 4] = [0, 4, 12, 40];
/// Levels of the five pits, which are 1 deep.
const LEVELS: [(f64, RGBColor); 4] = [
    (-0.05, RGBColor(215, 215, 215)),
    (-0.3, RGBColor(185, 185, 185)),
    (-0.6, RGBColor(155, 155, 155)),
    (-0.9, RGBColor(125, 125, 125)),
];

/// A generation: its members, and the best of all so far.
struct Generation {
    members: Vec<(f64, f64)>,
    best: (f64, f64),
}

impl Generation {
    /// The median distance of the members to the minimum next to each.
    fn away(&self, minima: &[Vec<f64>]) -> f64 {
        let mut away: Vec<f64> = self.members.iter().map(|at| nearest(*at, minima)).collect();
        away.sort_by(f64::total_cmp);
        quantile(&away, 0.5)
    }
}

pub(crate) fn draw(gpu: &Gpu, args: &Args) -> Result<()> {
    let problem = TestFunction::Multimodal.in_dimensions(2)?;
    let methods: [(&str, Method); 3] = [
        ("CMA", CMA::default().into()),
        ("GA", GA { elites: 4, ..Default::default() }.into()),
        ("PSO", PSO::default().into()),
    ];
    let mut rows = Vec::new();
    for (name, method) in methods {
        let row = run(gpu, &problem, method)?;
        check(name, &row, &problem)?;
        rows.push((name, row));
    }
    let (low, high) = problem.function().bounds();
    let grid = Grid::new(40, ((low, high), (low, high)), |x, y| problem.value(&[x, y]));
    check_lines(&grid, &problem)?;
    let lines = [
        "Level lines: five pits, equally deep, in a plain.",
        "Blue: the members that are evaluated in this generation. Orange: the best so far. Crosses: the minima.",
    ];
    let svg = sheet((880, 722), "A population gathers in one of five minima", &lines, |body| {
        let areas = cells(body, 3, 4, 6)?;
        let generations = rows.iter().flat_map(|(name, row)| SHOWN.iter().zip(row).map(move |g| (name, g)));
        for (area, (name, (number, generation))) in areas.iter().zip(generations) {
            let axis = Scale::linear(low..high, "");
            let mut plot = panel(area, &format!("{name}, generation {number}"), (&axis, &axis), 6)?;
            contour::draw(&mut plot, &grid, &LEVELS)?;
            draw_members(&mut plot, generation, &problem)?;
        }
        Ok(())
    })?;
    save(&args.out, "population.svg", &svg)
}

/// The generations that are shown.
fn run(gpu: &Gpu, problem: &TestProblem, method: Method) -> Result<Vec<Generation>> {
    let last = SHOWN[SHOWN.len() - 1];
    let budget = (MEMBERS * (last + 1)) as u64;
    let mut search =
        Search::builder(space(problem), method).members(MEMBERS).seed(2).budget(budget).build(gpu)?;
    let point = |x: &[f32]| (f64::from(x[0]), f64::from(x[1]));
    let mut shown = Vec::new();
    for generation in 0..=last {
        let rows = search.ask()?;
        #[expect(clippy::cast_possible_truncation, reason = "losses are f32")]
        let loss = |x: &[f32]| problem.value(&[x[0].into(), x[1].into()]) as f32;
        let losses: Vec<f32> = rows.chunks(2).map(loss).collect();
        search.tell(&losses)?;
        if SHOWN.contains(&generation) {
            shown.push(Generation {
                members: rows.chunks(2).map(point).collect(),
                best: point(&search.best()?.x),
            });
        }
    }
    Ok(shown)
}

fn draw_members(
    plot: &mut crate::sheet::Panel<'_>,
    generation: &Generation,
    problem: &TestProblem,
) -> Result<()> {
    let minima = problem.argmins();
    let cross = |x: &Vec<f64>| Cross::new((x[0], x[1]), 4 * UNITS, BLACK.stroke_width(units(1)));
    plot.draw_series(minima.iter().map(cross))?;
    let blue = COLORS[0].mix(0.65);
    plot.draw_series(generation.members.iter().map(|at| Circle::new(*at, 3 * UNITS, blue.filled())))?;
    let best = Circle::new(generation.best, 5 * UNITS, COLORS[1].stroke_width(units(2)));
    plot.draw_series([best])?;
    Ok(())
}

/// Around each of the five pits is a closed line of each level, on which the function has nearly that value.
fn check_lines(grid: &Grid, problem: &TestProblem) -> Result<()> {
    for (level, _) in LEVELS {
        let lines = grid.lines(level);
        let closed = lines.iter().filter(|line| line.first() == line.last()).count();
        ensure!((lines.len(), closed) == (5, 5), "{} lines at {level}, {closed} of them closed", lines.len());
        for (x, y) in lines.concat() {
            let value = problem.value(&[x, y]);
            ensure!((value - level).abs() < 0.05, "{value} at ({x}, {y}), on the line of {level}");
        }
    }
    Ok(())
}

/// What the picture shows: members are far from the minima at first, and at last around one or several.
fn check(name: &str, row: &[Generation], problem: &TestProblem) -> Result<()> {
    let minima = problem.argmins();
    let (first, last) = (row.first().context("no generation")?, row.last().context("no generation")?);
    let (before, after) = (first.away(&minima), last.away(&minima));
    let best = nearest(last.best, &minima);
    println!("{name}: median distance to the next minimum {before:.3} at first, {after:.3} at last");
    ensure!(after < 0.5 * before, "{name}: members are {after} from the minima, after {before} at first");
    ensure!(best < 0.1, "{name}: the best is {best} from a minimum");
    Ok(())
}

fn nearest((x, y): (f64, f64), minima: &[Vec<f64>]) -> f64 {
    minima.iter().map(|at| (at[0] - x).hypot(at[1] - y)).fold(f64::INFINITY, f64::min)
}
