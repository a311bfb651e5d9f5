//! Compares what a kernel needs with the limits of the device.

use super::{Binding, Gpu, KernelSource};
use crate::Error;

/// The name of a limit, the value needed, and the device's value.
type Need = (&'static str, u32, u32);

impl Gpu {
    /// Refuses a kernel that exceeds a limit and names the limit, before wgpu fails with a less specific
    /// message.
    pub(super) fn check_limits(&self, source: &KernelSource) -> Result<(), Error> {
        let limits = self.device().limits();
        let exceeds = |(_, needed, limit): &Need| needed > limit;
        let of_bindings = of_bindings(&source.bindings, &limits).into_iter().find(exceeds);
        match of_bindings.or_else(|| of_workgroup(&source.wgsl, &limits)?.into_iter().find(exceeds)) {
            None => Ok(()),
            Some((limit_name, needed, limit)) => {
                let what = format!("kernel {}", source.name);
                Err(Error::DeviceLimit { what, limit_name, needed: needed.into(), limit: limit.into() })
            }
        }
    }
}

fn of_bindings(bindings: &[Binding], limits: &wgpu::Limits) -> [Need; 8] {
    use Binding as B;
    let count = |is: fn(&Binding) -> bool| {
        u32::try_from(bindings.iter().filter(|binding| is(binding)).count()).unwrap_or(u32::MAX)
    };
    let storage = count(|binding| !matches!(binding, B::Uniform { .. }));
    let uniform = count(|binding| matches!(binding, B::Uniform { .. }));
    let dynamic_storage = count(|binding| *binding == B::ReadDynamic);
    let dynamic_uniform = count(|binding| matches!(binding, B::Uniform { dynamic: true, .. }));
    let block = |binding: &Binding| if let B::Uniform { bytes, .. } = binding { *bytes } else { 0 };
    let largest = bindings.iter().map(block).max().unwrap_or(0);
    let uniform_bytes = u32::try_from(limits.max_uniform_buffer_binding_size).unwrap_or(u32::MAX);
    [
        ("max_bind_groups", 1, limits.max_bind_groups),
        ("max_storage_buffers_per_shader_stage", storage, limits.max_storage_buffers_per_shader_stage),
        ("max_uniform_buffers_per_shader_stage", uniform, limits.max_uniform_buffers_per_shader_stage),
        ("max_bindings_per_bind_group", storage + uniform, limits.max_bindings_per_bind_group),
        (
            "max_dynamic_storage_buffers_per_pipeline_layout",
            dynamic_storage,
            limits.max_dynamic_storage_buffers_per_pipeline_layout,
        ),
        (
            "max_dynamic_uniform_buffers_per_pipeline_layout",
            dynamic_uniform,
            limits.max_dynamic_uniform_buffers_per_pipeline_layout,
        ),
        ("max_uniform_buffer_binding_size", largest, uniform_bytes),
        // Beyond this, `grid` uses a second dimension.
        (
            "max_compute_workgroups_per_dimension",
            MOST_WORKGROUPS,
            limits.max_compute_workgroups_per_dimension,
        ),
    ]
}

/// `None` on a device with at least the default limits, which suffice for every kernel of this crate. Only on
/// a smaller device is the WGSL parsed for its workgroup size.
fn of_workgroup(wgsl: &str, limits: &wgpu::Limits) -> Option<[Need; 5]> {
    let needs = |[x, y, z]: [u32; 3], bytes: u32| {
        let invocations = x.saturating_mul(y).saturating_mul(z);
        [
            ("max_compute_workgroup_size_x", x, limits.max_compute_workgroup_size_x),
            ("max_compute_workgroup_size_y", y, limits.max_compute_workgroup_size_y),
            ("max_compute_workgroup_size_z", z, limits.max_compute_workgroup_size_z),
            (
                "max_compute_invocations_per_workgroup",
                invocations,
                limits.max_compute_invocations_per_workgroup,
            ),
            ("max_compute_workgroup_storage_size", bytes, limits.max_compute_workgroup_storage_size),
        ]
    };
    let least = wgpu::Limits::default();
    let [x, y, z] = [
        (limits.max_compute_workgroup_size_x, least.max_compute_workgroup_size_x),
        (limits.max_compute_workgroup_size_y, least.max_compute_workgroup_size_y),
        (limits.max_compute_workgroup_size_z, least.max_compute_workgroup_size_z),
    ]
    .map(|(limit, least)| limit < least);
    let few = limits.max_compute_invocations_per_workgroup < least.max_compute_invocations_per_workgroup;
    let small = limits.max_compute_workgroup_storage_size < least.max_compute_workgroup_storage_size;
    let workgroup = (x || y || z || few || small).then(|| Workgroup::of(wgsl)).flatten()?;
    Some(needs(workgroup.size, workgroup.bytes))
}

/// Maximum number of workgroups in one dimension of a dispatch.
pub(super) const MOST_WORKGROUPS: u32 = 65_535;

/// The workgroup of a kernel: invocations in each dimension, and bytes of workgroup memory.
#[derive(Debug, PartialEq)]
struct Workgroup {
    size: [u32; 3],
    bytes: u32,
}

impl Workgroup {
    /// `None` for WGSL that does not parse; the compiler reports that.
    fn of(wgsl: &str) -> Option<Self> {
        let module = naga::front::wgsl::parse_str(wgsl).ok()?;
        let size = module.entry_points.first()?.workgroup_size;
        let types = module.to_ctx();
        let memory = module.global_variables.iter().map(|(_, variable)| variable);
        let memory = memory.filter(|variable| variable.space == naga::AddressSpace::WorkGroup);
        // WebGPU counts each variable at a multiple of 16 bytes.
        let bytes = memory.map(|variable| module.types[variable.ty].inner.size(types).next_multiple_of(16));
        Some(Self { size, bytes: bytes.sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_is_read_from_the_text() {
        let wgsl = "const LANES = 8u * 4u;
            var<workgroup> a: array<f32, LANES>; var<workgroup> b: vec3f; var<private> c: array<f32, 100>;
            @compute @workgroup_size(LANES, 2) fn main() { a[0] = b.x + c[1]; }";
        assert_eq!(Workgroup::of(wgsl), Some(Workgroup { size: [32, 2, 1], bytes: 128 + 16 }));
        assert_eq!(Workgroup::of("fn main("), None);
    }
}
