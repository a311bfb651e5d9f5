//! Several curves of one quantity in one plot.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, tame};
use super::style::{COLORS, UNITS, font, printable, units};
use super::{Area, Curve, Drawn, EDGE, GAP, MARGIN, TITLE, WIDTH, draw_chart, draw_title, heading, picture};
use crate::error::Error;

const PLOT: i32 = 400;
/// Height of a legend line in pixels.
const LINE: i32 = 20;
/// Maximum number of characters in a legend line.
const LONGEST: usize = 98;

/// Draws named curves in one plot, as an SVG picture 880 pixels wide with a legend below. Each curve has a value for
/// each `unit`, such as `step`, from 0. The axis of the `quantity`, such as `lr`, is as in [`svg`](super::svg).
///
/// ```
/// use gradus::train::report;
///
/// let curves = [("flat".to_owned(), vec![0.1; 5]), ("half".to_owned(), vec![0.1, 0.05, 0.025])];
/// let svg = report::overlay("Two schedules", "step", "lr", &curves)?;
/// assert!(svg.starts_with("<svg ") && svg.contains("half"));
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if there is nothing to draw.
pub fn overlay(
    title: &str,
    unit: &str,
    quantity: &str,
    curves: &[(String, Vec<f64>)],
) -> Result<String, Error> {
    let refuse = |reason: String| Error::Config { what: "report".into(), reason };
    if curves.iter().all(|(_, values)| values.is_empty()) {
        return Err(refuse("there are no curves".into()));
    }
    let curves: Vec<Curve<'_>> = curves
        .iter()
        .zip(COLORS.iter().cycle())
        .map(|((name, values), color)| {
            let values = values.iter().copied().map(tame).collect();
            Curve { name, color: *color, values }
        })
        .collect();
    draw(title, unit, quantity, &curves).map_err(|error| refuse(error.to_string()))
}

fn draw(title: &str, unit: &str, quantity: &str, curves: &[Curve<'_>]) -> Drawn<String> {
    let legend = i32::try_from(curves.len())? * LINE;
    let length = curves.iter().map(|curve| curve.values.len()).max().unwrap_or_default();
    let places: Vec<f64> = (0..length).map(|step| step as f64).collect();
    let x = Axis::whole(0.0, length as f64 - 1.0, 8.0);
    let y = Axis::of(curves.iter().flat_map(|curve| curve.values.iter().copied()));
    picture(TITLE + PLOT + GAP + legend, |root| {
        draw_title(root, title)?;
        let place = (MARGIN * UNITS, TITLE * UNITS);
        let plot = root.clone().shrink(place, (units(WIDTH - 2 * MARGIN), units(PLOT)));
        let style = font(14.0).pos(Pos::new(HPos::Left, VPos::Center));
        plot.draw(&Text::new(heading(quantity, y.log), (0, 12 * UNITS), style))?;
        draw_chart(&plot, unit, &places, (x, y), curves)?;
        let place = (MARGIN * UNITS, (TITLE + PLOT) * UNITS);
        draw_legend(&root.clone().shrink(place, (units(WIDTH - 2 * MARGIN), units(legend))), curves)
    })
}

fn draw_legend(area: &Area<'_>, curves: &[Curve<'_>]) -> Drawn {
    for (curve, row) in curves.iter().zip(0..) {
        let middle = (row * LINE + LINE / 2) * UNITS;
        let line = vec![(58 * UNITS, middle), (82 * UNITS, middle)];
        area.draw(&PathElement::new(line, curve.color.stroke_width(units(3))))?;
        let mut name = printable(curve.name);
        if let Some((end, _)) = name.char_indices().nth(LONGEST) {
            name.replace_range(end.., "…");
        }
        let style = font(12.0).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name, ((82 + EDGE) * UNITS, middle), style))?;
    }
    Ok(())
}
