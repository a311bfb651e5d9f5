use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::cost::KernelText;
use super::counters::add;
use super::{Field, Gpu, Kept, Region, Uniform};
use crate::Error;

/// Maximum total number of loop iterations of one invocation, for all sizes of data. llvmpipe silently leaves
/// all loops of an invocation after 65,535 iterations, and GPUs have watchdog timers. Longer sums are split.
pub(crate) const MAX_TRIPS: usize = 16_384;

/// Which run-time checks a kernel keeps.
///
/// By default, wgpu clamps indices to the bounds of arrays, bounds the iterations of loops, and zeroes
/// workgroup memory first. On an M1, the authors of wgpu-mm measured matrix products at 580 GFLOP/s with
/// these checks and at 860 without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Checks {
    /// All checks.
    #[default]
    All,
    /// No checks. Only for kernels that consist entirely of this crate's WGSL, whose indices and loop bounds
    /// depend only on constants and on a uniform block that this crate writes, whose indices are in bounds
    /// and loops finite at all sizes, and which write workgroup memory before reading it. `src/nn/indices.rs`
    /// interprets every invocation and checks each index against the bound buffers.
    None,
    /// Some of the checks, for kernels that could run without any. To measure the cost of each.
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

    /// The same checks. A kernel without checks keeps those in `kept`.
    pub(crate) fn keeping(self, kept: Kept) -> Self {
        match self {
            Self::None if kept != Kept::default() => Self::Part(kept),
            _ => self,
        }
    }
}

/// The type of one binding. Its index in the list is the binding number.
///
/// ```
/// use gradus::gpu::{Binding, KernelSource};
///
/// let source = KernelSource {
///     name: "negate".into(),
///     wgsl: "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
///         @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
///             if id.x < arrayLength(&x) { x[id.x] = -x[id.x]; }
///         }"
///     .into(),
///     bindings: vec![Binding::ReadWrite], // of binding 0
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binding {
    /// A uniform block of this many bytes.
    Uniform {
        /// Size of the block in bytes.
        bytes: u32,
        /// Whether each dispatch gives its offset.
        dynamic: bool,
    },
    /// Read-only storage.
    Read,
    /// Read-only storage whose offset each dispatch gives.
    ReadDynamic,
    /// Read-write storage.
    ReadWrite,
}

/// A kernel's WGSL and bindings: all that is needed to create its pipeline, and to test it without a device.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::{Binding, Buffer, KernelSource, Recorder};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let kernel = gpu.kernel(&KernelSource {
///     name: "negate".into(),
///     wgsl: "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
///         @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
///             if id.x < arrayLength(&x) { x[id.x] = -x[id.x]; }
///         }"
///     .into(),
///     bindings: vec![Binding::ReadWrite],
/// })?;
/// let x: Buffer<f32> = Buffer::storage(&gpu, "x", 64)?;
/// let group = gpu.bind_group(&kernel, &[x.region()])?;
/// let mut encoder = gpu.encoder("negate");
/// Recorder::new(&gpu, &mut encoder).dispatch(&kernel, &group, &[], [1, 1, 1]);
/// gpu.submit(encoder)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelSource {
    /// Name for labels and errors: the stem of its file, plus the variant where there are several.
    pub name: String,
    /// WGSL with one entry point, `main`.
    pub wgsl: Cow<'static, str>,
    /// The bindings 0, 1, … of bind group 0.
    pub bindings: Vec<Binding>,
}

impl KernelSource {
    /// Its WGSL as a backend compiles it: Direct3D 12 and browsers take less than others. For tests.
    #[doc(hidden)]
    pub fn text_for(&self, backend: wgpu::Backend) -> Cow<'_, str> {
        crate::wgsl::text_for(backend, &self.wgsl)
    }
}

/// A kernel with the Rust side of its uniform blocks. Tests compare the two sides.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct KernelListing {
    /// The kernel.
    pub source: KernelSource,
    /// Its uniform blocks, with their names in WGSL.
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
///
/// ```
/// # fn run(gpu: &gradus::Gpu, source: &gradus::gpu::KernelSource) -> Result<(), gradus::Error> {
/// let kernel = gpu.kernel(source)?; // compiled once for each device and text
/// println!("{} binds {} buffers", kernel.name(), kernel.bindings().len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Kernel {
    source: Arc<KernelSource>,
    pub(super) pipeline: wgpu::ComputePipeline,
    /// Whether [`Gpu::warm_up`] was asked for it.
    pub(super) warmed_up: AtomicBool,
    layout: wgpu::BindGroupLayout,
    /// Analysed when first needed.
    text: OnceLock<KernelText>,
}

impl Kernel {
    /// Name of the source.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Types of its bindings.
    pub fn bindings(&self) -> &[Binding] {
        &self.source.bindings
    }

    /// The analysis of its WGSL.
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

/// Creates a shader module with the given checks. The only unsafe code in the crate.
#[expect(unsafe_code, reason = "wgpu makes modules without checks by an unsafe function only")]
fn module(
    device: &wgpu::Device,
    text: wgpu::ShaderModuleDescriptor<'_>,
    checks: Checks,
) -> wgpu::ShaderModule {
    let checked = wgpu::ShaderRuntimeChecks::checked();
    match checks.kept() {
        Kept { bounds: true, loops: true, .. } => device.create_shader_module(text),
        // SAFETY: all indices of these kernels are in bounds and all their loops end, see `Checks::None`.
        // Users cannot select it. Divisions keep their checks, which are cheap.
        Kept { bounds, loops, .. } => unsafe {
            let unchecked =
                wgpu::ShaderRuntimeChecks { bounds_checks: bounds, force_loop_bounding: loops, ..checked };
            device.create_shader_module_trusted(text, unchecked)
        },
    }
}

impl Gpu {
    /// Compiles a kernel, or returns the cached one.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the compiler's message; [`Error::DeviceLimit`] if the kernel exceeds a limit of
    /// the device; [`Error::DeviceLost`], also if the driver crashed while compiling it.
    pub fn kernel(&self, source: &KernelSource) -> Result<Arc<Kernel>, Error> {
        self.kernel_with(source, Checks::All)
    }

    /// Like [`Gpu::kernel`], with only the given run-time checks.
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
            let text = wgpu::ShaderSource::Wgsl(source.text_for(self.info().backend));
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
        // The driver may crash while compiling, which wgpu does not report.
        self.probe()?;
        add(&self.tally().pipelines, 1);
        let (source, warmed_up, text) = (source.clone(), AtomicBool::new(false), OnceLock::new());
        Ok(Kernel { source, pipeline, warmed_up, layout, text })
    }

    /// Creates a bind group for `kernel`, with one region for each of its bindings.
    ///
    /// # Errors
    /// [`Error::Limit`] with the kernel's name if a storage region exceeds the device's maximum binding size;
    /// [`Error::Length`] for a wrong number of regions; [`Error::Kernel`] for a region outside its buffer, at
    /// a misaligned offset, or of a buffer without the usage; [`Error::DeviceLost`].
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
