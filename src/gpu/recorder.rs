use super::counters::add;
use super::{Gpu, Kernel, Timestamps};

/// Records dispatches and copies into a command encoder. Consecutive dispatches share one compute pass. Never
/// submits.
///
/// ```no_run
/// // Needs a device.
/// use gradus::gpu::{Buffer, Recorder};
/// use gradus::{Gpu, GpuOptions};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let [from, to] = [(); 2].map(|()| Buffer::<f32>::storage(&gpu, "numbers", 4));
/// let (from, to) = (from?, to?);
/// let mut encoder = gpu.encoder("copy");
/// Recorder::new(&gpu, &mut encoder).copy(from.raw(), 0, to.raw(), 0, 16);
/// gpu.submit(encoder)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder<'e> {
    // Declared before `encoder`, so that the pass ends before the borrow does.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: &'e mut wgpu::CommandEncoder,
    gpu: Gpu,
    mode: Mode<'e>,
    /// Number of dispatches requested so far.
    dispatches: usize,
    /// Commands requested within [`Recorder::all_or_nothing`].
    held_back: Option<Vec<Command>>,
}

/// A command that can be recorded.
#[derive(Debug)]
enum Command {
    Dispatch {
        pipeline: wgpu::ComputePipeline,
        bind_group: wgpu::BindGroup,
        offsets: Vec<u32>,
        workgroups: [u32; 3],
    },
    Copy {
        from: wgpu::Buffer,
        from_byte: u64,
        to: wgpu::Buffer,
        to_byte: u64,
        bytes: u64,
    },
    Clear {
        buffer: wgpu::Buffer,
        first_byte: u64,
        bytes: u64,
    },
}

/// Which of the requested commands are recorded.
#[derive(Debug)]
enum Mode<'e> {
    All,
    /// All commands, each dispatch between two timestamps.
    Timed(&'e mut Timestamps),
    /// One dispatch, repeated, and no copies.
    Only {
        number: usize,
        times: usize,
    },
}

impl<'e> Recorder<'e> {
    /// A recorder into `encoder`, which must belong to the same device. wgpu cannot tell which device an
    /// encoder belongs to; it panics, or invalidates the commands, if a kernel of another device is recorded
    /// into it.
    pub fn new(gpu: &Gpu, encoder: &'e mut wgpu::CommandEncoder) -> Self {
        Self { pass: None, encoder, gpu: gpu.clone(), mode: Mode::All, dispatches: 0, held_back: None }
    }

    /// Like [`Recorder::new`], with each dispatch in its own pass between two timestamps, to time all
    /// dispatches in one run. Call [`Timestamps::record_read`] after the last dispatch. Dispatches beyond the
    /// capacity of `timestamps` are recorded without.
    pub fn timed(gpu: &Gpu, encoder: &'e mut wgpu::CommandEncoder, timestamps: &'e mut Timestamps) -> Self {
        timestamps.begin();
        Self { mode: Mode::Timed(timestamps), ..Self::new(gpu, encoder) }
    }

    /// Like [`Recorder::new`], but records only dispatch `number` (counted from 0), `times` times in a row,
    /// and no copies. For timing one dispatch on a device without timestamps; the results are not those of a
    /// step.
    pub fn repeating(gpu: &Gpu, encoder: &'e mut wgpu::CommandEncoder, number: usize, times: usize) -> Self {
        Self { mode: Mode::Only { number, times }, ..Self::new(gpu, encoder) }
    }

    /// The device that it records for.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Records one dispatch of `groups` workgroups per dimension. Does nothing if one of them is 0.
    ///
    /// `offsets` are the dynamic offsets, in binding order.
    pub fn dispatch(&mut self, kernel: &Kernel, group: &wgpu::BindGroup, offsets: &[u32], groups: [u32; 3]) {
        match &mut self.held_back {
            Some(commands) => commands.push(Command::Dispatch {
                pipeline: kernel.pipeline.clone(),
                bind_group: group.clone(),
                offsets: offsets.to_vec(),
                workgroups: groups,
            }),
            None => self.dispatch_now(&kernel.pipeline, group, offsets, groups),
        }
    }

