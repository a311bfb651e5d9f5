//! Inference with a model saved by `train_cnn`, without a trainer.

use std::path::Path;

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::graph::Graph;
use gradus::predict::Predictor;
use gradus::train::{Checkpoint, classes_of};

use crate::args::Config;
use crate::images::{Classify, Images, Settings};
use crate::model;
use crate::run::Saved;

/// The predicted class of an image.
pub(crate) struct Answer {
    pub(crate) class: u32,
    pub(crate) probability: f32,
}

pub(crate) struct Classifier {
    predictor: Predictor,
    pub(crate) images: Images,
    /// Accuracy on its test set, if it was saved at the end of an epoch.
    pub(crate) accuracy: Option<f64>,
}

impl Classifier {
    /// Opens a model. The network, the shape of its images and their normalisation come from the file.
    pub(crate) fn open(gpu: &Gpu, path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::read(path)?;
        let saved = Saved::of_program::<Classify<Config>>(&checkpoint, "train_cnn")?;
        let accuracies = saved.history.column("test_accuracy")?;
        let last = saved.history.rows().last().zip(accuracies.last());
        let accuracy = last.filter(|(row, _)| row.steps == checkpoint.step).map(|(_, accuracy)| *accuracy);
        let Settings { config, images } = saved.settings;
        let graph = Graph::new();
        let x = graph.input("x", [&[1], &images.shape[..]].concat());
        let logits = model::logits(config.model, &x, images.classes as usize);
        let outputs = [("logits", &logits), ("probabilities", &logits.softmax(1))];
        let predictor = Predictor::open(gpu, &graph, path, &outputs)?;
        Ok(Self { predictor, images, accuracy })
    }

    /// Classifies normalised images, one after the other.
    pub(crate) fn answer(&mut self, images: &[f32]) -> Result<Vec<Answer>> {
        let outputs = self.predictor.predict(&[("x", &images)])?;
        let classes = self.images.classes as usize;
        let (logits, probabilities) = (outputs.get("logits")?, outputs.get("probabilities")?);
        let finite = probabilities.values.iter().all(|probability| probability.is_finite());
        ensure!(finite, "the probabilities are not finite: the image or the weights are too large");
        let classes =
            classes_of(&logits.values, classes)?.into_iter().zip(probabilities.values.chunks(classes));
        Ok(classes.map(|(class, row)| Answer { class, probability: row[class as usize] }).collect())
    }
}
