// The largest magnitudes of a block, as bits, in each of its lanes.
fn block_most(lane: u32, own: Most) -> Most {
    lanes[lane] = own;
    workgroupBarrier();
    let first = lane % 8u;
    let low = max(max(lanes[first], lanes[first + 8u]), max(lanes[first + 16u], lanes[first + 24u]));
    let high = max(max(lanes[first + 32u], lanes[first + 40u]), max(lanes[first + 48u], lanes[first + 56u]));
    if lane < 8u {
        eighths[lane] = max(low, high);
    }
    workgroupBarrier();
    let even = max(max(eighths[0], eighths[2]), max(eighths[4], eighths[6]));
    let odd = max(max(eighths[1], eighths[3]), max(eighths[5], eighths[7]));
    return max(even, odd);
}
