use super::Optimizer;
use crate::gpu::{Dispatch, Phase, Work, grid};
use crate::optim::averages::buffers::{self, AveragedBuffersBindings};
use crate::optim::device::bindings::KernelBindings;
use crate::optim::device::stage::Stage;
use crate::optim::rule::any::AnyRule;
use crate::optim::step::spec::{self, BuffersDispatch, ResetDispatch};
use crate::params::GateValues;

impl<R: AnyRule + Clone> Optimizer<R> {
    /// What each dispatch of the last recorded step reads, writes and computes, in order, including padding. Dispatches
    /// of custom transforms are not included.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::optim::{AdamW, Rule};
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let store = ParamStore::builder().group("all", |g| g.tensor("w", [256, 64], &[0.0; 256 * 64]));
    /// let mut params = store.build(&gpu)?;
    /// let mut optimizer = AdamW::default().build(&params)?;
    /// optimizer.step(&mut params)?;
    /// // Parameter, gradient and two moments are read, all but the gradient written.
    /// assert_eq!(optimizer.dispatches()[0].bytes(), (4 + 3) * 4 * 256 * 64);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn dispatches(&self) -> Vec<Dispatch> {
        let Some(bindings) = self.device.bindings() else { return Vec::new() };
        let mut all = if !self.steps.last.norms.is_empty() {
            self.norm_reduction.dispatches(&self.steps.last.norms)
        } else {
            Vec::new()
        };
        if let (Some(pick), Some((kernel, _))) = (self.steps.last.pick, &bindings.pick) {
            let words = pick.segments * pick.words;
            let gate = size_of::<GateValues>() / 4;
            let work = Work::of_quads(words.div_ceil(4)).touching([gate, words, words].map(Some));
            let groups = grid(words.div_ceil(64));
            all.push(Dispatch::new((Phase::Update, kernel.name()), kernel, groups, &[u64::MAX; 3], &work));
        }
        for ResetDispatch { len, workgroups, .. } in &self.steps.last.resets {
            let Some(resets) = &bindings.resets else { break };
            // One word for each block of 64 elements, and the elements themselves.
            let work = Work::of_quads(len.div_ceil(4)).touching([len.div_ceil(64), *len].map(Some));
            let (kernel, groups) = (&resets.kernel, grid(*workgroups));
            all.push(Dispatch::new((Phase::Update, kernel.name()), kernel, groups, &[u64::MAX; 2], &work));
        }
        let family = self.groups[0].rule.family();
        let mut products = self.device.orthogonal.as_ref();
        for dispatch in &self.steps.last.dispatches {
            let stage = Stage::of(family)[dispatch.stage];
            if stage == Stage::Update
                && let Some(orthogonal) = products.take()
            {
                all.extend(orthogonal.dispatches());
            }
            all.push(self.dispatch_of(dispatch, stage, bindings.stages[dispatch.stage].of(dispatch.general)));
        }
        if let Some(AveragedBuffersBindings { kernel, .. }) = &bindings.buffers {
            all.extend(self.steps.last.buffers.iter().map(|BuffersDispatch { len, .. }| {
                let work = Work::of_quads(len / 4).touching([*len, *len].map(Some));
                let groups = grid((len / 4).div_ceil(buffers::LANES));
                Dispatch::new((Phase::Update, kernel.name()), kernel, groups, &[u64::MAX; 2], &work)
            }));
        }
        if let Some(norms) = self.steps.norms.as_ref().filter(|_| self.steps.last.reports_norms) {
            all.extend(norms.dispatches());
        }
        all
    }

    /// A dispatch touches the elements it covers of bindings by window, and its share of all elements of other
    /// bindings.
    fn dispatch_of(&self, dispatch: &spec::Dispatch, stage: Stage, bindings: &KernelBindings) -> Dispatch {
        let by_windows = stage.goes_by_windows();
        let elements = self.steps.last.elements(
            &self.layout,
            dispatch,
            (by_windows, self.device.statistics.as_ref().map(|statistics| &statistics.ranges)),
        );
        let window = self.layout.windows().nth(dispatch.bind_group).map_or(1, |window| window.len);
        let whole = if by_windows { window } else { self.layout.len() };
        let regions = &bindings.regions[dispatch.bind_group];
        let touched = bindings.by_elements.iter().zip(regions).map(|(by_elements, bytes)| {
            let words = usize::try_from(bytes / 4).unwrap_or(usize::MAX);
            Some(if *by_elements { elements } else { share(words, elements, whole) })
        });
        let work = match stage {
            Stage::Statistics | Stage::Measure | Stage::Direction | Stage::Update => {
                Work::of_quads(elements.div_ceil(4))
            }
            Stage::Finish | Stage::Means | Stage::Ratio => Work::default(),
        };
        let work = work.touching(touched);
        let groups = grid(dispatch.workgroups);
        Dispatch::new((Phase::Update, bindings.kernel.name()), &bindings.kernel, groups, regions, &work)
    }
}

/// The share of `words` that belongs to `elements` out of `of`.
fn share(words: usize, elements: usize, of: usize) -> usize {
    let share = (words as u128 * elements as u128).div_ceil(of.max(1) as u128);
    usize::try_from(share).unwrap_or(words).min(words)
}
