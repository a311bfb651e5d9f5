use std::borrow::Cow;

use super::{Field, Uniform};

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
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its name in WGSL.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// Its size.
    pub bytes: usize,
}

impl Block {
    /// The block `U`, called `name` in WGSL.
    pub const fn of<U: Uniform>(name: &'static str) -> Self {
        Self { name, fields: U::FIELDS, bytes: size_of::<U>() }
    }
}

/// A compute pipeline with its explicit bind-group layout.
#[derive(Debug)]
pub struct Kernel {
    pub(super) name: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) bindings: Vec<Binding>,
}

impl Kernel {
    /// Name of its source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it binds.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }
}

pub(super) fn layout_entries(bindings: &[Binding]) -> Vec<wgpu::BindGroupLayoutEntry> {
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
                Binding::Read | Binding::ReadWrite => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: *kind == Binding::Read },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
            },
            count: None,
        })
        .collect()
}
