use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of the work done on a device through this crate. They do not depend on the speed of the machine.
///
/// Subtract two of them with [`Counters::since`] to see what happened in between.
///
/// ```no_run
/// // Needs a device.
/// use gradus::optim::{AdamW, Rule};
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let mut params = ParamStore::builder().tensor("w", [2], &[1.0; 2]).build(&gpu)?;
/// let mut optimizer = AdamW::default().build(&params)?;
/// optimizer.step(&mut params)?;
/// let before = gpu.counters();
/// optimizer.step(&mut params)?;
/// let step = gpu.counters().since(&before);
/// assert_eq!((step.submits, step.dispatches, step.allocations), (1, 1, 0));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Compute dispatches recorded.
    pub dispatches: u64,
    /// Compute passes begun.
    pub passes: u64,
    /// Submits, one for each call, however many command buffers it has.
    pub submits: u64,
    /// Buffers created.
    pub allocations: u64,
    /// Total size of the buffers that currently exist.
    pub live_bytes: u64,
    /// Compute pipelines created.
    pub pipelines: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Writes from the host into buffers.
    pub uploads: u64,
    /// Bytes of those writes.
    pub upload_bytes: u64,
    /// Read-backs that the host waited for.
    pub read_backs: u64,
    /// Kernels that a CPU adapter ran over no workgroups, so that its driver compiled them before their first dispatch: neither
    /// among dispatches nor among submits.
    pub warm_ups: u64,
}

impl Counters {
    /// The differences to `earlier`, or 0 for a count that has fallen.
    #[must_use]
    pub fn since(&self, earlier: &Counters) -> Counters {
        Counters {
            dispatches: self.dispatches.saturating_sub(earlier.dispatches),
            passes: self.passes.saturating_sub(earlier.passes),
            submits: self.submits.saturating_sub(earlier.submits),
            allocations: self.allocations.saturating_sub(earlier.allocations),
            live_bytes: self.live_bytes.saturating_sub(earlier.live_bytes),
            pipelines: self.pipelines.saturating_sub(earlier.pipelines),
            bind_groups: self.bind_groups.saturating_sub(earlier.bind_groups),
            uploads: self.uploads.saturating_sub(earlier.uploads),
            upload_bytes: self.upload_bytes.saturating_sub(earlier.upload_bytes),
            read_backs: self.read_backs.saturating_sub(earlier.read_backs),
            warm_ups: self.warm_ups.saturating_sub(earlier.warm_ups),
        }
    }
}

/// The atomic form of [`Counters`], shared by all objects of one device.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) dispatches: AtomicU64,
    pub(super) passes: AtomicU64,
    pub(super) submits: AtomicU64,
    pub(super) allocations: AtomicU64,
    pub(super) live_bytes: AtomicU64,
    pub(super) pipelines: AtomicU64,
    pub(super) bind_groups: AtomicU64,
    pub(super) uploads: AtomicU64,
    pub(super) upload_bytes: AtomicU64,
    pub(super) read_backs: AtomicU64,
    pub(super) warm_ups: AtomicU64,
}

impl Tally {
    pub(super) fn snapshot(&self) -> Counters {
        Counters {
            dispatches: self.dispatches.load(Relaxed),
            passes: self.passes.load(Relaxed),
            submits: self.submits.load(Relaxed),
            allocations: self.allocations.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            pipelines: self.pipelines.load(Relaxed),
            bind_groups: self.bind_groups.load(Relaxed),
            uploads: self.uploads.load(Relaxed),
            upload_bytes: self.upload_bytes.load(Relaxed),
            read_backs: self.read_backs.load(Relaxed),
            warm_ups: self.warm_ups.load(Relaxed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
