//! Binds regions of the caller's buffers in place of a plan's own buffers.

mod delivery;

use std::sync::{Arc, MutexGuard, PoisonError};

use self::delivery::Delivery;
use super::{Output, Plan};
use crate::Error;
use crate::gpu::{Binding, Buffer, Gpu, Recorder, Region};
use crate::graph::shape::Planes;

/// A region of a buffer, which is kept alive.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::graph) struct Place {
    pub(in crate::graph) buffer: wgpu::Buffer,
    pub(in crate::graph) offset: u64,
    pub(in crate::graph) bytes: u64,
}

/// The source of an input, and whether to bind it rather than copy it if both are possible.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    place: Place,
    bind: bool,
}

/// The caller's regions that a plan reads and writes, and how.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By index of the input.
    sources: Vec<Option<Source>>,
    /// By index of the output.
    targets: Vec<Option<Place>>,
    /// Copies into the plan's own inputs, by index, before it runs.
    copies: Vec<(usize, Place, wgpu::Buffer)>,
    /// By index of the output: how it is delivered after the plan runs; `None` for an output that is bound directly.
    deliveries: Vec<Option<Arc<Delivery>>>,
    bound: Bound,
    /// Replacements for the bind groups of steps; empty if nothing is bound.
    groups: Arc<Vec<Option<wgpu::BindGroup>>>,
    /// Bind groups for recent sets of regions, so that alternating between them creates none.
    kept: Vec<(Bound, Arc<Vec<Option<wgpu::BindGroup>>>)>,
}

/// Regions, by the value that they replace.
type Bound = Vec<(usize, Place)>;

/// Number of sets of regions whose bind groups are kept.
const KEPT: usize = 4;

impl Place {
    pub(in crate::graph) fn of(slice: wgpu::BufferSlice<'_>) -> Self {
        Self { buffer: slice.buffer().clone(), offset: slice.offset(), bytes: slice.size() }
    }

    pub(super) fn kept(region: &Region<'_>) -> Self {
        Self { buffer: region.buffer.clone(), offset: region.offset, bytes: region.bytes }
    }

    pub(in crate::graph) fn region(&self) -> Region<'_> {
        Region { buffer: &self.buffer, offset: self.offset, bytes: self.bytes }
    }

    /// Whether a kernel can bind it.
    fn is_bindable(&self, gpu: &Gpu) -> bool {
        let alignment = gpu.device().limits().min_storage_buffer_offset_alignment;
        self.has(wgpu::BufferUsages::STORAGE) && self.offset.is_multiple_of(u64::from(alignment))
    }

    fn has(&self, usage: wgpu::BufferUsages) -> bool {
        self.buffer.usage().contains(usage)
    }

    /// Refuses a region that can be neither bound nor copied. `copied` is the usage that a copy needs.
    pub(in crate::graph) fn check(
        &self,
        gpu: &Gpu,
        what: &str,
        copied: wgpu::BufferUsages,
    ) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Buffer { what: what.into(), reason });
        if !self.offset.is_multiple_of(4) || !self.bytes.is_multiple_of(4) {
            let Self { offset, bytes, .. } = self;
            return refuse(format!(
                "regions begin and end at multiples of 4 bytes, this has {bytes} from {offset} on"
            ));
        }
        if self.is_bindable(gpu) || self.has(copied) { Ok(()) } else { self.refuse(gpu, what, copied) }
    }

    fn refuse<T>(&self, gpu: &Gpu, what: &str, copied: wgpu::BufferUsages) -> Result<T, Error> {
        let alignment = gpu.device().limits().min_storage_buffer_offset_alignment;
        let reason = format!(
            "a region is bound from a multiple of {alignment} bytes on, of a buffer with STORAGE that the plan does not \
             use otherwise, or copied with {copied:?}; this begins at byte {} of one with {:?}",
            self.offset,
            self.buffer.usage()
        );
        Err(Error::Buffer { what: what.into(), reason })
    }
}

impl Output {
    fn planes(&self) -> Planes {
        Planes::of(&self.shape, self.order)
    }

    /// Whether its memory is exactly its dense data.
    fn is_dense(&self) -> bool {
        self.planes().is_flat() && self.planes().channels.is_multiple_of(4)
    }

    /// Whether its memory starts with its dense data.
    fn begins_dense(&self) -> bool {
        self.is_dense() || self.planes().images * self.planes().pixels == 1
    }

    fn bytes(&self) -> u64 {
        (self.shape.iter().product::<usize>() * size_of::<f32>()) as u64
    }
}

