//! The images: UCI's digits, IDX files, or an array to predict.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gradus::train::data::{Dataset, Normalization, Values, idx, npy, stratified_split};
use serde::{Deserialize, Serialize};

const TEST_SAMPLES: usize = 360;

/// What a model must know of its images; it is kept in the model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Images {
    pub(crate) shape: Vec<usize>,
    pub(crate) classes: u32,
    pub(crate) train_samples: usize,
    /// CRC-32 of the training and the test set, to know them again.
    checksum: u32,
    normalization: Normalization,
}

/// The sets, normalised by the training set's mean and deviation.
pub(crate) struct Sets {
    pub(crate) images: Images,
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
}

pub(crate) fn load(folder: Option<&Path>) -> Result<Sets> {
    let (train, test) = match folder {
        Some(folder) => idx::read_dir(folder)?,
        None => digits()?,
    };
    let normalization = Normalization::fit(&train)?;
    let images = Images {
        shape: train.shape().to_vec(),
        classes: train.n_classes(),
        train_samples: train.len(),
        checksum: checksum(&[&train, &test]),
        normalization: normalization.clone(),
    };
    Ok(Sets { images, train: train.normalized(&normalization)?, test: test.normalized(&normalization)? })
}

/// The test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), which the
/// crate `smartcore` carries: 1,797 images of 8x8 pixels from 0 to 16.
fn digits() -> Result<(Dataset, Dataset)> {
    let digits = smartcore::dataset::digits::load_dataset();
    let x = digits.data.iter().map(|&pixel| to_byte(pixel)).collect();
    let y: Vec<u32> = digits.target.iter().map(|&label| to_byte(label).into()).collect();
    let (train, test) = stratified_split(&y, TEST_SAMPLES)?;
    let all = Dataset::from_u8(x, &[1, 8, 8], y, 10)?;
    Ok((all.subset(&train)?, all.subset(&test)?))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers up to 16")]
fn to_byte(number: f32) -> u8 {
    number as u8
}

fn checksum(sets: &[&Dataset]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for set in sets {
        match set.values() {
            Values::U8(bytes) => sum.update(bytes),
            Values::F32(numbers) => sum.update(bytemuck::cast_slice(numbers)),
        }
        sum.update(bytemuck::cast_slice(set.y()));
    }
    sum.finalize()
}

impl Images {
    /// Refuses other sets than those that a run was started with.
    pub(crate) fn check(&self, saved: &Self) -> Result<()> {
        ensure!(self == saved, "the data are not those that the saved run was trained on: see --data");
        Ok(())
    }

    /// The numbers of a set that the model can tell the classes of.
    pub(crate) fn numbers_of(&self, set: &Dataset) -> Result<Vec<f32>> {
        let (shape, classes) = (set.shape(), set.n_classes());
        ensure!(shape == self.shape, "the images have the shape {shape:?}, the model's {:?}", self.shape);
        ensure!(classes <= self.classes, "there are {classes} classes, the model knows {}", self.classes);
        Ok(set.clone().normalized(&self.normalization)?.numbers())
    }

    /// The images of an array of one image a row, of the model's size, in the units of its training images.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<f32>> {
        let array = npy::read(path)?;
        let (samples, sample) = array.shape.split_first().context("the array has no dimensions")?;
        let size: usize = self.shape.iter().product();
        let fits =
            sample == self.shape || sample == [size] || (self.shape[0] == 1 && sample == &self.shape[1..]);
        let (name, expected) = (path.display(), &self.shape);
        ensure!(fits, "{name}: its images have the shape {sample:?}, the model's {expected:?}");
        let images = Dataset::from_values(array.values, &self.shape, vec![0; *samples], self.classes)?;
        self.numbers_of(&images)
    }
}
