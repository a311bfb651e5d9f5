//! Plots of a run's history as one SVG picture. Requires the feature `report`.

mod axis;
mod overlay;
mod style;

use std::error::Error as StdError;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use self::axis::{Axis, tame};
pub use self::overlay::overlay;
use self::style::{AXIS, GRID, UNITS, font, printable, units};
use super::History;
use crate::error::Error;

/// Prefixes of columns that share a panel, with colours that are distinguishable with colour blindness (Okabe and Ito
/// 2008).
const SERIES: [(&str, RGBColor); 4] = [
    ("train", RGBColor(0, 114, 178)),
    ("test", RGBColor(213, 94, 0)),
    ("val", RGBColor(204, 121, 167)),
    ("valid", RGBColor(230, 159, 0)),
];
const ALONE: RGBColor = RGBColor(0, 158, 115);
const WIDTH: i32 = 880;
const MARGIN: i32 = 16;
const TITLE: i32 = 52;
const HEADER: i32 = 34;
const ROW: i32 = 290;
const LOW_ROW: i32 = 220;
/// Space between panels and below each, in pixels.
const GAP: i32 = 22;

/// Space at the right of a plot for half a dot or label, in pixels.
const EDGE: i32 = 8;

/// Maximum number of rows for which each value has a dot.
const DOTTED: usize = 40;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Draws a history as an SVG picture, 880 pixels wide, with `title` above.
///
/// Each quantity has a panel over the epochs. Columns named `train_x`, `test_x`, `val_x` and `valid_x` are lines in the
/// panel of `x`; every other column has a panel of its own. `lr` is titled as the learning rate. `accuracy` and columns
/// ending in `_accuracy` are fractions, shown in percent. An axis is logarithmic if its values are positive and span
/// orders of magnitude. A line has a gap where a value is not finite (or above 1e100).
///
/// Equal histories and titles give equal bytes; the picture depends on nothing else.
///
/// ```
/// use gradus::train::{History, report};
///
/// let mut history = History::new(["train_loss", "test_loss", "test_accuracy", "lr"])?;
/// history.push(1, 45, &[1.1, 0.9, 0.71, 1e-3])?;
/// history.push(2, 90, &[0.6, 0.5, 0.88, 1e-3])?;
/// let svg = report::svg(&history, "CNN, AdamW, UCI digits: 88 % of the test set")?;
/// assert!(svg.starts_with("<svg ") && svg.contains("Learning rate"));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] for a history without rows or columns.
pub fn svg(history: &History, title: &str) -> Result<String, Error> {
    let refuse = |reason: String| Error::Config { what: "report".into(), reason };
    if history.rows().is_empty() || history.columns().is_empty() {
        return Err(refuse("a history without rows or columns has no curves".into()));
    }
    draw(history, title).map_err(|error| refuse(error.to_string()))
}

/// The curves of one quantity.
struct Panel<'a> {
    quantity: &'a str,
    curves: Vec<Curve<'a>>,
}

struct Curve<'a> {
    name: &'a str,
    color: RGBColor,
    values: Vec<f64>,
}

fn panels(history: &History) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for (index, column) in history.columns().iter().enumerate() {
        let (quantity, name, color) = split(column);
        let factor = if is_fraction(quantity) { 100.0 } else { 1.0 };
        let values = history.rows().iter().map(|row| tame(factor * row.values[index])).collect();
        let curve = Curve { name, color, values };
        match panels.iter_mut().find(|panel| panel.quantity == quantity) {
            Some(panel) => panel.curves.push(curve),
            None => panels.push(Panel { quantity, curves: vec![curve] }),
        }
    }
    panels
}

/// The quantity of a column, its series and the series' colour.
fn split(column: &str) -> (&str, &str, RGBColor) {
    if let Some((prefix, quantity)) = column.split_once('_')
        && let Some((name, color)) = SERIES.iter().find(|(name, _)| *name == prefix)
    {
        return (quantity, name, *color);
    }
    (column, "", ALONE)
}

fn is_fraction(quantity: &str) -> bool {
    quantity == "accuracy" || quantity.ends_with("_accuracy")
}

fn heading(quantity: &str, log: bool) -> String {
    let words = if quantity == "lr" { "learning rate".to_owned() } else { quantity.replace('_', " ") };
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let unit = if is_fraction(quantity) { " (%)" } else { "" };
    let scale = if log { ", log scale" } else { "" };
    first + chars.as_str() + unit + scale
}

