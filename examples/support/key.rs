//! What the colours and marks of paths mean, in one row.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::paths::mark;
use crate::sheet::{Area, UNITS, font, units, write};

/// About the width of a character in pixels.
fn width(character: char) -> i32 {
    match character {
        'f' | 'i' | 'j' | 'l' | 'r' | 't' | ' ' | '.' | ',' | '-' => 5,
        'm' | 'w' | 'M' | 'W' => 12,
        character if character.is_uppercase() => 9,
        _ => 8,
    }
}

/// Writes the names, each beside a line of its colour with the mark of its number, from `at` in pixels to the right.
pub(crate) fn row(area: &Area<'_>, (mut x, y): (i32, i32), names: &[(&str, RGBColor)]) -> Result<()> {
    for (number, (name, color)) in names.iter().enumerate() {
        let line = vec![(x * UNITS, y * UNITS), ((x + 18) * UNITS, y * UNITS)];
        area.draw(&PathElement::new(line, color.stroke_width(units(2))))?;
        mark(area, number, ((x + 9) * UNITS, y * UNITS), *color)?;
        write(area, name, (x + 24, y), font(12.5), HPos::Left)?;
        x += 24 + name.chars().map(width).sum::<i32>() + 22;
    }
    Ok(())
}
