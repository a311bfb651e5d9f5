use std::ops::Range;
use std::sync::Arc;

use super::blocks::Blocks;
use super::codes::{Codes, Words};
use super::packed::Halves;
use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region};
use crate::layout::{Layout, Window};
use crate::optim::factored::ranges::Places;
use crate::optim::factored::statistics::Statistics;
use crate::optim::rule::dynamic8::Code;
use crate::optim::rule::{Granularity, Precisions, Slot, SlotBits, StatePrecision};
use crate::params::Flat;

/// The values of a slot on the device.
#[derive(Debug)]
pub(crate) enum SlotBuffer {
    /// For each element.
    Elements(Flat),
    /// The same in bf16.
    Halves(Halves),
    /// The same in 8 bits.
    Codes(Codes),
    /// For each tensor, in order of the layout.
    Tensors(Buffer<f32>),
    /// What stands for tensors: the first values of a buffer, of which the rest is computed in each step.
    Statistics(Arc<Buffer<f32>>, Arc<Places>),
}

impl SlotBuffer {
    /// Zero everywhere.
    pub(crate) fn new(
        gpu: &Gpu,
        (slot, precision): (&Slot, StatePrecision),
        layout: &Arc<Layout>,
        (statistics, blocks): (Option<&Statistics>, Option<&Arc<Blocks>>),
    ) -> Result<Self, Error> {
        let name = &slot.name;
        Ok(match slot.granularity {
            Granularity::Element => match precision {
                StatePrecision::F32 => Self::Elements(Flat::zeroed(gpu, name, layout)?),
                StatePrecision::Bf16 => Self::Halves(Halves::zeroed(gpu, name, layout)?),
                StatePrecision::Int8 => {
                    let blocks = blocks.expect("they are cut where a slot is in codes");
                    let unsigned = slot.precisions == Precisions::Unsigned;
                    let code = if unsigned { Code::Unsigned } else { Code::Signed };
                    Self::Codes(Codes::zeroed(gpu, name, layout, blocks, code)?)
                }
            },
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
        (statistics, blocks): (Option<&Statistics>, Option<&Arc<Blocks>>),
    ) -> Result<Self, Error> {
        Ok(match self {
            Self::Elements(flat) => Self::Elements(flat.grown(recorder, &slot.name, layout)?),
            Self::Halves(halves) => Self::Halves(halves.grown(recorder, &slot.name, layout)?),
            Self::Codes(codes) => {
                let blocks = blocks.expect("they are cut where a slot is in codes");
                Self::Codes(codes.grown(recorder, &slot.name, layout, blocks)?)
            }
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

    /// What a kernel over a window, by its number, binds.
    pub(crate) fn region(&self, (number, window): (usize, &Window)) -> Region<'_> {
        match self {
            Self::Elements(flat) => flat.window(window),
            Self::Halves(halves) => halves.window(window),
            Self::Codes(codes) => codes.window(number),
            Self::Tensors(buffer) => buffer.region(),
            Self::Statistics(values, _) => values.region(),
        }
    }

    /// The buffers that hold it.
    pub(crate) fn raw(&self) -> Vec<&wgpu::Buffer> {
        match self {
            Self::Elements(flat) => flat.buffers().iter().map(|buffer| buffer.raw()).collect(),
            Self::Halves(halves) => halves.raw().collect(),
            Self::Codes(codes) => codes.raw().collect(),
            Self::Tensors(buffer) => vec![buffer.raw()],
            Self::Statistics(values, _) => vec![values.raw()],
        }
    }

    /// Where a tensor's values lie in what is read, by their names in state dicts.
    pub(crate) fn places(&self, slot: &Slot, layout: &Layout, tensor: usize) -> Vec<(String, Range<usize>)> {
        let place = match self {
            Self::Elements(_) | Self::Halves(_) | Self::Codes(_) => {
                let span = &layout.spans()[tensor];
                span.first..span.first + span.len
            }
            Self::Tensors(_) => tensor..tensor + 1,
            Self::Statistics(_, places) => return places[tensor].clone(),
        };
        vec![(slot.name.to_string(), place)]
    }

    /// Waits for the device and reads everything.
    pub(crate) async fn read(&self, gpu: &Gpu) -> Result<Values, Error> {
        Ok(Values::exact(match self {
            Self::Elements(flat) => flat.read_all_async(gpu).await?,
            Self::Halves(halves) => halves.read(gpu).await?,
            Self::Codes(codes) => {
                let words = codes.read(gpu).await?;
                return Ok(Values { all: codes.opened(&words), words: Some(words) });
            }
            Self::Tensors(buffer) => buffer.read_async(gpu, 0, buffer.len()).await?,
            Self::Statistics(values, places) => values.read_async(gpu, 0, end(places)).await?,
        }))
    }

    /// What a tensor's values are stored as.
    pub(crate) fn precision(&self, tensor: usize) -> StatePrecision {
        match self {
            Self::Halves(_) => StatePrecision::Bf16,
            Self::Codes(codes) if !codes.stays_plain(tensor) => StatePrecision::Int8,
            Self::Elements(_) | Self::Codes(_) | Self::Tensors(_) | Self::Statistics(..) => {
                StatePrecision::F32
            }
        }
    }

    /// The exact bits of a tensor's values that were read, where they are not those of the f32 values.
    pub(crate) fn bits(&self, values: &Values, tensor: usize) -> Option<SlotBits> {
        match self {
            Self::Halves(_) => Some(SlotBits::Bf16),
            Self::Codes(codes) => codes.bits(values.words.as_ref()?, tensor),
            Self::Elements(_) | Self::Tensors(_) | Self::Statistics(..) => None,
        }
    }

    /// Why bits that come from a state dict cannot be taken over as they are, or are not those of its values.
    pub(crate) fn check_bits(&self, tensor: usize, values: &[f32], bits: &SlotBits) -> Result<(), String> {
        match (self, bits) {
            (_, SlotBits::Bf16) => match values.iter().position(|value| value.to_bits() & 0xffff != 0) {
                Some(at) => Err(format!("holds {} at element {at}, which bf16 does not have", values[at])),
                None => Ok(()),
            },
            (Self::Codes(codes), bits) if !codes.takes(tensor, bits) => {
                Err("has codes of another kind, or is cut by windows elsewhere".into())
            }
            (Self::Codes(_), bits) => {
                let is_same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                match bits.opened() {
                    None => Err("has codes and scales that do not belong together".into()),
                    Some(own) if own.len() == values.len() && own.iter().zip(values).all(is_same) => Ok(()),
                    Some(_) => Err("has other values than its codes stand for".into()),
                }
            }
            (_, SlotBits::Int8 { .. }) => Ok(()),
        }
    }

    /// Writes everything, zeros where there is nothing; `data` is by tensor and name, and so are exact bits, where the
    /// values of such a tensor are stored like that.
    pub(crate) fn write_all<'d>(
        &self,
        gpu: &Gpu,
        slot: &Slot,
        data: impl Fn(usize, &str) -> Option<&'d [f32]>,
        bits: impl Fn(usize, &str) -> Option<&'d SlotBits>,
    ) -> Result<(), Error> {
        match self {
            Self::Elements(flat) => flat.write_all(gpu, |tensor| data(tensor, &slot.name)),
            Self::Halves(halves) => halves.write_all(gpu, |tensor| data(tensor, &slot.name)),
            Self::Codes(codes) => {
                codes.write_all(gpu, |tensor| data(tensor, &slot.name), |tensor| bits(tensor, &slot.name))
            }
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
            Self::Halves(halves) => halves.fill(gpu, tensor, value),
            Self::Codes(codes) => codes.fill(gpu, tensor, value),
            Self::Tensors(buffer) => buffer.write(gpu, tensor, &[value]),
            Self::Statistics(values, places) => places[tensor]
                .iter()
                .try_for_each(|(_, place)| values.write(gpu, place.start, &vec![value; place.len()])),
        }
    }
}

/// All values of a slot that were read.
#[derive(Debug)]
pub(crate) struct Values {
    /// As f32.
    pub(crate) all: Vec<f32>,
    /// Where they are in codes, what is on the device.
    words: Option<Words>,
}

impl Values {
    fn exact(all: Vec<f32>) -> Self {
        Self { all, words: None }
    }
}

/// Behind the last value.
fn end(places: &Places) -> usize {
    places.iter().flatten().map(|(_, place)| place.end).max().unwrap_or(0)
}
