//! Ranks of members by their losses: one dispatch that counts for few, sorted blocks that are merged for many.

use super::kernels::{LANES, own_source};
use crate::gpu::KernelSource;

/// The most members whose ranks are counted against all others.
const MOST_COUNTED: usize = 2048;

/// Keys of a sorted block.
const BLOCK: usize = 1024;

/// Sorted runs that one dispatch makes one of.
const FAN: usize = 16;

/// Words of the keys of so many members: those behind the last are keys of none.
pub(crate) fn key_words(members: usize) -> usize {
    // Counting reads keys by sixteen.
    members.next_multiple_of(if members <= MOST_COUNTED { 16 } else { BLOCK })
}

/// Words of ranks, of members by rank, and of what merging keeps: keys and members, twice.
pub(crate) fn rank_words(members: usize) -> usize {
    let kept = if members <= MOST_COUNTED { 0 } else { 4 * key_words(members) };
    2 * members + kept
}

/// What ranks so many members, with its workgroups.
pub(crate) fn dispatches(members: usize) -> Vec<(KernelSource, usize)> {
    if members <= MOST_COUNTED {
        return vec![(counted(), members.div_ceil(LANES))];
    }
    let items = key_words(members);
    let mut all = vec![(sorted(), items / BLOCK)];
    let mut run = BLOCK;
    while run < items {
        let is_last = run * FAN >= items;
        all.push((merged(run, is_last), items / LANES));
        run *= FAN;
    }
    all
}

fn counted() -> KernelSource {
    own_source("search_rank".into(), &[include_str!("../../shaders/search/frame/rank.wgsl")])
}

fn sorted() -> KernelSource {
    own_source("search_sort".into(), &[include_str!("../../shaders/search/frame/sort.wgsl")])
}

fn merged(run: usize, is_last: bool) -> KernelSource {
    let level = (run / BLOCK).ilog2() / FAN.ilog2();
    let constants = format!(
        "const RUN = {run}u;\nconst FAN = {FAN}u;\nconst IS_LAST = {is_last};\nconst FROM = {}u;\nconst TO = {}u;\n",
        level % 2,
        (level + 1) % 2
    );
    let name = format!("search_merge_{run}{}", if is_last { "_last" } else { "" });
    own_source(name, &[&constants, include_str!("../../shaders/search/frame/merge.wgsl")])
}

/// All kernels that rank, for tests.
pub(crate) fn sources() -> Vec<KernelSource> {
    let merges = [(BLOCK, false), (BLOCK, true), (BLOCK * FAN, true)];
    let merges = merges.into_iter().map(|(run, is_last)| merged(run, is_last));
    [counted(), sorted()].into_iter().chain(merges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_members_cost_few_dispatches() {
        let count = |members| dispatches(members).len();
        let members = [1, MOST_COUNTED, MOST_COUNTED + 1, 1 << 14, (1 << 14) + 1, 100_000, 1 << 18];
        assert_eq!(members.map(count), [1, 1, 2, 2, 3, 3, 3]);
        let known: Vec<String> = sources().into_iter().map(|source| source.name).collect();
        let named = |members| dispatches(members).into_iter().all(|(source, _)| known.contains(&source.name));
        assert!(members.into_iter().all(named));
    }
}
