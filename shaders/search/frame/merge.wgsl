// Makes one sorted run of each `FAN` runs of `RUN` keys: a key's place is its own, and how many keys of each other run come
// before it. Runs are of consecutive members, so that of equal keys those of an earlier run come first.
struct Hyper { none: u32 }

const BLOCK = 1024u;

// Keys, then members, of one of two copies.
fn copy_at(copy: u32, items: u32) -> u32 {
    return 2u * run.members + 2u * copy * items;
}

// How many of `count` keys in order come before a key.
fn preceding(first: u32, count: u32, key: u32, is_earlier: bool) -> u32 {
    var found = 0u;
    for (var width = RUN; width > 0u; width >>= 1u) {
        let next = found + width;
        if next <= count {
            let other = ranks[first + next - 1u];
            found = select(found, next, other < key || (is_earlier && other == key));
        }
    }
    return found;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let items = (run.members + BLOCK - 1u) / BLOCK * BLOCK;
    let item = (group.y * groups.x + group.x) * 64u + lane;
    if item >= items {
        return;
    }
    let from_at = copy_at(FROM, items);
    let key = ranks[from_at + item];
    let member = ranks[from_at + items + item];
    let own = item / RUN;
    let first = own / FAN * FAN;
    var place = first * RUN + item % RUN;
    for (var other = first; other < first + FAN && other * RUN < items; other++) {
        if other != own {
            place += preceding(from_at + other * RUN, min(RUN, items - other * RUN), key, other < own);
        }
    }
    if !IS_LAST {
        let to_at = copy_at(TO, items);
        ranks[to_at + place] = key;
        ranks[to_at + items + place] = member;
    } else if member < run.members {
        ranks[member] = place;
        ranks[run.members + place] = member;
    }
}
