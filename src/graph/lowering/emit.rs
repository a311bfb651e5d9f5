//! Steps: how ops append dispatches to a lowered graph.

use std::borrow::Cow;
use std::sync::Arc;

use super::finish::{Draft, Finish};
use super::{Lowering, Operand};
use crate::gpu::{Binding, Block, Checks, Field, KernelSource, Uniform, Work};
use crate::graph::template::AnyLaunch;

/// One dispatch whose buffers are not yet bound.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) label: String,
    /// Shared by steps with the same kernel.
    pub(crate) kernel: Arc<KernelSource>,
    pub(crate) operands: Vec<Operand>,
    pub(crate) uniform: Vec<u8>,
    pub(crate) block: Block,
    pub(crate) grid: [u32; 3],
    pub(crate) checks: Checks,
    /// Alternative kernels with bitwise equal results, to be timed by autotuning.
    pub(crate) rivals: Vec<Rival>,
    /// What is known of its memory traffic and FLOP.
    pub(crate) work: Work,
}

/// A kernel that can replace that of a step, with the same operands.
#[derive(Clone, Debug)]
pub(crate) struct Rival {
    pub(crate) kernel: Arc<KernelSource>,
    pub(crate) uniform: Vec<u8>,
    pub(crate) grid: [u32; 3],
}

impl Lowering {
    /// Sets the bytes and FLOP of the next dispatch, where they cannot be derived from its WGSL and bindings.
    pub(crate) fn next_does(&mut self, work: Work) {
        self.work = work;
    }

    /// Appends a dispatch of an expanded template.
    pub(crate) fn launch(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: impl Into<AnyLaunch>,
    ) {
        self.launch_parts(layer, storage, operands, launch, 1);
    }

    /// Like [`Lowering::launch`], with `parts` workgroups along z.
    pub(crate) fn launch_parts(
        &mut self,
        layer: &str,
        storage: &[Binding],
        operands: &[Operand],
        launch: impl Into<AnyLaunch>,
        parts: u32,
    ) {
        self.launch_finishing(layer, (storage, operands), launch.into(), parts, None);
    }

    /// Like [`Lowering::launch_parts`], for a kernel that applies a fused chain to what it stores.
    pub(crate) fn launch_finishing(
        &mut self,
        layer: &str,
        (storage, operands): (&[Binding], &[Operand]),
        launch: AnyLaunch,
        parts: u32,
        finish: Option<&Finish>,
    ) {
        let (kernel, bound) = finished(&launch, (storage, operands), finish);
        let rivals = launch.rivals.iter().map(|rival| {
            let (kernel, _) = finished(rival, (storage, operands), finish);
            let [x, y] = rival.groups;
            Rival { kernel: Arc::new(kernel), uniform: rival.uniform.clone(), grid: [x, y, parts] }
        });
        let rivals = rivals.collect();
        let AnyLaunch { uniform, block, groups: [x, y], finishes, checks, .. } = launch;
        if let (Some(finish), Some(lanes)) = (finish, finishes) {
            let elements: usize = finish.output.shape.iter().product();
            self.work.finishes = elements.div_ceil(lanes) as u64;
        }
        let are_own = bound.len() == storage.len();
        self.emit_block(layer, kernel, [x, y, parts], &bound, (uniform, block));
        if let Some(step) = self.steps.last_mut() {
            step.rivals = rivals;
            if are_own {
                step.checks = checks.keeping(self.capabilities.trial.checks);
            }
        }
    }

    /// Appends a dispatch. `shape` is its uniform block; `operands` are bindings 1, 2, …
    pub(crate) fn emit<S: Uniform>(
        &mut self,
        layer: &str,
        kernel: impl Into<Arc<KernelSource>>,
        grid: [u32; 3],
        operands: &[Operand],
        shape: S,
    ) {
        let block = (bytemuck::bytes_of(&shape).to_vec(), Block::of::<S>("Shape"));
        self.emit_block(layer, kernel, grid, operands, block);
    }

    /// Like [`Lowering::emit`], with a uniform block whose fields are only known at run time.
    pub(crate) fn emit_block(
        &mut self,
        layer: &str,
        kernel: impl Into<Arc<KernelSource>>,
        grid: [u32; 3],
        operands: &[Operand],
        (uniform, block): (Vec<u8>, Block),
    ) {
        let kernel = kernel.into();
        let mut work = std::mem::take(&mut self.work);
        work.overwrites = overwrites(&uniform, &block);
        assert_eq!(kernel.bindings.len(), operands.len() + 1, "{}: operands", kernel.name);
        let operands = self.apart(layer, &kernel, operands);
        let aliased = operands.iter().enumerate().any(|(i, a)| {
            operands[..i].iter().enumerate().any(|(j, b)| {
                a == b
                    && (kernel.bindings[i + 1] == Binding::ReadWrite
                        || kernel.bindings[j + 1] == Binding::ReadWrite)
            })
        });
        assert!(!aliased, "{}: one buffer is both read and written", kernel.name);
        let label = format!("{layer}: {}", kernel.name);
        let (checks, rivals) = (Checks::All, Vec::new());
        self.steps.push(Step { label, kernel, operands, uniform, block, grid, checks, rivals, work });
    }
}

/// A kernel with its operands and its fused chain.
fn finished(
    launch: &AnyLaunch,
    (storage, operands): (&[Binding], &[Operand]),
    finish: Option<&Finish>,
) -> (KernelSource, Vec<Operand>) {
    let (name, text) = (launch.template.name.to_owned(), launch.template.expand());
    let mut draft = Draft { name, text, storage: storage.to_vec(), operands: operands.to_vec() };
    match launch.finishes {
        Some(lanes) => draft.finish(finish, lanes),
        None => assert!(finish.is_none(), "{}: it has no place for a chain", draft.name),
    }
    let Draft { name, text, storage, operands } = draft;
    (source_of(name, text, launch.block.bytes, &storage), operands)
}

/// Whether a kernel that can accumulate is set to overwrite.
fn overwrites(uniform: &[u8], block: &Block) -> bool {
    let tells = |field: &&Field| ["accumulate", "adds"].iter().any(|stem| field.name.starts_with(stem));
    let mut flags = block.fields.iter().filter(tells).peekable();
    flags.peek().is_some() && flags.all(|flag| uniform[flag.offset..flag.offset + 4] == [0; 4])
}

/// The source of an op's kernel. Bindings: the uniform block, then storage buffers.
pub(crate) fn source<S: Uniform>(
    name: impl Into<String>,
    wgsl: impl Into<Cow<'static, str>>,
    storage: &[Binding],
) -> KernelSource {
    source_of(name, wgsl, size_of::<S>(), storage)
}

pub(crate) fn source_of(
    name: impl Into<String>,
    wgsl: impl Into<Cow<'static, str>>,
    uniform_bytes: usize,
    storage: &[Binding],
) -> KernelSource {
    let bytes = u32::try_from(uniform_bytes).expect("uniform blocks are small");
    let mut bindings = vec![Binding::Uniform { bytes, dynamic: false }];
    bindings.extend_from_slice(storage);
    KernelSource { name: name.into(), wgsl: wgsl.into(), bindings }
}
