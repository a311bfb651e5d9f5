//! Buffers, kernels and bind groups of a search, and the dispatches of a generation.

use std::sync::Arc;

use super::kernels::{LANES, Own, Run, TILE, objective_source, stage_source};
use super::method::{Algorithm, Over, Shape, Stage, When};
use super::objective::{self, Form};
use super::ranking;
use super::space::Space;
use crate::error::Error;
use crate::gpu::{Buffer, Gpu, Kernel, KernelSource, Recorder, Region, grid};

/// Words in front of the best point in `progress`.
const HEADER: usize = 16;

/// Generations whose best losses the device remembers.
pub(crate) const HISTORY: usize = 256;

/// A key of no loss, and that of a loss that is not a number.
pub(crate) const NO_KEY: u32 = u32::MAX;
pub(crate) const NAN_KEY: u32 = u32::MAX - 1;

/// What a key stands for.
pub(crate) fn loss_of(key: u32) -> f32 {
    match key {
        NAN_KEY | NO_KEY => f32::NAN,
        key if key > 0x7fff_ffff => f32::from_bits(key & 0x7fff_ffff),
        key => f32::from_bits(!key),
    }
}

/// A kernel with what it binds.
#[derive(Debug)]
struct Bound {
    kernel: Arc<Kernel>,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    when: When,
}

/// How far a search is, as the device has it.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    words: Vec<u32>,
    dimensions: usize,
}

impl Progress {
    pub(crate) fn best_key(&self) -> u32 {
        self.words[1]
    }

    pub(crate) fn nans(&self) -> u64 {
        u64::from(self.words[3]) | u64::from(self.words[4]) << 32
    }

    /// The best point in the user's units.
    pub(crate) fn best_x(&self) -> Vec<f32> {
        let first = HEADER + self.dimensions;
        self.words[first..first + self.dimensions].iter().copied().map(f32::from_bits).collect()
    }

    /// The best loss after a generation, which is one of the last [`HISTORY`].
    pub(crate) fn best_after(&self, generation: u64) -> f32 {
        let at = usize::try_from(generation % HISTORY as u64).expect("below HISTORY");
        loss_of(self.words[HEADER + 2 * self.dimensions + at])
    }
}

/// What the device holds of a search.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) gpu: Gpu,
    pub(crate) shape: Shape,
    is_plain: bool,
    samples: u32,
    run: Buffer<Run>,
    hyper: Buffer<u8>,
    table: Buffer<f32>,
    pub(crate) progress: Buffer<u32>,
    pub(crate) points: Buffer<f32>,
    pub(crate) keys: Buffer<u32>,
    pub(crate) ranks: Buffer<u32>,
    pub(crate) state: Buffer<u32>,
    pub(crate) rows: Buffer<f32>,
    pub(crate) losses: Buffer<f32>,
    before: Vec<Bound>,
    after: Vec<Bound>,
    /// Generations from one run of periodic stages to the next.
    period: u64,
    best: Option<Bound>,
    to_rows: Option<Bound>,
    told: Option<Bound>,
    objective: Option<(String, Form, Bound)>,
}

/// What a device is made of.
pub(crate) struct Plan<'a> {
    pub(crate) method: &'static str,
    pub(crate) algorithm: &'a dyn Algorithm,
    pub(crate) space: &'a Space,
    pub(crate) shape: Shape,
    pub(crate) samples: u32,
    pub(crate) seed: u64,
    /// Where the search starts, in the box of the kernels, if that was given.
    pub(crate) start: Option<&'a [f32]>,
}

#[expect(clippy::cast_possible_truncation, reason = "low words are meant")]
fn low(value: u64) -> u32 {
    value as u32
}

impl Device {
    pub(crate) fn new(gpu: &Gpu, plan: &Plan<'_>) -> Result<Self, Error> {
        let Plan { shape, .. } = *plan;
        let Shape { members, dimensions, .. } = shape;
        let word = |count: usize| u32::try_from(count).expect("sizes are bounded");
        let run = Run {
            members: word(members),
            dimensions: word(dimensions),
            samples: plan.samples,
            history: word(HISTORY),
            seed_low: low(plan.seed),
            seed_high: low(plan.seed >> 32),
        };
        let hyper = plan.algorithm.hyper(shape, plan.start.is_some());
        let middle = vec![0.0; dimensions];
        let memory = plan.algorithm.memory(shape, plan.start.unwrap_or(&middle)).0;
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let key_words = ranking::key_words(members);
        let elements = members * dimensions;
        let storage = |label: &str, len| Buffer::storage(gpu, label, len);
        let mut device = Self {
            gpu: gpu.clone(),
            shape,
            is_plain: plan.space.is_plain(),
            samples: plan.samples,
            run: Buffer::with_usage(gpu, "search run", 1, uniform)?,
            hyper: Buffer::with_usage(gpu, "search hyper", hyper.bytes.len(), uniform)?,
            table: Buffer::storage(gpu, "search box", plan.space.table().len())?,
            progress: storage("search progress", HEADER + 2 * dimensions + HISTORY)?,
            points: Buffer::storage(gpu, "search points", elements)?,
            keys: storage("search keys", key_words)?,
            ranks: storage("search ranks", ranking::rank_words(members))?,
            state: storage("search state", memory.len())?,
            rows: Buffer::storage(gpu, "search rows", elements)?,
            losses: Buffer::storage(gpu, "search losses", members)?,
            before: Vec::new(),
            after: Vec::new(),
            period: plan.algorithm.period(shape),
            best: None,
            to_rows: None,
            told: None,
            objective: None,
        };
        device.make_kernels(plan)?;
        device.run.write(gpu, 0, &[run])?;
        device.hyper.write(gpu, 0, &hyper.bytes)?;
        device.table.write(gpu, 0, &plan.space.table())?;
        device.state.write(gpu, 0, &memory)?;
        device.keys.write(gpu, 0, &vec![NO_KEY; key_words])?;
        let mut progress = vec![0; HEADER];
        progress[1] = NO_KEY;
        device.progress.write(gpu, 0, &progress)?;
        Ok(device)
    }

