use std::sync::Arc;

use super::input::Input;
use super::lowering::source;
use super::ops::grid;
use super::shape::u;
use super::template::expand;
use crate::Error;
use crate::gpu::{Binding, Block, Buffer, Gpu, Kernel, KernelListing, KernelSource, Recorder, uniform};

/// A data set on the device. A step uploads the row indices of its batch instead of the data.
///
/// Give [`Resident::rows`] to an input like data of the host; the plan first gathers these rows.
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::{Graph, PlanOptions, Resident, Workspace};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let graph = Graph::new();
/// let x = graph.input("x", [2, 3]);
/// let params = graph.parameter("w", [2, 3], gradus::nn::Init::Constant(1.0));
/// let sum = x.add(&params).mean();
/// let store = graph.store(&gpu, 0)?;
/// let plan = graph.compile(&store, &PlanOptions::train(&sum), &mut Workspace::new())?;
/// let set = Resident::numbers(&gpu, &[0.5; 100 * 3], &[3])?;
/// plan.write("x", &set.rows(&[7, 99]))?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Resident {
    words: Buffer<u32>,
    kind: Kind,
    shape: Vec<usize>,
    len: usize,
    id: Arc<()>,
}

#[derive(Debug)]
enum Kind {
    Numbers,
    Bytes {
        table: Buffer<f32>,
        channels: usize,
    },
    /// The distinct labels, largest first.
    Labels {
        distinct: Vec<u32>,
    },
}

/// Some rows of a [`Resident`] data set, in this order; rows can repeat.
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::Resident;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let images = Resident::numbers(&gpu, &[0.0; 100 * 64], &[64])?;
/// let batch = images.rows(&[5, 17, 42]); // as an input of a step
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub(super) set: &'a Resident,
    pub(super) indices: &'a [u32],
}

impl Resident {
    /// A data set of f32 samples with this shape, row-major, one after the other.
    ///
    /// # Errors
    /// [`Error::Length`] for an incomplete sample; [`Error::Limit`] if the device cannot bind the data as a whole.
    pub fn numbers(gpu: &Gpu, data: &[f32], shape: &[usize]) -> Result<Self, Error> {
        Self::new(gpu, bytemuck::cast_slice(data), data.len(), shape, Kind::Numbers)
    }

    /// A data set of samples with this shape as bytes, a quarter of the size. A byte `b` in channel `c` represents
    /// the number `table[256 * c + b]`. The channels are the first dimension of `[C, H, W]`; other shapes have one
    /// channel.
    ///
    /// # Errors
    /// [`Error::Length`] for an incomplete sample or a table with the wrong length; [`Error::Limit`].
    pub fn bytes(gpu: &Gpu, data: &[u8], shape: &[usize], table: &[f32]) -> Result<Self, Error> {
        let channels = if let [channels, _, _] = *shape { channels } else { 1 };
        if table.len() != 256 * channels {
            let what = format!("table of the numbers of {channels} channels");
            return Err(Error::Length { what, expected: 256 * channels, got: table.len() });
        }
        let numbers = Buffer::storage(gpu, "numbers of bytes", table.len())?;
        numbers.write(gpu, 0, table)?;
        Self::new(gpu, data, data.len(), shape, Kind::Bytes { table: numbers, channels })
    }

    /// One class label for each sample.
    ///
    /// # Errors
    /// [`Error::Length`] if there are no labels; [`Error::Limit`].
    pub fn labels(gpu: &Gpu, labels: &[u32]) -> Result<Self, Error> {
        Self::labels_of(gpu, labels, &[])
    }

    /// Labels or indices in samples with this shape, such as tokens of texts; one sample after the other.
    ///
    /// # Errors
    /// [`Error::Length`] for an incomplete sample or no samples; [`Error::Limit`].
    pub fn labels_of(gpu: &Gpu, labels: &[u32], shape: &[usize]) -> Result<Self, Error> {
        let mut distinct = labels.to_vec();
        distinct.sort_unstable_by_key(|&label| std::cmp::Reverse(label));
        distinct.dedup();
        Self::new(gpu, bytemuck::cast_slice(labels), labels.len(), shape, Kind::Labels { distinct })
    }