impl Plan {
    /// Makes each run write an output into a region of a caller's buffer on the same device, as dense f32 in
    /// row-major order, until another region is bound or [`Plan::unbind_output`] is called.
    ///
    /// Kernels write the region directly if the output is row-major without padding (its last axis is a multiple of
    /// 4, and it does not come channels-last from a convolution or pooling), the buffer has `STORAGE`, the region's
    /// offset is a multiple of the device's `min_storage_buffer_offset_alignment` (usually 256), and neither this
    /// plan nor another region uses the buffer. Otherwise a copy follows the plan, which needs `COPY_DST`; for padded
    /// rows it is a dispatch, which needs only what binding needs. While a region is bound, [`Plan::read`] reads it
    /// and [`Plan::output`] fails.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Length`] unless the region has as many elements as the output;
    /// [`Error::Buffer`] for a region whose usages or offset allow neither binding nor copying, or whose buffer
    /// belongs to another device of the same `wgpu::Instance` (wgpu cannot detect one of another instance) or was
    /// destroyed, which for a copy is only reported by the submit; [`Error::DeviceLost`]. Nothing has changed then.
    pub fn bind_output(&self, name: &str, region: wgpu::BufferSlice<'_>) -> Result<(), Error> {
        let number = self.output_number(name)?;
        let (output, place, what) = (&self.outputs[number], Place::of(region), format!("output {name}"));
        place.check(&self.gpu, &what, wgpu::BufferUsages::COPY_DST)?;
        if place.bytes != output.bytes() {
            let elements = |bytes: u64| usize::try_from(bytes / 4).unwrap_or(usize::MAX);
            let (expected, got) = (elements(output.bytes()), elements(place.bytes));
            return Err(Error::Length { what, expected, got });
        }
        self.change_links(|_, targets| targets[number] = Some(place))
    }

    /// Makes an output use the plan's own buffer again.
    ///
    /// # Errors
    /// [`Error::UnknownName`].
    pub fn unbind_output(&self, name: &str) -> Result<(), Error> {
        let number = self.output_number(name)?;
        self.change_links(|_, targets| targets[number] = None)
    }

    /// Makes input `number` read a checked region, or the plan's own buffer again.
    pub(super) fn link_input(&self, number: usize, place: Option<Place>, bind: bool) -> Result<(), Error> {
        let source = place.map(|place| Source { place, bind });
        if self.links().source(number) == source.as_ref() {
            return Ok(());
        }
        self.change_links(|sources, _| sources[number] = source)
    }

    /// The caller's region that an output is written to, if any.
    pub(super) fn target(&self, number: usize) -> Option<Place> {
        self.links().targets.get(number).cloned().flatten()
    }

    /// That region as elements of a buffer.
    pub(super) fn dense_target(&self, number: usize) -> Option<(Buffer<f32>, usize, usize)> {
        let Place { buffer, offset, bytes } = self.target(number)?;
        let [first, len] =
            [offset, bytes].map(|bytes| usize::try_from(bytes / 4).expect("a buffer of this host"));
        Some((Buffer::foreign(&self.gpu, buffer, first + len), first, len))
    }

    pub(super) fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_links(
        &self,
        change: impl FnOnce(&mut [Option<Source>], &mut [Option<Place>]),
    ) -> Result<(), Error> {
        let mut links = self.links();
        let (mut sources, mut targets) = (links.sources.clone(), links.targets.clone());
        sources.resize(self.inputs.len(), None);
        targets.resize(self.outputs.len(), None);
        change(&mut sources, &mut targets);
        if (&sources, &targets) == (&links.sources, &links.targets) {
            return Ok(());
        }
        *links = self.linked(&links, sources, targets)?;
        Ok(())
    }

