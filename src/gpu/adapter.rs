use super::{Autotune, KernelChoice};
use crate::Error;

/// Options of [`Gpu::new`](super::Gpu::new): which adapter it selects, and what it requests of it.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::KernelChoice;
/// use gradus::{Gpu, GpuOptions, wgpu};
///
/// let backends = Some(wgpu::Backends::VULKAN);
/// let gpu = Gpu::new(GpuOptions { backends, kernels: KernelChoice::Plain, ..Default::default() })?;
/// println!("{}", gpu.info().name);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Backends to search. Default: those in `WGPU_BACKEND`, or all.
    pub backends: Option<wgpu::Backends>,
    /// A substring of the adapter's name, ignoring case. Default: `WGPU_ADAPTER_NAME`, or any adapter.
    pub adapter_name: Option<String>,
    /// Which kernels to use. Default: the fastest that the device can run.
    pub kernels: KernelChoice,
    /// Upper limit for the size of one storage binding, in bytes. Default: the adapter's limit. For tests, or
    /// to leave memory to others.
    pub max_binding_bytes: Option<u64>,
    /// Upper limit for the size of one buffer, in bytes. Default: the adapter's limit.
    pub max_buffer_bytes: Option<u64>,
    /// Whether plans time kernels on the device before they select one. Default: off.
    pub autotune: Autotune,
    /// Requests timestamp queries if the adapter has them, to time dispatches. Default: false.
    pub timestamps: bool,
}

/// All adapters that wgpu finds for the backends in `WGPU_BACKEND`, or for all that the crate was built with.
pub async fn adapters() -> Vec<wgpu::Adapter> {
    match instance(None) {
        Some(instance) => instance.enumerate_adapters(wgpu::Backends::all()).await,
        None => Vec::new(),
    }
}

/// `None` if the crate was built without a backend for this platform: wgpu would panic.
fn instance(backends: Option<wgpu::Backends>) -> Option<wgpu::Instance> {
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return None;
    }
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    if let Some(backends) = backends {
        descriptor.backends = backends;
    }
    // wgpu's no-op backend is for tests, so it is enabled only if it alone is requested.
    descriptor.backend_options.noop.enable = backends == Some(wgpu::Backends::NOOP);
    Some(wgpu::Instance::new(descriptor))
}

pub(super) async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter, Error> {
    let instance = instance(options.backends).ok_or_else(|| Error::NoAdapter {
        looked_for: "built without a backend: turn on a feature of vulkan, metal, dx12, gles, webgpu".into(),
    })?;
    let name = options
        .adapter_name
        .clone()
        .or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok())
        .filter(|name| !name.is_empty());
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
