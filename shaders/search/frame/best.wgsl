// Ends a generation: keeps its best member if that is better than all before, and counts what is not a number.
struct Hyper { none: u32 }

var<workgroup> lane_keys: array<u32, 64>;
var<workgroup> lane_members: array<u32, 64>;
var<workgroup> lane_nans: array<u32, 64>;
var<workgroup> better: u32;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var key = NO_KEY;
    var best = 0u;
    var nans = 0u;
    for (var member = lane; member < run.members; member += 64u) {
        let own = keys[member];
        best = select(best, member, own < key);
        key = min(key, own);
        nans += u32(own == NAN_KEY);
    }
    lane_keys[lane] = key;
    lane_members[lane] = best;
    lane_nans[lane] = nans;
    workgroupBarrier();
    if lane == 0u {
        for (var other = 1u; other < 64u; other++) {
            let is_first = lane_keys[other] == key && lane_members[other] < best;
            best = select(best, lane_members[other], lane_keys[other] < key || is_first);
            key = min(key, lane_keys[other]);
            nans += lane_nans[other];
        }
        let before = progress[BEST_KEY];
        let improves = key < before && key != NAN_KEY;
        better = select(0u, best + 1u, improves);
        let generation = progress[GENERATION];
        progress[BEST_KEY] = select(before, key, improves);
        progress[BEST_POINT + 2u * run.dimensions + generation % run.history] = select(before, key, improves);
        progress[IMPROVED] = u32(improves);
        progress[LAST_NAN] = nans;
        let low = progress[NAN_LOW] + nans;
        progress[NAN_HIGH] += u32(low < nans);
        progress[NAN_LOW] = low;
        progress[GENERATION] = generation + 1u;
    }
    workgroupBarrier();
    let chosen = workgroupUniformLoad(&better);
    if chosen != 0u {
        for (var dimension = lane; dimension < run.dimensions; dimension += 64u) {
            let u = points[dimension * run.members + chosen - 1u];
            progress[BEST_POINT + dimension] = bitcast<u32>(u);
            progress[BEST_POINT + run.dimensions + dimension] = bitcast<u32>(decoded(u, dimension));
        }
    }
}
