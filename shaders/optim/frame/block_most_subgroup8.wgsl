// As block_most.wgsl, for CPU adapters: subgroups of eight lanes exchange without memory, and one barrier is enough.
fn block_most(lane: u32, own: Most) -> Most {
    let most = subgroupMax(own);
    if lane % 8u == 0u {
        eighths[lane / 8u] = most;
    }
    workgroupBarrier();
    let even = max(max(eighths[0], eighths[2]), max(eighths[4], eighths[6]));
    let odd = max(max(eighths[1], eighths[3]), max(eighths[5], eighths[7]));
    return max(even, odd);
}
