//! Data by name: the digits that come with the command, and files.

mod files;

use std::path::{Path, PathBuf};

use gradus::Error;
use gradus::train::data::{Dataset, Normalization, Target, Values};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digits;
use crate::fields::{Fields, config, unknown};

/// What is trained on and what is tested on, normalised by the former.
pub(crate) enum Sets {
    /// With class labels.
    Labels { train: Dataset, test: Dataset },
    /// With numbers to predict.
    Numbers { train: Dataset<f32>, test: Dataset<f32> },
}

/// The names of all kinds.
pub(crate) const NAMES: [&str; 4] = ["digits", "idx", "csv", "npz"];

/// Where data come from.
pub(crate) struct Source {
    from: From,
    normalize: bool,
}

enum From {
    Digits,
    Idx(PathBuf),
    Csv(Box<files::Table>),
    Npz(Box<files::Arrays>),
}

/// What targets are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Task {
    /// Labels of classes.
    #[default]
    Classification,
    /// Numbers.
    Regression,
}

/// The 1,797 digits of 8x8 pixels: 1,437 to train on, 360 to test on, `[1, 8, 8]` each, normalised.
pub(crate) fn digits() -> Result<Sets, Error> {
    raw_digits()?.normalized()
}

fn raw_digits() -> Result<Sets, Error> {
    let broken = |error: anyhow::Error| config("data digits", error.to_string());
    let [train, test] = digits::read().map_err(broken)?.map(|digits| {
        let pixels = digits.pixels.iter().map(|&pixel| digits::to_byte(pixel)).collect();
        let labels = digits.labels.iter().map(|&label| label.into()).collect();
        Dataset::from_u8(pixels, &[1, digits::SIDE, digits::SIDE], labels, 10)
    });
    Ok(Sets::Labels { train: train?, test: test? })
}

impl Source {
    /// From a name or a table with a name, and the table with all defaults. Files are named relative to `folder`.
    pub(crate) fn from_json(json: &Value, folder: &Path) -> Result<(Self, Value), Error> {
        let table;
        let json = match json {
            Value::String(name) => {
                table = serde_json::json!({"name": name});
                &table
            }
            Value::Object(_) => json,
            other => return Err(config("data", format!("expected a name or a table, got {other}"))),
        };
        let name = json.get("name").ok_or_else(|| config("data", "missing field `name`"))?;
        let name =
            name.as_str().ok_or_else(|| config("data", format!("name: expected a string, got {name}")))?;
        let known: &[&str] = match name {
            "digits" => &["name", "normalize"],
            "idx" => &["name", "normalize", "folder"],
            "csv" => &files::TABLE,
            "npz" => &files::ARRAYS,
            _ => return Err(unknown("data", name, &NAMES)),
        };
        let mut fields = Fields::new(&format!("data {name}"), json, known)?;
        fields.required::<String>("name")?;
        let from = match name {
            "digits" => From::Digits,
            "idx" => From::Idx(folder.join(fields.required::<PathBuf>("folder")?)),
            "csv" => From::Csv(Box::new(files::Table::read(&mut fields, folder)?)),
            _ => From::Npz(Box::new(files::Arrays::read(&mut fields, folder)?)),
        };
        let normalize = fields.or("normalize", true)?;
        Ok((Self { from, normalize }, fields.end()))
    }

    /// Reads them.
    pub(crate) fn read(&self) -> Result<Sets, Error> {
        let sets = match &self.from {
            From::Digits if self.normalize => return digits(),
            From::Digits => raw_digits()?,
            From::Idx(folder) => {
                let (train, test) = gradus::train::data::idx::read_dir(folder)?;
                Sets::Labels { train, test }
            }
            From::Csv(table) => table.sets()?,
            From::Npz(arrays) => arrays.sets()?,
        };
        if self.normalize { sets.normalized() } else { Ok(sets) }
    }
}

impl Sets {
    /// The shape of a sample.
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Labels { train, .. } => train.shape(),
            Self::Numbers { train, .. } => train.shape(),
        }
    }

    /// The number of samples to train on and to test on.
    pub(crate) fn counts(&self) -> (usize, usize) {
        match self {
            Self::Labels { train, test } => (train.len(), test.len()),
            Self::Numbers { train, test } => (train.len(), test.len()),
        }
    }

    /// How many numbers a model says about a sample: one for each class, or those of a target.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Labels { train, test } => train.n_classes().max(test.n_classes()) as usize,
            Self::Numbers { train, .. } => train.target_shape().iter().product(),
        }
    }

    /// CRC-32 of all values and targets, to recognise them.
    pub(crate) fn checksum(&self) -> u32 {
        fn add<Y: Target + bytemuck::Pod>(sum: &mut crc32fast::Hasher, set: &Dataset<Y>) {
            match set.values() {
                Values::U8(bytes) => sum.update(bytes),
                Values::F32(numbers) => sum.update(bytemuck::cast_slice(numbers)),
            }
            sum.update(bytemuck::cast_slice(set.y()));
        }
        let mut sum = crc32fast::Hasher::new();
        match self {
            Self::Labels { train, test } => [train, test].map(|set| add(&mut sum, set)),
            Self::Numbers { train, test } => [train, test].map(|set| add(&mut sum, set)),
        };
        sum.finalize()
    }

    /// With the mean and deviation of the training samples: of each channel of an image, of each feature of a table.
    pub(crate) fn normalized(self) -> Result<Self, Error> {
        fn both<Y: Target>(train: Dataset<Y>, test: Dataset<Y>) -> Result<(Dataset<Y>, Dataset<Y>), Error> {
            let by_channel = train.shape().len() == 3 || matches!(train.values(), Values::U8(_));
            let fit = if by_channel { Normalization::fit } else { Normalization::fit_features };
            let fitted = fit(&train)?;
            Ok((train.normalized(&fitted)?, test.normalized(&fitted)?))
        }
        Ok(match self {
            Self::Labels { train, test } => {
                let (train, test) = both(train, test)?;
                Self::Labels { train, test }
            }
            Self::Numbers { train, test } => {
                let (train, test) = both(train, test)?;
                Self::Numbers { train, test }
            }
        })
    }
}
