use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytemuck::Pod;

use super::Gpu;
use super::counters::{Tally, add};
use super::readback::PendingRead;
use crate::Error;

/// A GPU buffer of `len` elements of `T`, initialized to zero.
///
/// [`Counters`](super::Counters) count it: as one allocation, and as live bytes until it is dropped.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::Buffer;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let buffer: Buffer<f32> = Buffer::storage(&gpu, "numbers", 4)?;
/// buffer.write(&gpu, 1, &[1.0, 2.0])?;
/// assert_eq!(buffer.read(&gpu, 0, 4)?, [0.0, 1.0, 2.0, 0.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Buffer<T> {
    raw: wgpu::Buffer,
    len: usize,
    tally: Arc<Tally>,
    owned: bool,
    element: PhantomData<T>,
}

/// A byte range of a `wgpu` buffer that a kernel binds.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let params = ParamStore::builder().tensor("a", [3], &[1.0; 3]).tensor("b", [2], &[2.0; 2]).build(&gpu)?;
/// let b = params.params().region_of(params.layout().span("b")?)?;
/// assert_eq!((b.offset, b.bytes), (256, 256)); // with the padding behind it
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// First byte; a multiple of 256.
    pub offset: u64,
    /// Size in bytes; a multiple of 4.
    pub bytes: u64,
}

impl<T: Pod> Buffer<T> {
    /// A storage buffer that can also be copied from and to. It holds at least one element.
    ///
    /// # Errors
    /// [`Error::Limit`] if it exceeds the device's `max_buffer_size`; [`Error::Buffer`] if the device is out
    /// of memory; [`Error::DeviceLost`].
    pub fn storage(gpu: &Gpu, label: &str, len: usize) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        Self::with_usage(gpu, label, len, U::STORAGE | U::COPY_SRC | U::COPY_DST)
    }

    /// A buffer with the given usages.
    ///
    /// # Errors
    /// As [`Buffer::storage`]; [`Error::Buffer`] for usages that cannot be combined.
    pub fn with_usage(gpu: &Gpu, label: &str, len: usize, usage: wgpu::BufferUsages) -> Result<Self, Error> {
        Self::create(gpu, label, len, usage, false)
    }

    /// An upload buffer: mapped on creation, written by the host, copied from by the device.
    pub(crate) fn mapped(gpu: &Gpu, label: &str, len: usize) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        Self::create(gpu, label, len, usage, true)
    }

    fn create(
        gpu: &Gpu,
        label: &str,
        len: usize,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<Self, Error> {
        let limit = gpu.device().limits().max_buffer_size;
        let bytes =
            len.max(1).checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_next_multiple_of(16));
        let bytes = bytes.map_or(u64::MAX, |bytes| bytes as u64);
        if bytes > limit {
            return Err(Error::Limit { tensor: label.into(), bytes, limit_name: "max_buffer_size", limit });
        }
        let made = gpu.caught(|| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage,
                mapped_at_creation,
            })
        });
        let refused = |error| Error::Buffer { what: label.into(), reason: format!("{bytes} bytes: {error}") };
        let raw = made.map_err(|error| gpu.blame(error, refused))?;
        // On a lost device wgpu returns an unusable buffer without reporting an error.
        gpu.probe()?;
        let tally = gpu.tally().clone();
        add(&tally.allocations, 1);
        add(&tally.live_bytes, bytes);
        Ok(Self { raw, len, tally, owned: true, element: PhantomData })
    }

    /// Wraps a buffer created elsewhere, which is not counted. The caller vouches for its size and usages.
    pub(crate) fn foreign(gpu: &Gpu, raw: wgpu::Buffer, len: usize) -> Self {
        Self { raw, len, tally: gpu.tally().clone(), owned: false, element: PhantomData }
    }

    /// Whether the buffer was created elsewhere.
    pub(crate) fn is_foreign(&self) -> bool {
        !self.owned
    }

    /// Whether it belongs to this device.
    pub(crate) fn is_of(&self, gpu: &Gpu) -> bool {
        Arc::ptr_eq(&self.tally, gpu.tally())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The underlying wgpu buffer, for copies and for bind groups of the host.
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.raw
    }

    /// The whole buffer as a region to bind.
    pub fn region(&self) -> Region<'_> {
        Region { buffer: &self.raw, offset: 0, bytes: self.raw.size() }
    }

    /// `len` elements from `first` on as a region to bind. `first` must lie at a multiple of 256 bytes.
    pub fn region_of(&self, first: usize, len: usize) -> Region<'_> {
        let size = size_of::<T>();
        Region { buffer: &self.raw, offset: (first * size) as u64, bytes: (len * size) as u64 }
    }

    /// Writes `data` at element `first`. The write takes effect before the next submit.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` does not fit or does not begin and end at multiples of 4 bytes;
    /// [`Error::Mismatch`] for another device; [`Error::Buffer`] for a buffer that was destroyed or lacks the
    /// usage `COPY_DST`; [`Error::DeviceLost`].
    pub fn write(&self, gpu: &Gpu, first: usize, data: &[T]) -> Result<(), Error> {
        self.check_range(gpu, "buffer write", first, data.len())?;
        let (start, bytes) = (first * size_of::<T>(), size_of_val(data));
        if !start.is_multiple_of(4) || !bytes.is_multiple_of(4) {
            let what = format!("buffer write of {bytes} bytes at byte {start}, in multiples of 4 bytes");
            return Err(Error::Length { what, expected: data.len().next_multiple_of(4), got: data.len() });
        }
        gpu.write(&self.raw, (first * size_of::<T>()) as u64, bytemuck::cast_slice(data))
    }

    /// Waits for the device and reads `len` elements from `first` on.
    ///
    /// # Errors
    /// [`Error::Length`] for a range outside the buffer; [`Error::Mismatch`] for another device;
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, gpu: &Gpu, first: usize, len: usize) -> Result<Vec<T>, Error> {
        gpu.block_on(self.read_async(gpu, first, len))
    }

    /// Like [`Buffer::read`], without blocking.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    pub async fn read_async(&self, gpu: &Gpu, first: usize, len: usize) -> Result<Vec<T>, Error> {
        let words = self.begin_read(gpu, first, len)?.read(gpu).await?;
        Ok(self.elements(&words, first, len))
    }

    fn check_range(&self, gpu: &Gpu, what: &str, first: usize, len: usize) -> Result<(), Error> {
        if !self.is_of(gpu) {
            return Err(Error::Mismatch(format!("{what}: the buffer belongs to another device")));
        }
        if first.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let what = format!("{what} at element {first}");
        Err(Error::Length { what, expected: self.len.saturating_sub(first), got: len })
    }

    // Copies move multiples of 4 bytes; `T` may be smaller.
    fn begin_read(&self, gpu: &Gpu, first: usize, len: usize) -> Result<PendingRead, Error> {
        self.check_range(gpu, "buffer read", first, len)?;
        let (start, end) = (first * size_of::<T>(), (first + len) * size_of::<T>());
        let low = start / 4 * 4;
        PendingRead::begin(gpu, &self.raw, low as u64, (end - low).next_multiple_of(4))
    }

    fn elements(&self, words: &[u8], first: usize, len: usize) -> Vec<T> {
        let skip = first * size_of::<T>() % 4;
        bytemuck::pod_collect_to_vec(&words[skip..skip + len * size_of::<T>()])
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.owned {
            self.tally.live_bytes.fetch_sub(self.raw.size(), Relaxed);
        }
    }
}
