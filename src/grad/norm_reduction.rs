//! The gradient-norm reduction: one pass over the gradients for their norm and the check that they are finite.

mod kernels;
mod spec;
#[cfg(test)]
mod trips;

use std::sync::Arc;

use self::kernels::{DECIDERS, DecideCall, Norm, NormCall, norm_number, sources};
use super::Transforms;
use crate::Error;
use crate::gpu::{Buffer, Dispatch, Gpu, Kernel, Phase, Recorder, Region, Work, grid};
use crate::params::{Gate, ParamStore};

pub(crate) use kernels::{NORM_LANES, NORM_PARTS, NORM_UNITS, Part, kernel_listings};
pub(crate) use spec::NormSpec;
#[cfg(test)]
pub(crate) use trips::{decide_trips, norm_trips};

/// Device resources of the gradient-norm reduction, kept from step to step.
#[derive(Debug, Default)]
pub(crate) struct NormReduction {
    buffer: Option<Buffer<Part>>,
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    norm: Arc<Kernel>,
    /// One per window.
    windows: Vec<wgpu::BindGroup>,
    decide: (Arc<Kernel>, wgpu::BindGroup),
    /// Partial results that one workgroup of the norm kernel writes.
    parts_of_a_group: usize,
}

impl NormReduction {
    /// Creates the kernels, buffers and bind groups that a step needs and that are missing.
    pub(crate) fn prepare(
        &mut self,
        spec: &NormSpec,
        transforms: &Transforms,
        params: &ParamStore,
        ring: &wgpu::Buffer,
    ) -> Result<(), Error> {
        let gpu = params.gpu();
        if self.buffer.as_ref().is_none_or(|parts| parts.len() < spec.parts) {
            self.buffer = Some(Buffer::storage(gpu, "partial norms", 2 * spec.parts.max(DECIDERS))?);
            self.bound = None;
        }
        if let (None, Some(parts)) = (&self.bound, &self.buffer) {
            self.bound = Some(Bound::new(gpu, transforms, params, ring, parts)?);
        }
        Ok(())
    }

    /// Drops the bind groups, because the ring of uniforms was replaced.
    pub(crate) fn rebind(&mut self) {
        self.bound = None;
    }

    /// Records the dispatches of a step whose uniforms begin at `base`.
    pub(crate) fn record(&self, spec: &NormSpec, recorder: &mut Recorder<'_>, base: u32) {
        let Some(bound) = &self.bound else { return };
        for norm in &spec.norms {
            let groups = grid(norm.groups as usize);
            recorder.dispatch(&bound.norm, &bound.windows[norm.window], &[base + norm.call], groups);
        }
        let (kernel, group) = &bound.decide;
        for decision in &spec.decisions {
            recorder.dispatch(kernel, group, &[base + decision.call], grid(decision.workgroups));
        }
    }
}

impl NormReduction {
    /// What each dispatch of the described step reads, writes and computes, in order.
    pub(crate) fn dispatches(&self, spec: &NormSpec) -> Vec<Dispatch> {
        let Some(bound) = &self.bound else { return Vec::new() };
        const WORDS: usize = size_of::<Part>() / 4;
        let all = |kernel: &Kernel, groups: usize, quads: usize, touched: [usize; 2]| {
            let work = Work::of_quads(quads).touching(touched.map(Some));
            Dispatch::new((Phase::Gradients, kernel.name()), kernel, grid(groups), &[u64::MAX; 2], &work)
        };
        let norms = spec.norms.iter().map(|norm| {
            let (groups, vectors) = (norm.groups as usize, norm.vectors as usize);
            all(&bound.norm, groups, vectors, [4 * vectors, WORDS * groups * bound.parts_of_a_group])
        });
        let decisions = spec.decisions.iter().map(|decision| {
            let gate = Gate::STRIDE / 4;
            let words = WORDS * decision.parts;
            all(&bound.decide.0, decision.workgroups, words.div_ceil(4), [words, gate])
        });
        norms.chain(decisions).collect()
    }
}

impl Bound {
    fn new(
        gpu: &Gpu,
        transforms: &Transforms,
        params: &ParamStore,
        ring: &wgpu::Buffer,
        parts: &Buffer<Part>,
    ) -> Result<Self, Error> {
        let [norm, decide] = sources(norm_number(transforms), gpu.capabilities());
        let [norm, decide] = [gpu.kernel(&norm)?, gpu.kernel(&decide)?];
        let call = |bytes: usize| Region { buffer: ring, offset: 0, bytes: bytes as u64 };
        let windows = params
            .layout()
            .windows()
            .map(|window| {
                let grads = params.grads().window(&window);
                gpu.bind_group(&norm, &[call(size_of::<NormCall>()), grads, parts.region()])
            })
            .collect::<Result<_, _>>()?;
        let decided = [call(size_of::<DecideCall>()), parts.region(), params.gate().all()];
        let decided = gpu.bind_group(&decide, &decided)?;
        let parts_of_a_group = Norm::of(gpu.capabilities()).parts;
        Ok(Self { norm, windows, decide: (decide, decided), parts_of_a_group })
    }
}
