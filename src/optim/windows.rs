use std::ops::Range;

use crate::layout::Layout;

/// Splits a range of the flat space at windows: the index of each window and the range within it.
pub(crate) fn cut_at_windows(
    layout: &Layout,
    range: Range<usize>,
) -> impl Iterator<Item = (usize, Range<usize>)> {
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

    #[test]
    fn ranges_are_cut_at_windows() {
        let groups = [
            GroupSpec::new("a").tensor("w", [40_000]).tensor("x", [70]).tensor("y", [20]),
            GroupSpec::new("b").tensor("z", [10]),
        ];
        let limits = Limits { binding_bytes: 65_536, buffer_bytes: 1 << 20 };
        let layout = Layout::new(&groups, limits).unwrap();
        let cuts: Vec<_> = cut_at_windows(&layout, 64..40_192).collect();
        assert_eq!(cuts, [(0, 64..16_384), (1, 0..16_384), (2, 0..7_424)]);
    }
}
