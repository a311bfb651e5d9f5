// The largest magnitudes of a block, as bits, in each of its lanes.
var<workgroup> lanes: array<Most, 64>;
var<workgroup> eighths: array<Most, 8>;

fn block_most(lane: u32, own: Most) -> Most {
    lanes[lane] = own;
    workgroupBarrier();
    let first = lane % 8u;
    let low = larger(larger(lanes[first], lanes[first + 8u]), larger(lanes[first + 16u], lanes[first + 24u]));
    let high = larger(larger(lanes[first + 32u], lanes[first + 40u]), larger(lanes[first + 48u], lanes[first + 56u]));
    if lane < 8u {
        eighths[lane] = larger(low, high);
    }
    workgroupBarrier();
    let even = larger(larger(eighths[0], eighths[2]), larger(eighths[4], eighths[6]));
    let odd = larger(larger(eighths[1], eighths[3]), larger(eighths[5], eighths[7]));
    return larger(even, odd);
}
