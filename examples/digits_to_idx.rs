//! Writes 1,797 handwritten digits as four files in MNIST's format, 1,437 to train on and 360 to test on.
//!
//! The digits are the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), 8x8
//! pixels from 0 to 16, which the crate `smartcore` contains. They are resized to `--side` pixels and scaled to 0 to
//! 255. The split is that of `train_cnn`.

#[path = "support/digits.rs"]
mod digits;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use gradus::train::data::idx::{self, Images};
use gradus::train::files::{self, FolderLock};

use digits::SIDE;

/// Writes the UCI digits as files in MNIST's format.
#[derive(Parser)]
struct Args {
    /// The folder to write to. Created if needed.
    folder: PathBuf,
    /// Height and width of the images in pixels.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(8..=1024))]
    side: u16,
    /// Interpolation for resizing.
    #[arg(long, value_enum, default_value_t = Resize::Bilinear)]
    resize: Resize,
    /// Compresses the files with gzip.
    #[arg(long)]
    gz: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Resize {
    Nearest,
    Bilinear,
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

    let taps = match args.resize {
        Resize::Nearest => (0..side).map(|at| (at * SIDE / side, 0, 0.0)).collect(),
        Resize::Bilinear => digits::bilinear(side),
    };
    for (stem, digits) in ["train", "t10k"].into_iter().zip(digits::read()?) {
        let images = Images { shape: [1, side, side], pixels: digits.enlarged(&taps) };
        write(&args.folder, stem, ending, &images, &digits.labels)?;
    }
    Ok(())
}
