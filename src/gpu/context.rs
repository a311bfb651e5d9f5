use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::{Tally, add};
use super::deferred::Deferred;
use super::fault::Fault;
use super::kernel::Checks;
#[cfg(not(target_arch = "wasm32"))]
use super::polling::Polling;
use super::signal::{Notify, PENDING, READY, Signal, arrived};
use super::{Autotune, Capabilities, Counters, GpuOptions, Kernel, KernelKind, KernelSource, Tuned, adapter};
use crate::Error;

/// A device with its queue, kernel cache and counters. Clones share them.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?; // or Gpu::from_wgpu, with the program's own device
/// println!("{} by {:?}", gpu.info().name, gpu.info().backend);
/// gpu.wait()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gpu {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    capabilities: Capabilities,
    tally: Arc<Tally>,
    kernels: Mutex<Kernels>,
    tuned: Option<Tuned>,
    fault: Arc<Fault>,
    deferred: Deferred,
    #[cfg(not(target_arch = "wasm32"))]
    polling: Polling,
}

/// Compiled kernels, by the run-time checks they keep.
type Kernels = HashMap<Checks, HashMap<Arc<KernelSource>, Arc<Kernel>>>;

/// Which kernels to use for an operation that has several.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::KernelChoice;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions { kernels: KernelChoice::Plain, ..Default::default() })?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that the device can run.
    #[default]
    Auto,
    /// Plain kernels only, which need nothing beyond WebGPU's default limits.
    Plain,
    /// Kernels of one kind wherever they fit, plain ones elsewhere. For tests, which run every kind.
    #[doc(hidden)]
    Only(KernelKind),
}

impl KernelChoice {
    pub(super) fn only(self) -> Option<KernelKind> {
        match self {
            Self::Auto => None,
            Self::Plain => Some(KernelKind::Plain),
            Self::Only(kind) => Some(kind),
        }
    }
}

