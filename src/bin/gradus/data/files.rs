//! Data in files of tables and of arrays.

use std::path::{Path, PathBuf};

use gradus::Error;
use gradus::train::data::{Column, Csv, Dataset, TestSize, TrainTestSplit, Values, npz};
use serde::{Deserialize, Serialize};

use super::{Sets, Task};
use crate::fields::{Fields, config, constant};

/// The fields of a table.
pub(super) const TABLE: [&str; 13] = [
    "name",
    "normalize",
    "path",
    "test",
    "task",
    "header",
    "delimiter",
    "features",
    "target",
    "classes",
    "shape",
    "test_size",
    "split_seed",
];

/// The fields of an archive of arrays.
pub(super) const ARRAYS: [&str; 12] = [
    "name",
    "normalize",
    "path",
    "x",
    "y",
    "x_test",
    "y_test",
    "task",
    "classes",
    "shape",
    "test_size",
    "split_seed",
];

/// Samples of either kind.
enum Set {
    Labels(Dataset),
    Numbers(Dataset<f32>),
}

/// What both kinds of files have.
struct Common {
    path: PathBuf,
    task: Task,
    classes: Option<u32>,
    shape: Option<Vec<usize>>,
    split: TrainTestSplit,
}

impl Common {
    /// The size of the test set counts only if no test data are named.
    fn read(fields: &mut Fields<'_>, folder: &Path, tests: bool) -> Result<Self, Error> {
        let path = folder.join(fields.required::<PathBuf>("path")?);
        let task = fields.or("task", Task::Classification)?;
        let classes = fields.optional("classes")?;
        if classes.is_some() && task == Task::Regression {
            return Err(config("data", "classes: numbers to predict have none"));
        }
        let shape = fields.optional("shape")?;
        let split = match tests {
            true => {
                let unused = ["test_size", "split_seed"].into_iter().find(|key| fields.json(key).is_some());
                if let Some(key) = unused {
                    return Err(config(
                        "data",
                        format!("{key}: the test data are named, so none are split off"),
                    ));
                }
                TrainTestSplit::new(0.2)
            }
            false => {
                let size = match fields.or("test_size", Size::Share(0.2))? {
                    Size::Samples(samples) if samples > 0 => TestSize::Samples(samples),
                    Size::Share(share) if share > 0.0 && share < 1.0 => TestSize::Share(share),
                    _ => {
                        let given = fields.json("test_size").map(ToString::to_string).unwrap_or_default();
                        return Err(constant(
                            "test_size",
                            "a number of samples, or a share in (0, 1)",
                            given,
                        ));
                    }
                };
                TrainTestSplit::new(size).shuffle(fields.or("split_seed", 0)?)
            }
        };
        Ok(Self { path, task, classes, shape, split })
    }

    /// Both sets, of which the second may have to be split off the first.
    fn sets(&self, train: Set, test: Option<Set>) -> Result<Sets, Error> {
        let train = train.shaped(self.shape.as_deref())?;
        let test = test.map(|test| test.shaped(self.shape.as_deref())).transpose()?;
        let same = |one: &[usize], other: &[usize]| match one == other {
            true => Ok(()),
            false => {
                Err(config("data", format!("the test samples have the shape {other:?}, the others {one:?}")))
            }
        };
        Ok(match (train, test) {
            (Set::Labels(train), Some(Set::Labels(test))) => {
                same(train.shape(), test.shape())?;
                Sets::Labels { train, test }
            }
            (Set::Numbers(train), Some(Set::Numbers(test))) => {
                same(train.shape(), test.shape())?;
                same(train.target_shape(), test.target_shape())?;
                Sets::Numbers { train, test }
            }
            (Set::Labels(all), _) => {
                let parts = self.split.split_stratified(all.y())?;
                Sets::Labels { train: all.subset(&parts.train)?, test: all.subset(&parts.test)? }
            }
            (Set::Numbers(all), _) => {
                let parts = self.split.split(all.len())?;
                Sets::Numbers { train: all.subset(&parts.train)?, test: all.subset(&parts.test)? }
            }
        })
    }
}

impl Set {
    /// With samples of another shape.
    fn shaped(self, shape: Option<&[usize]>) -> Result<Self, Error> {
        let Some(shape) = shape else { return Ok(self) };
        Ok(match self {
            Self::Labels(set) => Self::Labels(Dataset::from_values(
                set.values().clone(),
                shape,
                set.y().to_vec(),
                set.n_classes(),
            )?),
            Self::Numbers(set) => Self::Numbers(Dataset::regression(
                set.values().clone(),
                shape,
                set.y().to_vec(),
                set.target_shape(),
            )?),
        })
    }
}

/// A number of samples or a share of them.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of samples, or a share such as 0.2")]
enum Size {
    Samples(usize),
    Share(f64),
}

