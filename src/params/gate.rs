use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region, UniformRing, uniform};

uniform! {
    /// What decides over a step on the device: written there by gradient transforms, read by the frame of every
    /// optimizer before it touches a parameter.
    pub struct GateValues {
        /// Every gradient is multiplied by this, and by `grad_rescale`. 1 in a new gate.
        pub grad_scale: f32,
        /// Where not 0, the step leaves parameters and state as they are. 0 in a new gate.
        pub skip: u32,
        /// Norm of the gradients of the last step, before it was clipped; 0 until one was taken.
        pub norm: f32,
        /// What the loss is multiplied by for the next backward pass. 1 in a new gate.
        pub loss_scale: f32,
        /// Steps since `loss_scale` has changed.
        pub growth_tracker: u32,
        /// Steps applied under a policy that may skip some.
        pub applied: u32,
        /// Steps skipped.
        pub skipped: u32,
        /// Steps skipped since the last one that was applied.
        pub skipped_in_a_row: u32,
        /// A bit for each of the last eight steps under such a policy, that of its number modulo 32: 1 if it was
        /// applied.
        pub history: u32,
        /// A power of two: 1, but where `grad_scale` alone would be too small for a normal 32-bit float.
        pub grad_rescale: f32,
    }
}

impl GateValues {
    /// What a new gate holds: scales of 1, nothing skipped.
    pub const OPEN: Self = Self {
        grad_scale: 1.0,
        skip: 0,
        norm: 0.0,
        loss_scale: 1.0,
        growth_tracker: 0,
        applied: 0,
        skipped: 0,
        skipped_in_a_row: 0,
        history: 0,
        grad_rescale: 1.0,
    };

    /// Steps on their way lie within this many of each other.
    pub(crate) const HISTORY: u64 = 8;

    /// A step's bit in the history.
    pub(crate) fn history_bit(number: u64) -> u32 {
        1 << (number % 32)
    }

    /// The bits of the history that a step keeps: not its own, and not those of steps that cannot be on their way
    /// with it, so that one which is never submitted counts as not applied.
    pub(crate) fn history_kept(number: u64) -> u32 {
        let far = (Self::HISTORY..=32 - Self::HISTORY).map(|ahead| Self::history_bit(number + ahead));
        !far.fold(Self::history_bit(number), |mask, bit| mask | bit)
    }
}

/// A small buffer between gradient transforms, which write it as storage, and the optimizer's frame,
/// which reads it as a uniform. So a clip or a skipped step needs no read-back.
///
/// It serves one optimizer at a time: building one opens it anew.
///
/// It holds [`GateValues`] once for each group, 256 bytes apart. Those of the first group are those of the step;
/// of the others only `grad_scale`, `grad_rescale`, `skip` and `norm` are used, where norms are clipped group by group.
#[derive(Debug)]
pub struct Gate {
    buffer: Buffer<u8>,
    groups: usize,
}

impl Gate {
    /// Bytes from one group's values to the next.
    pub const STRIDE: usize = UniformRing::ALIGN;

    pub(super) fn new(gpu: &Gpu, groups: usize) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::UNIFORM | U::COPY_DST | U::COPY_SRC;
        let gate = Self { buffer: Buffer::with_usage(gpu, "gate", groups * Self::STRIDE, usage)?, groups };
        gate.write(gpu, GateValues::OPEN)?;
        Ok(gate)
    }

    /// A gate for more groups, open for these; a copy of the others' values is recorded.
    pub(super) fn grown(&self, recorder: &mut Recorder<'_>, groups: usize) -> Result<Self, Error> {
        let grown = Self::new(recorder.gpu(), groups)?;
        recorder.copy(self.raw(), 0, grown.raw(), 0, (self.groups * Self::STRIDE) as u64);
        Ok(grown)
    }

    /// The values of one group, as a kernel binds them; those of another group are [`Gate::STRIDE`] bytes behind.
    pub fn region(&self) -> Region<'_> {
        self.buffer.region_of(0, size_of::<GateValues>())
    }

    /// All of it, as a kernel binds it.
    pub fn all(&self) -> Region<'_> {
        self.buffer.region()
    }

    /// Writes the values of all groups from the host; they land before the next submit.
    ///
    /// # Errors
    /// [`Error::Constant`] for a scale that is not finite, which would make padding NaN.
    pub(crate) fn write(&self, gpu: &Gpu, values: GateValues) -> Result<(), Error> {
        if !values.grad_scale.is_finite() {
            return Err(Error::constant("grad_scale", "finite", values.grad_scale));
        }
        let mut bytes = vec![0; self.groups * Self::STRIDE];
        for entry in bytes.chunks_exact_mut(Self::STRIDE) {
            entry[..size_of::<GateValues>()].copy_from_slice(bytemuck::bytes_of(&values));
        }
        self.buffer.write(gpu, 0, &bytes)
    }

    /// Waits for the device and reads the values of a group, by its place in the layout.
    ///
    /// # Errors
    /// [`Error::Length`] for a group that does not exist; [`Error::DeviceLost`].
    pub fn read(&self, gpu: &Gpu, group: usize) -> Result<GateValues, Error> {
        gpu.block_on(self.read_async(gpu, group))
    }

    /// As [`Gate::read`], without blocking.
    ///
    /// # Errors
    /// As [`Gate::read`].
    pub async fn read_async(&self, gpu: &Gpu, group: usize) -> Result<GateValues, Error> {
        let bytes = self.buffer.read_async(gpu, group * Self::STRIDE, size_of::<GateValues>()).await?;
        Ok(bytemuck::pod_read_unaligned(&bytes))
    }

    /// Its buffer, to be copied from.
    pub fn raw(&self) -> &wgpu::Buffer {
        self.buffer.raw()
    }
}
