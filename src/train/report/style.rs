//! Colours, sizes and fonts of pictures.

use plotters::prelude::*;

const TEXT: RGBColor = RGBColor(51, 51, 51);
pub(crate) const AXIS: RGBColor = RGBColor(140, 140, 140);
pub(crate) const GRID: RGBColor = RGBColor(230, 230, 230);

/// Colours that are distinguishable with colour blindness (Okabe and Ito 2008).
pub(crate) const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Picture units in a pixel: plotters rounds positions to whole units, which pixels are too coarse for.
pub(crate) const UNITS: i32 = 10;

pub(crate) fn units(pixels: i32) -> u32 {
    (pixels * UNITS).unsigned_abs()
}

/// A font of this size in pixels.
pub(crate) fn font(size: f64) -> TextStyle<'static> {
    // Plotters divides by 1.24 before it writes.
    ("sans-serif", size * 1.24 * f64::from(UNITS)).into_font().color(&TEXT)
}

/// Replaces characters that XML does not allow.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || "\u{FFFE}\u{FFFF}".contains(c) { ' ' } else { c }).collect()
}