    fn make_kernels(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        let Shape { members, dimensions, .. } = self.shape;
        let elements = grid((members * dimensions).div_ceil(LANES));
        let of_members = grid(members.div_ceil(LANES));
        let hyper = plan.algorithm.hyper(self.shape, false).fields;
        let stages = |device: &Self, stages: &[Stage]| -> Result<Vec<Bound>, Error> {
            let mut all = Vec::new();
            for stage in stages {
                let workgroups = match stage.over {
                    Over::Ranks => {
                        for (source, workgroups) in ranking::dispatches(members) {
                            all.push(device.bind(&source, grid(workgroups))?);
                        }
                        continue;
                    }
                    Over::Elements => elements,
                    Over::Sums => grid(dimensions),
                    Over::Dimensions => grid(dimensions.div_ceil(LANES)),
                    Over::Pairs => grid(dimensions.div_ceil(TILE).pow(2)),
                    Over::Matrix => grid(dimensions.pow(2).div_ceil(LANES)),
                    Over::Total | Over::Workgroup => grid(1),
                };
                let source = stage_source(plan.method, plan.algorithm, hyper, stage);
                all.push(Bound { when: stage.when, ..device.bind(&source, workgroups)? });
            }
            Ok(all)
        };
        self.before = stages(self, plan.algorithm.before())?;
        self.after = stages(self, plan.algorithm.after())?;
        self.best = Some(self.bind(&Own::Best.source(), grid(1))?);
        self.to_rows = Some(self.bind(&Own::Rows.source(), elements)?);
        self.told = Some(self.bind(&Own::Told.source(), of_members)?);
        Ok(())
    }

    fn bind(&self, source: &KernelSource, workgroups: [u32; 3]) -> Result<Bound, Error> {
        let kernel = self.gpu.kernel(source)?;
        let regions: [Region<'_>; 10] = [
            self.run.region(),
            self.hyper.region(),
            self.table.region(),
            self.progress.region(),
            self.points.region(),
            self.keys.region(),
            self.ranks.region(),
            self.state.region(),
            self.rows.region(),
            self.losses.region(),
        ];
        let group = self.gpu.bind_group(&kernel, &regions)?;
        Ok(Bound { kernel, group, workgroups, when: When::Always })
    }

    /// Makes the kernel of an objective in WGSL, unless it is the latest.
    pub(crate) fn prepare_objective(&mut self, text: &str, form: Form) -> Result<(), Error> {
        if self.objective.as_ref().is_some_and(|(known, of, _)| known == text && *of == form) {
            return Ok(());
        }
        let Shape { members, dimensions, .. } = self.shape;
        objective::check(text, form, dimensions, self.samples, &super::kernels::objective_frame(form))?;
        let source = objective_source(text, form, dimensions, self.is_plain);
        let workgroups = match form {
            Form::Lane => members.div_ceil(LANES),
            Form::Workgroup => members,
        };
        let bound = self.bind(&source, grid(workgroups))?;
        self.objective = Some((text.to_owned(), form, bound));
        Ok(())
    }

    fn run<'b>(recorder: &mut Recorder<'_>, bound: impl IntoIterator<Item = &'b Bound>) {
        for Bound { kernel, group, workgroups, .. } in bound {
            recorder.dispatch(kernel, group, &[], *workgroups);
        }
    }

    /// Records what makes the members of a generation.
    pub(crate) fn record_proposal(&self, recorder: &mut Recorder<'_>) {
        Self::run(recorder, &self.before);
    }

    /// Records what writes the members as rows in the user's units.
    pub(crate) fn record_rows(&self, recorder: &mut Recorder<'_>) {
        Self::run(recorder, &self.to_rows);
    }

    /// Records the objective in WGSL.
    pub(crate) fn record_objective(&self, recorder: &mut Recorder<'_>) {
        Self::run(recorder, self.objective.iter().map(|(.., bound)| bound));
    }

    /// Records what takes over losses that others wrote.
    pub(crate) fn record_told(&self, recorder: &mut Recorder<'_>) {
        Self::run(recorder, &self.told);
    }

    /// Records what ends a generation, counted from 0.
    pub(crate) fn record_end(&self, recorder: &mut Recorder<'_>, generation: u64) {
        Self::run(recorder, &self.best);
        Self::run(recorder, self.after.iter().filter(|bound| bound.when.is_due(generation, self.period)));
    }

    /// Waits, and reads how far the search is.
    pub(crate) async fn read_progress(&self) -> Result<Progress, Error> {
        let words = self.progress.read_async(&self.gpu, 0, self.progress.len()).await?;
        Ok(Progress { words, dimensions: self.shape.dimensions })
    }
}
