//! Teams: how many lanes of a workgroup share a line in a reduction, and how they join their values.

use crate::gpu::{Candidate, Capabilities, KernelKind, MAX_TRIPS};
use crate::graph::shape::u;
use crate::graph::template::expand;

/// Minimum and maximum workgroup size, if lanes share lines.
const LEAST_LANES: u32 = 64;
const MOST_LANES: u32 = 256;

/// Lines of up to this many quads (or parts) are processed by one lane; joining would cost more than it saves.
const ALONE: usize = 8;

/// Number of quads per lane if there are enough lanes; this many loads are in flight at once.
const EACH: usize = 4;

/// Number of quads per lane above which a line is split into parts for several workgroups; also the minimum in a
/// part.
const UNCUT: usize = 32;
const PART: usize = 16;

/// Number of workgroups that keep a compute unit busy.
const WORKGROUPS_OF_CORE: usize = 4;

/// Number of quads per lane above which lines are split even if there are enough lines for all compute units. Kernels
/// process them in up to three loops.
const MOST_EACH: usize = 4_096;

/// Number of lines read side by side: 256 bytes, which a GPU loads at once.
const SIDE: usize = 16;

const _: () = assert!(3 * (MOST_EACH + MOST_EACH / 8) <= MAX_TRIPS);

/// The lines that a kernel reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) lines: usize,
    /// Number of quads (or parts) of a line.
    pub(super) count: usize,
    /// Number of lines whose quads are adjacent in memory; 1 if the quads of one line are adjacent.
    pub(super) side: usize,
}

/// How lanes are assigned to lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Team {
    /// Number of lanes that share a line; a power of two.
    pub(super) lanes: u32,
    /// Number of lines per workgroup.
    lines: u32,
    /// Whether adjacent lanes have adjacent lines, instead of adjacent quads of one line.
    across: bool,
}

/// A way to join the values of the lanes of a workgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join<'a> {
    /// The WGSL function is called `team_` followed by this name.
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    /// The WGSL expression that joins two values `a` and `b`.
    pub(super) of: &'a str,
}

pub(super) const SUM: Join<'_> = Join { name: "sum", kind: "vec4f", of: "a + b" };

/// Needs `shaders/shared/largest.wgsl`.
pub(super) const LARGEST: Join<'_> = Join { name: "largest", kind: "vec4f", of: "larger(a, b)" };

/// Lines shared by the lanes of workgroups, each line in `parts` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) team: Team,
    pub(super) parts: usize,
}

/// Determines how lines are shared on a device.
type Sharing = fn(&Walk, &Capabilities) -> Shared;

/// For lines that are too long for one lane. CPU adapters, which have few lanes and expensive barriers, and plain
/// kernels use one lane per line.
const WAYS: &[Candidate<Walk, Sharing>] =
    &[Candidate { kind: KernelKind::Gpu, fits: |walk, _| walk.count > ALONE, way: Shared::of }];

impl Shared {
    /// How the lanes of a device share lines; `None` if each line has its own lane.
    pub(super) fn choose(walk: &Walk, offered: &Capabilities) -> Option<Self> {
        Candidate::first(WAYS, walk, offered).map(|way| way(walk, offered))
    }

    /// Depends only on the sizes and the assumed number of compute units, so the same sizes give the same bits.
    fn of(walk: &Walk, offered: &Capabilities) -> Self {
        let side = u(walk.side.clamp(1, SIDE)).next_power_of_two();
        let lanes = u(walk.count.div_ceil(EACH).min(MOST_LANES as usize)).next_power_of_two();
        let lanes = lanes.min(MOST_LANES / side);
        let team = Team { lanes, lines: side.max(LEAST_LANES / lanes), across: side > 1 };
        let each = walk.count.div_ceil(lanes as usize);
        let workgroups = walk.lines.div_ceil(team.lines as usize);
        let cores = offered.cores as usize;
        let parts = if each <= UNCUT || (each <= MOST_EACH && workgroups >= cores) {
            1
        } else {
            let wanted = (WORKGROUPS_OF_CORE * cores).div_ceil(workgroups);
            (each / PART).min(wanted).max(each.div_ceil(MOST_EACH)).max(2)
        };
        Self { team, parts }
    }
}

impl Team {
    /// `lanes` lanes for each of `lines` lines per workgroup, both powers of two.
    pub(super) const fn of(lanes: u32, lines: u32, across: bool) -> Self {
        Self { lanes, lines, across }
    }

    /// One lane per line, in workgroups of this size.
    pub(super) const fn alone(workgroup: u32) -> Self {
        Self { lanes: 1, lines: workgroup, across: true }
    }

    /// The grid for this many lines, or parts of lines.
    pub(super) fn grid(&self, lines: usize) -> [u32; 3] {
        crate::gpu::grid(lines.div_ceil(self.lines as usize))
    }

