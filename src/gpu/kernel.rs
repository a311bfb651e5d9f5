use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::cost::KernelText;
use super::counters::add;
use super::{Field, Gpu, Kept, Region, Uniform};
use crate::Error;

/// Most iterations that the loops of one invocation may make together, whatever the sizes of the data: llvmpipe leaves
/// all loops of an invocation after 65,535, in silence, and GPUs have watchdogs. Longer sums are split.
pub(crate) const MAX_TRIPS: usize = 16_384;

/// What is checked in a kernel while it runs.
///
/// wgpu holds each index of a kernel to the end of its array, counts the iterations of its loops, and sets workgroup
/// memory to zero in front. wgpu-mm measured products on an M1 at 580 GFLOP/s with checks and at 860 without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Checks {
    /// All of it.
    #[default]
    All,
    /// Nothing: of kernels whose text is all ours and depends on no data but numbers of a uniform block that we write, whose
    /// every index lies inside and whose loops end, for any sizes, and which write workgroup memory before they read it.
    /// `src/nn/indices.rs` runs their every invocation in an interpreter that holds indices to the buffers that are bound.
    None,
    /// A part of it, of kernels that could do without any: to measure what each costs.
    Part(Kept),
}

impl Checks {
    fn kept(self) -> Kept {
        match self {
            Self::All => Kept { bounds: true, loops: true, zeroing: true },
            Self::None => Kept::default(),
            Self::Part(kept) => kept,
        }
    }

    /// The same checks and, of kernels that run without any, those that are to be kept.
    pub(crate) fn keeping(self, kept: Kept) -> Self {
        match self {
            Self::None if kept != Kept::default() => Self::Part(kept),
            _ => self,
        }
    }
}

/// What one binding of a kernel is; the position in the list is the binding number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// A uniform block of this many bytes.
    Uniform {
        /// Size of the block.
        bytes: u32,
        /// Whether its offset is given with each dispatch.
        dynamic: bool,
    },
    /// Storage that the kernel only reads.
    Read,
    /// Storage that the kernel only reads, and whose offset is given with each dispatch.
    ReadDynamic,
    /// Storage that the kernel reads and writes.
    ReadWrite,
}

/// The text of a kernel and what it binds: enough to make its pipeline, and to test it without a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelSource {
    /// Name for labels and errors: the stem of its file, with the variant where there are several.
    pub name: String,
    /// WGSL with one entry point, `main`.
    pub wgsl: Cow<'static, str>,
    /// Bindings 0, 1, … of group 0.
    pub bindings: Vec<Binding>,
}

/// A kernel with the Rust side of its uniform blocks, for tests that hold the two against each other.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct KernelListing {
    /// The kernel.
    pub source: KernelSource,
    /// Its uniform blocks, under their names in WGSL.
    pub blocks: Vec<Block>,
}

/// The Rust side of a uniform block.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name in WGSL.
    pub name: &'static str,
    /// Its fields.
    pub fields: Cow<'static, [Field]>,
    /// Its size.
    pub bytes: usize,
}

impl Block {
    /// The block `U`, called `name` in WGSL.
    pub const fn of<U: Uniform>(name: &'static str) -> Self {
        Self { name, fields: Cow::Borrowed(U::FIELDS), bytes: size_of::<U>() }
    }
}

/// A compute pipeline with its explicit bind-group layout.
#[derive(Debug)]
pub struct Kernel {
    source: Arc<KernelSource>,
    pub(super) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    /// Read when it is first asked for.
    text: OnceLock<KernelText>,
}

impl Kernel {
    /// Name of its source.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// What it binds.
    pub fn bindings(&self) -> &[Binding] {
        &self.source.bindings
    }

    /// What its text says of it.
    pub(crate) fn text(&self) -> &KernelText {
        self.text.get_or_init(|| KernelText::of(&self.source))
    }
}

fn layout_entries(bindings: &[Binding]) -> Vec<wgpu::BindGroupLayoutEntry> {
    (0..)
        .zip(bindings)
        .map(|(binding, kind)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: match *kind {
                Binding::Uniform { bytes, dynamic } => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: dynamic,
                    min_binding_size: std::num::NonZeroU64::new(u64::from(bytes)),
                },
                Binding::Read | Binding::ReadDynamic | Binding::ReadWrite => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: *kind != Binding::ReadWrite },
                    has_dynamic_offset: *kind == Binding::ReadDynamic,
                    min_binding_size: None,
                },
            },
            count: None,
        })
        .collect()
}

