use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::Place;
use super::resident::{Gather, Rows};
use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder};

/// Shape of labels: a batch size for one label per sample, or dimensions of which the first is the batch.
///
/// ```
/// use gradus::graph::Graph;
///
/// let graph = Graph::new();
/// let (classes, tokens) = (graph.labels("y", 32), graph.labels("tokens", [8, 64]));
/// assert_eq!((classes.shape(), tokens.shape()), (vec![32], vec![8, 64]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelShape(pub(super) Vec<usize>);

impl From<usize> for LabelShape {
    fn from(batch: usize) -> Self {
        Self(vec![batch])
    }
}

impl<const N: usize> From<[usize; N]> for LabelShape {
    fn from(shape: [usize; N]) -> Self {
        Self(shape.to_vec())
    }
}

impl From<&[usize]> for LabelShape {
    fn from(shape: &[usize]) -> Self {
        Self(shape.to_vec())
    }
}

impl From<Vec<usize>> for LabelShape {
    fn from(shape: Vec<usize>) -> Self {
        Self(shape)
    }
}

/// The data of an input for one run.
///
/// ```
/// use gradus::graph::{HostData, InputData};
///
/// let data = vec![1.0_f32, 2.0];
/// assert!(matches!(data.data(), InputData::F32([1.0, 2.0])));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum InputData<'a> {
    /// Numbers in row-major order.
    F32(&'a [f32]),
    /// Class labels or indices.
    Labels(&'a [u32]),
    /// Rows of a data set on the device.
    Rows(Rows<'a>),
    /// A region of a caller's buffer on the same device: f32 numbers in row-major order, or u32 labels.
    Buffer(wgpu::BufferSlice<'a>),
}

/// Types that can be the data of an input: `f32` numbers, `u32` labels, [`Rows`] of a data set on the device, or a
/// region of a caller's buffer on that device (`&buffer.slice(..)`), which is read at each run.
///
/// Inputs are given by name, as `&dyn HostData`. A slice is unsized, so it needs one more reference, or a conversion
/// to [`InputData`]:
///
/// ```
/// use gradus::graph::{HostData, InputData};
///
/// let (x, y) = (vec![0.5, 0.1, 0.2, 0.9, 0.4, 0.3], [0_u32, 1, 1]);
/// let whole: [(&str, &dyn HostData); 2] = [("x", &x), ("y", &y)];
/// let part: [(&str, &dyn HostData); 2] = [("x", &&x[0..4]), ("y", &InputData::from(&y[..2]))];
/// let one: [(&str, &dyn HostData); 1] = [("x", &[0.5, 0.1])];
/// # assert!(matches!(one[0].1.data(), InputData::F32([0.5, 0.1])));
/// # assert!(matches!((part[0].1.data(), part[1].1.data()), (InputData::F32([..]), InputData::Labels([0, 1]))));
/// ```
///
/// It is shared with the futures that take it, which may go from thread to thread.
pub trait HostData: Sync {
    /// The data.
    fn data(&self) -> InputData<'_>;
}

impl HostData for [f32] {
    fn data(&self) -> InputData<'_> {
        InputData::F32(self)
    }
}

impl HostData for [u32] {
    fn data(&self) -> InputData<'_> {
        InputData::Labels(self)
    }
}

impl<const N: usize> HostData for [f32; N] {
    fn data(&self) -> InputData<'_> {
        InputData::F32(self)
    }
}

impl<const N: usize> HostData for [u32; N] {
    fn data(&self) -> InputData<'_> {
        InputData::Labels(self)
    }
}

impl HostData for InputData<'_> {
    fn data(&self) -> InputData<'_> {
        *self
    }
}

impl<'a> From<&'a [f32]> for InputData<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self::F32(numbers)
    }
}

impl<'a> From<&'a [u32]> for InputData<'a> {
    fn from(labels: &'a [u32]) -> Self {
        Self::Labels(labels)
    }
}

impl<'a> From<wgpu::BufferSlice<'a>> for InputData<'a> {
    fn from(region: wgpu::BufferSlice<'a>) -> Self {
        Self::Buffer(region)
    }
}

impl<'a> From<Rows<'a>> for InputData<'a> {
    fn from(rows: Rows<'a>) -> Self {
        Self::Rows(rows)
    }
}

impl HostData for Vec<f32> {
    fn data(&self) -> InputData<'_> {
        InputData::F32(self)
    }
}

impl HostData for Vec<u32> {
    fn data(&self) -> InputData<'_> {
        InputData::Labels(self)
    }
}

impl HostData for Rows<'_> {
    fn data(&self) -> InputData<'_> {
        InputData::Rows(*self)
    }
}

impl HostData for wgpu::BufferSlice<'_> {
    fn data(&self) -> InputData<'_> {
        InputData::Buffer(*self)
    }
}

impl<T: HostData + ?Sized> HostData for &T {
    fn data(&self) -> InputData<'_> {
        (**self).data()
    }
}

/// Bytes of a number or a label.
const WORD: u64 = 4;

/// Uploads bytes to the start of a buffer.
pub(super) type Upload<'a> = &'a mut dyn FnMut(&wgpu::Buffer, &[u8]) -> Result<(), Error>;

