//! The band: the channels, in whole `vec4`s, that a grouped convolution sums for four neighbouring result channels.

use super::geometry::Geometry;

/// The band of each `vec4` of channels. It starts with the `vec4` that holds the first channel of the first group.
/// Without groups it is all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    /// Length of the longest band, in `vec4`s.
    pub(super) vectors: u32,
    /// Whether the convolution is grouped.
    pub(super) is_grouped: bool,
    /// Whether a band can contain channels of other groups.
    pub(super) is_mixed: bool,
}

impl Band {
    /// The band of input channels summed for output channels.
    pub(super) fn of_inputs(geometry: &Geometry) -> Self {
        let [inputs, outputs] = geometry.group();
        Self::new(geometry.groups, inputs, outputs)
    }

    /// The band of output channels summed for the gradient of input channels.
    pub(super) fn of_outputs(geometry: &Geometry) -> Self {
        let [inputs, outputs] = geometry.group();
        Self::new(geometry.groups, outputs, inputs)
    }

    /// For groups that sum `inner` channels for each of `outer` channels.
    fn new(groups: u32, inner: u32, outer: u32) -> Self {
        // Alignment repeats every four groups. Of the `vec4`s that start in a group, the last one reaches farthest.
        let longest = (0..groups.min(4)).map(|group| {
            let last = ((group + 1) * outer - 1) / 4;
            let last_group = (last * 4 + 3).min(groups * outer - 1) / outer;
            let first = (last * 4).min(group * outer) / outer;
            ((last_group + 1) * inner - 1) / 4 - first * inner / 4 + 1
        });
        let is_even = inner.is_multiple_of(4) && outer.is_multiple_of(4);
        Self {
            vectors: longest.max().expect("there is a group"),
            is_grouped: groups > 1,
            is_mixed: groups > 1 && !is_even,
        }
    }

    /// The template constants of the kernels.
    pub(super) fn constants(self) -> [(&'static str, u32); 2] {
        [("GROUPED", u32::from(self.is_grouped)), ("MIXED", u32::from(self.is_mixed))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_band_is_as_long_as_one_is() {
        for groups in 1..12u32 {
            for (inner, outer) in (1..14u32).flat_map(|inner| (1..14u32).map(move |outer| (inner, outer))) {
                let longest = (0..(groups * outer).div_ceil(4)).map(|vector| {
                    let group = |channel: u32| channel.min(groups * outer - 1) / outer;
                    let first = group(vector * 4) * inner / 4;
                    let last = ((group(vector * 4 + 3) + 1) * inner - 1) / 4;
                    last - first + 1
                });
                let band = Band::new(groups, inner, outer);
                assert_eq!(band.vectors, longest.max().unwrap(), "{groups} groups of {inner} for {outer}");
                assert!(!band.is_mixed || band.is_grouped);
            }
        }
        assert!(!Band::new(3, 8, 4).is_mixed && Band::new(3, 8, 6).is_mixed && !Band::new(1, 3, 5).is_mixed);
    }
}
