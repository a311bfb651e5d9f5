//! `gradus adapters`: the adapters with their relevant limits and features.

use gradus::{gpu::adapters, wgpu};

/// Prints every adapter that wgpu finds.
pub(crate) fn run() -> anyhow::Result<()> {
    let adapters = pollster::block_on(adapters());
    anyhow::ensure!(
        !adapters.is_empty(),
        "no adapter; `apt-get install mesa-vulkan-drivers` gives a software one"
    );
    for adapter in &adapters {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let has = |feature| if features.contains(feature) { "yes" } else { "no" };
        println!(
            "{} ({:?}, {:?}; {} {})",
            info.name, info.device_type, info.backend, info.driver, info.driver_info
        );
        println!("  storage binding {:>8} MiB", limits.max_storage_buffer_binding_size >> 20);
        println!("  buffer          {:>8} MiB", limits.max_buffer_size >> 20);
        println!("  storage buffers {:>8} a stage", limits.max_storage_buffers_per_shader_stage);
        println!("  invocations     {:>8} a workgroup", limits.max_compute_invocations_per_workgroup);
        println!("  workgroup mem   {:>8} KiB", limits.max_compute_workgroup_storage_size >> 10);
        println!(
            "  subgroups       {:>8} (size {} to {})",
            has(wgpu::Features::SUBGROUP),
            info.subgroup_min_size,
            info.subgroup_max_size
        );
        println!("  f16             {:>8}", has(wgpu::Features::SHADER_F16));
        println!("  timestamps      {:>8}", has(wgpu::Features::TIMESTAMP_QUERY));
    }
    Ok(())
}