    /// Decides for each region whether to bind or copy it, and creates the resources that `before` lacks.
    fn linked(
        &self,
        before: &Links,
        sources: Vec<Option<Source>>,
        targets: Vec<Option<Place>>,
    ) -> Result<Links, Error> {
        let mut next = Links { deliveries: vec![None; targets.len()], ..Links::default() };
        for (number, source) in sources.iter().enumerate() {
            let Some(source) = source else { continue };
            let (input, place) = (&self.inputs[number], &source.place);
            let written = || targets.iter().flatten().any(|target| target.buffer == place.buffer);
            let free = !self.uses(place) && !written() && !self.writes(input.value);
            let bindable = place.is_bindable(&self.gpu) && free;
            let copyable = place.has(wgpu::BufferUsages::COPY_SRC);
            let what = || format!("input {}", input.name);
            if bindable && (source.bind || !copyable) {
                next.bound.push((input.value, place.clone()));
            } else if copyable {
                if !before.copies.iter().any(|(_, known, _)| known.buffer == place.buffer) {
                    let to = Region { bytes: place.bytes, ..input.buffer.region() };
                    let refused = |reason| Error::Buffer { what: what(), reason };
                    self.gpu.check_copy(place.region(), to).map_err(refused)?;
                }
                next.copies.push((number, place.clone(), input.buffer.raw().clone()));
            } else {
                return place.refuse(&self.gpu, &what(), wgpu::BufferUsages::COPY_SRC);
            }
        }
        for (number, target) in targets.iter().enumerate() {
            let Some(place) = target else { continue };
            let output = &self.outputs[number];
            let read = sources.iter().flatten().filter(|source| source.place.buffer == place.buffer).count();
            let written = targets.iter().flatten().filter(|target| target.buffer == place.buffer).count();
            let alone = read + written == 1 && !self.uses(place);
            let one_name = self.outputs.iter().filter(|other| other.value == output.value).count() == 1;
            if alone && one_name && output.is_dense() && place.is_bindable(&self.gpu) {
                next.bound.push((output.value, place.clone()));
            } else {
                let known =
                    before.deliveries.get(number).cloned().flatten().filter(|known| known.to == *place);
                let delivery = known.map_or_else(|| self.delivery(output, place).map(Arc::new), Ok)?;
                next.deliveries[number] = Some(delivery);
            }
        }
        if !next.bound.is_empty() {
            next.kept.clone_from(&before.kept);
            let known = next.kept.iter().position(|(bound, _)| *bound == next.bound);
            let (bound, groups) = match known {
                Some(at) => next.kept.remove(at),
                None => (next.bound.clone(), Arc::new(self.groups_with(&next.bound)?)),
            };
            next.groups = groups.clone();
            next.kept.insert(0, (bound, groups));
            next.kept.truncate(KEPT);
        }
        Ok(Links { sources, targets, ..next })
    }

    /// Whether a buffer belongs to the plan or to its store.
    fn uses(&self, place: &Place) -> bool {
        let mut own = self.steps.iter().flat_map(|step| &step.places);
        own.any(|own| own.buffer == place.buffer)
            || self.outputs.iter().any(|o| *o.buffer.raw() == place.buffer)
    }

    /// Whether a kernel writes a value.
    fn writes(&self, value: usize) -> bool {
        let mut bindings = self.steps.iter().flat_map(|step| step.values.iter().zip(step.kernel.bindings()));
        bindings.any(|(bound, binding)| *bound == Some(value) && *binding == Binding::ReadWrite)
    }

    /// New bind groups for the steps that use a replaced value.
    fn groups_with(&self, bound: &Bound) -> Result<Vec<Option<wgpu::BindGroup>>, Error> {
        let elsewhere = |value: &Option<usize>| bound.iter().find(|(of, _)| Some(*of) == *value);
        let group = |step: &super::Step| {
            step.values.iter().any(|value| elsewhere(value).is_some()).then(|| {
                let places = step.places.iter().zip(&step.values);
                let places = places.map(|(own, value)| elsewhere(value).map_or(own, |(_, place)| place));
                let regions: Vec<Region<'_>> = places.map(Place::region).collect();
                let group = self.gpu.bind_group(&step.kernel, &regions);
                group.map_err(|error| of_buffer(error, &format!("an input or output of {}", step.label)))
            })
        };
        self.steps.iter().map(|step| group(step).transpose()).collect()
    }
}

/// Turns wgpu's error about a bind group into one about the new region in it.
fn of_buffer(error: Error, what: &str) -> Error {
    match error {
        Error::Kernel { reason, .. } => Error::Buffer { what: what.into(), reason },
        other => other,
    }
}

impl Links {
    fn source(&self, input: usize) -> Option<&Source> {
        self.sources.get(input)?.as_ref()
    }

    /// The replacement for the bind group of a step, if there is one.
    pub(super) fn group(&self, step: usize) -> Option<&wgpu::BindGroup> {
        self.groups.get(step)?.as_ref()
    }

    /// Records the copies into some of the plan's own inputs.
    pub(super) fn record_before(&self, recorder: &mut Recorder<'_>, wanted: impl Fn(usize) -> bool) {
        for (_, from, to) in self.copies.iter().filter(|(input, ..)| wanted(*input)) {
            recorder.copy(&from.buffer, from.offset, to, 0, from.bytes);
        }
    }

    /// Records the deliveries of some outputs.
    pub(super) fn record_after(
        &self,
        recorder: &mut Recorder<'_>,
        outputs: &[Output],
        wanted: impl Fn(&Output) -> bool,
    ) {
        for (delivery, output) in self.deliveries.iter().zip(outputs).filter(|(_, output)| wanted(output)) {
            if let Some(delivery) = delivery {
                delivery.record(recorder, output);
            }
        }
    }
}
