use crate::Error;
use crate::gpu::{Buffer, Gpu, Region, uniform};

uniform! {
    /// What the frame of every optimizer reads before it touches a parameter.
    pub struct GateValues {
        /// Every gradient is multiplied by this. 1 in a new gate.
        pub grad_scale: f32,
        /// Where not 0, the step leaves parameters and state as they are. 0 in a new gate.
        pub skip: u32,
        /// Room for the last gradient norm; 0, since nothing takes one yet.
        pub norm: f32,
        /// Room for the count of steps applied; 0, since nothing decides on skipping yet.
        pub applied: u32,
        /// Room for the count of steps skipped; 0, since nothing decides on skipping yet.
        pub skipped: u32,
    }
}

impl GateValues {
    /// What a new gate holds: scale 1, nothing skipped.
    pub const OPEN: Self = Self { grad_scale: 1.0, skip: 0, norm: 0.0, applied: 0, skipped: 0 };
}

/// A small buffer between gradient transforms, which write it as storage, and the optimizer's frame,
/// which reads it as a uniform. So a clip or a skipped step needs no read-back.
#[derive(Debug)]
pub struct Gate {
    buffer: Buffer<GateValues>,
}

impl Gate {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, Error> {
        use wgpu::BufferUsages as U;
        let usage = U::STORAGE | U::UNIFORM | U::COPY_DST | U::COPY_SRC;
        let gate = Self { buffer: Buffer::with_usage(gpu, "gate", 1, usage)? };
        gate.write(gpu, GateValues::OPEN)?;
        Ok(gate)
    }

    /// All of it, as a kernel binds it.
    pub fn region(&self) -> Region<'_> {
        self.buffer.region()
    }

    /// Writes it from the host, before any transform does; it lands before the next submit.
    ///
    /// # Errors
    /// [`Error::Constant`] for a scale that is not finite, which would make padding NaN.
    #[doc(hidden)]
    pub fn write(&self, gpu: &Gpu, values: GateValues) -> Result<(), Error> {
        if !values.grad_scale.is_finite() {
            return Err(Error::constant("grad_scale", "finite", values.grad_scale));
        }
        self.buffer.write(gpu, 0, &[values])
    }

    /// Waits for the device and reads it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn read(&self, gpu: &Gpu) -> Result<GateValues, Error> {
        Ok(self.buffer.read(gpu, 0, 1)?[0])
    }
}
