use super::{Autotune, KernelChoice};
use crate::Error;

/// How [`Gpu::new`](super::Gpu::new) chooses an adapter and what it asks of it.
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
    /// Whether plans time kernels on the device before they choose one. Default: off.
    pub autotune: Autotune,
    /// Asks for timestamps where the adapter has them, to measure dispatches.
    pub timestamps: bool,
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

pub(super) async fn choose(options: &GpuOptions) -> Result<wgpu::Adapter, Error> {
    let instance = instance(options.backends);
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
