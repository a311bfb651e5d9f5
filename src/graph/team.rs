//! How many lanes of a workgroup share a line that is reduced, and how they join what they hold.

use crate::gpu::{Candidate, Capabilities, KernelKind, MAX_TRIPS};
use crate::graph::shape::u;
use crate::graph::template::expand;

/// Lanes of a workgroup where lanes share lines: at least so many, and at most.
const LEAST_LANES: u32 = 64;
const MOST_LANES: u32 = 256;

/// Quads, or parts, of a line that one lane walks by itself: fewer cost more to join than to load.
const ALONE: usize = 8;

/// Quads that a lane takes where there are lanes for all: so many loads are under way at once.
const EACH: usize = 4;

/// Quads that a lane takes before a line is cut into parts for several workgroups, and of a part at least.
const UNCUT: usize = 32;
const PART: usize = 16;

/// Workgroups that keep a core busy.
const WORKGROUPS_OF_CORE: usize = 4;

/// Quads of a lane beyond which lines are cut even where there are lines for all cores; kernels walk them in up to three
/// loops.
const MOST_EACH: usize = 4_096;

/// Lines that are read side by side: 256 bytes, which is what a GPU loads at once.
const SIDE: usize = 16;

const _: () = assert!(3 * (MOST_EACH + MOST_EACH / 8) <= MAX_TRIPS);

/// Lines that a kernel reduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) lines: usize,
    /// Quads, or parts, of a line.
    pub(super) count: usize,
    /// Lines whose quads lie side by side; 1 where those of one line do.
    pub(super) side: usize,
}

/// Who walks lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Team {
    /// Lanes that share a line, a power of two.
    pub(super) lanes: u32,
    /// Lines of a workgroup.
    lines: u32,
    /// Whether neighbouring lanes have neighbouring lines, rather than neighbouring quads of a line.
    across: bool,
}

/// A way in which lanes of one workgroup join what they hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join<'a> {
    /// The function is `team_` and this.
    pub(super) name: &'a str,
    pub(super) kind: &'a str,
    /// What two values `a` and `b` are together.
    pub(super) of: &'a str,
}

pub(super) const SUM: Join<'_> = Join { name: "sum", kind: "vec4f", of: "a + b" };

/// Joined with `shaders/shared/largest.wgsl`.
pub(super) const LARGEST: Join<'_> = Join { name: "largest", kind: "vec4f", of: "larger(a, b)" };

/// Lines shared by the lanes of workgroups, each line in `parts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) team: Team,
    pub(super) parts: usize,
}

/// How lines are shared on a device.
type Sharing = fn(&Walk, &Capabilities) -> Shared;

/// Lines that are too long for one lane. A CPU adapter, whose lanes are few and whose barriers are dear, and plain kernels
/// have one lane a line.
const WAYS: &[Candidate<Walk, Sharing>] =
    &[Candidate { kind: KernelKind::Gpu, fits: |walk, _| walk.count > ALONE, way: Shared::of }];

impl Shared {
    /// How lanes of a device share lines; `None` where each line has a lane of its own.
    pub(super) fn choose(walk: &Walk, offered: &Capabilities) -> Option<Self> {
        Candidate::first(WAYS, walk, offered).map(|way| way(walk, offered))
    }

    /// By the sizes and the stated number of cores alone, so that the same sizes have the same bits.
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
    /// So many lanes for each of so many lines of a workgroup, powers of two.
    pub(super) const fn of(lanes: u32, lines: u32, across: bool) -> Self {
        Self { lanes, lines, across }
    }

    /// A lane for each line, in workgroups of so many lanes.
    pub(super) const fn alone(workgroup: u32) -> Self {
        Self { lanes: 1, lines: workgroup, across: true }
    }

    /// Workgroups for so many lines, or parts of lines.
    pub(super) fn grid(&self, lines: usize) -> [u32; 3] {
        crate::gpu::grid(lines.div_ceil(self.lines as usize))
    }

    /// What kernels are told: `TEAM` lanes share a line. In text under `#for alone in 0..ALONE` there is one.
    pub(super) fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![
            ("WORKGROUP", self.lanes * self.lines),
            ("TEAM", self.lanes),
            ("LINES", self.lines),
            ("ALONE", u32::from(self.lanes == 1)),
        ]
    }

    /// The functions `team_of`, and `team_` and its name for each way of joining.
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
        // The square root, so that each lane joins as many as there are lanes that do.
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