impl Gpu {
    /// A headless device on the adapter selected by the options and the environment.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with what was searched for; [`Error::NoDevice`]; [`Error::File`] if the folder of
    /// [`GpuOptions::autotune`] cannot be created.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(options: GpuOptions) -> Result<Self, Error> {
        pollster::block_on(Self::new_async(options))
    }

    /// Like [`Gpu::new`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub async fn new_async(options: GpuOptions) -> Result<Self, Error> {
        if let Autotune::Folder(folder) = &options.autotune {
            let refused = |error: std::io::Error| Error::File {
                path: folder.display().to_string(),
                reason: error.to_string(),
            };
            std::fs::create_dir_all(folder).map_err(refused)?;
        }
        let adapter = adapter::choose(&options).await?;
        let mut limits = Self::required_limits(&adapter);
        if let Some(most) = options.max_binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
        }
        if let Some(most) = options.max_buffer_bytes {
            limits.max_buffer_size = limits.max_buffer_size.min(most);
        }
        let mut features = Self::optional_features();
        let tunes = options.autotune != Autotune::Off;
        features.set(wgpu::Features::TIMESTAMP_QUERY, options.timestamps || tunes);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gradus"),
            required_features: adapter.features() & features,
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::NoDevice { adapter: adapter.get_info().name, reason: e.to_string() })?;
        let gpu = Self::with_choice(&adapter, device, queue, (options.kernels, options.autotune));
        if let Some(kind) = options.kernels.only().filter(|kind| !kind.runs_on(gpu.capabilities())) {
            let reason = format!("{kind:?} kernels do not run on {:?}", gpu.capabilities());
            return Err(Error::NoDevice { adapter: gpu.info().name.clone(), reason });
        }
        // Only on a device that this crate created; a host's device reports to the host.
        let (on_error, on_loss) = (gpu.inner.fault.clone(), gpu.inner.fault.clone());
        gpu.device()
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error.note(error.to_string())));
        gpu.device().set_device_lost_callback(move |reason, message| on_loss.note_loss(reason, &message));
        Ok(gpu)
    }

    /// One device for each kind of kernels that the adapter runs, whatever kind the options request; the
    /// first uses the fastest. For tests.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    #[doc(hidden)]
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_each_kind(options: &GpuOptions) -> Result<Vec<Self>, Error> {
        let of = |kernels| Self::new(GpuOptions { kernels, ..options.clone() });
        let mut gpus = vec![of(KernelChoice::Auto)?];
        let first = gpus[0].clone();
        let others = KernelKind::ALL.into_iter().filter(|kind| *kind != first.kernel_kind());
        for kind in others.filter(|kind| kind.runs_on(first.capabilities())) {
            gpus.push(of(KernelChoice::Only(kind))?);
        }
        Ok(gpus)
    }

    /// Uses the host application's device and queue.
    ///
    /// Create the device with [`Gpu::required_limits`], and with those of [`Gpu::optional_features`] that the
    /// adapter has. With smaller limits for buffers and bindings, windows are smaller; with fewer features,
    /// plainer kernels are used. A kernel that exceeds another limit is refused with [`Error::DeviceLimit`]
    /// when it is created; most kernels exceed `Limits::downlevel_webgl2_defaults`.
    ///
    /// Call this once and clone the result. Objects created through one call are treated as belonging to
    /// another device by the other, because wgpu cannot compare devices of two instances.
    ///
    /// The host's handler for uncaptured errors and its device-lost callback are not replaced, and not called
    /// for work done here: errors are returned instead. The first call that needs a lost device returns
    /// [`Error::DeviceLost`]. The reason for the loss reaches only the host's callback.
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::with_choice(adapter, device, queue, (KernelChoice::Auto, Autotune::Off))
    }

    fn with_choice(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        (choice, autotune): (KernelChoice, Autotune),
    ) -> Self {
        let info = adapter.get_info();
        let mut capabilities = Capabilities::of(&device, &info, choice);
        let tuned = Tuned::of(autotune);
        capabilities.tunes = tuned.is_some();
        let fault: Arc<Fault> = Arc::default();
        let (tally, kernels) = (Arc::default(), Mutex::default());
        let inner = Inner {
            #[cfg(not(target_arch = "wasm32"))]
            polling: Polling::new(&device, &fault),
            device,
            queue,
            info,
            capabilities,
            tally,
            kernels,
            tuned,
            fault,
            deferred: Deferred::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The limits to request: WebGPU's defaults, with the adapter's own maximum sizes of bindings and
    /// buffers.
    ///
    /// Other than those sizes, kernels need at most 8 storage buffers per stage, 8 dynamic uniform buffers
    /// per pipeline layout, 256 invocations and 16 KiB of memory per workgroup, and 65,535 workgroups per
    /// dimension.
    pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let offered = adapter.limits();
        // Some drivers offer less than 2 GiB per binding, and none offers more than a signed 32-bit size
        // holds.
        let binding = offered.max_storage_buffer_binding_size.min((1 << 31) - 4);
        wgpu::Limits {
            max_storage_buffer_binding_size: binding,
            max_buffer_size: offered.max_buffer_size.min(1 << 40),
            ..wgpu::Limits::default()
        }
    }

    /// Features that are useful but not required: subgroups allow faster kernels, and
    /// [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast) needs f16.
    pub fn optional_features() -> wgpu::Features {
        wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16
    }

    /// Whether the device supports [`Timestamps`](super::Timestamps).
    pub fn has_timestamps(&self) -> bool {
        self.device().features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue. Steps that a trainer has deferred are submitted first, so that work submitted to this queue
    /// runs after them.
    pub fn queue(&self) -> &wgpu::Queue {
        // The trainer reports the error.
        let _ = self.flush();
        &self.inner.queue
    }

    pub(super) fn raw_queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    pub(super) fn deferred(&self) -> &Deferred {
        &self.inner.deferred
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn polling(&self) -> &Polling {
        &self.inner.polling
    }

    /// Name, type, backend and driver of the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// What the device offers to kernels, and which kinds may be selected for it.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// The kind of kernels that this device uses wherever they fit. Elsewhere it uses plain kernels.
    pub fn kernel_kind(&self) -> KernelKind {
        self.inner.capabilities.kind()
    }

    /// Counts of the work done on this device through this crate.
    pub fn counters(&self) -> Counters {
        self.inner.tally.snapshot()
    }

    pub(super) fn kernels(&self) -> MutexGuard<'_, Kernels> {
        self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The findings of autotuning, if it is on.
    pub(crate) fn tuned(&self) -> Option<&Tuned> {
        self.inner.tuned.as_ref()
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.inner.tally
    }

    /// Whether two handles share one device and all objects on it, as clones do.
    pub fn is_same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the device was lost or has reported an uncaptured error. Creates a small buffer to find out.
    ///
    /// A host's device reports errors to the host, so for [`Gpu::from_wgpu`] this covers only the loss.
    pub fn is_lost(&self) -> bool {
        self.probe().is_err()
    }

    /// Refuses if the device is known to be lost or has reported an uncaptured error. Does not query the
    /// device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn check(&self) -> Result<(), Error> {
        self.inner.fault.check()
    }

    pub(super) fn fault(&self) -> &Fault {
        &self.inner.fault
    }

    /// A new command encoder.
    pub fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Submits one encoder's commands.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], also where wgpu silently drops commands on a lost device; [`Error::Device`] for
    /// commands that wgpu refuses, such as those of another device's encoder.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex, Error> {
        self.check()?;
        self.flush()?;
        let refused = |reason| Error::Device { what: "submitted commands".into(), reason };
        let commands = self.caught(|| encoder.finish()).map_err(|reason| self.blame(reason, refused))?;
        self.submit_all([commands])
    }

    /// Blocks until all work submitted so far is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn wait(&self) -> Result<(), Error> {
        self.poll(wgpu::PollType::wait_indefinitely())?;
        self.probe()
    }

    /// As [`Gpu::wait`], without blocking. Does not wait for work submitted after the call.
    ///
    /// # Errors
    /// As [`Gpu::wait`].
    pub async fn wait_async(&self) -> Result<(), Error> {
        self.flush()?;
        let done = Signal::new(PENDING);
        let notify = Notify::new(&done);
        self.raw_queue().on_submitted_work_done(move || notify.set(READY));
        arrived(self, &done).await?;
        self.probe()
    }

    /// Polls the device, and refuses if it is known to be lost. For a host's device the poll's result tells.
    pub(crate) fn poll(&self, poll: wgpu::PollType) -> Result<(), Error> {
        if !matches!(poll, wgpu::PollType::Poll) {
            self.flush()?;
        }
        if let Err(error) = self.polled(poll)? {
            self.fault().note(error.to_string());
        }
        self.check()
    }

    /// Writes bytes at `offset`, both multiples of 4. The write takes effect before the next submit.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Buffer`] for a buffer that was destroyed or cannot be written.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.write_with(buffer, offset, bytes.len() as u64, |view| view.copy_from_slice(bytes))
    }

    /// Like [`Gpu::write`], but `fill` writes the `bytes` bytes directly into staging memory, which saves a
    /// copy.
    ///
    /// # Errors
    /// As [`Gpu::write`].
    pub(crate) fn write_with(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
        fill: impl FnOnce(&mut wgpu::QueueWriteBufferView),
    ) -> Result<(), Error> {
        let Some(size) = std::num::NonZeroU64::new(bytes) else { return Ok(()) };
        // Commands recorded earlier must not see this write.
        self.flush()?;
        let written = self.caught(|| {
            // Dropping the view performs the write.
            self.raw_queue().write_buffer_with(buffer, offset, size).map(|mut view| fill(&mut view)).is_some()
        });
        let refused = |reason| Error::Buffer { what: format!("an upload of {bytes} bytes"), reason };
        match written {
            Ok(true) => {}
            Ok(false) => return Err(self.blame("it has no memory for it".into(), refused)),
            Err(reason) => return Err(self.blame(reason, refused)),
        }
        add(&self.inner.tally.uploads, 1);
        add(&self.inner.tally.upload_bytes, bytes);
        Ok(())
    }
}
