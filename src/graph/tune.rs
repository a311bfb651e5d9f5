//! Autotuning: for each step of a plan, selects the fastest of several kernels with bitwise equal results, if
//! [`Autotune`](crate::gpu::Autotune) is on.

pub(crate) mod kept;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::lowering::Step;
use crate::Error;
use crate::clock::Instant;
use crate::gpu::{Binding, Buffer, Gpu, Kernel, KernelSource, Recorder, Region, Timestamps};

/// Number of timed rounds per kernel; the median counts.
const ROUNDS: usize = 5;

/// An alternative replaces the default only if its time is at most this fraction of the default's.
const WORTH: f64 = 0.97;

/// Without timestamps, kernels are repeated until one takes this long, in seconds, up to the maximum number of
/// repetitions below.
const LONG: f64 = 2e-3;
const MOST_REPEATS: usize = 64;

/// The kernel selected for a step.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    pub(super) kernel: Arc<Kernel>,
    pub(super) uniform: &'a [u8],
    pub(super) grid: [u32; 3],
}

/// Selects kernels for the steps of a plan.
#[derive(Debug)]
pub(super) struct Tuner<'a> {
    gpu: &'a Gpu,
    /// Whether there are findings that are not in the file.
    is_new: bool,
}

/// A kernel that can be timed.
struct Trial {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl<'a> Tuner<'a> {
    pub(super) fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, is_new: false }
    }

    /// Selects the kernel for a step whose operands are bound to `regions`.
    ///
    /// # Errors
    /// As [`Gpu::kernel`] for the step's default kernel. An alternative that cannot be created or timed is skipped.
    pub(super) async fn choose<'s>(
        &mut self,
        step: &'s Step,
        regions: &[Region<'_>],
    ) -> Result<Choice<'s>, Error> {
        let own = (&step.kernel, &step.uniform[..], step.grid);
        let rivals = step.rivals.iter().map(|rival| (&rival.kernel, &rival.uniform[..], rival.grid));
        let kernels: Vec<_> = [own].into_iter().chain(rivals).collect();
        let number = self.fastest(step, &kernels, regions).await?;
        let (source, uniform, grid) = kernels[number];
        Ok(Choice { kernel: self.gpu.kernel_with(source, step.checks)?, uniform, grid })
    }

    /// The index of the fastest kernel; the first is the step's default.
    async fn fastest(
        &mut self,
        step: &Step,
        kernels: &[(&Arc<KernelSource>, &[u8], [u32; 3])],
        regions: &[Region<'_>],
    ) -> Result<usize, Error> {
        let Some(tuned) = self.gpu.tuned().filter(|_| kernels.len() > 1) else { return Ok(0) };
        let key = kept::hash(kernels.iter().flat_map(|(source, uniform, grid)| {
            [source.name.as_bytes(), source.wgsl.as_bytes(), uniform, bytemuck::bytes_of(grid)]
        }));
        let read = || tuned.folder().map(|folder| kept::read(folder, self.gpu.info())).unwrap_or_default();
        let known = tuned.found().get_or_insert_with(read).get(&key).map(|number| *number as usize);
        if let Some(number) = known.filter(|number| *number < kernels.len()) {
            return Ok(number);
        }
        let number = match self.time(step, kernels, regions).await {
            Ok(times) => best(&times),
            Err(error @ Error::DeviceLost { .. }) => return Err(error),
            // For example, no memory for scratch buffers. It is tried again next time.
            Err(_) => return Ok(0),
        };
        let finding = u32::try_from(number).expect("kernels are few");
        tuned.found().get_or_insert_with(read).insert(key, finding);
        self.is_new = true;
        Ok(number)
    }

    /// Times kernels on scratch memory instead of their outputs. A kernel that cannot be created takes infinite time.
    async fn time(
        &self,
        step: &Step,
        kernels: &[(&Arc<KernelSource>, &[u8], [u32; 3])],
        regions: &[Region<'_>],
    ) -> Result<Vec<f64>, Error> {
        let gpu = self.gpu;
        let written: Vec<Option<Buffer<u32>>> = step.kernel.bindings[1..]
            .iter()
            .zip(regions)
            .map(|(binding, region)| {
                let words = usize::try_from(region.bytes / 4).expect("a region of words fits memory");
                let is_written = *binding == Binding::ReadWrite;
                is_written.then(|| Buffer::storage(gpu, "autotune", words)).transpose()
            })
            .collect::<Result<_, _>>()?;
        let trial = |(source, uniform, grid): &(&Arc<KernelSource>, &[u8], [u32; 3])| {
            let kernel = gpu.kernel_with(source, step.checks)?;
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let block = Buffer::<u8>::with_usage(gpu, "autotune", uniform.len(), usage)?;
            block.write(gpu, 0, uniform)?;
            let operands = written.iter().zip(regions);
            let operands = operands.map(|(own, region)| own.as_ref().map_or(*region, Buffer::region));
            let bound: Vec<Region<'_>> = [block.region()].into_iter().chain(operands).collect();
            let group = gpu.bind_group(&kernel, &bound)?;
            Ok(Trial { kernel, group, grid: *grid })
        };
        let made = kernels.iter().map(trial).map(|made| match made {
            Err(Error::Kernel { .. } | Error::DeviceLimit { .. }) => Ok(None),
            made => made.map(Some),
        });
        let made: Vec<Option<Trial>> = made.collect::<Result<_, Error>>()?;
        let trials: Vec<&Trial> = made.iter().flatten().collect();
        let times = match gpu.has_timestamps() {
            true => by_timestamps(gpu, &trials).await?,
            false => by_clock(gpu, &trials).await?,
        };
        let mut times = times.into_iter();
        Ok(made
            .iter()
            .map(|made| made.as_ref().and_then(|_| times.next()).unwrap_or(f64::INFINITY))
            .collect())
    }

    /// Writes the findings to the folder, if there is one. If that fails, the next run times the kernels again.
    pub(super) fn keep(self) {
        let Some(tuned) = self.gpu.tuned().filter(|_| self.is_new) else { return };
        if let (Some(folder), Some(found)) = (tuned.folder(), &*tuned.found()) {
            let _ = kept::write(folder, self.gpu.info(), found);
        }
    }
}

/// The index of the kernel to use.
fn best(times: &[f64]) -> usize {
    let rivals = times.iter().enumerate().skip(1);
    let fastest = rivals.min_by(|(_, a), (_, b)| a.total_cmp(b));
    fastest.filter(|(_, time)| **time < WORTH * times[0]).map_or(0, |(number, _)| number)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Time of each kernel in nanoseconds, by timestamps.
async fn by_timestamps(gpu: &Gpu, trials: &[&Trial]) -> Result<Vec<f64>, Error> {
    let mut timestamps = Timestamps::new(gpu, trials.len())?;
    let mut times = vec![Vec::new(); trials.len()];
    for round in 0..=ROUNDS {
        let mut encoder = gpu.encoder("autotune");
        let mut recorder = Recorder::timed(gpu, &mut encoder, &mut timestamps);
        trials.iter().for_each(|trial| recorder.dispatch(&trial.kernel, &trial.group, &[], trial.grid));
        drop(recorder);
        timestamps.record_read(&mut encoder);
        gpu.submit(encoder)?;
        let read = timestamps.read_async().await?;
        // The first round warms up caches, clocks and drivers.
        for (times, time) in times.iter_mut().zip(read).filter(|_| round > 0) {
            times.push(time.map_or(0.0, |time| time.end - time.start));
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// Time of each kernel in seconds by the host's clock. All kernels are repeated equally often, with one wait.
async fn by_clock(gpu: &Gpu, trials: &[&Trial]) -> Result<Vec<f64>, Error> {
    for trial in trials {
        repeated(gpu, trial, 1).await?;
    }
    let mut repeats = 1;
    if let Some(first) = trials.first() {
        while repeats < MOST_REPEATS && repeated(gpu, first, repeats).await? < LONG {
            repeats *= 2;
        }
    }
    let mut times = vec![Vec::new(); trials.len()];
    for _ in 0..ROUNDS {
        for (times, trial) in times.iter_mut().zip(trials) {
            times.push(repeated(gpu, trial, repeats).await?);
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// Time in seconds of a kernel that runs so many times, with the wait for it.
async fn repeated(gpu: &Gpu, trial: &Trial, repeats: usize) -> Result<f64, Error> {
    let begun = Instant::now();
    let mut encoder = gpu.encoder("autotune");
    let mut recorder = Recorder::new(gpu, &mut encoder);
    (0..repeats).for_each(|_| recorder.dispatch(&trial.kernel, &trial.group, &[], trial.grid));
    drop(recorder);
    gpu.submit(encoder)?;
    gpu.wait_async().await?;
    Ok(begun.elapsed().as_secs_f64())
}
