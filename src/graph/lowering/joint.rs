//! Joint dispatches: small jobs of the same kernel on several tensors run as one dispatch.
//!
//! A joint has a table with one row per job, up to [`TENSORS`] tensors that its jobs read or write, and an arena: one
//! buffer with a part for each job. A job's row tells which tensor and which part of the arena it uses.

use super::{Keep, Lowering, Operand};
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::shape::u;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Maximum number of tensors that a joint binds, besides arena and table. Leaves one binding free.
pub(crate) const TENSORS: usize = 5;

/// Maximum number of jobs of a joint.
const JOBS: usize = 8;

/// Words of a row of the table: the first invocation, the first quad of the arena, the tensors, and [`FIELDS`] more.
const WORDS: usize = 4 + FIELDS;

/// Words of a row whose meaning the kernel defines.
pub(crate) const FIELDS: usize = 12;

/// The field with the flags of a job.
pub(crate) const FLAGS: usize = 6;

/// Maximum number of elements of an arena with several jobs. A larger job takes so long that running alone costs
/// nothing.
const LARGEST_ARENA: usize = 1 << 18;

/// Marks a missing tensor.
const NONE: u32 = u32::MAX;

uniform! {
    pub(crate) struct Shape { invocations: u32, most_parts: u32, grid_width: u32 }
}

/// A kernel that runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JointKernel {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    /// If true, it reads its tensors and writes the arena, before all other steps of a plan. If false, it reads the
    /// arena and writes its tensors, after the steps that fill the arena.
    pub(crate) fills_arena: bool,
    /// Invocations in a workgroup; the constant LANES in its WGSL.
    pub(crate) workgroup: u32,
    /// The flags for which the WGSL has optional code, included if any job of a dispatch sets them.
    pub(crate) optional: u32,
}

impl JointKernel {
    /// One dispatch. Bindings: tensors, table, arena.
    ///
    /// With few tensors, the WGSL selects among fewer, because a CPU adapter loads from each of them.
    fn launch(&self, tensors: usize, [invocations, most_parts]: [u32; 2], rows: &[u32]) -> AnyLaunch {
        let groups = fold(invocations / self.workgroup);
        let shape = Shape { invocations, most_parts, grid_width: groups[0] };
        let flags = rows.chunks_exact(WORDS).fold(0, |flags, row| flags | row[WORDS - FIELDS + FLAGS]);
        let constants = vec![
            ("TENSORS", u(if tensors <= 2 { 2 } else { TENSORS })),
            ("JOBS", u(JOBS)),
            ("ROW_QUADS", u(WORDS / 4)),
            ("FLAGS", flags & self.optional),
            ("LANES", self.workgroup),
        ];
        let template = Template { name: self.name, source: self.source, constants, aliases: vec![] };
        Launch { template, shape, groups }.into()
    }

    /// Its bindings after the uniform block.
    pub(crate) fn storage(&self) -> Vec<Binding> {
        let [of_tensors, of_arena] = if self.fills_arena { [Read, ReadWrite] } else { [ReadWrite, Read] };
        [&[of_tensors; TENSORS][..], &[Read, of_arena]].concat()
    }

    /// A dispatch of one job on the first tensor (and optionally the second), with its table.
    #[cfg(test)]
    pub(crate) fn alone(
        &self,
        (invocations, parts): (u32, u32),
        has_second: bool,
        fields: [u32; FIELDS],
    ) -> (AnyLaunch, Vec<f32>) {
        let row = [&[0, 0, 0, if has_second { 1 } else { NONE }][..], &fields].concat();
        (self.launch(2, [invocations.next_multiple_of(self.workgroup), parts], &row), table(row))
    }
}

/// The table as the contents of a buffer.
fn table(mut rows: Vec<u32>) -> Vec<f32> {
    // Unused rows start after the last invocation.
    rows.resize(JOBS * WORDS, NONE);
    rows.into_iter().map(f32::from_bits).collect()
}

/// What a kernel does with one or two tensors.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) layer: String,
    pub(crate) tensors: [Option<Operand>; 2],
    pub(crate) fields: [u32; FIELDS],
    pub(crate) invocations: u32,
    /// Number of partial results, stored back to back in the job's part of the arena.
    pub(crate) parts: u32,
    /// Number of elements in the arena.
    pub(crate) len: usize,
}

