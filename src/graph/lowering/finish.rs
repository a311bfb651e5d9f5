//! Fuses a chain of pointwise functions to the end of a kernel: it is applied to the kernel's results before they are
//! stored.

use super::Operand;
use super::elementwise::{Program, finish_nothing};
use crate::gpu::Binding;
use crate::graph::view::View;

/// A chain fused to the end of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(in crate::graph) program: Program,
    /// The inputs of the program; `None` is the value that the kernel computes.
    pub(in crate::graph) inputs: Vec<Option<View>>,
    pub(in crate::graph) output: View,
    /// Where the kernel's own value is saved, if the backward pass needs it.
    pub(in crate::graph) before: Option<Operand>,
    pub(in crate::graph) random: Option<Operand>,
}

impl Finish {
    /// The function `finish`, with bindings from `first` on, for vectors of `lanes` elements.
    fn text(&self, first: usize, lanes: usize) -> String {
        self.program.finish((&self.inputs, &self.output), self.before.is_some(), first, lanes)
    }

    fn operands(&self) -> impl Iterator<Item = Operand> + '_ {
        self.inputs.iter().flatten().map(|view| view.of).chain(self.before).chain(self.random)
    }

    fn storage(&self) -> impl Iterator<Item = Binding> + '_ {
        let reads = self.inputs.iter().flatten().map(|_| Binding::Read);
        reads.chain(self.before.map(|_| Binding::ReadWrite)).chain(self.random.map(|_| Binding::Read))
    }
}

/// A kernel being assembled: its name, its WGSL, and its bindings after the uniform block.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(in crate::graph) name: String,
    pub(in crate::graph) text: String,
    pub(in crate::graph) storage: Vec<Binding>,
    pub(in crate::graph) operands: Vec<Operand>,
}

impl Draft {
    /// Appends the function `finish` that the WGSL calls, for vectors of `lanes` elements: that of a chain, or the
    /// identity.
    pub(in crate::graph) fn finish(&mut self, finish: Option<&Finish>, lanes: usize) {
        let Some(finish) = finish else {
            self.text += &finish_nothing(lanes);
            return;
        };
        // Distinguishes the kernel from others with the same name.
        self.name += &finish.program.name;
        self.text += &finish.text(self.operands.len() + 1, lanes);
        self.storage.extend(finish.storage());
        self.operands.extend(finish.operands());
    }
}
