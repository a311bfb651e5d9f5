//! All outputs of a plan at once, for callers that read them repeatedly.

use super::{Output, Plan};
use crate::Error;
use crate::gpu::Recorder;
use crate::graph::shape::Planes;

impl Output {
    /// Bytes that it takes on the device, including padding.
    fn padded_bytes(&self) -> usize {
        self.buffer.len() * size_of::<f32>()
    }
}

impl Plan {
    /// Bytes of all outputs.
    pub(crate) fn output_bytes(&self) -> usize {
        self.outputs.iter().map(Output::padded_bytes).sum()
    }

    /// Records a copy of all outputs, back to back, to the start of `target`.
    pub(crate) fn record_outputs(&self, recorder: &mut Recorder<'_>, target: &wgpu::Buffer) {
        let mut at = 0;
        for output in &self.outputs {
            let bytes = output.padded_bytes() as u64;
            recorder.copy(output.buffer.raw(), 0, target, at, bytes);
            at += bytes;
        }
    }

    /// An output from those bytes, with its shape: dense and row-major.
    pub(crate) fn dense_output(&self, name: &str, bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let number = self.output_number(name)?;
        let first: usize = self.outputs[..number].iter().map(Output::padded_bytes).sum();
        let output = &self.outputs[number];
        let data: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes[first..first + output.padded_bytes()]);
        let values = Planes::of(&output.shape, output.order).dense(&data);
        Ok((output.shape.clone(), values))
    }
}
