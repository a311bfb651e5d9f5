use std::ops::Range;

use super::counters::StepCounter;
use crate::grad::PenaltyFactors;
use crate::layout::Layout;

/// Adjacent tensors of one group with equal step counters, which share a step's constants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Segment {
    pub(crate) group: usize,
    pub(crate) before: StepCounter,
    pub(crate) penalty: PenaltyFactors,
    /// Updates counted for the average minus steps.
    pub(crate) offset: i64,
    pub(crate) tensors: Range<usize>,
    /// Range of the flat space, including padding.
    pub(crate) range: Range<usize>,
}

/// Collects the segments of a step into `segments`, in order.
pub(crate) fn collect(
    layout: &Layout,
    counter: &[StepCounter],
    frozen: &[bool],
    fused: &[PenaltyFactors],
    offsets: Option<&[i64]>,
    segments: &mut Vec<Segment>,
) {
    segments.clear();
    let tensors = layout.spans().iter().zip(counter).zip(frozen).zip(fused).enumerate();
    for (tensor, (((span, before), frozen), penalty)) in tensors {
        if *frozen {
            continue;
        }
        let end = span.first + span.padded_len();
        let offset = offsets.map_or(0, |offsets| offsets[tensor]);
        match segments.last_mut() {
            // There is a gap where a tensor was moved to the next buffer.
            Some(segment)
                if (segment.group, segment.before, segment.penalty, segment.offset, segment.range.end)
                    == (span.group, *before, *penalty, offset, span.first) =>
            {
                (segment.tensors.end, segment.range.end) = (tensor + 1, end);
            }
            _ => segments.push(Segment {
                group: span.group,
                before: *before,
                penalty: *penalty,
                offset,
                tensors: tensor..tensor + 1,
                range: span.first..end,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{GroupSpec, Limits};
    use crate::optim::rule::recurrence::Carried;

    fn layout() -> Layout {
        let groups = [
            GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("y", [20]),
            GroupSpec::new("b").tensor("z", [10]),
        ];
        Layout::new(&groups, Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 }).unwrap()
    }

    fn ranges(counter: &[StepCounter], frozen: &[bool]) -> Vec<(usize, Range<usize>)> {
        let mut segments = Vec::new();
        collect(&layout(), counter, frozen, &[PenaltyFactors::default(); 4], None, &mut segments);
        segments.into_iter().map(|segment| (segment.group, segment.range)).collect()
    }

    #[test]
    fn tensors_that_agree_share_a_run() {
        let same = [StepCounter::default(); 4];
        assert_eq!(ranges(&same, &[false; 4]), [(0, 0..40_192), (1, 40_192..40_256)]);
        let mut ahead = same;
        ahead[1] = StepCounter::new(1, 0, Carried::default());
        assert_eq!(
            ranges(&ahead, &[false; 4]),
            [(0, 0..40_000), (0, 40_000..40_128), (0, 40_128..40_192), (1, 40_192..40_256)]
        );
    }

    #[test]
    fn frozen_tensors_are_left_out() {
        let same = [StepCounter::default(); 4];
        assert_eq!(ranges(&same, &[false, true, false, true]), [(0, 0..40_000), (0, 40_128..40_192)]);
        assert_eq!(ranges(&same, &[true; 4]), []);
    }
}
