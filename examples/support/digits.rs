//! The test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), which the crate
//! `smartcore` carries: 1,797 images of 8x8 pixels from 0 to 16.

use anyhow::Result;
use gradus::train::data::stratified_split;

pub(crate) const SIDE: usize = 8;

const TEST_SAMPLES: usize = 360;

/// Images of 8x8 pixels, one after the other, and the digit of each.
pub(crate) struct Digits {
    pub(crate) pixels: Vec<f32>,
    pub(crate) labels: Vec<u8>,
}

/// 1,437 digits to train on and 360 to test on, with the same shares of each digit.
pub(crate) fn read() -> Result<[Digits; 2]> {
    let all = smartcore::dataset::digits::load_dataset();
    let labels: Vec<u8> = all.target.iter().map(|&label| to_byte(label)).collect();
    let classes: Vec<u32> = labels.iter().map(|&label| label.into()).collect();
    let (train, test) = stratified_split(&classes, TEST_SAMPLES)?;
    let image = |index: usize| &all.data[index * SIDE * SIDE..][..SIDE * SIDE];
    Ok([train, test].map(|set| Digits {
        pixels: set.iter().flat_map(|&index| image(index)).copied().collect(),
        labels: set.iter().map(|&index| labels[index]).collect(),
    }))
}

/// For a pixel of an enlarged row: the pixel on its left, the one on its right, and the share of the latter.
pub(crate) type Tap = (usize, usize, f32);

/// Bilinear, with corners in place (torch's `align_corners=False`).
pub(crate) fn bilinear(side: usize) -> Vec<Tap> {
    let tap = |at: usize| {
        // In units of 1 / (2 side), so that the position is exact.
        let position = ((2 * at + 1) * SIDE).saturating_sub(side);
        let (low, share) = (position / (2 * side), position % (2 * side));
        (low, (low + 1).min(SIDE - 1), share as f32 / (2 * side) as f32)
    };
    (0..side).map(tap).collect()
}

impl Digits {
    /// The images with as many rows and columns as there are taps, in bytes from 0 to 255.
    pub(crate) fn enlarged(&self, taps: &[Tap]) -> Vec<u8> {
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        let mut pixels = Vec::with_capacity(self.labels.len() * taps.len() * taps.len());
        for image in self.pixels.chunks(SIDE * SIDE) {
            for &(top, bottom, down) in taps {
                for &(left, right, along) in taps {
                    let row = |y: usize| mix(image[y * SIDE + left], image[y * SIDE + right], along);
                    pixels.push(to_byte((mix(row(top), row(bottom), down) * (255.0 / 16.0)).round()));
                }
            }
        }
        pixels
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers from 0 to 255")]
pub(crate) fn to_byte(number: f32) -> u8 {
    number as u8
}
