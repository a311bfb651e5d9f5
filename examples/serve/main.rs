//! Classifies images from standard input with a model saved by `train_cnn`, and prints how long each request takes.
//!
//! ```sh
//! cargo run --release --example train_cnn -- --out run
//! cargo run --release --example serve -- --load run/model.safetensors --demo 360
//! echo images.npy | cargo run --release --example serve -- --load run/model.safetensors
//! ```
//!
//! A request is one line: an image as numbers in the units of the training images, or the path of an `.npy` array
//! with several images. The answer for each image is one line: the class, its probability, and the milliseconds from
//! request to answer. An invalid request is answered by a line that begins with `error: line <number>:`.

#[path = "../train_cnn/args.rs"]
#[expect(dead_code, reason = "the options of training")]
mod args;
mod classifier;
#[path = "../train_cnn/data.rs"]
mod data;
mod demo;
#[path = "../support/digits.rs"]
mod digits;
#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/images.rs"]
#[expect(dead_code, reason = "training on images")]
mod images;
#[path = "../train_cnn/model.rs"]
mod model;
#[path = "../support/options.rs"]
mod options;
#[path = "../support/progress.rs"]
mod progress;
mod requests;
#[path = "../train_cnn/resnet.rs"]
mod resnet;
#[path = "../support/run.rs"]
#[expect(dead_code, reason = "training")]
mod run;
#[path = "../support/terminal.rs"]
mod terminal;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use gradus::{Error, Gpu, GpuOptions};

use classifier::{Answer, Classifier};
use requests::Lines;
use terminal::{exit, say};
use times::Times;

const NO_MODEL: &str = "--load: which model? `train_cnn --out run` makes run/model.safetensors";

/// Answers requests on standard input, one per line: an image as numbers in the units of the training images,
/// separated by spaces or commas, or the path of an .npy array with several images.
#[derive(Parser)]
struct Args {
    /// The model: model.safetensors in a folder written by train_cnn --out.
    #[arg(long, value_name = "MODEL")]
    load: Option<PathBuf>,
    /// Sends N of the UCI test digits, in batches of 1, 8 and 64, instead of reading standard input.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=demo::DIGITS))]
    demo: Option<u16>,
}

fn main() -> ExitCode {
    exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    let path = args.load.as_deref().context(NO_MODEL)?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut classifier = Classifier::open(&gpu, path)?;
    match args.demo {
        Some(digits) => demo::run(&mut classifier, digits.into()),
        None => serve(&mut classifier),
    }
}

fn serve(classifier: &mut Classifier) -> Result<()> {
    let mut lines = Lines::new(std::io::stdin().lock(), &classifier.images);
    let (mut times, mut refused) = (Times::default(), 0_u64);
    while let Some((number, line)) = lines.next()? {
        let start = Instant::now();
        match line.and_then(|line| answer(classifier, &line)) {
            Ok(answers) => {
                let time = times.add(answers.len(), start);
                for Answer { class, probability } in answers {
                    say(format_args!("{class}  {probability:.4}  {time:.2} ms"))?;
                }
            }
            Err(error) if matches!(error.downcast_ref(), Some(Error::DeviceLost { .. })) => {
                return Err(error);
            }
            Err(error) => {
                refused += 1;
                say(format_args!("error: line {number}: {error:#}"))?;
            }
        }
    }
    say(format_args!("\n{times}{refused} lines were refused"))
}

fn answer(classifier: &mut Classifier, line: &str) -> Result<Vec<Answer>> {
    let numbers = requests::numbers(line, &classifier.images)?;
    classifier.answer(&numbers)
}
