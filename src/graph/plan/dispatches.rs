use super::{Plan, Step};
use crate::gpu::{Dispatch, Phase};

impl Plan {
    /// The memory traffic and arithmetic of each dispatch, in the order of [`Plan::labels`].
    ///
    /// Regions bound by the caller are ignored; the numbers are for the plan's own buffers. Analysing the kernels'
    /// WGSL takes some milliseconds, once.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::graph::{Graph, PlanOptions, Workspace};
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// let y = graph.input("x", [32, 64]).linear(16);
    /// let params = graph.store(&Gpu::new(GpuOptions::default())?, 1)?;
    /// let options = PlanOptions::evaluate().output("y", &y);
    /// let plan = graph.compile(&params, &options, &mut Workspace::new())?;
    /// let product = &plan.dispatches()[0];
    /// assert_eq!(product.flops, 2 * 32 * 64 * 16);
    /// assert_eq!(product.bytes_read, 4 * (32 * 64 + 64 * 16 + 16));
    /// assert_eq!(product.bytes_written, 4 * 32 * 16);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn dispatches(&self) -> Vec<Dispatch> {
        let phase = |number| if number < self.forward { Phase::Forward } else { Phase::Backward };
        self.steps.iter().enumerate().map(|(number, step)| step.dispatch(phase(number))).collect()
    }
}

impl Step {
    fn dispatch(&self, phase: Phase) -> Dispatch {
        // A resource that is bound twice is moved once, or is only a placeholder.
        let bound = self.places.iter().enumerate().skip(1).zip(&self.bytes);
        let once =
            bound.map(|((at, place), bytes)| if self.places[..at].contains(place) { 0 } else { *bytes });
        let regions: Vec<u64> = once.collect();
        Dispatch::new((phase, &self.label), &self.kernel, self.grid, &regions, &self.work)
    }
}
