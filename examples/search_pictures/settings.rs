//! What the size of a population and the rate of mutations do: a genetic algorithm on Eggholder.

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::search::{GA, TestFunction};

use crate::Args;
use crate::curves::{self, Curve};
use crate::runs::{Runs, Setting};
use crate::sheet::{COLORS, Scale, cells, panel, save, sheet};

const GENERATIONS: u64 = 100;
const SIZES: [usize; 3] = [20, 100, 500];
/// Up to the default.
const RATES: [f64; 4] = [0.01, 0.1, 0.3, 0.7];
/// Members where mutation rates are compared.
const MEMBERS: usize = 100;

pub(crate) fn draw(gpu: &Gpu, args: &Args) -> Result<()> {
    let seeds = if args.quick { 5 } else { 31 };
    let problem = TestFunction::Eggholder.in_dimensions(2)?;
    let curve = |name: String, color, members: usize, ga: GA| -> Result<Curve> {
        let setting =
            Setting { method: ga.into(), members: Some(members), budget: members as u64 * GENERATIONS };
        let runs = Runs::of(gpu, &problem, &setting, seeds)?;
        Ok(Curve::median(name, color, &runs.generations(), &runs.gaps))
    };
    let sizes: Result<Vec<Curve>> = SIZES
        .iter()
        .zip(COLORS)
        .map(|(&size, color)| curve(format!("{size} members"), color, size, GA::default()))
        .collect();
    let rates: Result<Vec<Curve>> = RATES
        .iter()
        .zip(COLORS)
        .map(|(&mutation, color)| {
            curve(format!("rate {mutation}"), color, MEMBERS, GA { mutation, ..GA::default() })
        })
        .collect();
    let (sizes, rates) = (sizes?, rates?);
    for curve in sizes.iter().chain(&rates) {
        println!("eggholder, {}: median {:.3e}", curve.name, curve.end());
    }
    let end = |curves: &[Curve], at: usize| curves[at].end();
    ensure!(end(&sizes, 2) < end(&sizes, 0), "500 members found less than 20");
    ensure!(end(&rates, 3) < end(&rates, 0), "a mutation rate of 0.7 found less than 0.01");
    let line = format!(
        "A genetic algorithm on Eggholder, with {MEMBERS} members and a mutation rate of {} where not said otherwise.",
        GA::default().mutation
    );
    let reading = format!(
        "Line: median of {seeds} seeds; band: the middle half of them. At 2.7 is the next best minimum."
    );
    let svg = sheet((880, 430), "The size of a population and its mutations", &[&line, &reading], |body| {
        let areas = cells(body, 1, 2, 10)?;
        let panels = [("Effect of population size", &sizes), ("Effect of mutation rate", &rates)];
        for (area, (heading, curves)) in areas.iter().zip(panels) {
            let x = Scale::linear(1.0..GENERATIONS as f64, "generation");
            let y = Scale::log(1e-3..1e3, "best f − minimum");
            let mut plot = panel(area, heading, (&x, &y), 104)?;
            curves::draw(area, &mut plot, curves)?;
        }
        Ok(())
    })?;
    save(&args.out, "settings.svg", &svg)
}
