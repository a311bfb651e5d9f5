use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::{Tally, add};
use super::deferred::Deferred;
use super::fault::Fault;
use super::kernel::Checks;
use super::{Autotune, Capabilities, Counters, GpuOptions, Kernel, KernelKind, KernelSource, Tuned, adapter};
use crate::Error;

/// A device with its queue, kernel cache and counters. Cloning shares them.
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
}

/// By what is checked while they run.
type Kernels = HashMap<Checks, HashMap<Arc<KernelSource>, Arc<Kernel>>>;

/// Which kernels of an operation to use where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that the device can run.
    #[default]
    Auto,
    /// The plain ones, which need nothing beyond WebGPU's defaults.
    Plain,
    /// Those of one kind wherever they fit, and elsewhere plain ones: for tests, which run each kind.
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
    /// A headless device on the adapter that the options and the environment name.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with what was looked for; [`Error::NoDevice`]; [`Error::File`] if the folder of
    /// [`GpuOptions::autotune`] cannot be made.
    pub fn new(options: GpuOptions) -> Result<Self, Error> {
        pollster::block_on(Self::new_async(options))
    }

    /// As [`Gpu::new`], without blocking.
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
        // Only on a device of our own: a host's device reports to the host.
        let (on_error, on_loss) = (gpu.inner.fault.clone(), gpu.inner.fault.clone());
        gpu.device()
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error.note(error.to_string())));
        gpu.device().set_device_lost_callback(move |reason, message| on_loss.note_loss(reason, &message));
        Ok(gpu)
    }

    /// As [`Gpu::new`], a device for each kind of kernels that the adapter runs, whatever kernels the options ask for:
    /// for tests. The first is given the fastest.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    #[doc(hidden)]
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

    /// Lives beside somebody else's wgpu, on the host's device and queue.
    ///
    /// Ask for [`Gpu::required_limits`] and those of [`Gpu::optional_features`] that the adapter has when
    /// making the device. With smaller buffers and bindings it works in smaller windows, and with fewer features on
    /// plainer kernels; a kernel that needs more than the device's other limits allow, as most do of
    /// `Limits::downlevel_webgl2_defaults`, is refused with [`Error::DeviceLimit`] by what is built of it.
    ///
    /// Clone what this returns rather than call it twice: what was made through one is another device's to the other,
    /// since wgpu cannot tell devices of two instances apart.
    ///
    /// The host's handler of uncaptured errors and its callback for a lost device stay as they are, and are not
    /// called for what is done here: that is returned. A lost device is noticed by the first call that needs it,
    /// as [`Error::DeviceLost`]; why it was lost, wgpu tells only the host's callback.
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
        let fault = Arc::default();
        let (tally, kernels) = (Arc::default(), Mutex::default());
        let deferred = Deferred::default();
        let inner = Inner { device, queue, info, capabilities, tally, kernels, tuned, fault, deferred };
        Self { inner: Arc::new(inner) }
    }

    /// The limits to ask for: WebGPU's defaults with the adapter's own sizes of bindings and buffers.
    ///
    /// Beyond those sizes kernels need at most 8 storage buffers a stage, 8 dynamic uniform buffers a layout, 256
    /// invocations and 16 KiB of memory a workgroup, and 65,535 workgroups a dimension.
    pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let offered = adapter.limits();
        // Some drivers offer less than 2 GiB a binding and none offers more than fits a signed 32-bit size.
        let binding = offered.max_storage_buffer_binding_size.min((1 << 31) - 4);
        wgpu::Limits {
            max_storage_buffer_binding_size: binding,
            max_buffer_size: offered.max_buffer_size.min(1 << 40),
            ..wgpu::Limits::default()
        }
    }

    /// Features that are never required: subgroups choose faster kernels, and f16 is what
    /// [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast) needs.
    pub fn optional_features() -> wgpu::Features {
        wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16
    }

    /// Whether [`Timestamps`](super::Timestamps) can be taken.
    pub fn has_timestamps(&self) -> bool {
        self.device().features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue. Steps that a trainer has held back are submitted before it is given out: what is submitted to it next
    /// comes behind them.
    pub fn queue(&self) -> &wgpu::Queue {
        // An error is the trainer's to say.
        let _ = self.flush();
        &self.inner.queue
    }

    pub(super) fn raw_queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    pub(super) fn deferred(&self) -> &Deferred {
        &self.inner.deferred
    }

    /// Name, type, backend and driver of the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// What the device offers kernels, and which of them it may be given.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// The kind of kernels that this device is given wherever they fit; elsewhere it is given plain ones.
    pub fn kernel_kind(&self) -> KernelKind {
        self.inner.capabilities.kind()
    }

    /// What has been done on this device through this crate.
    pub fn counters(&self) -> Counters {
        self.inner.tally.snapshot()
    }

    pub(super) fn kernels(&self) -> MutexGuard<'_, Kernels> {
        self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What plans found by timing kernels, if that was asked for.
    pub(crate) fn tuned(&self) -> Option<&Tuned> {
        self.inner.tuned.as_ref()
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.inner.tally
    }

    /// Whether two handles share one device and all that is made on it, as clones do.
    pub fn is_same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the device was lost, asked of it by making a small buffer, or has reported an error that nobody caught.
    ///
    /// A host's device reports errors to the host, so for [`Gpu::from_wgpu`] it is only whether it was lost.
    pub fn is_lost(&self) -> bool {
        self.probe().is_err()
    }

    /// Refuses once the device is known to be lost or has reported an error that nobody caught. Asks nobody.
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
    /// [`Error::DeviceLost`], also where wgpu drops the commands of a lost device without a word;
    /// [`Error::Device`] for commands that wgpu refuses, as those of an encoder of another device.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex, Error> {
        self.check()?;
        self.flush()?;
        let refused = |reason| Error::Device { what: "submitted commands".into(), reason };
        let commands = self.caught(|| encoder.finish()).map_err(|reason| self.blame(reason, refused))?;
        self.submit_all([commands])
    }

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn wait(&self) -> Result<(), Error> {
        self.poll(wgpu::PollType::wait_indefinitely())?;
        self.probe()
    }

    /// Polls, and refuses once the device is known to be lost. Of a host's device it is the result that says so.
    pub(crate) fn poll(&self, poll: wgpu::PollType) -> Result<(), Error> {
        if !matches!(poll, wgpu::PollType::Poll) {
            self.flush()?;
        }
        if let Err(error) = self.polled(poll)? {
            self.fault().note(error.to_string());
        }
        self.check()
    }

    /// Writes bytes (offset and length multiples of 4) that land before the next submit.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Buffer`] for a buffer that was destroyed or cannot be written.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.write_with(buffer, offset, bytes.len() as u64, |view| view.copy_from_slice(bytes))
    }

    /// Writes `bytes` bytes from `offset` on that `fill` puts into the staging memory itself, which saves a copy.
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
        // What was recorded before does not see what is written now.
        self.flush()?;
        let written = self.caught(|| {
            // The memory is written as the view is dropped.
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
