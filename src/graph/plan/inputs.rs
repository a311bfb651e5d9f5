//! Setting the inputs of a plan.

use super::Plan;
use super::links::Place;
use crate::Error;
use crate::gpu::Staging;
use crate::graph::input::{HostData, Input, InputData, Upload, samples};
use crate::graph::lowering::Lowering;

impl Plan {
    /// Sets an input, in row-major order. The next submit uses it.
    ///
    /// For [`Rows`](crate::graph::Rows), only the row indices are uploaded. [`Plan::record`] then records the gather, until
    /// the input is set again.
    ///
    /// For a region of a caller's buffer, nothing is uploaded: each run reads its current contents, until the input
    /// is set again. Kernels read the region directly if its buffer has `STORAGE`, its offset is a multiple of the
    /// device's `min_storage_buffer_offset_alignment` (usually 256), and neither the plan nor one of its outputs uses
    /// the buffer. Otherwise each run starts with a copy, which needs `COPY_SRC` and offsets and sizes that are
    /// multiples of 4. Setting the same region again is free, and so is alternating between up to four sets of
    /// regions, whose buffers the plan keeps alive. Another set creates new bind groups for the kernels that read it.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Length`]; [`Error::Constant`] for a label outside the range of classes, or
    /// for a row that the data set lacks (labels in a region are not checked: for a label out of range, the loss and
    /// its gradient are unspecified); [`Error::Shape`] for a data set with other samples; [`Error::Mismatch`] for
    /// labels instead of numbers or numbers instead of labels, and for a data set on another device;
    /// [`Error::Buffer`] for a region that can be neither bound nor copied, or whose buffer belongs to another device
    /// of the same `wgpu::Instance` (wgpu cannot detect one of another instance) or was destroyed, which for a copy
    /// is only reported by the submit; [`Error::DeviceLost`].
    pub fn write(&self, name: &str, data: &(impl HostData + ?Sized)) -> Result<(), Error> {
        let input = self.find_input(name)?;
        input.check(&self.gpu, data.data(), input.shape[0])?;
        self.write_checked(name, data.data(), 0, &mut |buffer, bytes| self.gpu.write(buffer, 0, bytes))
    }

    /// Sets an input to samples of checked data, starting at sample `first`.
    fn write_checked(
        &self,
        name: &str,
        data: InputData<'_>,
        first: usize,
        upload: Upload<'_>,
    ) -> Result<(), Error> {
        let number = self.input_number(name)?;
        let input = &self.inputs[number];
        let part = data.part(first..first + input.shape[0], input.sample());
        let place = match part {
            InputData::Buffer(region) => Some(Place::of(region)),
            _ => None,
        };
        // Consecutive parts of a data set are copied, because each would need its own bind groups.
        let bind = part.len(input.sample()) == data.len(input.sample());
        self.link_input(number, place, bind)?;
        input.write(&self.gpu, part, upload)
    }

    /// Sets the seed and the step that determine random numbers; both are initially 0. The next submit uses them.
    ///
    /// One small upload, or none if the plan uses no random numbers. If a plan is recorded twice for one submit, both
    /// runs use the values that were set last.
    pub fn set_step(&self, seed: u64, step: u64) {
        if let Some(random) = &self.random {
            // The low words come first. If the device is lost, the submit reports it.
            let _ =
                self.gpu.write(random.raw(), 0, bytemuck::cast_slice(&[seed, step].map(u64::to_le_bytes)));
        }
    }

    /// The number of samples in `data`, determined from its first entry.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Config`] if there is no data; [`Error::Length`] for an incomplete sample.
    pub(crate) fn samples(&self, data: &[(&str, &dyn HostData)]) -> Result<usize, Error> {
        let inputs: Vec<_> = self.inputs.iter().map(|input| (&input.name[..], &input.shape[..])).collect();
        samples(&inputs, data)
    }

    /// Refuses what [`Plan::write`] would refuse, and missing inputs, for `samples` samples. Writes nothing.
    pub(crate) fn check_inputs(&self, data: &[(&str, &dyn HostData)], samples: usize) -> Result<(), Error> {
        for (name, data) in data {
            self.find_input(name)?.check(&self.gpu, data.data(), samples)?;
        }
        for (at, (name, _)) in data.iter().enumerate() {
            if data[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(Error::Duplicate { kind: "input", name: (*name).into() });
            }
        }
        match self.inputs.iter().find(|input| !data.iter().any(|(name, _)| *name == input.name)) {
            None => Ok(()),
            Some(input) => {
                Err(Error::Config { what: "inputs".into(), reason: format!("{} is missing", input.name) })
            }
        }
    }

    /// Uploads all inputs through `staging`: one batch of checked data, starting at sample `first`.
    pub(crate) fn stage(
        &self,
        data: &[(&str, &dyn HostData)],
        first: usize,
        staging: &mut Staging,
    ) -> Result<(), Error> {
        for (name, data) in data {
            let upload = &mut |buffer: &_, bytes: &_| staging.write(buffer, 0, bytes);
            self.write_checked(name, data.data(), first, upload)?;
        }
        Ok(())
    }

    /// Like [`Plan::set_step`], through `staging`.
    pub(crate) fn stage_step(&self, seed: u64, step: u64, staging: &mut Staging) -> Result<(), Error> {
        let bytes = [seed, step].map(u64::to_le_bytes);
        let random = self.random.as_ref();
        random.map_or(Ok(()), |random| staging.write(random.raw(), 0, bytemuck::cast_slice(&bytes)))
    }

    /// Bytes that the inputs, a seed and a step need in `staging`.
    pub(crate) fn staged_bytes(&self, data: &[(&str, &dyn HostData)]) -> usize {
        const WORD: usize = 4;
        let words = |(name, data): &(&str, &dyn HostData)| match (self.find_input(name), data.data()) {
            (Ok(input), InputData::F32(_) | InputData::Labels(_)) => input.shape.iter().product(),
            (Ok(input), InputData::Rows(_)) => input.shape[0],
            (Ok(_), InputData::Buffer(_)) | (Err(_), _) => 0,
        };
        let random = self.random.as_ref().map_or(0, |_| Lowering::RANDOM_WORDS);
        data.iter().map(words).chain([random]).map(|words| Staging::room(WORD * words)).sum()
    }

    fn find_input(&self, name: &str) -> Result<&Input, Error> {
        self.input_number(name).map(|number| &self.inputs[number])
    }

    fn input_number(&self, name: &str) -> Result<usize, Error> {
        let names = || self.inputs.iter().map(|input| input.name.as_str());
        names().position(|known| known == name).ok_or_else(|| Error::unknown("input", name, names()))
    }

    /// The buffer that the host's data of an input are written to.
    #[cfg(test)]
    pub(in crate::graph) fn input_buffer(&self, name: &str) -> &wgpu::Buffer {
        self.find_input(name).expect("it has this input").buffer.raw()
    }
}