    /// Template constants: `TEAM` lanes share a line. Text in `#for alone in 0..ALONE` is for a single lane.
    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("WORKGROUP", self.lanes * self.lines),
            ("TEAM", self.lanes),
            ("LINES", self.lines),
            ("ALONE", u32::from(self.lanes == 1)),
        ]
    }

    /// The WGSL functions `team_of`, and `team_<name>` for each join.
    pub(super) fn text(&self, joins: &[Join<'_>]) -> String {
        if self.lanes == 1 {
            let alone = |Join { name, kind, .. }: &Join<'_>| {
                format!("fn team_{name}(team: Team, value: {kind}) -> {kind} {{\n    return value;\n}}\n")
            };
            let text = include_str!("../../shaders/shared/team_alone.wgsl").to_owned();
            return joins.iter().map(alone).fold(text, |text, join| text + &join);
        }
        let mut text = include_str!("../../shaders/shared/team.wgsl").to_owned();
        let mut kinds: Vec<&str> = Vec::new();
        for Join { name, kind, of } in joins {
            if !kinds.contains(kind) {
                text += &format!("var<workgroup> held_{kind}: array<{kind}, WORKGROUP>;\n");
                kinds.push(kind);
            }
            let join = include_str!("../../shaders/shared/team_join.wgsl");
            text += &join.replace("NAME", name).replace("KIND", kind).replace("JOINED", of);
        }
        // The square root, so that each joining lane joins as many values as there are joining lanes.
        let fan = 1 << (self.lanes.ilog2() / 2);
        let apart = if self.across { self.lines } else { 1 };
        let bounds = [("FAN", fan), ("FAN_IN", self.lanes / fan), ("APART", apart)];
        expand(&text, &bounds, &[]) + &format!("const ACROSS: bool = {};\n", self.across)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(cores: u32) -> Capabilities {
        let [.., mut gpu, _] = Capabilities::of_each_kind();
        gpu.cores = cores;
        gpu
    }

    /// Lanes of a line, lines of a workgroup, and parts.
    fn shared(lines: usize, count: usize, side: usize) -> Option<(u32, u32, usize)> {
        let walk = Walk { lines, count, side };
        Shared::choose(&walk, &gpu(32)).map(|Shared { team, parts }| (team.lanes, team.lines, parts))
    }

    #[test]
    fn a_lane_walks_short_lines_and_a_workgroup_long_ones() {
        assert_eq!(shared(1000, 8, 1), None);
        assert_eq!(shared(1000, 9, 1), Some((4, 16, 1)));
        assert_eq!(shared(1000, 64, 1), Some((16, 4, 1)));
        assert_eq!(shared(1000, 256, 1), Some((64, 1, 1)));
        assert_eq!(shared(1, 1024, 1), Some((256, 1, 1)));
        assert_eq!(shared(1, 256 * 32, 1), Some((256, 1, 1)));
        // A core for each line, or several for one.
        assert_eq!(shared(32, 256 * 32 + 1, 1), Some((256, 1, 1)));
        assert_eq!(shared(31, 256 * 32 + 1, 1), Some((256, 1, 2)));
        assert_eq!(shared(1, 250_000, 1), Some((256, 1, 61)));
        assert_eq!(shared(1, 1 << 27, 1), Some((256, 1, 128)));
        // Lines side by side.
        assert_eq!(shared(3, 9, 3), Some((4, 16, 1)));
        assert_eq!(shared(16, 50_000, 16), Some((16, 16, 128)));
        assert_eq!(shared(4, 50_000, 4), Some((64, 4, 48)));
        assert_eq!(shared(8192, 4000, 8192), Some((16, 16, 1)));
        for offered in Capabilities::of_each_kind() {
            let walk = Walk { lines: 7, count: 5_000, side: 1 };
            assert_eq!(Shared::choose(&walk, &offered).is_some(), offered == gpu(offered.cores));
        }
    }

    #[test]
    fn every_lane_has_a_part_of_a_line_and_few_trips() {
        for (count, side) in
            (0..=27).flat_map(|power| [(1 << power, 1), ((1 << power) + 1, 1), (3 << power, 5)])
        {
            for (lines, cores) in [(1, 32), (3, 80), (100, 80), (1 << 20, 80)] {
                // No tensor is larger.
                if lines * count > 1 << 27 {
                    continue;
                }
                let walk = Walk { lines, count, side: side.min(lines) };
                let Some(Shared { team, parts }) = Shared::choose(&walk, &gpu(cores)) else { continue };
                assert!(count >= parts * team.lanes as usize, "{walk:?}: {team:?}, {parts}");
                let each = count.div_ceil(parts * team.lanes as usize);
                assert!(3 * (each + each.div_ceil(8)) <= MAX_TRIPS, "{walk:?}: {team:?}, {parts}");
                assert!(
                    (LEAST_LANES..=MOST_LANES).contains(&(team.lanes * team.lines)),
                    "{walk:?}: {team:?}"
                );
                // The next dispatch finishes.
                let next = Shared::choose(&Walk { count: parts, ..walk }, &gpu(cores));
                assert!(next.is_none_or(|next| next.parts == 1), "{walk:?}: {parts}, then {next:?}");
            }
        }
    }
}
