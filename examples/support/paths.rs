//! Ways of points through a plane, cut at the ends of the axes.

use anyhow::Result;
use plotters::prelude::*;

use crate::sheet::{Area, Panel, UNITS, units};

type Point = (f64, f64);

/// Points that lie apart by so many pixels are marked.
const APART: i32 = 7;

/// Where something went, one point after the other.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) points: Vec<Point>,
}

impl Path {
    /// The last point.
    pub(crate) fn end(&self) -> Point {
        self.points.last().copied().unwrap_or((f64::NAN, f64::NAN))
    }
}

/// Draws the mark of path `number` in picture units, so that paths differ in grey as well: disc, triangle, ring, cross.
pub(crate) fn mark(area: &Area<'_>, number: usize, at: (i32, i32), color: RGBColor) -> Result<()> {
    let thin = color.stroke_width(units(3) / 2);
    match number % 4 {
        0 => area.draw(&Circle::new(at, 5 * UNITS / 2, color.filled()))?,
        1 => area.draw(&TriangleMarker::new(at, 4 * UNITS, color.filled()))?,
        2 => area.draw(&Circle::new(at, 3 * UNITS, thin))?,
        _ => area.draw(&Cross::new(at, 3 * UNITS, thin))?,
    }
    Ok(())
}

/// Draws the ways: a line through all points, marks where they are far enough apart, a ring around the first and a disc at
/// the last.
pub(crate) fn draw(panel: &mut Panel<'_>, paths: &[Path]) -> Result<()> {
    let (x, y) = (panel.x_range(), panel.y_range());
    let inside = |point: &Point| (x.start..=x.end).contains(&point.0) && (y.start..=y.end).contains(&point.1);
    for (number, Path { color, points, .. }) in paths.iter().enumerate() {
        for piece in pieces(points, (x.start, x.end), (y.start, y.end)) {
            panel.draw_series([PathElement::new(piece, color.stroke_width(units(2)))])?;
        }
        let plain = panel.plotting_area().strip_coord_spec();
        let (left, top) = (plain.get_pixel_range().0.start, plain.get_pixel_range().1.start);
        let mut last = (i32::MIN / 2, i32::MIN / 2);
        for point in points.iter().filter(|point| inside(point)) {
            let (place, apart) = (panel.backend_coord(point), APART * UNITS);
            if (place.0 - last.0).abs().max((place.1 - last.1).abs()) >= apart {
                mark(&plain, number, (place.0 - left, place.1 - top), *color)?;
                last = place;
            }
        }
    }
    // On top of all lines, and white around them, so that none hides another.
    for Path { color, points, .. } in paths {
        if let Some(end) = points.last().filter(|point| inside(point)) {
            panel.draw_series([Circle::new(*end, 6 * UNITS, WHITE.filled())])?;
            panel.draw_series([Circle::new(*end, 5 * UNITS, color.filled())])?;
        }
    }
    let starts = paths.iter().filter_map(|path| path.points.first()).filter(|point| inside(point));
    panel.draw_series(starts.map(|start| Circle::new(*start, 6 * UNITS, BLACK.stroke_width(units(2)))))?;
    Ok(())
}

/// A black cross, as at a minimum.
pub(crate) fn cross(panel: &mut Panel<'_>, at: Point) -> Result<()> {
    panel.draw_series([Cross::new(at, 6 * UNITS, BLACK.stroke_width(units(2)))])?;
    Ok(())
}

/// What of the line through these points lies in the box.
fn pieces(points: &[Point], x: (f64, f64), y: (f64, f64)) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for two in points.windows(2) {
        let Some((from, to)) = cut(two[0], two[1], x, y) else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

/// The part of a segment in the box (Liang and Barsky 1984).
fn cut(from: Point, to: Point, x: (f64, f64), y: (f64, f64)) -> Option<(Point, Point)> {
    let (wide, high) = (to.0 - from.0, to.1 - from.1);
    let (mut enters, mut leaves) = (0.0_f64, 1.0_f64);
    let sides = [(-wide, from.0 - x.0), (wide, x.1 - from.0), (-high, from.1 - y.0), (high, y.1 - from.1)];
    for (speed, room) in sides {
        if speed < 0.0 {
            enters = enters.max(room / speed);
        } else if speed > 0.0 {
            leaves = leaves.min(room / speed);
        } else if room < 0.0 {
            return None;
        }
    }
    let at = |part: f64| match part {
        0.0 => from,
        1.0 => to,
        _ => (from.0 + part * wide, from.1 + part * high),
    };
    // False for NaN as well.
    (enters < leaves).then(|| (at(enters), at(leaves)))
}
