//! Writes 1,797 handwritten digits as four files in MNIST's format, 1,437 to train on and 360 to test on.
//!
//! The digits are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak
//! 1998), 8x8 pixels of 0 to 16, which the crate `smartcore` carries. They are enlarged to `--side` pixels
//! and scaled to 0 to 255; the split is that of `train_cnn`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use gradus::train::data::idx::{self, Images};
use gradus::train::data::stratified_split;
use gradus::train::files::{self, FolderLock};

const SIDE: usize = 8;
const TEST_SAMPLES: usize = 360;

/// Writes the UCI digits as files in MNIST's format.
#[derive(Parser)]
struct Args {
    /// The folder to write to; it is made if there is none.
    folder: PathBuf,
    /// Height and width of the images in pixels.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(8..=1024))]
    side: u16,
    /// How images are enlarged.
    #[arg(long, value_enum, default_value_t = Resize::Bilinear)]
    resize: Resize,
    /// Packs the files with gzip.
    #[arg(long)]
    gz: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Resize {
    Nearest,
    Bilinear,
}

/// `image` of 8x8 at `side` x `side` pixels, whose corners stay in place (torch's `align_corners=False`).
fn enlarge(image: &[f32], side: usize, resize: Resize) -> Vec<f32> {
    // The pixel on the left or above, the one on the right or below, and the share of the latter.
    let taps: Vec<(usize, usize, f32)> = (0..side)
        .map(|at| match resize {
            Resize::Nearest => (at * SIDE / side, 0, 0.0),
            Resize::Bilinear => {
                // In units of 1 / (2 side), so that the position is exact.
                let position = ((2 * at + 1) * SIDE).saturating_sub(side);
                let (low, share) = (position / (2 * side), position % (2 * side));
                (low, (low + 1).min(SIDE - 1), share as f32 / (2 * side) as f32)
            }
        })
        .collect();
    let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
    let mut pixels = Vec::with_capacity(side * side);
    for &(top, bottom, down) in &taps {
        for &(left, right, along) in &taps {
            let row = |y: usize| mix(image[y * SIDE + left], image[y * SIDE + right], along);
            pixels.push(mix(row(top), row(bottom), down));
        }
    }
    pixels
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels are 0.0 to 16.0")]
fn to_byte(pixel: f32) -> u8 {
    (pixel * (255.0 / 16.0)).round() as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "labels are 0.0 to 9.0")]
fn to_label(label: f32) -> u8 {
    label as u8
}

fn write(path: &Path, stem: &str, ending: &str, images: &Images, labels: &[u8]) -> Result<()> {
    idx::write_images(path.join(format!("{stem}-images-idx3-ubyte{ending}")), images)?;
    idx::write_labels(path.join(format!("{stem}-labels-idx1-ubyte{ending}")), labels)?;
    println!("{stem}: {} images of {1}x{1} pixels", labels.len(), images.shape[1]);
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let side = usize::from(args.side);
    let ending = if args.gz { ".gz" } else { "" };
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make {}", args.folder.display()))?;
    let _lock = FolderLock::new(&args.folder)?;
    files::sweep(&args.folder, |target| target.trim_end_matches(".gz").ends_with("-ubyte"))?;

    let digits = smartcore::dataset::digits::load_dataset();
    let labels: Vec<u8> = digits.target.iter().map(|&label| to_label(label)).collect();
    let classes: Vec<u32> = labels.iter().map(|&label| label.into()).collect();
    let (train, test) = stratified_split(&classes, TEST_SAMPLES)?;
    for (stem, indices) in [("train", train), ("t10k", test)] {
        let enlarged =
            indices.iter().flat_map(|index| enlarge(&digits.data[index * SIDE * SIDE..], side, args.resize));
        let images = Images { shape: [1, side, side], pixels: enlarged.map(to_byte).collect() };
        let labels: Vec<u8> = indices.iter().map(|&index| labels[index]).collect();
        write(&args.folder, stem, ending, &images, &labels)?;
    }
    Ok(())
}