    fn dispatch_now(
        &mut self,
        pipeline: &wgpu::ComputePipeline,
        group: &wgpu::BindGroup,
        offsets: &[u32],
        groups: [u32; 3],
    ) {
        let (number, mut times) = (self.dispatches, 1);
        self.dispatches += 1;
        if groups.contains(&0) {
            return;
        }
        self.gpu.command();
        let timestamps = match &mut self.mode {
            Mode::All => None,
            Mode::Timed(timestamps) => {
                self.pass = None;
                timestamps.next(number)
            }
            Mode::Only { number: only, .. } if *only != number => return,
            Mode::Only { times: of_it, .. } => {
                times = *of_it;
                None
            }
        };
        let pass = self.pass.get_or_insert_with(|| {
            add(&self.gpu.tally().passes, 1);
            let timestamp_writes = timestamps.as_ref().map(|(set, first)| wgpu::ComputePassTimestampWrites {
                query_set: set,
                beginning_of_pass_write_index: Some(*first),
                end_of_pass_write_index: Some(*first + 1),
            });
            let label = Some("gradus");
            self.encoder
                .begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes })
                .forget_lifetime()
        });
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, offsets);
        for _ in 0..times {
            pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
            add(&self.gpu.tally().dispatches, 1);
        }
    }

    /// Records a copy of `bytes` bytes; a multiple of 4.
    pub fn copy(&mut self, from: &wgpu::Buffer, from_byte: u64, to: &wgpu::Buffer, to_byte: u64, bytes: u64) {
        if let Some(commands) = &mut self.held_back {
            let (from, to) = (from.clone(), to.clone());
            commands.push(Command::Copy { from, from_byte, to, to_byte, bytes });
        } else if self.takes_all() {
            self.gpu.command();
            self.pass = None;
            self.encoder.copy_buffer_to_buffer(from, from_byte, to, to_byte, bytes);
        }
    }

    /// Records that `bytes` bytes from `first_byte` on are set to zero.
    pub fn clear(&mut self, buffer: &wgpu::Buffer, first_byte: u64, bytes: u64) {
        if let Some(commands) = &mut self.held_back {
            commands.push(Command::Clear { buffer: buffer.clone(), first_byte, bytes });
        } else if self.takes_all() {
            self.gpu.command();
            self.pass = None;
            self.encoder.clear_buffer(buffer, first_byte, Some(bytes));
        }
    }

    /// Records all commands of `record`, or none if it returns an error: commands are buffered until it
    /// returns.
    pub(crate) fn all_or_nothing<T, E>(
        &mut self,
        record: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let outer = self.held_back.replace(Vec::new());
        let recorded = record(self);
        let commands = std::mem::replace(&mut self.held_back, outer).unwrap_or_default();
        if recorded.is_ok() {
            commands.into_iter().for_each(|command| self.take(command));
        }
        recorded
    }

    fn take(&mut self, command: Command) {
        if let Some(outer) = &mut self.held_back {
            return outer.push(command);
        }
        match command {
            Command::Dispatch { pipeline, bind_group, offsets, workgroups } => {
                self.dispatch_now(&pipeline, &bind_group, &offsets, workgroups);
            }
            Command::Copy { from, from_byte, to, to_byte, bytes } => {
                self.copy(&from, from_byte, &to, to_byte, bytes);
            }
            Command::Clear { buffer, first_byte, bytes } => self.clear(&buffer, first_byte, bytes),
        }
    }

    fn takes_all(&self) -> bool {
        !matches!(self.mode, Mode::Only { .. })
    }
}

/// A dispatch size with at least `workgroups` workgroups. Uses a second dimension if there are more than the
/// 65,535 allowed in one.
///
/// A kernel computes its index as `workgroup_id.y * num_workgroups.x + workgroup_id.x` and returns if that is
/// past the end of its work.
///
/// ```
/// assert_eq!(gradus::gpu::grid(3), [3, 1, 1]);
/// let [x, y, _] = gradus::gpu::grid(65_536);
/// assert!(x <= 65_535 && x * y >= 65_536);
/// ```
pub fn grid(workgroups: usize) -> [u32; 3] {
    const MOST: usize = super::needs::MOST_WORKGROUPS as usize;
    let y = workgroups.div_ceil(MOST).max(1);
    let x = workgroups.div_ceil(y);
    assert!(y <= MOST, "a dispatch of {workgroups} workgroups exceeds two dimensions of 65,535");
    [u32::try_from(x).expect("at most 65,535"), u32::try_from(y).expect("at most 65,535"), 1]
}
