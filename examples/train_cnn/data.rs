//! Images for a model that was trained on others.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gradus::train::data::{Dataset, Values, npy};

use crate::images::Images;

impl Images {
    /// The images of a data set that the model can classify, as numbers.
    pub(crate) fn numbers_of(&self, set: &Dataset) -> Result<Vec<f32>> {
        let (shape, classes) = (set.shape(), set.n_classes());
        let (images, known) = (&self.shape, self.classes);
        ensure!(shape == images, "the images must have the model's shape {images:?}, got {shape:?}");
        ensure!(classes <= known, "the labels must be of the model's {known} classes, got {classes}");
        Ok(set.clone().normalized(&self.normalization)?.numbers())
    }

    /// Reads an array with one image per row, of the model's size and in the units of its training images.
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
