//! Ways of points through a plane, cut at the ends of the axes.

use anyhow::Result;
use plotters::prelude::*;

use crate::sheet::{Panel, UNITS, units};

type Point = (f64, f64);

/// Points that lie apart by so many pixels are shown as dots.
const APART: i32 = 5;

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

/// Draws the ways: a line through all points, dots where they are far enough apart, a ring around the first and a disc at
/// the last.
pub(crate) fn draw(panel: &mut Panel<'_>, paths: &[Path]) -> Result<()> {
    let (x, y) = (panel.x_range(), panel.y_range());
    let inside = |point: &Point| (x.start..=x.end).contains(&point.0) && (y.start..=y.end).contains(&point.1);
    for Path { color, points, .. } in paths {
        for piece in pieces(points, (x.start, x.end), (y.start, y.end)) {
            panel.draw_series([PathElement::new(piece, color.stroke_width(units(2)))])?;
        }
        let mut last = (i32::MIN / 2, i32::MIN / 2);
        let mut dots = Vec::new();
        for point in points.iter().filter(|point| inside(point)) {
            let (place, apart) = (panel.backend_coord(point), APART * UNITS);
            if (place.0 - last.0).abs().max((place.1 - last.1).abs()) >= apart {
                dots.push(*point);
                last = place;
            }
        }
        let radius = 5 * UNITS / 2;
        panel.draw_series(dots.into_iter().map(|dot| Circle::new(dot, radius, color.filled())))?;
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
