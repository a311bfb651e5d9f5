use std::ops::Range;

use super::StepInfo;
use crate::grad::Rider;
use crate::layout::Layout;

/// The most slots that a rule can have beside parameters and gradients: kernels bind eight buffers.
pub(super) const MOST_SLOTS: usize = 6;

/// What a tensor has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Steps applied.
    pub(super) applied: u64,
    /// One bit for each slot that a step has used.
    pub(super) live: u32,
    /// The steps that the tensor took part in and that may yet turn out to have been skipped, as bits of the
    /// device's history.
    pub(super) pending: u32,
    /// For each slot that is not live, those of them that use it.
    begun: [u32; MOST_SLOTS],
}

impl Progress {
    /// Nothing pending.
    pub(super) fn new(applied: u64, live: u32) -> Self {
        Self { applied, live, ..Self::default() }
    }

    /// The tensor takes part in a step, a bit of the history, that uses some slots.
    pub(super) fn begin(&mut self, step: u32, used: u32) {
        self.pending |= step;
        for slot in bits(used & !self.live) {
            self.begun[slot] |= step;
        }
    }

    /// Slots that pending steps are the first to use.
    pub(super) fn begun(&self) -> u32 {
        mask(|slot| self.begun[slot] != 0)
    }

    /// Where the tensor stands if those of the pending steps were applied whose bits are set.
    pub(super) fn after(&self, history: u32) -> StepInfo {
        let more = u64::from((self.pending & history).count_ones());
        StepInfo {
            step: self.applied + more + 1,
            live: self.live | mask(|slot| self.begun[slot] & history != 0),
        }
    }

    /// A pending step has turned out to be applied or skipped, or will never be.
    pub(super) fn settle(&mut self, step: u32, applied: bool) {
        let now = self.after(if applied { step } else { 0 });
        (self.applied, self.live) = (now.step - 1, now.live);
        self.pending &= !step;
        for (slot, begun) in self.begun.iter_mut().enumerate() {
            *begun = if self.live & (1 << slot) == 0 { *begun & !step } else { 0 };
        }
    }

    /// Sets of pending steps of which it matters whether one was applied, beside how many were: those that use a
    /// slot, where others do not. There are none unless options have just changed.
    pub(super) fn marks(&self) -> impl Iterator<Item = u32> {
        let begun = self.begun;
        let tells = move |slot: &usize| begun[*slot] != 0 && begun[*slot] != self.pending;
        (0..MOST_SLOTS).filter(tells).map(move |slot| begun[slot])
    }

    /// Every point at which the tensor may stand: first by the number of pending steps that were applied, then
    /// by what the marks say, the first in the lowest bit.
    pub(super) fn rows(&self) -> impl Iterator<Item = StepInfo> {
        let marks: Vec<u32> = self.marks().collect();
        let this = *self;
        (0..1_u32 << marks.len()).flat_map(move |told| {
            let marks = marks.clone();
            (0..=this.pending.count_ones()).map(move |more| {
                let live = |slot: usize| match marks.iter().position(|mark| *mark == this.begun[slot]) {
                    Some(mark) => told & (1 << mark) != 0,
                    None => this.begun[slot] != 0 && more > 0,
                };
                StepInfo { step: this.applied + u64::from(more) + 1, live: this.live | mask(live) }
            })
        })
    }
}

fn mask(holds: impl Fn(usize) -> bool) -> u32 {
    (0..MOST_SLOTS).filter(|&slot| holds(slot)).fold(0, |mask, slot| mask | 1 << slot)
}

fn bits(mask: u32) -> impl Iterator<Item = usize> {
    (0..MOST_SLOTS).filter(move |slot| mask & (1 << slot) != 0)
}

/// Neighbouring tensors of one group that stand at the same point, and so share a step's constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) group: usize,
    pub(super) before: Progress,
    pub(super) rider: Rider,
    /// Elements of the flat space, padding included.
    pub(super) range: Range<usize>,
}

/// Collects the runs of a step into `runs`, in order.
pub(super) fn collect(
    layout: &Layout,
    progress: &[Progress],
    frozen: &[bool],
    riders: &[Rider],
    runs: &mut Vec<Run>,
) {
    runs.clear();
    for (((span, before), frozen), rider) in layout.spans().iter().zip(progress).zip(frozen).zip(riders) {
        if *frozen {
            continue;
        }
        let end = span.first + span.padded_len();
        match runs.last_mut() {
            // There is a gap where a tensor was moved to the next buffer.
            Some(run)
                if (run.group, run.before, run.rider, run.range.end)
                    == (span.group, *before, *rider, span.first) =>
            {
                run.range.end = end;
            }
            _ => runs.push(Run { group: span.group, before: *before, rider: *rider, range: span.first..end }),
        }
    }
}

/// A range of the flat space cut at windows: the window's number and the range within it.
pub(super) fn cut(layout: &Layout, range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    let window_len = layout.window_len();
    (layout.window_of(range.start)..=layout.window_of(range.end - 1)).map(move |window| {
        let first = window * window_len;
        (window, range.start.max(first) - first..range.end.min(first + window_len) - first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};

    fn layout() -> Layout {
        let groups = [
            GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("y", [20]),
            GroupSpec::new("b").tensor("z", [10]),
        ];
        Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap()
    }

    fn ranges(progress: &[Progress], frozen: &[bool]) -> Vec<(usize, Range<usize>)> {
        let mut runs = Vec::new();
        collect(&layout(), progress, frozen, &[Rider::default(); 4], &mut runs);
        runs.into_iter().map(|run| (run.group, run.range)).collect()
    }

    #[test]
    fn tensors_that_agree_share_a_run() {
        let same = [Progress::default(); 4];
        assert_eq!(ranges(&same, &[false; 4]), [(0, 0..40_192), (1, 40_192..40_256)]);
        let mut ahead = same;
        ahead[1].applied = 1;
        assert_eq!(
            ranges(&ahead, &[false; 4]),
            [(0, 0..40_000), (0, 40_000..40_128), (0, 40_128..40_192), (1, 40_192..40_256)]
        );
    }

    #[test]
    fn frozen_tensors_are_left_out() {
        let same = [Progress::default(); 4];
        assert_eq!(ranges(&same, &[false, true, false, true]), [(0, 0..40_000), (0, 40_128..40_192)]);
        assert_eq!(ranges(&same, &[true; 4]), []);
    }

    #[test]
    fn runs_are_cut_at_windows() {
        let cuts: Vec<_> = cut(&layout(), 64..40_192).collect();
        assert_eq!(cuts, [(0, 64..16_384), (1, 0..16_384), (2, 0..7_424)]);
    }
}
