use super::{Buffer, Gpu};
use crate::Error;

/// Start and end times of dispatches on the device, for [`Recorder::timed`](super::Recorder::timed).
///
/// ```no_run
/// // Needs a device with timestamps.
/// use gradus::gpu::{Recorder, Timestamps};
/// use gradus::graph::{Graph, PlanOptions, Workspace};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions { timestamps: true, ..Default::default() })?;
/// let graph = Graph::new();
/// let y = graph.input("x", [32, 64]).linear(16);
/// let params = graph.store(&gpu, 1)?;
/// let plan = graph.compile(&params, &PlanOptions::evaluate().output("y", &y), &mut Workspace::new())?;
/// let mut timestamps = Timestamps::new(&gpu, plan.labels().count())?;
/// let mut encoder = gpu.encoder("profile");
/// plan.record(&mut Recorder::timed(&gpu, &mut encoder, &mut timestamps))?;
/// timestamps.record_read(&mut encoder);
/// gpu.submit(encoder)?;
/// for (label, time) in plan.labels().zip(timestamps.read()?) {
///     println!("{label}: {:.1} us", time.map_or(0.0, |time| (time.end - time.start) / 1e3));
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Timestamps {
    gpu: Gpu,
    /// Query sets in order of the dispatches, [`Timestamps::SET`] dispatches each.
    sets: Vec<wgpu::QuerySet>,
    resolved: Buffer<u64>,
    /// For each dispatch, whether it has timestamps; one without workgroups has none.
    timed: Vec<bool>,
    /// Number of dispatches with timestamps.
    used: usize,
    room: usize,
}

impl Timestamps {
    /// Number of dispatches per query set, with two queries each.
    const SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

    /// Room for `dispatches` dispatches; at least one.
    ///
    /// # Errors
    /// [`Error::Device`] if the device lacks `TIMESTAMP_QUERY`, which
    /// [`GpuOptions::timestamps`](super::GpuOptions) requests; [`Error::Limit`]; [`Error::DeviceLost`].
    pub fn new(gpu: &Gpu, dispatches: usize) -> Result<Self, Error> {
        let refuse = |reason| Error::Device { what: "timestamps".into(), reason };
        if !gpu.has_timestamps() {
            return Err(refuse("the device was made without TIMESTAMP_QUERY".into()));
        }
        let room = dispatches.max(1);
        let set = |first: usize| {
            let count = 2 * (room - first).min(Self::SET);
            let count = u32::try_from(count).expect("a set is small");
            let made = gpu.caught(|| {
                gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count,
                })
            });
            made.map_err(|reason| gpu.blame(reason, refuse))
        };
        let sets = (0..room).step_by(Self::SET).map(set).collect::<Result<_, _>>()?;
        use wgpu::BufferUsages as U;
        let resolved = Buffer::with_usage(gpu, "timestamps", 2 * room, U::QUERY_RESOLVE | U::COPY_SRC)?;
        Ok(Self { gpu: gpu.clone(), sets, resolved, timed: Vec::new(), used: 0, room })
    }

    pub(super) fn begin(&mut self) {
        self.timed.clear();
        self.used = 0;
    }

    /// The query set of dispatch `number`, and the index of the first of its two queries.
    pub(super) fn next(&mut self, number: usize) -> Option<(&wgpu::QuerySet, u32)> {
        let place = self.used;
        if place >= self.room {
            return None;
        }
        self.timed.resize(number, false);
        self.timed.push(true);
        self.used += 1;
        let first = u32::try_from(2 * (place % Self::SET)).expect("a set is small");
        Some((&self.sets[place / Self::SET], first))
    }

    /// Records the transfer of the timestamps for [`Timestamps::read`]. Call it after the dispatches of a
    /// [`Recorder::timed`](super::Recorder::timed).
    pub fn record_read(&self, encoder: &mut wgpu::CommandEncoder) {
        for (number, set) in self.sets.iter().enumerate() {
            let first = number * Self::SET;
            let used = self.used.saturating_sub(first).min(Self::SET);
            if used > 0 {
                let end = u32::try_from(2 * used).expect("a set is small");
                // A full set is 4,096 queries of 8 bytes, so each set starts at a multiple of 256 bytes.
                let at = (2 * first * size_of::<u64>()) as u64;
                encoder.resolve_query_set(set, 0..end, self.resolved.raw(), at);
            }
        }
    }

    /// Waits for the device and returns the start and end of each dispatch of the last recording, in
    /// nanoseconds after the start of the first; `None` for a dispatch without workgroups.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self) -> Result<Vec<Option<std::ops::Range<f64>>>, Error> {
        self.gpu.block_on(self.read_async())
    }

    /// As [`Timestamps::read`], without blocking.
    ///
    /// # Errors
    /// As [`Timestamps::read`].
    pub async fn read_async(&self) -> Result<Vec<Option<std::ops::Range<f64>>>, Error> {
        let ticks = self.resolved.read_async(&self.gpu, 0, 2 * self.used).await?;
        let period = f64::from(self.gpu.raw_queue().get_timestamp_period());
        let first = ticks.first().copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a run is shorter than 2^53 ticks")]
        let since = |tick: u64| tick.saturating_sub(first) as f64 * period;
        let mut pairs = ticks.chunks_exact(2).map(|pair| since(pair[0])..since(pair[1]));
        Ok(self.timed.iter().map(|timed| timed.then(|| pairs.next()).flatten()).collect())
    }
}
