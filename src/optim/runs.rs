use std::ops::Range;

use super::progress::Progress;
use crate::grad::Rider;
use crate::layout::Layout;

/// Neighbouring tensors of one group that stand at the same point, and so share a step's constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) group: usize,
    pub(super) before: Progress,
    pub(super) rider: Rider,
    pub(super) tensors: Range<usize>,
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
    let tensors = layout.spans().iter().zip(progress).zip(frozen).zip(riders).enumerate();
    for (tensor, (((span, before), frozen), rider)) in tensors {
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
                (run.tensors.end, run.range.end) = (tensor + 1, end);
            }
            _ => runs.push(Run {
                group: span.group,
                before: *before,
                rider: *rider,
                tensors: tensor..tensor + 1,
                range: span.first..end,
            }),
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
    use crate::optim::recurrence::Carried;

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
        ahead[1] = Progress::new(1, 0, Carried::default());
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