/// The name of a column or its number from 0.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a column, or its number from 0")]
enum Named {
    Number(usize),
    Name(String),
}

impl From<Named> for Column {
    fn from(named: Named) -> Self {
        match named {
            Named::Number(number) => number.into(),
            Named::Name(name) => name.into(),
        }
    }
}

/// One column or several.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a column, by name or number, or a list of columns")]
enum Columns {
    One(Named),
    Several(Vec<Named>),
}

/// CSV.
pub(super) struct Table {
    common: Common,
    test: Option<PathBuf>,
    csv: Csv,
}

impl Table {
    pub(super) fn read(fields: &mut Fields<'_>, folder: &Path) -> Result<Self, Error> {
        let test = fields.optional::<PathBuf>("test")?.map(|test| folder.join(test));
        let common = Common::read(fields, folder, test.is_some())?;
        let delimiter = match fields.or("delimiter", String::from(","))?.as_bytes() {
            [byte] => *byte,
            _ => {
                let given = fields.json("delimiter").map(ToString::to_string).unwrap_or_default();
                return Err(constant("delimiter", "one ASCII character", given));
            }
        };
        let mut csv = Csv::new().header(fields.or("header", true)?).delimiter(delimiter);
        if let Some(features) = fields.optional::<Vec<Named>>("features")? {
            csv = csv.features(features);
        }
        csv = match fields.optional("target")? {
            None => csv,
            Some(Columns::One(column)) => csv.target(column),
            Some(Columns::Several(columns)) => csv.targets(columns),
        };
        if let Some(classes) = common.classes {
            csv = csv.n_classes(classes);
        }
        Ok(Self { common, test, csv })
    }

    pub(super) fn sets(&self) -> Result<Sets, Error> {
        let read = |path: &Path| match self.common.task {
            Task::Classification => self.csv.read_classes(path).map(Set::Labels),
            Task::Regression => self.csv.read(path).map(Set::Numbers),
        };
        let test = self.test.as_deref().map(read).transpose()?;
        self.common.sets(read(&self.common.path)?, test)
    }
}

/// numpy's archives.
pub(super) struct Arrays {
    common: Common,
    train: [String; 2],
    test: Option<[String; 2]>,
}

impl Arrays {
    pub(super) fn read(fields: &mut Fields<'_>, folder: &Path) -> Result<Self, Error> {
        let train = [fields.or("x", String::from("x"))?, fields.or("y", String::from("y"))?];
        let test = match (fields.optional("x_test")?, fields.optional("y_test")?) {
            (Some(x), Some(y)) => Some([x, y]),
            (None, None) => None,
            (Some(_), None) => return Err(config("data npz", "x_test: y_test must be named too")),
            (None, Some(_)) => return Err(config("data npz", "y_test: x_test must be named too")),
        };
        Ok(Self { common: Common::read(fields, folder, test.is_some())?, train, test })
    }

    pub(super) fn sets(&self) -> Result<Sets, Error> {
        let mut file = npz::open(&self.common.path)?;
        let train = self.set(&mut file, &self.train)?;
        let test = self.test.as_ref().map(|names| self.set(&mut file, names)).transpose()?;
        self.common.sets(train, test)
    }

    fn set(&self, file: &mut npz::Npz, [x_name, y_name]: &[String; 2]) -> Result<Set, Error> {
        let name = self.common.path.display().to_string();
        let within = |array: &str, error: &Error| Error::File {
            path: name.clone(),
            reason: format!("array {array}: {error}"),
        };
        let (x, y) = (file.read(x_name)?, file.read(y_name)?);
        // One number is a sample of one; a plane is an image of one channel.
        let shape = match x.shape.get(1..).unwrap_or(&[]) {
            [] => vec![1],
            [height, width] => vec![1, *height, *width],
            shape => shape.to_vec(),
        };
        match self.common.task {
            Task::Classification => {
                let labels = y.labels().map_err(|error| within(y_name, &error))?;
                let largest = labels.iter().max().map_or(0, |label| label.saturating_add(1));
                let classes = self.common.classes.unwrap_or(largest);
                let set = Dataset::from_values(x.values, &shape, labels, classes);
                set.map(Set::Labels).map_err(|error| within(x_name, &error))
            }
            Task::Regression => {
                let targets = y.shape.get(1..).unwrap_or(&[]).to_vec();
                let numbers = match y.values {
                    Values::F32(numbers) => numbers,
                    Values::U8(bytes) => bytes.into_iter().map(f32::from).collect(),
                };
                let set = Dataset::regression(x.values, &shape, numbers, &targets);
                set.map(Set::Numbers).map_err(|error| within(x_name, &error))
            }
        }
    }
}
