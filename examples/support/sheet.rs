//! Pictures: a sheet with a title, and panels with axes on it, in the style of the library's reports.

#[path = "../../src/train/report/axis.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "axes that reports choose by their values"))]
mod axis;
#[path = "../../src/train/report/style.rs"]
mod style;

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use gradus::train::files;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use axis::Axis;
pub(crate) use style::{COLORS, UNITS, font, units};
use style::{GRID, printable};

const MARGIN: i32 = 16;
/// Height of the title and of each line below it, in pixels.
const TITLE: i32 = 40;
const LINE: i32 = 18;
/// Height above a plot for its heading, and for the quantity of its y axis, in pixels.
const HEADING: i32 = 26;
const QUANTITY: i32 = 20;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Panel<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// Draws an SVG picture of this size in pixels: a title, lines that say how to read it, and below them whatever `draw` draws.
pub(crate) fn sheet(
    (width, height): (i32, i32),
    title: &str,
    lines: &[&str],
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (units(width), units(height))).into_drawing_area();
    root.fill(&WHITE)?;
    let style = font(17.0);
    let bold = TextStyle { font: style.font.style(FontStyle::Bold), ..style };
    write(&root, title, (MARGIN, TITLE / 2 + 2), bold, HPos::Left)?;
    let mut top = TITLE;
    for line in lines {
        write(&root, line, (MARGIN, top + LINE / 2 - 4), font(12.5), HPos::Left)?;
        top += LINE;
    }
    let body = root.clone().shrink(
        (MARGIN * UNITS, (top + 6) * UNITS),
        (units(width - 2 * MARGIN), units(height - top - 6 - MARGIN / 2)),
    );
    draw(&body)?;
    root.present()?;
    drop((root, body));
    let size = |unit: i32| format!("<svg width=\"{}\" height=\"{}\"", width * unit, height * unit);
    Ok(svg.replacen(&size(UNITS), &(size(1) + " stroke-linejoin=\"round\""), 1))
}

/// Writes a picture into a folder, and says where.
pub(crate) fn save(folder: &Path, name: &str, svg: &str) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let path = folder.join(name);
    files::write_atomic(&path, |file| file.write_all(svg.as_bytes()))?;
    println!("{}", path.display());
    Ok(())
}

/// Text in one line, `at` in pixels, centred in height.
pub(crate) fn write(
    area: &Area<'_>,
    text: &str,
    (x, y): (i32, i32),
    style: TextStyle<'_>,
    side: HPos,
) -> Result<()> {
    let style = style.pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(printable(text), (x * UNITS, y * UNITS), style))?;
    Ok(())
}

/// Splits an area into rows of equal cells, with a gap in pixels.
pub(crate) fn cells<'a>(area: &Area<'a>, rows: i32, columns: i32, gap: i32) -> Result<Vec<Area<'a>>> {
    let (width, height) = area.dim_in_pixel();
    let gap = gap * UNITS;
    let wide = (i32::try_from(width)? - (columns - 1) * gap) / columns;
    let high = (i32::try_from(height)? - (rows - 1) * gap) / rows;
    let cell = |row: i32, column: i32| {
        let corner = (column * (wide + gap), row * (high + gap));
        area.clone().shrink(corner, (wide.unsigned_abs(), high.unsigned_abs()))
    };
    Ok((0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(r, c)| cell(r, c))
        .collect())
}

/// An axis: its ends, whether it is logarithmic, and what it shows.
#[derive(Clone)]
pub(crate) struct Scale<'t> {
    pub(crate) ends: Range<f64>,
    pub(crate) log: bool,
    pub(crate) words: &'t str,
}

impl<'t> Scale<'t> {
    pub(crate) fn linear(ends: Range<f64>, words: &'t str) -> Self {
        Self { ends, log: false, words }
    }

    /// From above 0.
    pub(crate) fn log(ends: Range<f64>, words: &'t str) -> Self {
        Self { ends, log: true, words }
    }

    fn axis(&self) -> Axis {
        let Range { start, end } = self.ends;
        if self.log { Axis::spanning_powers(start.log10(), end.log10()) } else { Axis::spanning(start, end) }
    }
}

/// A plot's axes and heading; `right` is the space for labels beside it, in pixels.
pub(crate) fn panel<'a>(
    area: &Area<'a>,
    heading: &str,
    (x, y): (&Scale<'_>, &Scale<'_>),
    right: i32,
) -> Result<Panel<'a>> {
    panel_between(area, heading, (x, Some(y)), (44, right))
}

/// The same with the space at its left too. A plot without a y axis is 1 high.
pub(crate) fn panel_between<'a>(
    area: &Area<'a>,
    heading: &str,
    (x, y): (&Scale<'_>, Option<&Scale<'_>>),
    (left, right): (i32, i32),
) -> Result<Panel<'a>> {
    write(area, heading, (0, 9), font(14.0), HPos::Left)?;
    let in_words = |axis: &Scale<'_>| axis.words.to_owned() + if axis.log { ", log scale" } else { "" };
    let mut above = HEADING;
    if let Some(y) = y.filter(|y| !y.words.is_empty()) {
        write(area, &in_words(y), (0, HEADING + 3), font(12.0), HPos::Left)?;
        above += QUANTITY;
    }
    let below = if x.words.is_empty() { 20 } else { 38 };
    let mut chart = ChartBuilder::on(area)
        .margin_top(above * UNITS)
        .margin_right(right * UNITS)
        .x_label_area_size(below * UNITS)
        .y_label_area_size(left * UNITS)
        .build_cartesian_2d(x.axis(), y.map_or_else(|| Axis::of(std::iter::empty()), Scale::axis))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID.stroke_width(units(1)))
        .light_line_style(TRANSPARENT)
        .axis_style(style::AXIS.stroke_width(units(1)))
        .label_style(font(12.0))
        .axis_desc_style(font(12.0))
        .set_all_tick_mark_size(4 * UNITS)
        .x_desc(in_words(x))
        .draw()?;
    Ok(chart)
}
