//! Curves with bands, each named where it ends.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::sheet::{Area, Panel, UNITS, font, units, write};

/// Distance of names in pixels.
const APART: i32 = 16;
/// Points of a curve, at most about so many: more would not be seen.
const MOST: usize = 100;

/// A quantity over another one, and a band around it.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
    pub(crate) band: Vec<(f64, f64)>,
}

impl Curve {
    /// The median over `runs` of each value, with the quartiles as the band. A run has a value for each `x`. The curve ends
    /// where the median is not finite.
    pub(crate) fn median(name: impl Into<String>, color: RGBColor, x: &[f64], runs: &[Vec<f64>]) -> Self {
        let at = |place: usize| -> Vec<f64> {
            let mut values: Vec<f64> = runs.iter().map(|run| run[place]).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let mut kept = thinned(x.len());
        let mut sorted: Vec<Vec<f64>> = kept.iter().map(|&place| at(place)).collect();
        if let Some(end) = sorted.iter().position(|values| !quantile(values, 0.5).is_finite()) {
            kept.truncate(end);
            sorted.truncate(end);
        }
        Self {
            name: name.into(),
            color,
            x: kept.iter().map(|&place| x[place]).collect(),
            y: sorted.iter().map(|values| quantile(values, 0.5)).collect(),
            band: sorted.iter().map(|values| (quantile(values, 0.25), quantile(values, 0.75))).collect(),
        }
    }

    /// The last value.
    pub(crate) fn end(&self) -> f64 {
        self.y.last().copied().unwrap_or(f64::NAN)
    }
}

/// Of values in order, linear between two; infinite only where one of the two is.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the slice")]
    let below = place.floor() as usize;
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    if place.fract() == 0.0 || sorted[below] == above {
        return sorted[below];
    }
    sorted[below] + (above - sorted[below]) * place.fract()
}

/// Places among `len`, denser at the beginning, with the first and the last.
fn thinned(len: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    if len == 0 {
        return kept;
    }
    for number in 0..MOST {
        let place = (len as f64).powf(number as f64 / (MOST - 1) as f64).round() - 1.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below len")]
        let place = (place.max(0.0) as usize).min(len - 1);
        if kept.last() != Some(&place) {
            kept.push(place);
        }
    }
    kept
}

/// Draws bands, curves over them and names at the right of the plot, moved apart where they would overlap. Values beyond
/// the axis are drawn at its ends.
pub(crate) fn draw(area: &Area<'_>, panel: &mut Panel<'_>, curves: &[Curve]) -> Result<()> {
    let ends = panel.y_range();
    let inside = |y: f64| y.clamp(ends.start, ends.end);
    let drawn = || curves.iter().filter(|curve| !curve.x.is_empty());
    for Curve { color, x, band, .. } in drawn() {
        let low = x.iter().zip(band).map(|(x, (low, _))| (*x, inside(*low)));
        let high = x.iter().zip(band).map(|(x, (_, high))| (*x, inside(*high))).rev();
        let outline: Vec<(f64, f64)> = low.chain(high).collect();
        panel.draw_series([Polygon::new(outline, color.mix(0.14))])?;
    }
    let mut names = Vec::new();
    for Curve { name, color, x, y, .. } in drawn() {
        let points: Vec<(f64, f64)> = x.iter().zip(y).map(|(x, y)| (*x, inside(*y))).collect();
        if let Some(last) = points.last() {
            names.push((panel.backend_coord(last), name, *color));
        }
        panel.draw_series(LineSeries::new(points, color.stroke_width(units(2))))?;
    }
    write_names(area, names)
}

fn write_names(area: &Area<'_>, mut names: Vec<((i32, i32), &String, RGBColor)>) -> Result<()> {
    names.sort_by_key(|((_, y), ..)| *y);
    let (left, top) = (area.get_pixel_range().0.start, area.get_pixel_range().1.start);
    let (apart, mut places): (i32, Vec<i32>) = (APART * UNITS, names.iter().map(|((_, y), ..)| *y).collect());
    // Neighbours that are too close push each other until none are.
    for _ in 0..1000 {
        let Some(upper) = places.windows(2).position(|two| two[1] - two[0] < apart) else { break };
        let missing = apart - (places[upper + 1] - places[upper]);
        places[upper] -= (missing + 1) / 2;
        places[upper + 1] += (missing + 1) / 2;
    }
    // None beyond the area, even where there is no room for all.
    let (first, last) = (top + APART * UNITS / 2, area.get_pixel_range().1.end - APART * UNITS / 2);
    let mut most = last;
    for place in places.iter_mut().rev() {
        *place = (*place).min(most);
        most = *place - apart;
    }
    let mut least = first;
    for place in &mut places {
        *place = (*place).max(least);
        least = *place + apart;
    }
    for (((x, y), name, color), place) in names.iter().zip(places) {
        let (x, y, place) = (x - left, y - top, place - top);
        let leader = vec![(x + 2 * UNITS, y), (x + 10 * UNITS, place), (x + 14 * UNITS, place)];
        area.draw(&PathElement::new(leader, color.stroke_width(units(1))))?;
        write(area, name, (x / UNITS + 17, place / UNITS), font(12.5).color(color), HPos::Left)?;
    }
    Ok(())
}
