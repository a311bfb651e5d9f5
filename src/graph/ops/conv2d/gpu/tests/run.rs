use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::{Buffer, Gpu, GpuOptions, KernelKind, KernelSource, Recorder};
use crate::graph::lowering::elementwise::finish_nothing;
use crate::graph::lowering::joint::{FIELDS, JointKernel, TENSORS};
use crate::graph::ops::conv2d::pack::{KERNEL, Packed};
use crate::graph::ops::conv2d::weight_grad::{Partials, finish_kernel};
use crate::graph::template::AnyLaunch;

/// A device that runs single dispatches.
pub(super) struct Device {
    gpu: Gpu,
}

/// What a kernel reads, how long its output is, and what is there before.
pub(super) struct Bound<'a> {
    pub(super) sources: [&'a [f32]; 2],
    pub(super) len: usize,
    pub(super) before: &'a [f32],
}

impl Device {
    /// The device of a kind of kernels, if the adapter runs it; none, visibly, where there is no adapter and that is allowed.
    pub(super) fn all(kind: KernelKind) -> Vec<Self> {
        match Gpu::of_each_kind(&GpuOptions::default()) {
            Ok(gpus) => {
                let found = gpus.into_iter().find(|gpu| gpu.kernel_kind() == kind);
                found.map(|gpu| Self { gpu }).into_iter().collect()
            }
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                eprintln!("SKIPPED: {error}");
                Vec::new()
            }
            Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
        }
    }

    fn buffer(&self, values: &[f32]) -> Buffer<f32> {
        let buffer = Buffer::storage(&self.gpu, "operand", values.len().next_multiple_of(4)).unwrap();
        buffer.write(&self.gpu, 0, values).unwrap();
        buffer
    }

    fn dispatch(&self, launch: &AnyLaunch, parts: u32, storage: &[(Binding, &Buffer<f32>)]) {
        let AnyLaunch { template, uniform, block, groups: [x, y], finishes, checks, .. } = launch;
        let text = template.expand() + &finishes.map(finish_nothing).unwrap_or_default();
        let bytes = u32::try_from(block.bytes).unwrap();
        let mut bindings = vec![Binding::Uniform { bytes, dynamic: false }];
        bindings.extend(storage.iter().map(|(binding, _)| *binding));
        let source = KernelSource { name: template.name.into(), wgsl: text.into(), bindings };
        let kernel = self.gpu.kernel_with(&source, *checks).unwrap();
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let shape = Buffer::<u8>::with_usage(&self.gpu, "uniform", uniform.len(), usage).unwrap();
        shape.write(&self.gpu, 0, uniform).unwrap();
        let mut regions = vec![shape.region()];
        regions.extend(storage.iter().map(|(_, buffer)| buffer.region()));
        let group = self.gpu.bind_group(&kernel, &regions).unwrap();
        let mut encoder = self.gpu.encoder("tiles");
        Recorder::new(&self.gpu, &mut encoder).dispatch(&kernel, &group, &[], [*x, *y, parts]);
        self.gpu.submit(encoder).unwrap();
    }

    /// What a kernel of two sources leaves, in so many parts along z.
    pub(super) fn run(&self, launch: &AnyLaunch, parts: u32, bound: &Bound<'_>) -> Vec<f32> {
        let [a, b] = bound.sources.map(|source| self.buffer(source));
        let output = self.buffer(bound.before);
        self.dispatch(launch, parts, &[(Read, &a), (Read, &b), (ReadWrite, &output)]);
        output.read(&self.gpu, 0, bound.len).unwrap()
    }

    /// A packed weight.
    pub(super) fn pack(&self, packed: &Packed, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let into = self.buffer(&vec![f32::NAN; packed.len as usize]);
        let tensors = [weight, bias].map(|values| self.buffer(values));
        self.job(&KERNEL, (packed.invocations, 1), (packed.has_bias, packed.fields), &tensors, &into);
        into.read(&self.gpu, 0, packed.len as usize).unwrap()
    }

    /// What the finish of a weight gradient leaves in the weight's gradient and in the bias's, of what is there.
    pub(super) fn finish(
        &self,
        (partials, fields): (&Partials, [u32; FIELDS]),
        lanes: u32,
        sums: &[f32],
        before: [&[f32]; 2],
    ) -> [Vec<f32>; 2] {
        let arena = self.buffer(sums);
        let tensors = before.map(|values| self.buffer(values));
        let kernel = JointKernel { workgroup: lanes, ..finish_kernel(self.gpu.capabilities()) };
        self.job(&kernel, (partials.len / 4, partials.parts), (true, fields), &tensors, &arena);
        [0, 1].map(|at: usize| tensors[at].read(&self.gpu, 0, before[at].len()).unwrap())
    }

    /// Runs a job of so many invocations and parts.
    fn job(
        &self,
        kernel: &JointKernel,
        sizes: (u32, u32),
        (has_bias, fields): (bool, [u32; FIELDS]),
        tensors: &[Buffer<f32>; 2],
        arena: &Buffer<f32>,
    ) {
        let (launch, table) = kernel.alone(sizes, has_bias, fields);
        let table = self.buffer(&table);
        let missing: Vec<Buffer<f32>> = (2..TENSORS).map(|_| self.buffer(&[0.0; 4])).collect();
        let buffers = tensors.iter().chain(&missing).chain([&table, arena]);
        let storage: Vec<_> = kernel.storage().into_iter().zip(buffers).collect();
        self.dispatch(&launch, 1, &storage);
    }
}
