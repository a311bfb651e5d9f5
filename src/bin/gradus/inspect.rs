//! `gradus inspect`: what a safetensors file holds.

mod file;
mod record;
mod values;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A safetensors file, such as a checkpoint.
    file: PathBuf,
}

/// Prints the tensors, and the record of a checkpoint. A checkpoint that was changed is an error, after its tensors.
pub(crate) fn run(args: &Args) -> Result<()> {
    let path = args.file.display().to_string();
    let mut file = file::Opened::new(&args.file).map_err(anyhow::Error::msg).with_context(|| path.clone())?;
    let mut text = String::new();
    let (mut elements, mut bytes) = (0, 0);
    let name_width = file.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0).clamp(6, 60);
    writeln!(
        text,
        "{:name_width$}  {:<16} {:<8} {:>12} {:>12} {:>12} {:>12}",
        "tensor", "shape", "type", "bytes", "min", "mean", "max"
    )?;
    for index in 0..file.tensors.len() {
        let summary = file.summary(index).map_err(anyhow::Error::msg).with_context(|| path.clone())?;
        let tensor = &file.tensors[index];
        let shape = format!("{:?}", tensor.shape);
        let dtype = format!("{:?}", tensor.dtype);
        let size = tensor.end - tensor.start;
        let name = shown(&tensor.name);
        write!(text, "{name:name_width$}  {shape:<16} {dtype:<8} {size:>12}")?;
        text += &summary.line();
        text.push('\n');
        (elements, bytes) = (elements + tensor.elements, bytes + size);
    }
    writeln!(text, "{} tensors, {elements} elements, {bytes} bytes", file.tensors.len())?;
    let mut changed = None;
    for (key, value) in &file.metadata {
        match key == record::KEY {
            true => match record::of(&args.file, value) {
                Ok(record) => text += &record,
                Err(error) => changed = Some(error),
            },
            false => writeln!(text, "{}: {}", shown(key), shown(&cut(value)))?,
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    changed.map_or(Ok(()), |error| Err(error.into()))
}

/// Text of a file without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.into(),
    }
}
