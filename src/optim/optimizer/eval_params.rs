//! Evaluation parameters: averages that replace the training parameters while evaluating.

use super::Optimizer;
use crate::Error;
use crate::gpu::{
    Binding, Block, Buffer, KernelListing, KernelSource, Recorder, Region, UniformRing, grid, uniform,
};
use crate::optim::device::slots::SlotBuffer;
#[cfg(not(target_arch = "wasm32"))]
use crate::optim::look;
use crate::optim::look_async;
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{EvalParams, f32_of};
use crate::optim::step::spec::count;
use crate::optim::windows::cut_at_windows;
use crate::params::{Flat, ParamStore};

/// As in eval_params.wgsl.
const LANES: usize = 256;

uniform! {
    struct Call {
        first: u32,
        len: u32,
        beyond: u32,
        by: f32,
    }
}

fn source() -> KernelSource {
    let bytes = u32::try_from(size_of::<Call>()).expect("uniform blocks are small");
    KernelSource {
        name: "optim/eval_params".into(),
        wgsl: include_str!("../../../shaders/optim/eval_params.wgsl").into(),
        bindings: vec![Binding::Uniform { bytes, dynamic: true }, Binding::ReadWrite, Binding::Read],
    }
}

/// The kernel, for tests.
pub(crate) fn kernel_listing() -> KernelListing {
    KernelListing { source: source(), blocks: vec![Block::of::<Call>("Call")] }
}

/// Copies parameters to or from a backup.
fn copy(recorder: &mut Recorder<'_>, from: &Flat, to: &Flat) {
    for (from, to) in from.buffers().iter().zip(to.buffers()) {
        recorder.copy(from.raw(), 0, to.raw(), 0, to.len().min(from.len()) as u64 * 4);
    }
}

impl<R: AnyRule + Clone> Optimizer<R> {
    /// Calls `evaluate` with the rule's evaluation parameters in place of the training parameters: the average `ax` of
    /// [`ASGD`](crate::optim::ASGD), the average `x` of [`ScheduleFreeAdamW`](crate::optim::ScheduleFreeAdamW). Then
    /// restores the training parameters bit for bit, also if `evaluate` panics, so later steps are not affected.
    /// Whatever `evaluate` writes to the parameters is lost. Tensors that no step has changed keep their values.
    ///
    /// Inside, plans, predictors and [`ParamStore::read`] see the evaluation parameters, and steps of this optimizer
    /// are refused. It temporarily allocates a copy of the parameters, and waits for steps whose results are not known.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{ASGD, Rule};
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("w", [4], &[1.0; 4]).build(&gpu)?;
    /// let mut optimizer = ASGD { t0: 10.0, ..Default::default() }.build(&params)?;
    /// optimizer.step(&mut params)?;
    /// let averages = optimizer.with_eval_params(&mut params, |params| params.read("w"))??;
    /// # assert_eq!(averages.len(), 4);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if a group's rule has no evaluation parameters, or a recorded step is neither submitted nor
    /// abandoned; [`Error::Constant`] for an option with which they cannot be computed; [`Error::Mismatch`] for another
    /// store; [`Error::Limit`] and [`Error::Buffer`] if the device is out of memory; [`Error::Kernel`];
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_eval_params<T>(
        &mut self,
        params: &mut ParamStore,
        evaluate: impl FnOnce(&mut ParamStore) -> T,
    ) -> Result<T, Error> {
        self.gpu.clone().block_on(self.set_eval_params(params))?;
        let back =
            |(optimizer, params): &mut (&mut Self, &mut ParamStore)| optimizer.restore_parameters(params);
        look(&mut (self, params), back, |(_, params)| Ok(evaluate(params)))
    }

    /// As [`Optimizer::with_eval_params`], without blocking. The parameters are also restored if the future is dropped.
    ///
    /// # Errors
    /// As [`Optimizer::with_eval_params`].
    pub async fn with_eval_params_async<T>(
        &mut self,
        params: &mut ParamStore,
        evaluate: impl AsyncFnOnce(&mut ParamStore) -> T,
    ) -> Result<T, Error> {
        self.set_eval_params(params).await?;
        let back =
            |(optimizer, params): &mut (&mut Self, &mut ParamStore)| optimizer.restore_parameters(params);
        look_async(&mut (self, params), back, async |(_, params)| Ok(evaluate(params).await)).await
    }

    /// Refuses while the evaluation parameters replace the training parameters.
    pub(crate) fn check_no_eval_params(&self, what: &str) -> Result<(), Error> {
        if self.aside.is_none() {
            return Ok(());
        }
        let reason =
            "the evaluation parameters replace the training parameters: leave with_eval_params first";
        Err(Error::Config { what: what.into(), reason: reason.into() })
    }