    fn new(gpu: &Gpu, bytes: &[u8], elements: usize, shape: &[usize], kind: Kind) -> Result<Self, Error> {
        let sample = shape.iter().try_fold(1, |len: usize, extent| len.checked_mul(*extent)).unwrap_or(0);
        if sample == 0 || elements == 0 || !elements.is_multiple_of(sample) {
            let what = format!("a set in whole samples of {shape:?}");
            let expected = elements.next_multiple_of(sample.max(1)).max(sample);
            return Err(Error::Length { what, expected, got: elements });
        }
        let limit = gpu.device().limits().max_storage_buffer_binding_size;
        let size = bytes.len().next_multiple_of(16) as u64;
        if size > limit {
            let (tensor, limit_name) = ("resident set".into(), "max_storage_buffer_binding_size");
            return Err(Error::Limit { tensor, bytes: size, limit_name, limit });
        }
        let words = Buffer::storage(gpu, "resident set", bytes.len().div_ceil(4))?;
        let whole = bytes.len() / 4 * 4;
        gpu.write(words.raw(), 0, &bytes[..whole])?;
        if whole < bytes.len() {
            let mut rest = [0; 4];
            rest[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            gpu.write(words.raw(), whole as u64, &rest)?;
        }
        Ok(Self { words, kind, shape: shape.to_vec(), len: elements / sample, id: Arc::default() })
    }

    /// Number of samples.
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The shape of one sample; empty for labels.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The samples at `indices`, as data for an input.
    pub fn rows<'a>(&'a self, indices: &'a [u32]) -> Rows<'a> {
        Rows { set: self, indices }
    }

    pub(super) fn are_labels(&self) -> bool {
        matches!(self.kind, Kind::Labels { .. })
    }
}

impl Rows<'_> {
    /// Refuses a data set on another device, rows out of range, samples of another shape, and labels out of range.
    pub(super) fn check(&self, gpu: &Gpu, input: &Input) -> Result<(), Error> {
        let (set, shape, input_name) = (self.set, &input.shape[1..], &input.name);
        if !set.words.is_of(gpu) {
            return Err(Error::Mismatch(format!(
                "input {input_name}: the data set belongs to another device"
            )));
        }
        if set.shape != shape {
            let (layer, expected) = (format!("input {input_name}"), format!("samples of {shape:?}"));
            return Err(Error::Shape { layer, expected, got: set.shape.clone() });
        }
        if let (Kind::Labels { distinct }, Some(classes)) = (&set.kind, input.classes) {
            let mut beyond = distinct.iter().take_while(|&&label| label as usize >= classes);
            if let Some(label) = beyond.find(|&&label| input.is_unknown(label)) {
                let name = format!("a label of the set for input {input_name}");
                return Err(Error::constant(name, format!("below {classes}"), label));
            }
        }
        match self.indices.iter().position(|&index| index as usize >= set.len) {
            None => Ok(()),
            Some(at) => {
                let name = format!("row {at} of input {input_name}");
                Err(Error::constant(name, format!("below the {} samples", set.len), self.indices[at]))
            }
        }
    }
}

uniform! {
    pub(crate) struct Shape { rows: u32 }
}

/// Gathers a batch from a data set into an input of a plan.
#[derive(Debug)]
pub(super) struct Gather {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    indices: Buffer<u32>,
    _shape: Buffer<u8>,
    set: Arc<()>,
}

fn gather_words(sample: usize) -> KernelSource {
    let wgsl = expand(include_str!("../../shaders/ops/gather.wgsl"), &[("SAMPLE", u(sample))], &[]);
    source::<Shape>("gather", wgsl, &[Binding::Read, Binding::Read, Binding::ReadWrite])
}

fn gather_bytes(sample: usize, channels: usize) -> KernelSource {
    let constants = [("SAMPLE", u(sample)), ("PIXELS", u(sample / channels))];
    let wgsl = expand(include_str!("../../shaders/ops/gather_bytes.wgsl"), &constants, &[]);
    source::<Shape>("gather_bytes", wgsl, &[Binding::Read, Binding::Read, Binding::ReadWrite, Binding::Read])
}

/// Both kernels, for tests.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    [gather_words(7), gather_bytes(12, 3)]
        .map(|source| KernelListing { source, blocks: vec![Block::of::<Shape>("Shape")] })
        .into()
}

impl Gather {
    pub(super) fn new(gpu: &Gpu, set: &Resident, input: &Input) -> Result<Self, Error> {
        let (rows, sample) = (input.shape[0], input.sample());
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let shape: Buffer<u8> = Buffer::with_usage(gpu, "gather", size_of::<Shape>(), usage)?;
        shape.write(gpu, 0, bytemuck::bytes_of(&Shape { rows: u(rows) }))?;
        let indices = Buffer::storage(gpu, "rows of the batch", rows)?;
        let mut regions = vec![shape.region(), indices.region(), set.words.region(), input.buffer.region()];
        let kernel = match &set.kind {
            Kind::Numbers | Kind::Labels { .. } => gather_words(sample),
            Kind::Bytes { table, channels } => {
                regions.push(table.region());
                gather_bytes(sample, *channels)
            }
        };
        let kernel = gpu.kernel(&kernel)?;
        let group = gpu.bind_group(&kernel, &regions)?;
        let grid = grid((rows * sample).div_ceil(4));
        Ok(Self { kernel, group, grid, indices, _shape: shape, set: set.id.clone() })
    }

    pub(super) fn is_of(&self, set: &Resident) -> bool {
        Arc::ptr_eq(&self.set, &set.id)
    }

    /// The buffer for the row indices of a batch.
    pub(super) fn indices(&self) -> &wgpu::Buffer {
        self.indices.raw()
    }

    pub(super) fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.kernel, &self.group, &[], self.grid);
    }
}
