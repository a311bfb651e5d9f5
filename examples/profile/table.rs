//! The times as a table, slowest first, with totals.

use anyhow::Result;
use gradus::gpu::Phase;

use crate::probes::Probes;
use crate::step::Timed;
use crate::terminal::say;

const PHASES: [Phase; 4] = [Phase::Forward, Phase::Backward, Phase::Gradients, Phase::Update];

pub(crate) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Forward => "forward",
        Phase::Backward => "backward",
        Phase::Gradients => "gradients",
        Phase::Update => "update",
        _ => "other",
    }
}

/// What some dispatches take, move and compute together.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seconds: f64,
    bytes: u64,
    flops: u64,
}

impl Sum {
    fn of<'t>(times: impl Iterator<Item = &'t Timed>) -> Self {
        times.fold(Self::default(), |sum, timed| Self {
            seconds: sum.seconds + timed.seconds,
            bytes: sum.bytes + timed.dispatch.bytes(),
            flops: sum.flops + timed.dispatch.flops,
        })
    }

    /// Time, its part of all, bytes and FLOP, and the parts of the probes' speeds.
    fn columns(&self, all: f64, probes: &Probes) -> String {
        let Self { seconds, bytes, flops } = *self;
        let of = |amount: u64, speed: f64| match seconds {
            0.0 => "-".to_owned(),
            _ => format!("{:.2}", amount as f64 / seconds / 1e9 / speed),
        };
        format!(
            "{:>10.1} {:>6.1} {:>10.1} {:>6} {:>10.2} {:>6}",
            seconds * 1e6,
            100.0 * seconds / all,
            bytes as f64 / 1e3,
            of(bytes, probes.copy),
            flops as f64 / 1e6,
            of(flops, probes.arithmetic),
        )
    }
}

pub(crate) fn print(times: &[Timed], probes: &Probes, rows: Option<u32>) -> Result<()> {
    let all = Sum::of(times.iter());
    let head = ["us", "%", "kB", "copy", "MFLOP", "arith"];
    say(format_args!(
        "{:>10} {:>6} {:>10} {:>6} {:>10} {:>6}  dispatch",
        head[0], head[1], head[2], head[3], head[4], head[5]
    ))?;
    let mut sorted: Vec<&Timed> = times.iter().collect();
    sorted.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let shown = rows.map_or(sorted.len(), |rows| sorted.len().min(rows as usize));
    for timed in &sorted[..shown] {
        let columns = Sum::of(std::iter::once(*timed)).columns(all.seconds, probes);
        say(format_args!("{columns}  {}: {}", name(timed.dispatch.phase), timed.dispatch.label))?;
    }
    let rest = &sorted[shown..];
    if !rest.is_empty() {
        let columns = Sum::of(rest.iter().copied()).columns(all.seconds, probes);
        say(format_args!("{columns}  {} more", rest.len()))?;
    }
    for phase in PHASES {
        let of = || times.iter().filter(|timed| timed.dispatch.phase == phase);
        let count = of().count();
        if count > 0 {
            let columns = Sum::of(of()).columns(all.seconds, probes);
            say(format_args!("{columns}  {}, {count} dispatches", name(phase)))?;
        }
    }
    say(format_args!("{}  all", all.columns(all.seconds, probes)))
}
