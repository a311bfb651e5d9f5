//! Bar charts: one horizontal bar for each name, with its value in figures.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::sheet::{Area, UNITS, font, write};

/// Height of the heading and of the quantity, and the largest of a bar, in pixels.
const HEADING: i32 = 26;
const QUANTITY: i32 = 20;
const THICKEST: i32 = 34;
/// Space for the value at the right of the longest bar, in pixels.
const RIGHT: i32 = 60;

/// A bar, with the text at its end.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) color: RGBColor,
    /// At least 0.
    pub(crate) value: f64,
    pub(crate) text: String,
}

/// Draws the bars from 0, the first one on top, with their names in `left` pixels beside them. The longest fills the area.
pub(crate) fn draw(area: &Area<'_>, heading: &str, quantity: &str, left: i32, bars: &[Bar]) -> Result<()> {
    write(area, heading, (0, 9), font(14.0), HPos::Left)?;
    write(area, quantity, (0, HEADING + 3), font(12.0), HPos::Left)?;
    let (wide, high) = area.dim_in_pixel();
    let (wide, high) = (i32::try_from(wide)? / UNITS, i32::try_from(high)? / UNITS);
    let top = HEADING + QUANTITY;
    let count = i32::try_from(bars.len().max(1))?;
    let each = ((high - top) / count).min(THICKEST * 3 / 2);
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    for (number, Bar { name, color, value, text }) in (0_i32..).zip(bars) {
        let middle = top + number * each + each / 2;
        let half = each / 3;
        let part = if longest > 0.0 { (value / longest).clamp(0.0, 1.0) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "within the area")]
        let end = (left * UNITS) + (part * f64::from((wide - left - RIGHT) * UNITS)) as i32;
        write(area, name, (left - 8, middle), font(12.5), HPos::Right)?;
        let corners = [(left * UNITS, (middle - half) * UNITS), (end, (middle + half) * UNITS)];
        area.draw(&Rectangle::new(corners, color.filled()))?;
        write(area, text, (end / UNITS + 6, middle), font(12.5), HPos::Left)?;
    }
    Ok(())
}
