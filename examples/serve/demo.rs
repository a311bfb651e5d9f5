//! Generated requests: UCI's test digits.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::classifier::Classifier;
use crate::digits::SIDE;
use crate::images::{Sets, Source};
use crate::terminal::say;
use crate::times::Times;

/// Digits to test on.
pub(crate) const DIGITS: i64 = 360;

const BATCHES: [usize; 3] = [1, 8, 64];

/// Sends the first `count` test digits in batches of each size. All batch sizes must give the same answers, and the
/// number of correct ones must be consistent with the accuracy stored in the model's file.
pub(crate) fn run(classifier: &mut Classifier, count: usize) -> Result<()> {
    let data = Source { data: None, shuffle_labels: false, resident: false }.read(SIDE)?;
    let test = data.1.clone();
    let Sets { images, .. } = Sets::new(data)?;
    let (shape, given) = (&images.shape, &classifier.images.shape);
    let known = images.difference(&classifier.images).is_none();
    ensure!(
        known,
        "--demo sends UCI's digits, {shape:?}; the model must be of them, not of others, {given:?}"
    );
    let mut times = Times::default();
    let mut answered: Vec<Vec<u32>> = Vec::new();
    let samples: Vec<usize> = (0..count).collect();
    for batch in BATCHES {
        let mut classes = Vec::with_capacity(count);
        for samples in samples.chunks(batch) {
            let digits = test.subset(samples)?;
            let start = Instant::now();
            let answers = classifier.answer(&classifier.images.numbers_of(&digits)?)?;
            times.add(answers.len(), start);
            classes.extend(answers.into_iter().map(|answer| answer.class));
        }
        answered.push(classes);
    }
    ensure!(
        answered.iter().all(|classes| *classes == answered[0]),
        "batches of other sizes should be answered alike"
    );
    let right = answered[0].iter().zip(test.y()).filter(|(class, label)| class == label).count();
    say(format_args!(
        "{times}accuracy: {:.4} of {count} digits in batches of 1, 8 and 64",
        right as f64 / count as f64
    ))?;
    let Some(accuracy) = classifier.accuracy else { return Ok(()) };
    let all = test.len();
    let of_all = (0..=all).find(|right| (*right as f64 / all as f64 - accuracy).abs() < 0.5 / all as f64);
    let of_all = of_all.unwrap_or_default();
    // All errors, or all correct answers, could be among the digits that are not sent.
    let (least, most) = (count.saturating_sub(all - of_all), count.min(of_all));
    ensure!(
        (least..=most).contains(&right),
        "{least} to {most} should be right, got {right}: the model's accuracy is {accuracy:.4}"
    );
    Ok(())
}
