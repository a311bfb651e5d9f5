use std::sync::atomic::Ordering;

use super::counters::add;
use super::{Binding, Gpu, Kernel};

impl Gpu {
    /// On a CPU adapter, runs a kernel over no workgroups the first time that it is asked for it: Mesa's driver compiles a kernel
    /// when it first runs, also over none, one after the other in the thread of the queue. So it compiles the first
    /// kernels of a plan while the host makes the next ones. Other drivers compile as a pipeline is made, and are asked for nothing.
    ///
    /// The driver also looks at the numbers of the uniform block, so `group` must bind what the kernel will run with, written
    /// before.
    ///
    /// Nothing waits for it, and it changes no buffer. Where the device refuses, whoever uses what is bound says why.
    pub(crate) fn warm_up(&self, kernel: &Kernel, group: &wgpu::BindGroup) {
        if !self.capabilities().is_cpu || kernel.warmed_up.swap(true, Ordering::Relaxed) {
            return;
        }
        // Steps that are held back come first, as before any other use of the queue.
        if self.check().is_err() || self.flush().is_err() {
            return;
        }
        let is_dynamic = |binding: &&Binding| {
            matches!(binding, Binding::Uniform { dynamic: true, .. } | Binding::ReadDynamic)
        };
        let offsets = vec![0; kernel.bindings().iter().filter(is_dynamic).count()];
        let ran = self.caught(|| {
            let mut encoder = self.encoder("warm-up");
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, group, &offsets);
            pass.dispatch_workgroups(0, 0, 0);
            drop(pass);
            self.raw_queue().submit([encoder.finish()]);
        });
        add(&self.tally().warm_ups, u64::from(ran.is_ok()));
    }
}
