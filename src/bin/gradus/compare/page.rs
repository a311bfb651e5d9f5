//! A page of eight panels.

use anyhow::Result;
use plotters::prelude::*;
use serde_json::Value;

use super::problem::Problem;
use super::summary::{Middle, Summary, WINDOW, mean, relative, variance};
use super::tables;
use crate::bars::{self, Bar, Row};
use crate::curves::{self, Curve};
use crate::sheet::{Area, COLORS, Scale, cells, panel, sheet};

const WIDTH: i32 = 960;
/// Least height of a panel, and of an optimizer in it, in pixels.
const HEIGHT: i32 = 250;
const EACH: i32 = 26;
/// Decades that a logarithmic axis has at most.
const DECADES: i32 = 6;

/// Draws what the runs have recorded.
pub(crate) fn draw(all: &[Summary<'_>], problem: &Problem) -> Result<String> {
    let page = Page { all, epochs: problem.epochs, steps_per_epoch: problem.steps_per_epoch() };
    let count = i32::try_from(all.len())?;
    let height = 112 + 4 * HEIGHT.max(90 + EACH * count) + 3 * 14;
    let seeds = if problem.seeds == 1 {
        "One seed of each.".to_owned()
    } else {
        format!(
            "Curves and bars are medians over {} seeds, bands and lines on bars quartiles.",
            problem.seeds
        )
    };
    let steps = format!(
        "Training losses are means over the last {WINDOW} steps. A curve ends where most runs have diverged."
    );
    let (model, data) = (named(&problem.model_json, "layers"), named(&problem.data_json, "data"));
    let optimizers = if count == 1 { "One optimizer".to_owned() } else { format!("{count} optimizers") };
    let title =
        format!("{optimizers} on {data}: {model}, {} epochs in batches of {}", page.epochs, problem.batch);
    sheet((WIDTH, height), &title, &[&seeds, &steps], |body| {
        let areas = cells(body, 4, 2, 14)?;
        page.training_loss(&areas[0])?;
        page.validation_loss(&areas[1])?;
        page.accuracy(&areas[2])?;
        page.convergence(&areas[3])?;
        page.time(&areas[4])?;
        page.final_losses(&areas[5])?;
        page.variance(&areas[6])?;
        page.bytes(&areas[7])
    })
}

/// The name in a table of settings.
fn named(json: &Value, otherwise: &str) -> String {
    json.as_str().or(json["name"].as_str()).unwrap_or(otherwise).to_owned()
}

struct Page<'p> {
    all: &'p [Summary<'p>],
    epochs: u64,
    steps_per_epoch: u64,
}

