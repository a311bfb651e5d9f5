//! Parses requests from lines of text.

use std::io::{BufRead, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gradus::train::data::{Dataset, Values};

use crate::images::Images;

/// Maximum number of bytes of a number with its separator.
const BYTES_OF_NUMBER: usize = 64;

/// Long enough for any path.
const LEAST: usize = 1 << 16;

/// Lines with their numbers, counted from 1.
pub(crate) struct Lines<R> {
    reader: R,
    number: u64,
    longest: usize,
}

impl<R: BufRead> Lines<R> {
    /// Limits the length of a line to that of an image.
    pub(crate) fn new(reader: R, images: &Images) -> Self {
        let longest = images.shape.iter().product::<usize>().saturating_mul(BYTES_OF_NUMBER).max(LEAST);
        Self { reader, number: 0, longest }
    }

    /// The next line, or why it is invalid; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Result<String>)>> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(self.longest as u64 + 1).read_until(b'\n', &mut bytes);
        if read.context("standard input")? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let whole = bytes.pop_if(|byte| *byte == b'\n').is_some();
        if !whole && bytes.len() > self.longest {
            self.reader.skip_until(b'\n').context("standard input")?;
            let refused = anyhow::anyhow!("a line must have at most {} bytes", self.longest);
            return Ok(Some((self.number, Err(refused))));
        }
        Ok(Some((self.number, String::from_utf8(bytes).context("a line must be UTF-8"))))
    }
}

/// The images of a request, normalised.
pub(crate) fn numbers(line: &str, images: &Images) -> Result<Vec<f32>> {
    let line = line.trim();
    if line.ends_with(".npy") {
        return images.read(Path::new(line));
    }
    let shape = &images.shape;
    let pixels: usize = shape.iter().product();
    let allowed =
        format!("a request must be {pixels} numbers, an image of {shape:?}, or a path that ends in .npy");
    let words = line.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let mut numbers = Vec::with_capacity(pixels);
    for (place, word) in (1..).zip(words) {
        match word.parse::<f32>() {
            Ok(number) if number.is_finite() => numbers.push(number),
            Ok(number) => bail!("number {place} must be finite, got {number}"),
            Err(_) => {
                let start: String = word.chars().take(32).collect();
                bail!("{allowed}, got {start:?} as number {place}");
            }
        }
    }
    ensure!(numbers.len() == pixels, "{allowed}, got {} numbers", numbers.len());
    images.numbers_of(&Dataset::from_values(Values::F32(numbers), shape, vec![0], images.classes)?)
}
