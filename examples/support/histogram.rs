//! Histograms: how often values lie in each part of an axis.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::sheet::{Area, Panel, UNITS, font, units, write};

const FILL: f64 = 0.45;

/// Values of one kind.
#[derive(Clone, Copy)]
pub(crate) struct Values<'v> {
    pub(crate) name: &'v str,
    pub(crate) color: RGBColor,
    pub(crate) values: &'v [f32],
}

/// Draws counts over the whole x axis, the first series as bars and the others as outlines over them, and their names above
/// the plot at its right. Values beyond the axis count at its ends.
pub(crate) fn draw(area: &Area<'_>, panel: &mut Panel<'_>, bins: usize, series: &[Values<'_>]) -> Result<()> {
    let (ends, floor) = (panel.x_range(), panel.y_range().start);
    let width = (ends.end - ends.start) / bins as f64;
    for (number, Values { color, values, .. }) in series.iter().enumerate() {
        let mut counts = vec![0.0; bins];
        for value in *values {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in [0, bins)")]
            let bin = ((f64::from(*value) - ends.start) / width).clamp(0.0, bins as f64 - 1.0) as usize;
            counts[bin] += 1.0;
        }
        let corners = counts.iter().enumerate().flat_map(|(bin, count)| {
            let (left, top) = (ends.start + bin as f64 * width, floor.max(*count));
            [(left, top), (left + width, top)]
        });
        let outline: Vec<(f64, f64)> =
            [(ends.start, floor)].into_iter().chain(corners).chain([(ends.end, floor)]).collect();
        if number == 0 {
            panel.draw_series([Polygon::new(outline, color.mix(FILL))])?;
        } else {
            panel.draw_series([PathElement::new(outline, color.stroke_width(units(2)))])?;
        }
    }
    write_key(area, series)
}

fn write_key(area: &Area<'_>, series: &[Values<'_>]) -> Result<()> {
    let (wide, _) = area.dim_in_pixel();
    let mut right = i32::try_from(wide)? / UNITS;
    for (number, Values { name, color, .. }) in series.iter().enumerate().rev() {
        write(area, name, (right, 29), font(12.0), HPos::Right)?;
        right -= 6 * i32::try_from(name.chars().count())? + 20;
        let [left, end, middle] = [right, right + 12, 29].map(|at| at * UNITS);
        if number == 0 {
            let corners = [(left, middle - 5 * UNITS), (end, middle + 5 * UNITS)];
            area.draw(&Rectangle::new(corners, color.mix(FILL).filled()))?;
        } else {
            area.draw(&PathElement::new(vec![(left, middle), (end, middle)], color.stroke_width(units(2))))?;
        }
        right -= 10;
    }
    Ok(())
}
