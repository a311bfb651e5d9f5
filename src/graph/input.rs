use std::sync::Arc;

use crate::Error;
use crate::gpu::Buffer;

/// Host data for an input: `f32`s, or `u32` class numbers.
pub trait HostData {
    /// The data as `f32`, if it is that.
    fn as_f32(&self) -> Option<&[f32]> {
        None
    }
    /// The data as class numbers, if it is that.
    fn as_labels(&self) -> Option<&[u32]> {
        None
    }
}

impl HostData for [f32] {
    fn as_f32(&self) -> Option<&[f32]> {
        Some(self)
    }
}

impl HostData for [u32] {
    fn as_labels(&self) -> Option<&[u32]> {
        Some(self)
    }
}

impl HostData for Vec<f32> {
    fn as_f32(&self) -> Option<&[f32]> {
        Some(self)
    }
}

impl HostData for Vec<u32> {
    fn as_labels(&self) -> Option<&[u32]> {
        Some(self)
    }
}

impl<T: HostData + ?Sized> HostData for &T {
    fn as_f32(&self) -> Option<&[f32]> {
        (**self).as_f32()
    }
    fn as_labels(&self) -> Option<&[u32]> {
        (**self).as_labels()
    }
}

/// What the host writes before a run.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) buffer: Arc<Buffer<f32>>,
    pub(super) labels: bool,
    pub(super) shape: Vec<usize>,
    pub(super) classes: Option<usize>,
    /// What each loss over these labels ignores.
    pub(super) ignored: Vec<Option<u32>>,
}

impl Input {
    pub(super) fn check(
        &self,
        numbers: Option<&[f32]>,
        labels: Option<&[u32]>,
        samples: usize,
    ) -> Result<(), Error> {
        let len = match (self.labels, numbers, labels) {
            (false, Some(data), _) => data.len(),
            (true, _, Some(data)) => data.len(),
            (wants_labels, ..) => {
                let wanted = if wants_labels { "u32 labels" } else { "f32 numbers" };
                return Err(Error::Mismatch(format!("input {}: it takes {wanted}", self.name)));
            }
        };
        let expected = samples * self.shape[1..].iter().product::<usize>();
        if len != expected {
            let what = format!("input {} of {samples} samples", self.name);
            return Err(Error::Length { what, expected, got: len });
        }
        if let (Some(classes), Some(labels)) = (self.classes, labels)
            && let Some(at) =
                labels.iter().position(|&label| label as usize >= classes && !self.all_ignore(label))
        {
            let name = format!("label {at} of input {}", self.name);
            return Err(Error::constant(name, format!("below {classes}"), labels[at]));
        }
        Ok(())
    }

    fn all_ignore(&self, label: u32) -> bool {
        !self.ignored.is_empty() && self.ignored.iter().all(|ignored| *ignored == Some(label))
    }
}
