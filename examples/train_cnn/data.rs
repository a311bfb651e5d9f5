//! The images: UCI's digits, IDX files, or an array to predict.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
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
    /// Why a run that was started with other sets cannot go on with these; `None` if it can.
    pub(crate) fn difference(&self, saved: &Self) -> Option<String> {
        let of = |images: &Self| {
            let Self { shape, classes, train_samples, checksum, .. } = images;
            format!("{train_samples} of {shape:?} in {classes} classes, checksum {checksum:08x}")
        };
        let (ours, theirs) = (of(self), of(saved));
        (self != saved).then(|| format!("its images are others than those of --data: {theirs}, not {ours}"))
    }

    /// The numbers of a set that the model can tell the classes of.
    pub(crate) fn numbers_of(&self, set: &Dataset) -> Result<Vec<f32>> {
        let (shape, classes) = (set.shape(), set.n_classes());
        let (images, known) = (&self.shape, self.classes);
        ensure!(shape == images, "the images must have the model's shape {images:?}, got {shape:?}");
        ensure!(classes <= known, "the labels must be of the model's {known} classes, got {classes}");
        Ok(set.clone().normalized(&self.normalization)?.numbers())
    }

    /// The images of an array of one image a row, of the model's size, in the units of its training images.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<f32>> {
        let array = npy::open(path)?;
        let (name, image) = (path.display(), &self.shape[..]);
        let pixels = [image.iter().product()];
        let mut shapes = vec![image, &pixels];
        if let [1, plane @ ..] = image {
            shapes.push(plane);
        }
        match array.shape().split_first() {
            Some((1.., one)) if shapes.contains(&one) => (),
            _ => bail!("{name}: shape: must be a number of images of {shapes:?}, got {:?}", array.shape()),
        }
        let array = array.read()?;
        if let Values::F32(numbers) = &array.values
            && let Some(at) = numbers.iter().position(|number| !number.is_finite())
        {
            bail!("{name}: value {at}: must be finite, got {}", numbers[at]);
        }
        let labels = vec![0; array.shape[0]];
        let images =
            Dataset::from_values(array.values, image, labels, self.classes).context(name.to_string())?;
        self.numbers_of(&images)
    }
}
