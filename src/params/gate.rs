use crate::Error;
use crate::gpu::{Buffer, Gpu, Recorder, Region, UniformRing, uniform};

uniform! {
    /// Decides on the device whether and how a step is applied. Gradient transforms write it; every optimizer
    /// kernel reads it before it changes a parameter.
    ///
    /// ```
    /// use gradus::params::GateValues;
    ///
    /// let open = GateValues::OPEN; // what a step without transforms reads
    /// assert_eq!(open, open.clone());
    /// ```
    pub struct GateValues {
        /// Factor of every gradient, together with `grad_rescale`. Initially 1.
        pub grad_scale: f32,
        /// If not 0, the step leaves parameters and optimizer state unchanged. Initially 0.
        pub skip: u32,
        /// Norm of the last step's gradients before clipping; 0 before the first one.
        pub norm: f32,
        /// Factor of the loss in the next backward pass. Initially 1.
        pub loss_scale: f32,
        /// Number of steps since `loss_scale` last changed.
        pub growth_tracker: u32,
        /// Number of applied steps, counted while steps can be skipped.
        pub applied: u32,
        /// Number of skipped steps.
        pub skipped: u32,
        /// Number of steps skipped since the last applied one.
        pub skipped_in_a_row: u32,
        /// Outcomes of the last eight steps, counted while steps can be skipped. Step `n` has bit `n` modulo
        /// 32: 1 if it was applied.
        pub history: u32,
        /// A power of two: 1, unless `grad_scale` alone would be too small for a normal f32.
        pub grad_rescale: f32,
    }
}

impl GateValues {
    /// The initial values: all scales 1, nothing skipped.
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

    /// The numbers of steps in flight differ by less than this.
    pub(crate) const HISTORY: u64 = 8;

    /// The bit of step `number` in the history.
    pub(crate) fn history_bit(number: u64) -> u32 {
        1 << (number % 32)
    }

    /// The history bits that step `number` keeps. It clears its own bit and those of steps that cannot be in
    /// flight at the same time, so that a step which is never submitted counts as not applied.
    pub(crate) fn history_kept(number: u64) -> u32 {
        let far = (Self::HISTORY..=32 - Self::HISTORY).map(|ahead| Self::history_bit(number + ahead));
        !far.fold(Self::history_bit(number), |mask, bit| mask | bit)
    }
}

/// A small buffer that gradient transforms write as storage and optimizer kernels read as a uniform. With it,
/// clipping or skipping a step needs no read-back.
///
/// It serves one optimizer at a time; building an optimizer resets it.
///
/// It holds one [`GateValues`] per parameter group, 256 bytes apart. The values of the first group apply to
/// the whole step. The other groups use only `grad_scale`, `grad_rescale`, `skip` and `norm`, and only if
/// norms are clipped per group.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions, ParamStore};
/// use gradus::params::GateValues;
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let params = ParamStore::builder().tensor("w", [2], &[1.0, 2.0]).build(&gpu)?;
/// assert_eq!(params.gate().read(&gpu, 0)?, GateValues::OPEN);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct Gate {
    buffer: Buffer<u8>,
    groups: usize,
}

impl Gate {
    /// Distance in bytes between the values of two groups.
    pub const STRIDE: usize = UniformRing::ALIGN;

    pub(super) fn new(gpu: &Gpu, groups: usize) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::UNIFORM | U::COPY_DST | U::COPY_SRC;
        let gate = Self { buffer: Buffer::with_usage(gpu, "gate", groups * Self::STRIDE, usage)?, groups };
        gate.write(gpu, GateValues::OPEN)?;
        Ok(gate)
    }

    /// A gate with more groups, whose values are initial. Records a copy of the existing values.
    pub(super) fn grown(&self, recorder: &mut Recorder<'_>, groups: usize) -> Result<Self, Error> {
        let grown = Self::new(recorder.gpu(), groups)?;
        recorder.copy(self.raw(), 0, grown.raw(), 0, (self.groups * Self::STRIDE) as u64);
        Ok(grown)
    }

    /// The first group's values as a region to bind. The other groups follow at intervals of [`Gate::STRIDE`]
    /// bytes.
    pub fn region(&self) -> Region<'_> {
        self.buffer.region_of(0, size_of::<GateValues>())
    }

    /// The whole gate as a region to bind.
    pub fn all(&self) -> Region<'_> {
        self.buffer.region()
    }

    /// Writes the same values for all groups from the host. The write takes effect before the next submit.
    ///
    /// # Errors
    /// [`Error::Constant`] for a scale that is not finite; it would turn padding into NaN.
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

    /// Waits for the device and reads the values of a group, by its index in the layout.
    ///
    /// # Errors
    /// [`Error::Length`] for a group that does not exist; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, gpu: &Gpu, group: usize) -> Result<GateValues, Error> {
        gpu.block_on(self.read_async(gpu, group))
    }

    /// Like [`Gate::read`], without blocking.
    ///
    /// # Errors
    /// As [`Gate::read`].
    pub async fn read_async(&self, gpu: &Gpu, group: usize) -> Result<GateValues, Error> {
        let bytes = self.buffer.read_async(gpu, group * Self::STRIDE, size_of::<GateValues>()).await?;
        Ok(bytemuck::pod_read_unaligned(&bytes))
    }

    /// The underlying buffer, for copies from it.
    pub fn raw(&self) -> &wgpu::Buffer {
        self.buffer.raw()
    }
}