impl InputData<'_> {
    /// The number of samples of `sample` elements each; `None` if it is 0 or the last sample is incomplete.
    pub(super) fn samples(&self, sample: usize) -> Option<usize> {
        let len = self.len(sample);
        (len > 0 && len.is_multiple_of(sample)).then(|| len / sample)
    }

    /// Number of elements, for samples of `sample` elements.
    pub(super) fn len(&self, sample: usize) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Labels(labels) => labels.len(),
            Self::Rows(rows) => rows.indices.len() * sample,
            Self::Buffer(region) => usize::try_from(region.size() / WORD).unwrap_or(usize::MAX),
        }
    }

    /// A range of samples of `sample` elements each.
    pub(super) fn part(&self, samples: Range<usize>, sample: usize) -> Self {
        let elements = samples.start * sample..samples.end * sample;
        match *self {
            Self::F32(numbers) => Self::F32(&numbers[elements]),
            Self::Labels(labels) => Self::Labels(&labels[elements]),
            Self::Rows(Rows { set, indices }) => Self::Rows(Rows { set, indices: &indices[samples] }),
            Self::Buffer(region) => {
                Self::Buffer(region.slice(elements.start as u64 * WORD..elements.end as u64 * WORD))
            }
        }
    }
}

/// The number of samples in `data`, determined from its first entry, for inputs with these names and shapes.
///
/// # Errors
/// [`Error::UnknownName`]; [`Error::Config`] if there is no data; [`Error::Length`] for an incomplete sample.
pub(crate) fn samples(
    inputs: &[(impl AsRef<str>, impl AsRef<[usize]>)],
    data: &[(&str, &dyn HostData)],
) -> Result<usize, Error> {
    let Some((name, data)) = data.first() else {
        return Err(Error::Config { what: "inputs".into(), reason: "expected at least one".into() });
    };
    let known = || Error::unknown("input", name, inputs.iter().map(|(known, _)| known.as_ref()));
    let (_, shape) = inputs.iter().find(|(known, _)| known.as_ref() == *name).ok_or_else(known)?;
    let of_sample = &shape.as_ref()[1..];
    let (data, sample) = (data.data(), of_sample.iter().product());
    data.samples(sample).ok_or_else(|| {
        let got = data.len(sample);
        let what = format!("input {name}, in whole samples of {of_sample:?}");
        Error::Length { what, expected: got.next_multiple_of(sample).max(sample), got }
    })
}

/// An input of a plan.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// Index of its value in the plan.
    pub(super) value: usize,
    pub(super) buffer: Arc<Buffer<f32>>,
    pub(super) labels: bool,
    pub(super) shape: Vec<usize>,
    pub(super) classes: Option<usize>,
    /// For each loss over these labels, the label that it ignores.
    pub(super) ignored: Vec<Option<u32>>,
    pub(super) gather: Mutex<Option<Gather>>,
}

impl Input {
    /// Number of elements of one sample.
    pub(super) fn sample(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Refuses data that do not have `samples` samples of this input's kind and shape.
    pub(super) fn check(&self, gpu: &Gpu, data: InputData<'_>, samples: usize) -> Result<(), Error> {
        let of_kind = match data {
            InputData::F32(_) => !self.labels,
            InputData::Labels(_) => self.labels,
            InputData::Rows(rows) => rows.set.are_labels() == self.labels,
            InputData::Buffer(_) => true,
        };
        if !of_kind {
            let wanted = if self.labels { "u32 labels" } else { "f32 numbers" };
            return Err(Error::Mismatch(format!("input {}: expected {wanted}", self.name)));
        }
        let (expected, got) = (samples * self.sample(), data.len(self.sample()));
        if got != expected {
            let what = format!("input {} of {samples} samples", self.name);
            return Err(Error::Length { what, expected, got });
        }
        match data {
            InputData::F32(_) => Ok(()),
            InputData::Labels(labels) => match labels.iter().position(|&label| self.is_unknown(label)) {
                None => Ok(()),
                Some(at) => {
                    let classes = self.classes.unwrap_or_default();
                    let name = format!("label {at} of input {}", self.name);
                    Err(Error::constant(name, format!("below {classes}"), labels[at]))
                }
            },
            InputData::Rows(rows) => rows.check(gpu, self),
            InputData::Buffer(region) => {
                let what = format!("input {}", self.name);
                Place::of(region).check(gpu, &what, wgpu::BufferUsages::COPY_SRC)
            }
        }
    }

    /// Uploads a checked batch, or its row indices if the data are on the device. The plan copies from a caller's
    /// buffer itself.
    pub(super) fn write(&self, gpu: &Gpu, batch: InputData<'_>, upload: Upload<'_>) -> Result<(), Error> {
        let mut gather = self.gather.lock().unwrap_or_else(PoisonError::into_inner);
        match batch {
            InputData::F32(numbers) => upload(self.buffer.raw(), bytemuck::cast_slice(numbers))?,
            InputData::Labels(labels) => upload(self.buffer.raw(), bytemuck::cast_slice(labels))?,
            InputData::Rows(rows) => {
                let ready = gather.take().filter(|gather| gather.is_of(rows.set));
                let ready = ready.map_or_else(|| Gather::new(gpu, rows.set, self), Ok)?;
                upload(ready.indices(), bytemuck::cast_slice(rows.indices))?;
                *gather = Some(ready);
                return Ok(());
            }
            InputData::Buffer(_) => {}
        }
        // The last write by the host is the one that counts.
        *gather = None;
        Ok(())
    }

    /// Whether a label is out of range and not ignored by all losses.
    pub(super) fn is_unknown(&self, label: u32) -> bool {
        let ignored =
            || !self.ignored.is_empty() && self.ignored.iter().all(|ignored| *ignored == Some(label));
        self.classes.is_some_and(|classes| label as usize >= classes) && !ignored()
    }

    /// Records the gather of the chosen rows, if the data are on the device.
    pub(super) fn record(&self, recorder: &mut Recorder<'_>) {
        if let Some(gather) = &*self.gather.lock().unwrap_or_else(PoisonError::into_inner) {
            gather.record(recorder);
        }
    }
}