/// Jobs that run in one dispatch.
#[derive(Clone, Debug)]
pub(crate) struct Joint {
    kernel: JointKernel,
    /// The step before which its tensors can be read.
    at: usize,
    layers: Vec<String>,
    tensors: Vec<Operand>,
    table: Vec<u32>,
    invocations: u32,
    most_parts: u32,
    arena: usize,
    len: usize,
    is_emitted: bool,
}

impl Joint {
    fn takes(&self, kernel: JointKernel, job: &Job) -> bool {
        let new = job.tensors.iter().flatten().filter(|tensor| !self.tensors.contains(tensor)).count();
        !self.is_emitted
            && self.kernel == kernel
            && self.layers.len() < JOBS
            && self.tensors.len() + new <= TENSORS
            && self.len + job.len <= LARGEST_ARENA
    }

    /// Adds a job, and returns the start of its part of the arena.
    fn add(&mut self, job: Job) -> usize {
        let first = self.len;
        let tensors = job.tensors.map(|tensor| {
            tensor.map_or(NONE, |tensor| {
                let known = self.tensors.iter().position(|known| *known == tensor);
                u(known.unwrap_or_else(|| {
                    self.tensors.push(tensor);
                    self.tensors.len() - 1
                }))
            })
        });
        self.table.extend([self.invocations, u(first / 4)]);
        self.table.extend(tensors);
        self.table.extend(job.fields);
        self.layers.push(job.layer);
        self.most_parts = self.most_parts.max(job.parts);
        // Each workgroup processes one job.
        self.invocations += job.invocations.next_multiple_of(self.kernel.workgroup);
        // Parts are bound by offset.
        self.len += job.len.next_multiple_of(64);
        first
    }
}

impl Lowering {
    /// Adds a job to a joint, and returns its part of the arena.
    pub(crate) fn join(&mut self, kernel: JointKernel, job: Job) -> Operand {
        let open = self.joints.iter().position(|joint| joint.takes(kernel, &job));
        let at = open.unwrap_or_else(|| {
            if !kernel.fills_arena {
                // What the other jobs depend on has already been emitted.
                self.emit_finishing_joints(|_| true);
            }
            let arena = self.value(&format!("arena of {}", kernel.name), 0);
            self.joints.push(Joint {
                kernel,
                at: self.steps.len(),
                layers: Vec::new(),
                tensors: Vec::new(),
                table: Vec::new(),
                invocations: 0,
                most_parts: 1,
                arena,
                len: 0,
                is_emitted: false,
            });
            self.joints.len() - 1
        });
        let len = job.len;
        let joint = &mut self.joints[at];
        let first = joint.add(job);
        self.values[joint.arena].len = joint.len;
        Operand::Part { value: joint.arena, first, len }
    }

    /// Emits the joints that empty their arenas and whose tensors satisfy `concern`.
    pub(in crate::graph) fn emit_finishing_joints(&mut self, concern: impl Fn(&[Operand]) -> bool) {
        for at in 0..self.joints.len() {
            let joint = &mut self.joints[at];
            if !joint.kernel.fills_arena && !joint.is_emitted && concern(&joint.tensors) {
                joint.is_emitted = true;
                let joint = joint.clone();
                self.emit_joint(&joint);
            }
        }
    }

    /// The joints that fill their arenas, with the steps before which they run.
    pub(in crate::graph) fn filling_joints(&mut self) -> Vec<(usize, Joint)> {
        let joints = self.joints.iter_mut().filter(|joint| joint.kernel.fills_arena && !joint.is_emitted);
        joints
            .map(|joint| {
                joint.is_emitted = true;
                (joint.at, joint.clone())
            })
            .collect()
    }

    pub(in crate::graph) fn emit_joint(&mut self, joint: &Joint) {
        let Joint { kernel, .. } = *joint;
        let words = table(joint.table.clone());
        let table =
            Operand::Value(self.value_kept("table of jobs".into(), JOBS * WORDS, Keep::Constant(words)));
        let mut operands = joint.tensors.clone();
        while operands.len() < TENSORS {
            let missing = if kernel.fills_arena { operands[0] } else { self.scratch("no tensor", 4) };
            operands.push(missing);
        }
        operands.extend([table, Operand::Value(joint.arena)]);
        let layers = joint.layers.iter().enumerate();
        let different =
            layers.filter(|(at, layer)| !joint.layers[..*at].contains(layer)).map(|(_, layer)| &layer[..]);
        let layer = different.collect::<Vec<_>>().join(" + ");
        let launch = kernel.launch(joint.tensors.len(), [joint.invocations, joint.most_parts], &joint.table);
        self.launch(&layer, &kernel.storage(), &operands, launch);
    }
}