impl Page<'_> {
    /// A color of its own for each of 14: those of the second half are halfway to grey.
    fn color(number: usize) -> RGBColor {
        let RGBColor(r, g, b) = COLORS[number % COLORS.len()];
        let grey = |part: u8| part / 2 + 60;
        if (number / COLORS.len()).is_multiple_of(2) {
            RGBColor(r, g, b)
        } else {
            RGBColor(grey(r), grey(g), grey(b))
        }
    }

    /// A curve for each optimizer.
    fn curves(&self, x: &[f64], runs: impl Fn(&Summary<'_>) -> Vec<Vec<f64>>) -> Vec<Curve> {
        let curve = |(number, one): (usize, &Summary<'_>)| {
            Curve::median(one.contender.short(), Self::color(number), x, &runs(one))
        };
        self.all.iter().enumerate().map(curve).collect()
    }

    /// Curves over the steps, in epochs.
    fn by_step(&self, of: impl Fn(&[f32]) -> f64 + Copy) -> Vec<Curve> {
        let steps = self.epochs * self.steps_per_epoch;
        let x: Vec<f64> = (1..=steps).map(|step| step as f64 / self.steps_per_epoch as f64).collect();
        self.curves(&x, |one| one.by_step(x.len(), of))
    }

    fn plot(&self, area: &Area<'_>, heading: &str, y: &Scale<'_>, curves: &[Curve]) -> Result<()> {
        let longest = curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0);
        let x = Scale::linear(0.0..self.epochs as f64, "epoch");
        let mut plot = panel(area, heading, (&x, y), 26 + 7 * i32::try_from(longest)?)?;
        curves::draw(area, &mut plot, curves)
    }

    fn training_loss(&self, area: &Area<'_>) -> Result<()> {
        let curves = self.by_step(mean);
        self.plot(area, "Training loss", &log_axis(&curves, "loss"), &curves)
    }

    fn validation_loss(&self, area: &Area<'_>) -> Result<()> {
        let x: Vec<f64> = (0..=self.epochs).map(|epoch| epoch as f64).collect();
        let curves = self.curves(&x, |one| {
            one.by_epoch(x.len(), f64::INFINITY, |record| {
                let start = record.start.map_or(f64::INFINITY, |(loss, _)| loss);
                [&[start], &record.epochs.val_loss[..]].concat()
            })
        });
        self.plot(area, "Validation loss", &log_axis(&curves, "loss"), &curves)
    }

    fn accuracy(&self, area: &Area<'_>) -> Result<()> {
        let x: Vec<f64> = (1..=self.epochs).map(|epoch| epoch as f64).collect();
        let curves = self.curves(&x, |one| {
            one.by_epoch(x.len(), f64::NEG_INFINITY, |record| record.epochs.val_accuracy.clone())
        });
        let lowest = values(&curves).fold(1.0, f64::min);
        let y = Scale::linear((lowest * 20.0).floor() / 20.0 - 0.01..1.01, "accuracy");
        self.plot(area, "Validation accuracy", &y, &curves)
    }

    fn convergence(&self, area: &Area<'_>) -> Result<()> {
        let curves = self.by_step(relative);
        self.plot(area, "Convergence", &log_axis(&curves, "training loss / loss of the first step"), &curves)
    }

    fn variance(&self, area: &Area<'_>) -> Result<()> {
        // A variance over fewer steps says little.
        let mut curves = self.by_step(variance);
        for curve in &mut curves {
            let first = curve.x.partition_point(|x| x * self.steps_per_epoch as f64 + 0.5 < WINDOW as f64);
            curve.x.drain(..first);
            curve.y.drain(..first);
            curve.band.drain(..first);
        }
        let words = format!("variance over {WINDOW} steps");
        self.plot(area, "Stability of the training loss", &log_axis(&curves, &words), &curves)
    }

    fn time(&self, area: &Area<'_>) -> Result<()> {
        let of = |number: usize, one: &Summary<'_>| {
            let middle = one.seconds();
            vec![bar(Self::color(number).to_rgba(), middle, seconds(middle.median))]
        };
        self.bars(area, "Time an epoch, without evaluation", "seconds", f64::INFINITY, of)
    }

    fn final_losses(&self, area: &Area<'_>) -> Result<()> {
        let of = |number: usize, one: &Summary<'_>| {
            let color = Self::color(number);
            let said = |middle: Middle, otherwise: &str| match middle.median {
                median if median.is_finite() => tables::number(median),
                _ => otherwise.to_owned(),
            };
            let (train, val) = (one.train_loss(), one.val_loss());
            vec![
                bar(color.mix(0.4), train, said(train, "diverged")),
                bar(color.to_rgba(), val, said(val, "")),
            ]
        };
        let starts = self.all.iter().flat_map(|one| one.runs).filter_map(|(record, _)| record.start);
        let most = 1.2 * starts.map(|(loss, _)| loss).fold(0.0, f64::max);
        let heading = "Loss after the last epoch (pale: training, full: validation)";
        self.bars(area, heading, "loss", if most > 0.0 { most } else { f64::INFINITY }, of)
    }

    fn bytes(&self, area: &Area<'_>) -> Result<()> {
        let of = |number: usize, one: &Summary<'_>| {
            let (median, color) = (one.bytes(), Self::color(number).to_rgba());
            vec![bar(color, Middle { median, band: (median, median) }, format!("{median:.2}"))]
        };
        self.bars(area, "Optimizer state, as measured", "bytes a parameter", f64::INFINITY, of)
    }

    /// Bars for each optimizer, on an axis that ends at `most` or before.
    fn bars(
        &self,
        area: &Area<'_>,
        heading: &str,
        words: &str,
        most: f64,
        of: impl Fn(usize, &Summary<'_>) -> Vec<Bar>,
    ) -> Result<()> {
        let row =
            |(number, one): (usize, &Summary<'_>)| Row { name: one.contender.short(), bars: of(number, one) };
        let rows: Vec<Row> = self.all.iter().enumerate().map(row).collect();
        let ends = rows.iter().flat_map(|row| &row.bars).flat_map(|bar| [bar.value, bar.band.1]);
        let end = ends.filter(|end| end.is_finite()).fold(0.0, f64::max).min(most);
        let end = if end > 0.0 { 1.04 * end } else { 1.0 };
        bars::draw(area, heading, &Scale::linear(0.0..end, words), &rows)
    }
}

fn bar(color: RGBAColor, Middle { median, band }: Middle, label: String) -> Bar {
    Bar { color, value: median, band, label }
}

fn seconds(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".into(),
        value if value < 1.0 => format!("{:.0} ms", value * 1e3),
        value => format!("{value:.2} s"),
    }
}

/// The values of all curves and bands.
fn values(curves: &[Curve]) -> impl Iterator<Item = f64> {
    let of = |curve: &Curve| {
        curve.y.clone().into_iter().chain(curve.band.clone().into_iter().flat_map(|(a, b)| [a, b]))
    };
    curves.iter().flat_map(of).filter(|value| value.is_finite())
}

/// A logarithmic axis that ends a little above where the curves begin: what is beyond is drawn at its end.
fn log_axis<'w>(curves: &[Curve], words: &'w str) -> Scale<'w> {
    let first = curves.iter().filter_map(|curve| curve.y.first()).copied().fold(0.0, f64::max);
    let high = values(curves).fold(0.0, f64::max).min(2.0 * first);
    if high <= 0.0 {
        return Scale::log(0.1..1.0, words);
    }
    let lowest = values(curves).filter(|value| *value > 0.0).fold(high, f64::min);
    let low = lowest.max(high * 10_f64.powi(-DECADES));
    Scale::log(low / 1.15..high * 1.15, words)
}
