use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::counters::{Tally, add};
use super::kernel::layout_entries;
use super::{Binding, Counters, Kernel, KernelSource, Region};
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

/// How [`Gpu::new`] chooses an adapter and what it asks of it.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Backends to look at. `None`: what `WGPU_BACKEND` says, or all.
    pub backends: Option<wgpu::Backends>,
    /// A part of the adapter's name, in any case. `None`: what `WGPU_ADAPTER_NAME` says, or any.
    pub adapter_name: Option<String>,
    /// Which kernels to use.
    pub kernels: KernelChoice,
    /// Caps the bytes of one storage binding below what the adapter offers, to test or to leave room.
    pub max_binding_bytes: Option<u64>,
    /// Caps the bytes of one buffer below what the adapter offers.
    pub max_buffer_bytes: Option<u64>,
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

/// All adapters that the instance knows, honouring `WGPU_BACKEND`.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    instance(None).enumerate_adapters(wgpu::Backends::all()).await
}

fn instance(backends: Option<wgpu::Backends>) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    if let Some(backends) = backends {
        descriptor.backends = backends;
    }
    // The device that does nothing is for tests: only ever when asked for by name.
    descriptor.backend_options.noop.enable = backends == Some(wgpu::Backends::NOOP);
    wgpu::Instance::new(descriptor)
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
        let adapter = choose_adapter(&options).await?;
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
        let fault = gpu.inner.fault.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
            fault.get_or_insert_with(|| error.to_string());
        }));
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
        let fault = Arc::new(Mutex::new(None));
        let writer = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            // Dropping a device is no fault.
            if reason != wgpu::DeviceLostReason::Destroyed {
                let mut fault = writer.lock().unwrap_or_else(PoisonError::into_inner);
                fault.get_or_insert(message);
            }
        });
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

    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.inner.tally
    }

    /// Whether two handles share one device.
    pub fn is_same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Whether the device was lost or reported an error that nobody caught.
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
        let polled = self.device().poll(wgpu::PollType::wait_indefinitely());
        self.check()?;
        polled.map(|_| ()).map_err(|e| Error::DeviceLost(e.to_string()))
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

    /// The kernel of this source, made once and kept.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the compiler's words; [`Error::DeviceLost`] if the driver gave up on it.
    pub fn kernel(&self, source: &KernelSource) -> Result<Arc<Kernel>, Error> {
        let mut kernels = self.inner.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(source) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(self.create_kernel(source)?);
        kernels.insert(source.clone(), kernel.clone());
        Ok(kernel)
    }

    fn create_kernel(&self, source: &KernelSource) -> Result<Kernel, Error> {
        let device = self.device();
        let name = Some(source.name.as_str());
        #[cfg(not(target_arch = "wasm32"))]
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: name,
            source: wgpu::ShaderSource::Wgsl(source.wgsl.clone()),
        });
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: name,
            entries: &layout_entries(&source.bindings),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: name,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: name,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let failed = |reason: String| Error::Kernel { kernel: source.name.clone(), reason };
        // Native error scopes answer at once; a browser reports through the uncaptured-error handler.
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(failed(error.to_string()));
        }
        self.check().map_err(|e| failed(e.to_string()))?;
        add(&self.inner.tally.pipelines, 1);
        Ok(Kernel { name: source.name.clone(), pipeline, layout, bindings: source.bindings.clone() })
    }

    /// A bind group of `kernel` over `regions`, one for each of its bindings.
    ///
    /// # Errors
    /// [`Error::Limit`] if a storage region exceeds the device's binding size, with the kernel's name.
    pub fn bind_group(&self, kernel: &Kernel, regions: &[Region<'_>]) -> Result<wgpu::BindGroup, Error> {
        let limits = self.device().limits();
        assert_eq!(kernel.bindings.len(), regions.len(), "{}: bindings", kernel.name);
        for (kind, region) in kernel.bindings.iter().zip(regions) {
            let (limit_name, limit) = match kind {
                Binding::Uniform { .. } => {
                    ("max_uniform_buffer_binding_size", limits.max_uniform_buffer_binding_size)
                }
                _ => ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            };
            if region.bytes > limit {
                return Err(Error::Limit {
                    tensor: kernel.name.clone(),
                    bytes: region.bytes,
                    limit_name,
                    limit,
                });
            }
        }
        let entries: Vec<_> = (0..)
            .zip(regions)
            .map(|(binding, region)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: region.buffer,
                    offset: region.offset,
                    size: std::num::NonZeroU64::new(region.bytes),
                }),
            })
            .collect();
        add(&self.inner.tally.bind_groups, 1);
        Ok(self.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&kernel.name),
            layout: &kernel.layout,
            entries: &entries,
        }))
    }
}

async fn choose_adapter(options: &GpuOptions) -> Result<wgpu::Adapter, Error> {
    let instance = instance(options.backends);
    let name = options.adapter_name.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok());
    let backends = options.backends.or_else(wgpu::Backends::from_env);
    let looked_for = || {
        let backends = backends.map_or("all backends".into(), |b| format!("backends {b:?}"));
        name.as_ref().map_or(backends.clone(), |n| format!("{backends}, adapter name containing {n:?}"))
    };
    if let Some(wanted) = &name {
        let all = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let found: Vec<String> = all.iter().map(|a| a.get_info().name).collect();
        let matches = |a: &wgpu::Adapter| a.get_info().name.to_lowercase().contains(&wanted.to_lowercase());
        return all.into_iter().find(matches).ok_or_else(|| Error::NoAdapter {
            looked_for: format!("{}; found: [{}]", looked_for(), found.join(", ")),
        });
    }
    let wanted = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance),
        ..Default::default()
    };
    instance
        .request_adapter(&wanted)
        .await
        .map_err(|e| Error::NoAdapter { looked_for: format!("{}; {e}", looked_for()) })
}
