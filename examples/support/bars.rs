//! Bar charts: rows of horizontal bars, each with its name at the left and its value at its end.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::sheet::{Area, Panel, Scale, UNITS, font, panel_between, units, write};

/// Height of the bars of a row, as a part of it.
const FILLED: f64 = 0.72;
/// Width of a character of a name and of a label, in pixels.
const CHARACTER: f64 = 7.2;
/// Color of the lines that show ranges.
const RANGE: RGBColor = RGBColor(60, 60, 60);

/// A value, its range, and what is written at its end.
pub(crate) struct Bar {
    pub(crate) color: RGBAColor,
    /// No bar is drawn for a value that is not finite.
    pub(crate) value: f64,
    /// Drawn as a line over the bar unless its ends are equal.
    pub(crate) band: (f64, f64),
    pub(crate) label: String,
}

/// The bars of one name, from the top.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) bars: Vec<Bar>,
}

/// Draws a chart of its own over an area. Values beyond the axis are drawn at its ends.
pub(crate) fn draw(area: &Area<'_>, heading: &str, x: &Scale<'_>, all: &[Row]) -> Result<()> {
    let labels = all.iter().flat_map(|row| row.bars.iter().map(|bar| &bar.label[..]));
    let left = wide(all.iter().map(|row| &row.name[..])) + 12;
    let mut panel = panel_between(area, heading, (x, None), (left, wide(labels) + 10))?;
    let high = 1.0 / all.len().max(1) as f64;
    for (number, Row { name, bars }) in all.iter().enumerate() {
        let (_, y) = panel.backend_coord(&(x.ends.start, 1.0 - high * (number as f64 + 0.5)));
        let y = (y - area.get_pixel_range().1.start) / UNITS;
        write(area, name, (left - 8, y), font(12.5), HPos::Right)?;
        let each = high * FILLED / bars.len().max(1) as f64;
        let top = 1.0 - high * (number as f64 + (1.0 - FILLED) / 2.0);
        for (place, bar) in bars.iter().enumerate() {
            draw_bar(area, &mut panel, bar, (top - each * (place as f64 + 1.0), each))?;
        }
    }
    Ok(())
}

/// Draws a bar over a range of the height: its lower end and its extent.
fn draw_bar(area: &Area<'_>, panel: &mut Panel<'_>, bar: &Bar, (low, high): (f64, f64)) -> Result<()> {
    let ends = panel.x_range();
    let inside = |x: f64| x.clamp(ends.start, ends.end);
    let (middle, mut last) = (low + high / 2.0, ends.start);
    if bar.value.is_finite() {
        last = inside(bar.value);
        panel.draw_series([Rectangle::new([(ends.start, low), (last, low + high)], bar.color.filled())])?;
        let (from, to) = (inside(bar.band.0), inside(bar.band.1));
        if from < to {
            let cap = |x| {
                PathElement::new(
                    vec![(x, low + 0.3 * high), (x, low + 0.7 * high)],
                    RANGE.stroke_width(units(1)),
                )
            };
            let line = PathElement::new(vec![(from, middle), (to, middle)], RANGE.stroke_width(units(1)));
            panel.draw_series([cap(from), line, cap(to)])?;
            last = last.max(to);
        }
    }
    let (x, y) = panel.backend_coord(&(last, middle));
    let (left, top) = (area.get_pixel_range().0.start, area.get_pixel_range().1.start);
    write(area, &bar.label, ((x - left) / UNITS + 5, (y - top) / UNITS), font(11.5), HPos::Left)
}

/// The width of the longest text, in pixels.
#[expect(clippy::cast_possible_truncation, reason = "a few hundred pixels")]
fn wide<'t>(texts: impl Iterator<Item = &'t str>) -> i32 {
    (texts.map(|text| text.chars().count()).max().unwrap_or(0) as f64 * CHARACTER).ceil() as i32
}
