//! Small dispatches of one kernel over several tensors, which run as one.
//!
//! A joint has a table with a row for each job, up to [`TENSORS`] tensors that its jobs read or write, and an arena: one
//! buffer with a part for each job. Where a tensor stands in it and which part is its own, a job learns from its row.

use super::{Keep, Lowering, Operand};
use crate::gpu::Binding::{self, Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::shape::u;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Tensors that a joint binds, beside its arena and its table: a kernel then leaves a binding free.
pub(crate) const TENSORS: usize = 5;

/// Jobs of a joint.
const JOBS: usize = 8;

/// Words of a row of the table: the first invocation, the first quad of the arena, the tensors and [`FIELDS`] more.
const WORDS: usize = 4 + FIELDS;

/// Words of a row that the kernel gives a meaning.
pub(crate) const FIELDS: usize = 12;

/// The field whose bits say what a job needs of the kernel.
pub(crate) const FLAGS: usize = 6;

/// Elements of the largest arena of several jobs: a job that needs more costs so much that it may as well run alone.
const LARGEST_ARENA: usize = 1 << 18;

/// The number of a tensor that is not there.
const NONE: u32 = u32::MAX;

uniform! {
    pub(crate) struct Shape { invocations: u32, most_parts: u32, grid_width: u32 }
}

/// A kernel that runs jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JointKernel {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    /// Whether it reads its tensors and writes the arena, before all else that a plan does, or the other way round, after
    /// what fills the arena.
    pub(crate) fills_arena: bool,
    /// Invocations of a workgroup, which its text has as LANES.
    pub(crate) workgroup: u32,
    /// The flags for which its text has code of its own, if any job of a dispatch needs that.
    pub(crate) optional: u32,
}

impl JointKernel {
    /// A dispatch. Bindings: tensors, table, arena.
    ///
    /// Of few tensors the text looks for one among fewer: a CPU adapter loads from each of them.
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

    /// What is bound to it behind the uniform block.
    pub(crate) fn storage(&self) -> Vec<Binding> {
        let [of_tensors, of_arena] = if self.fills_arena { [Read, ReadWrite] } else { [ReadWrite, Read] };
        [&[of_tensors; TENSORS][..], &[Read, of_arena]].concat()
    }

    /// A dispatch of one job over the first tensor, and perhaps the second, with its table.
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

/// A table of these rows, as the elements of a buffer.
fn table(mut rows: Vec<u32>) -> Vec<f32> {
    // Jobs that are not there begin behind the last invocation.
    rows.resize(JOBS * WORDS, NONE);
    rows.into_iter().map(f32::from_bits).collect()
}

/// What a kernel does for one tensor or two.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) layer: String,
    pub(crate) tensors: [Option<Operand>; 2],
    pub(crate) fields: [u32; FIELDS],
    pub(crate) invocations: u32,
    /// Partial results that lie one behind the other in its part of the arena.
    pub(crate) parts: u32,
    /// Elements of the arena.
    pub(crate) len: usize,
}

/// Jobs that run together.
#[derive(Clone, Debug)]
pub(crate) struct Joint {
    kernel: JointKernel,
    /// The step before which its tensors may be read.
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

    /// Adds a job; returns where its part of the arena begins.
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
        // A workgroup has one job.
        self.invocations += job.invocations.next_multiple_of(self.kernel.workgroup);
        // Parts are bound by offset.
        self.len += job.len.next_multiple_of(64);
        first
    }
}

impl Lowering {
    /// Adds a job to those that run together with it; returns its part of the arena.
    pub(crate) fn join(&mut self, kernel: JointKernel, job: Job) -> Operand {
        let open = self.joints.iter().position(|joint| joint.takes(kernel, &job));
        let at = open.unwrap_or_else(|| {
            if !kernel.fills_arena {
                // What the others wait for has been emitted.
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

    /// Emits the joints that empty their arenas and that `concern` a case.
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
