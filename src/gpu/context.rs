use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counters::{Tally, add};
use super::{Counters, GpuOptions, Kernel, KernelSource, adapter};
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
    class: KernelClass,
    tally: Arc<Tally>,
    kernels: Mutex<HashMap<KernelSource, Arc<Kernel>>>,
    fault: Arc<Mutex<Option<String>>>,
}

/// Which of two kernels of one operation to use where there are two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The fastest that the adapter can run.
    #[default]
    Auto,
    /// The plain ones, which need nothing beyond WebGPU's defaults.
    Plain,
}

/// What kind of kernels a device is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelClass {
    /// A CPU adapter with subgroups of exactly 8: wide register tiles fed by broadcasts.
    CpuSubgroup8,
    /// Anything else.
    Plain,
}

impl KernelClass {
    pub(crate) const ALL: [Self; 2] = [Self::CpuSubgroup8, Self::Plain];
}

impl Gpu {
    /// A headless device on the adapter that the options and the environment name.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with what was looked for; [`Error::NoDevice`].
    pub fn new(options: GpuOptions) -> Result<Self, Error> {
        pollster::block_on(Self::new_async(options))
    }

    /// As [`Gpu::new`], without blocking.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub async fn new_async(options: GpuOptions) -> Result<Self, Error> {
        let adapter = adapter::choose(&options).await?;
        let mut limits = Self::required_limits(&adapter);
        if let Some(most) = options.max_binding_bytes {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
        }
        if let Some(most) = options.max_buffer_bytes {
            limits.max_buffer_size = limits.max_buffer_size.min(most);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("gradus"),
            required_features: adapter.features() & Self::optional_features(),
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::NoDevice { adapter: adapter.get_info().name, reason: e.to_string() })?;
        let gpu = Self::with_choice(&adapter, device, queue, options.kernels);
        // Only on a device of our own: a host's device reports to the host.
        let (on_error, on_loss) = (gpu.inner.fault.clone(), gpu.inner.fault.clone());
        gpu.device()
            .on_uncaptured_error(Arc::new(move |error: wgpu::Error| note(&on_error, error.to_string())));
        gpu.device().set_device_lost_callback(move |_, message| note(&on_loss, message));
        Ok(gpu)
    }

    /// Lives beside somebody else's wgpu, on the host's device and queue.
    ///
    /// Ask for [`Gpu::required_limits`] and those of [`Gpu::optional_features`] that the adapter has when
    /// making the device; with less it works in smaller windows and with plainer kernels.
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::with_choice(adapter, device, queue, KernelChoice::Auto)
    }

    fn with_choice(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        choice: KernelChoice,
    ) -> Self {
        let info = adapter.get_info();
        let broadcasts = device.features().contains(wgpu::Features::SUBGROUP)
            && info.device_type == wgpu::DeviceType::Cpu
            && (info.subgroup_min_size, info.subgroup_max_size) == (8, 8);
        let class = match choice {
            KernelChoice::Auto if broadcasts => KernelClass::CpuSubgroup8,
            _ => KernelClass::Plain,
        };
        let fault = Arc::default();
        let (tally, kernels) = (Arc::default(), Mutex::default());
        Self { inner: Arc::new(Inner { device, queue, info, class, tally, kernels, fault }) }
    }

    /// The limits to ask for: WebGPU's defaults with the adapter's own sizes of bindings and buffers.
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

    /// Features that choose faster kernels and are never required.
    pub fn optional_features() -> wgpu::Features {
        wgpu::Features::SUBGROUP
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Name, type, backend and driver of the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// What kind of kernels this device is given.
    pub fn class(&self) -> KernelClass {
        self.inner.class
    }

    /// What has been done on this device through this crate.
    pub fn counters(&self) -> Counters {
        self.inner.tally.snapshot()
    }

    pub(super) fn kernels(&self) -> MutexGuard<'_, HashMap<KernelSource, Arc<Kernel>>> {
        self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.inner.tally
    }

    /// Whether two handles share one device.
    pub fn is_same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the device was lost or reported an error that nobody caught.
    ///
    /// A host's device reports to the host, so for [`Gpu::from_wgpu`] this knows only what a wait has shown.
    pub fn is_lost(&self) -> bool {
        self.check().is_err()
    }

    /// Refuses once the device was lost or has reported an error that nobody caught.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn check(&self) -> Result<(), Error> {
        match &*self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(Error::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }

    /// A new command encoder.
    pub fn encoder(&self, label: &str) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(label) })
    }

    /// Submits one encoder's commands.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<wgpu::SubmissionIndex, Error> {
        self.check()?;
        add(&self.inner.tally.submits, 1);
        Ok(self.queue().submit([encoder.finish()]))
    }

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn wait(&self) -> Result<(), Error> {
        if let Err(error) = self.device().poll(wgpu::PollType::wait_indefinitely()) {
            note(&self.inner.fault, error.to_string());
        }
        self.check()
    }

    /// Writes bytes (offset and length multiples of 4) that land before the next submit.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        add(&self.inner.tally.uploads, 1);
        add(&self.inner.tally.upload_bytes, bytes.len() as u64);
        self.queue().write_buffer(buffer, offset, bytes);
    }

    /// Writes `bytes` bytes that `fill` puts into the staging memory itself, which saves a copy.
    pub(crate) fn write_with(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        fill: impl FnOnce(&mut wgpu::QueueWriteBufferView),
    ) -> Result<(), Error> {
        let Some(size) = std::num::NonZeroU64::new(bytes) else { return Ok(()) };
        let lost = || Error::DeviceLost("no staging memory for an upload".into());
        let mut view = self.queue().write_buffer_with(buffer, 0, size).ok_or_else(lost)?;
        fill(&mut view);
        add(&self.inner.tally.uploads, 1);
        add(&self.inner.tally.upload_bytes, bytes);
        Ok(())
    }
}

/// Keeps the first fault: later ones follow from it.
fn note(fault: &Mutex<Option<String>>, reason: String) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
}
