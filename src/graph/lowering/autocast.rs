//! Plans that store activations and their gradients as f16: selects the values, and generates kernels that load and
//! store f16. Kernels still compute in f32.

mod text;

use std::collections::HashMap;
use std::sync::Arc;

use self::text::Text;
use super::{Keep, Lowering, Operand};
use crate::Error;
use crate::gpu::{Binding, Capabilities, KernelSource};
use crate::graph::Node;

/// A type in which plans can store activations: see [`PlanOptions::autocast`](crate::graph::PlanOptions::autocast).
///
/// ```no_run
/// // Needs a device.
/// use gradus::graph::{Dtype, Graph};
/// use gradus::optim::AdamW;
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let graph = Graph::new();
/// let loss = graph.input("x", [8, 4]).linear(2).square().mean();
/// let mut builder = graph.trainer(&loss, AdamW::default());
/// if gpu.capabilities().has_f16 {
///     builder = builder.autocast(Dtype::F16);
/// }
/// let trainer = builder.build(&gpu)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 half precision: 11 bits of precision, largest finite number 65,504.
    F16,
}

impl Dtype {
    /// Refuses a device whose kernels do not support the type.
    pub(crate) fn check(self, capabilities: &Capabilities) -> Result<(), Error> {
        match self {
            Self::F16 if capabilities.has_f16 => Ok(()),
            Self::F16 => Err(Error::DeviceFeature { what: "autocast to f16".into(), feature: "SHADER_F16" }),
        }
    }
}

/// How a plan with autocast stores the result of an op and its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// As f16.
    Half,
    /// As f32.
    Single,
    /// As f16 if all inputs are; parameters are not considered.
    AsInputs,
}

/// For each node, whether it is stored as f16.
pub(in crate::graph) fn half_nodes(nodes: &[Node]) -> Vec<bool> {
    // `None` for nodes that depend only on parameters.
    let mut half: Vec<Option<bool>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let is_parameter = node.inputs.is_empty() && !node.parameters.is_empty();
        half.push(match node.op.cast() {
            _ if node.op.is_labels() => Some(false),
            Cast::Half => Some(true),
            Cast::Single if is_parameter => None,
            Cast::Single => Some(false),
            Cast::AsInputs => {
                let numbers = node.inputs.iter().filter(|&&input| !nodes[input].op.is_labels());
                numbers.filter_map(|&input| half[input]).reduce(|all, input| all && input)
            }
        });
    }
    half.into_iter().map(|half| half == Some(true)).collect()
}

/// The f32 buffers of a kernel that stay f32 in plans with autocast, because the kernel does more than load and store
/// their elements.
#[cfg(test)]
pub(crate) fn single_buffers(wgsl: &str) -> Vec<String> {
    Text::of(wgsl).single().map(str::to_owned).collect()
}

impl Lowering {
    /// A value of `len` elements stored like a node: for its result, its gradient or an intermediate value.
    pub(crate) fn value_as(&mut self, id: usize, label: &str, len: usize) -> Operand {
        let value = self.value(label, len);
        self.values[value].half = self.half[id];
        Operand::Value(value)
    }

    /// Like [`Lowering::value_as`], for an input of a node.
    pub(crate) fn value_as_input(&mut self, id: usize, input: usize, label: &str, len: usize) -> Operand {
        self.value_as(self.nodes[id].inputs[input], label, len)
    }

    /// Replaces kernels by variants that load and store f16, for values that are stored as f16.
    pub(in crate::graph) fn store_half(&mut self) {
        let sources: Vec<Arc<KernelSource>> = self.steps.iter().map(|step| step.kernel.clone()).collect();
        // Steps of the same kernel share their text.
        let mut texts: HashMap<*const KernelSource, Text<'_>> = HashMap::new();
        for source in &sources {
            texts.entry(Arc::as_ptr(source)).or_insert_with(|| Text::of(&source.wgsl));
        }
        let texts: Vec<&Text<'_>> = sources.iter().map(|source| &texts[&Arc::as_ptr(source)]).collect();
        self.find_half(&texts);
        let mut made: HashMap<(*const KernelSource, Vec<usize>), Arc<KernelSource>> = HashMap::new();
        for ((step, source), text) in self.steps.iter_mut().zip(&sources).zip(texts) {
            let is_half =
                |operand: &Operand| matches!(*operand, Operand::Value(value) if self.values[value].half);
            let operands = step.operands.iter().enumerate();
            let bindings: Vec<usize> =
                operands.filter(|(_, o)| is_half(o)).map(|(place, _)| place + 1).collect();
            if !bindings.is_empty() {
                let half = bindings.clone();
                let kernel =
                    made.entry((Arc::as_ptr(source), bindings)).or_insert_with_key(|(_, bindings)| {
                        let (name, bound) = (format!("{}[f16]", source.name), source.bindings.clone());
                        let wgsl = text.with_half(bindings).into();
                        Arc::new(KernelSource { name, wgsl, bindings: bound })
                    });
                // Indices and buffer lengths are unchanged, so a kernel that is safe without checks stays so.
                step.label += "[f16]";
                step.kernel = kernel.clone();
                // Alternative kernels differ only in constants.
                for rival in &mut step.rivals {
                    let KernelSource { wgsl, bindings: bound, .. } = &*rival.kernel;
                    let wgsl = Text::of(wgsl).with_half(&half).into();
                    let (name, bindings) = (kernel.name.clone(), bound.clone());
                    rival.kernel = Arc::new(KernelSource { name, wgsl, bindings });
                }
            }
        }
    }

    /// Unmarks values that cannot be stored as f16.
    fn find_half(&mut self, texts: &[&Text<'_>]) {
        for value in &mut self.values {
            // The host reads and writes f32.
            value.half &= value.keep == Keep::Pooled;
        }
        // For each value of the forward pass: how many dispatches write it, and whether one of them adds. Sums over
        // several dispatches stay f32.
        let mut sums = vec![(0, false); self.values.len()];
        for (number, (step, text)) in self.steps.iter().zip(texts).enumerate() {
            for (place, operand) in step.operands.iter().enumerate() {
                let Operand::Value(value) = *operand else { continue };
                let binding = place + 1;
                let half = &mut self.values[value].half;
                *half = *half && text.can_be_half(binding);
                if *half && number < self.forward_steps && step.kernel.bindings[binding] == Binding::ReadWrite
                {
                    let (writers, adds) = &mut sums[value];
                    *writers += 1;
                    *adds |= text.loads(binding);
                }
            }
        }
        for (value, (writers, adds)) in self.values.iter_mut().zip(sums) {
            value.half &= writers < 2 || !adds;
        }
    }
}
