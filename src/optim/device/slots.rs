use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Window};
use crate::optim::factored::ranges::Places;
use crate::optim::factored::statistics::Statistics;
use crate::optim::rule::{Granularity, Slot};
use crate::params::Flat;

/// The values of a slot on the device.
#[derive(Debug)]
pub(crate) enum SlotBuffer {
    /// For each element.
    Elements(Flat),
    /// For each tensor, in order of the layout.
    Tensors(Buffer<f32>),
    /// What stands for tensors: the first values of a buffer, of which the rest is computed in each step.
    Statistics(Arc<Buffer<f32>>, Arc<Places>),
}

impl SlotBuffer {
    /// Zero everywhere.
    pub(crate) fn new(
        gpu: &Gpu,
        slot: &Slot,
        layout: &Arc<Layout>,
        statistics: Option<&Statistics>,
    ) -> Result<Self, Error> {
        Ok(match slot.granularity {
            Granularity::Element => Self::Elements(Flat::zeroed(gpu, &slot.name, layout)?),
            Granularity::Tensor => Self::Tensors(Buffer::storage(gpu, &slot.name, layout.spans().len())?),
            Granularity::Statistics => {
                let statistics = statistics.expect("the family has them");
                Self::Statistics(statistics.values.clone(), statistics.ranges.places.clone())
            }
        })
    }

    /// The same values over a layout that has more tensors behind its own; a copy is recorded.
    pub(crate) fn grown(
        &self,
        recorder: &mut Recorder<'_>,
        slot: &Slot,
        layout: &Arc<Layout>,
        statistics: Option<&Statistics>,
    ) -> Result<Self, Error> {
        Ok(match self {
            Self::Elements(flat) => Self::Elements(flat.grown(recorder, &slot.name, layout)?),
            Self::Tensors(buffer) => {
                let more = Buffer::storage(recorder.gpu(), &slot.name, layout.spans().len())?;
                recorder.copy(buffer.raw(), 0, more.raw(), 0, buffer.len() as u64 * 4);
                Self::Tensors(more)
            }
            Self::Statistics(values, places) => {
                let statistics = statistics.expect("the family has them");
                recorder.copy(values.raw(), 0, statistics.values.raw(), 0, end(places) as u64 * 4);
                Self::Statistics(statistics.values.clone(), statistics.ranges.places.clone())
            }
        })
    }

    /// What a kernel over a window binds.
    pub(crate) fn region(&self, window: &Window) -> Region<'_> {
        match self {
            Self::Elements(flat) => flat.window(window),
            Self::Tensors(buffer) => buffer.region(),
            Self::Statistics(values, _) => values.region(),
        }
    }

    /// Where a tensor's values lie in what is read, by their names in state dicts.
    pub(crate) fn places(&self, slot: &Slot, layout: &Layout, tensor: usize) -> Vec<(String, Range<usize>)> {
        let place = match self {
            Self::Elements(_) => {
                let span = &layout.spans()[tensor];
                span.first..span.first + span.len
            }
            Self::Tensors(_) => tensor..tensor + 1,
            Self::Statistics(_, places) => return places[tensor].clone(),
        };
        vec![(slot.name.to_string(), place)]
    }

    /// Waits for the device and reads everything.
    pub(crate) async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, Error> {
        match self {
            Self::Elements(flat) => flat.read_all_async(gpu).await,
            Self::Tensors(buffer) => buffer.read_async(gpu, 0, buffer.len()).await,
            Self::Statistics(values, places) => values.read_async(gpu, 0, end(places)).await,
        }
    }

    /// Writes everything, zeros where there is nothing; `data` is by tensor and name.
    pub(crate) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        slot: &Slot,
        data: impl Fn(usize, &str) -> Option<&'d [f32]>,
    ) -> Result<(), Error> {
        match self {
            Self::Elements(flat) => flat.write_all(gpu, |tensor| data(tensor, &slot.name)),
            Self::Tensors(buffer) => {
                let first = |tensor| data(tensor, &slot.name).map_or(0.0, |values| values[0]);
                buffer.write(gpu, 0, &(0..buffer.len()).map(first).collect::<Vec<f32>>())
            }
            Self::Statistics(values, places) => {
                let mut all = vec![0.0; end(places)];
                for (tensor, places) in places.iter().enumerate() {
                    for (name, place) in places {
                        if let Some(values) = data(tensor, name) {
                            all[place.clone()].copy_from_slice(values);
                        }
                    }
                }
                values.write(gpu, 0, &all)
            }
        }
    }

    /// Gives all values of one tensor the same value.
    pub(crate) fn fill(&self, gpu: &Gpu, layout: &Layout, tensor: usize, value: f32) -> Result<(), Error> {
        match self {
            Self::Elements(flat) => {
                let span = &layout.spans()[tensor];
                flat.write(gpu, span, &vec![value; span.len])
            }
            Self::Tensors(buffer) => buffer.write(gpu, tensor, &[value]),
            Self::Statistics(values, places) => places[tensor]
                .iter()
                .try_for_each(|(_, place)| values.write(gpu, place.start, &vec![value; place.len()])),
        }
    }
}

/// Behind the last value.
fn end(places: &Places) -> usize {
    places.iter().flatten().map(|(_, place)| place.end).max().unwrap_or(0)
}