fn draw(history: &History, title: &str) -> Drawn<String> {
    let panels = panels(history);
    let rows = panels.chunks(2).map(|row| if row.len() == 1 && panels.len() > 1 { LOW_ROW } else { ROW });
    let height = TITLE + rows.clone().sum::<i32>();
    picture(height, |root| {
        draw_title(root, title)?;
        let mut top = TITLE;
        for (row, height) in panels.chunks(2).zip(rows) {
            let columns = i32::try_from(row.len())?;
            let width = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns;
            for (panel, column) in row.iter().zip(0..) {
                let area = root.clone().shrink(
                    ((MARGIN + column * (width + GAP)) * UNITS, top * UNITS),
                    (units(width), units(height - GAP)),
                );
                draw_panel(&area, panel, history, if columns == 1 { 8.0 } else { 5.0 })?;
            }
            top += height;
        }
        Ok(())
    })
}

/// A picture of this height in pixels.
fn picture(height: i32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Drawn<String> {
    let mut picture = String::new();
    let root = SVGBackend::with_string(&mut picture, (units(WIDTH), units(height))).into_drawing_area();
    root.fill(&WHITE)?;
    draw(&root)?;
    root.present()?;
    drop(root);
    let size = |unit: i32| format!("<svg width=\"{}\" height=\"{}\"", WIDTH * unit, height * unit);
    Ok(picture.replacen(&size(UNITS), &(size(1) + " stroke-linejoin=\"round\""), 1))
}

/// Draws one line: smaller if it is long, and cut if it is longer still.
fn draw_title(root: &Area<'_>, title: &str) -> Drawn {
    let mut title = printable(title);
    let fits = |size: f64| f64::from(WIDTH - 2 * MARGIN) / (0.64 * size);
    let long = title.chars().count();
    if let Some((end, _)) = title.char_indices().nth(150).filter(|_| long > 151) {
        title.replace_range(end.., "…");
    }
    let size = 17.0_f64.min(17.0 * fits(17.0) / title.chars().count().max(1) as f64);
    let style = font(size).pos(Pos::new(HPos::Left, VPos::Center));
    let style = TextStyle { font: style.font.style(FontStyle::Bold), ..style };
    root.draw(&Text::new(title, (MARGIN * UNITS, 24 * UNITS), style))?;
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, history: &History, ticks: f64) -> Drawn {
    let epochs: Vec<f64> = history.rows().iter().map(|row| row.epoch as f64).collect();
    let x = Axis::whole(epochs[0], epochs[epochs.len() - 1], ticks);
    let y = Axis::of(panel.curves.iter().flat_map(|curve| curve.values.iter().copied()));
    draw_header(area, panel, &heading(panel.quantity, y.log))?;
    draw_chart(area, "epoch", &epochs, (x, y), &panel.curves)
}

/// Axes below the height of a header, and curves over `places`.
fn draw_chart(
    area: &Area<'_>,
    unit: &str,
    places: &[f64],
    (x, y): (Axis, Axis),
    curves: &[Curve<'_>],
) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_top(HEADER * UNITS)
        .margin_right(EDGE * UNITS)
        .x_label_area_size(38 * UNITS)
        .y_label_area_size(58 * UNITS)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(UNITS.unsigned_abs()))
        .light_line_style(TRANSPARENT)
        .axis_style(AXIS.stroke_width(UNITS.unsigned_abs()))
        .label_style(font(12.0))
        .axis_desc_style(font(12.0))
        .set_all_tick_mark_size(4 * UNITS)
        .x_desc(unit)
        .draw()?;

    for curve in curves {
        let points: Vec<_> = places.iter().copied().zip(curve.values.iter().copied()).collect();
        for run in points.split(|(_, value)| value.is_nan()) {
            let line = curve.color.stroke_width((2 * UNITS).unsigned_abs());
            if run.len() > 1 {
                chart.draw_series(LineSeries::new(run.iter().copied(), line))?;
            }
            if run.len() == 1 || points.len() <= DOTTED {
                let dot = |point: &_| Circle::new(*point, 3 * UNITS, curve.color.filled());
                chart.draw_series(run.iter().map(dot))?;
            }
        }
    }
    Ok(())
}

/// Draws the heading at the left and the legend at the right, above the curves.
fn draw_header(area: &Area<'_>, panel: &Panel<'_>, heading: &str) -> Drawn {
    let middle = 12 * UNITS;
    let at_left = |size| font(size).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(printable(heading), (0, middle), at_left(14.0)))?;
    let (width, _) = area.dim_in_pixel();
    let mut x = i32::try_from(width)? - EDGE * UNITS;
    for curve in panel.curves.iter().rev().filter(|curve| !curve.name.is_empty()) {
        x -= i32::try_from(curve.name.len())? * 7 * UNITS;
        area.draw(&Text::new(curve.name, (x, middle), at_left(13.0)))?;
        let line = vec![(x - 26 * UNITS, middle), (x - 6 * UNITS, middle)];
        area.draw(&PathElement::new(line, curve.color.stroke_width((3 * UNITS).unsigned_abs())))?;
        x -= 42 * UNITS;
    }
    Ok(())
}