    /// Backs up the parameters and overwrites them with the evaluation parameters, once it is known which steps were
    /// applied.
    pub(crate) async fn set_eval_params(&mut self, params: &ParamStore) -> Result<(), Error> {
        self.gpu.check()?;
        self.check_store(params)?;
        self.check_no_eval_params("parameters to evaluate with")?;
        self.check_places()?;
        self.poll()?;
        if !self.device.is_idle() {
            let reason = "a recorded step is not submitted: submit it and give its ticket back first";
            return Err(Error::Config { what: "parameters to evaluate with".into(), reason: reason.into() });
        }
        let averages = self.eval_params_of_groups()?;
        let gate = self.read_unresolved_gate().await?;
        let counters = self.steps.counters_after(&self.layout, gate);
        let is_live = |slot: usize, tensor: usize| {
            let held = counters[tensor].initialized & !counters[tensor].dropped;
            held & (1 << slot) != 0
        };
        let mut bytes = Vec::new();
        let mut dispatches = Vec::new();
        for (tensor, span) in self.layout.spans().iter().enumerate() {
            let (slot, beyond, by) = averages[span.group];
            if !is_live(slot, tensor) {
                continue;
            }
            for (window, range) in cut_at_windows(&self.layout, span.first..span.first + span.padded_len()) {
                let call = UniformRing::align(&mut bytes);
                let (first, len) = (count(range.start / 4), count(range.len() / 4));
                bytes.extend_from_slice(bytemuck::bytes_of(&Call { first, len, beyond, by }));
                dispatches.push((slot, window, call, range.len() / 4));
            }
        }
        self.apply_eval_params(params, &bytes, &dispatches)
    }

    /// For each group: the slot, whether the evaluation parameters lie beyond the parameters, and how far.
    fn eval_params_of_groups(&self) -> Result<Vec<(usize, u32, f32)>, Error> {
        let of = |(number, rule): (usize, &R)| {
            let refuse = |error: Error| error.in_group_of(self.layout.groups(), number);
            match rule.eval_params() {
                Some(EvalParams::Slot(slot)) => Ok((slot, 0, 0.0)),
                Some(EvalParams::Beyond { slot, by }) if f32_of(by).is_finite() => Ok((slot, 1, f32_of(by))),
                Some(EvalParams::Beyond { by, .. }) => {
                    let name = "the distance to the average, which follows from the options,";
                    Err(refuse(Error::constant(name, "finite in 32 bits", by)))
                }
                None => {
                    let reason = format!("{} has no evaluation parameters", rule.name());
                    Err(refuse(Error::Config { what: "parameters to evaluate with".into(), reason }))
                }
            }
        };
        self.rules().enumerate().map(of).collect()
    }

    fn apply_eval_params(
        &mut self,
        params: &ParamStore,
        bytes: &[u8],
        dispatches: &[(usize, usize, u32, usize)],
    ) -> Result<(), Error> {
        let gpu = self.gpu.clone();
        let aside = Flat::zeroed(&gpu, "parameters set aside", &self.layout)?;
        let kernel = gpu.kernel(&source())?;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let calls: Buffer<u8> =
            Buffer::with_usage(&gpu, "eval params", bytes.len().max(UniformRing::ALIGN), usage)?;
        calls.write(&gpu, 0, bytes)?;
        let call = Region { buffer: calls.raw(), offset: 0, bytes: size_of::<Call>() as u64 };
        let mut encoder = gpu.encoder("eval params");
        let mut recorder = Recorder::new(&gpu, &mut encoder);
        copy(&mut recorder, params.params(), &aside);
        let windows: Vec<_> = self.layout.windows().collect();
        let mut bound = None;
        for (slot, window, offset, len) in dispatches {
            let at = (*slot, *window);
            if bound.as_ref().is_none_or(|(known, _)| *known != at) {
                let Some(SlotBuffer::Elements(values)) = &self.device.slots[*slot] else {
                    unreachable!("live slots are there, and averages are of elements")
                };
                let window = &windows[*window];
                let group =
                    gpu.bind_group(&kernel, &[call, params.params().window(window), values.window(window)])?;
                bound = Some((at, group));
            }
            let (_, group) = bound.as_ref().expect("just made");
            recorder.dispatch(&kernel, group, &[*offset], grid(len.div_ceil(LANES)));
        }
        drop(recorder);
        gpu.submit(encoder)?;
        self.aside = Some(aside);
        Ok(())
    }

    /// Restores the parameters from the backup.
    pub(crate) fn restore_parameters(&mut self, params: &ParamStore) -> Result<(), Error> {
        let Some(aside) = self.aside.take() else { return Ok(()) };
        let mut encoder = self.gpu.encoder("parameters back");
        copy(&mut Recorder::new(&self.gpu, &mut encoder), &aside, params.params());
        self.gpu.submit(encoder).map(drop)
    }
}