/// A module in which so much is checked. The only place of the crate that is not safe.
#[expect(unsafe_code, reason = "wgpu makes modules without checks by an unsafe function only")]
fn module(
    device: &wgpu::Device,
    text: wgpu::ShaderModuleDescriptor<'_>,
    checks: Checks,
) -> wgpu::ShaderModule {
    let checked = wgpu::ShaderRuntimeChecks::checked();
    match checks.kept() {
        Kept { bounds: true, loops: true, .. } => device.create_shader_module(text),
        // SAFETY: no index of these kernels lies outside of its array and each of their loops ends: see `Checks::None`. Users
        // cannot ask for it. Divisions keep their checks, which are cheap.
        Kept { bounds, loops, .. } => unsafe {
            let unchecked =
                wgpu::ShaderRuntimeChecks { bounds_checks: bounds, force_loop_bounding: loops, ..checked };
            device.create_shader_module_trusted(text, unchecked)
        },
    }
}

impl Gpu {
    /// The kernel of this source, made once and kept.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the compiler's words; [`Error::DeviceLimit`] if it binds or holds more than the device
    /// allows; [`Error::DeviceLost`], also if the driver gave up on it.
    pub fn kernel(&self, source: &KernelSource) -> Result<Arc<Kernel>, Error> {
        self.kernel_with(source, Checks::All)
    }

    /// As [`Gpu::kernel`], with no more checked than is told.
    pub(crate) fn kernel_with(&self, source: &KernelSource, checks: Checks) -> Result<Arc<Kernel>, Error> {
        let mut all = self.kernels();
        let kernels = all.entry(checks).or_default();
        if let Some(kernel) = kernels.get(source) {
            return Ok(kernel.clone());
        }
        let source = Arc::new(source.clone());
        let kernel = Arc::new(self.create_kernel(&source, checks)?);
        kernels.insert(source, kernel.clone());
        Ok(kernel)
    }

    fn create_kernel(&self, source: &Arc<KernelSource>, checks: Checks) -> Result<Kernel, Error> {
        self.check()?;
        self.check_limits(source)?;
        let device = self.device();
        let name = Some(source.name.as_str());
        let made = self.caught(|| {
            let text = wgpu::ShaderSource::Wgsl(source.wgsl.clone());
            let module = module(device, wgpu::ShaderModuleDescriptor { label: name, source: text }, checks);
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
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: checks.kept().zeroing,
                    ..Default::default()
                },
                cache: None,
            });
            (layout, pipeline)
        });
        let failed = |reason| Error::Kernel { kernel: source.name.clone(), reason };
        let (layout, pipeline) = made.map_err(|reason| self.blame(reason, failed))?;
        // The driver may give up on a kernel, and wgpu is silent then.
        self.probe()?;
        add(&self.tally().pipelines, 1);
        Ok(Kernel { source: source.clone(), pipeline, layout, text: OnceLock::new() })
    }

    /// A bind group of `kernel` over `regions`, one for each of its bindings.
    ///
    /// # Errors
    /// [`Error::Limit`] if a storage region exceeds the device's binding size, with the kernel's name;
    /// [`Error::Length`] for another number of regions; [`Error::Kernel`] for a region that lies outside its buffer,
    /// at a place that cannot be bound, or in a buffer without the usage for it; [`Error::DeviceLost`].
    pub fn bind_group(&self, kernel: &Kernel, regions: &[Region<'_>]) -> Result<wgpu::BindGroup, Error> {
        let limits = self.device().limits();
        if kernel.bindings().len() != regions.len() {
            let what = format!("regions of kernel {}", kernel.name());
            return Err(Error::Length { what, expected: kernel.bindings().len(), got: regions.len() });
        }
        for (kind, region) in kernel.bindings().iter().zip(regions) {
            let (limit_name, limit) = match kind {
                Binding::Uniform { .. } => {
                    ("max_uniform_buffer_binding_size", limits.max_uniform_buffer_binding_size)
                }
                _ => ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            };
            if region.bytes > limit {
                return Err(Error::Limit {
                    tensor: kernel.name().into(),
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
        let made = self.caught(|| {
            self.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name()),
                layout: &kernel.layout,
                entries: &entries,
            })
        });
        let refused = |reason| Error::Kernel { kernel: kernel.name().into(), reason };
        let group = made.map_err(|reason| self.blame(reason, refused))?;
        add(&self.tally().bind_groups, 1);
        Ok(group)
    }
}
