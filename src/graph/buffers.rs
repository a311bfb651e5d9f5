//! Kernels that write model buffers, such as running statistics.

use super::Role;
use super::lowering::{Lowering, Operand};
use super::ops;
use super::view::{Order, View};
use crate::gpu::{Binding, KernelSource};

impl Lowering {
    /// The operands of a kernel in a form that can be bound together. All model buffers of a store are in one
    /// `wgpu::Buffer`, which a dispatch must not both read and write. So operands that are read while another one is
    /// written are copied first.
    pub(super) fn apart(&mut self, layer: &str, kernel: &KernelSource, operands: &[Operand]) -> Vec<Operand> {
        let mut apart = operands.to_vec();
        let is_written = |at: usize| kernel.bindings[at + 1] == Binding::ReadWrite;
        let mut writes = false;
        for (at, operand) in operands.iter().enumerate().filter(|(at, _)| is_written(*at)) {
            if let Operand::Parameter(parameter) = *operand {
                let role = self.declared[parameter].role;
                assert!(role == Role::Buffer, "{}: operand {at} is trained, and written", kernel.name);
                writes = true;
            }
        }
        for (_, operand) in apart.iter_mut().enumerate().filter(|(at, _)| writes && !is_written(*at)) {
            if let Operand::Parameter(parameter) = *operand
                && self.declared[parameter].role == Role::Buffer
            {
                let len = self.declared[parameter].shape.iter().product::<usize>();
                let copy = self.scratch("copy of a buffer", len.next_multiple_of(4));
                let [from, to] = [*operand, copy].map(|of| View::packed(of, &[len], Order::Natural));
                ops::rearrange(self, layer, &from, &to, false);
                *operand = copy;
            }
        }
        apart
    }
}
