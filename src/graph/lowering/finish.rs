//! What a kernel does at its end: a chain of functions of elements that runs on what it has computed, before it stores
//! that.

use super::Operand;
use super::elementwise::{Program, finish_nothing};
use crate::gpu::Binding;
use crate::graph::view::View;

/// A chain at the end of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(in crate::graph) program: Program,
    /// What the program reads; `None` for what the kernel has computed.
    pub(in crate::graph) inputs: Vec<Option<View>>,
    pub(in crate::graph) output: View,
    /// Where what the kernel has computed is kept for the backward pass, if that needs it.
    pub(in crate::graph) before: Option<Operand>,
    pub(in crate::graph) random: Option<Operand>,
}

impl Finish {
    /// The function `finish`, whose bindings begin at `first`, for vectors of so many elements.
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

/// A kernel in the making: its name, its text, and what it binds behind the uniform block.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(in crate::graph) name: String,
    pub(in crate::graph) text: String,
    pub(in crate::graph) storage: Vec<Binding>,
    pub(in crate::graph) operands: Vec<Operand>,
}

impl Draft {
    /// Adds the function `finish` that the text calls, for vectors of `lanes` elements: of a chain, or of nothing.
    pub(in crate::graph) fn finish(&mut self, finish: Option<&Finish>, lanes: usize) {
        let Some(finish) = finish else {
            self.text += &finish_nothing(lanes);
            return;
        };
        // What distinguishes the kernel from others of its name.
        self.name += &finish.program.name;
        self.text += &finish.text(self.operands.len() + 1, lanes);
        self.storage.extend(finish.storage());
        self.operands.extend(finish.operands());
    }
}
