// The rank of each member, by its loss and then by its number: how many members come before it. Keys behind the last
// member are those of none.
struct Hyper { none: u32 }

fn before(member: u32, first: u32, key: u32) -> u32 {
    let other = vec4u(keys[first], keys[first + 1u], keys[first + 2u], keys[first + 3u]);
    // Of equal keys those of lower numbers come first.
    let lower = vec4u(first, first + 1u, first + 2u, first + 3u) < vec4u(member);
    let comes = other < vec4u(key) + select(vec4u(0u), vec4u(1u), lower);
    let counts = select(vec4u(0u), vec4u(1u), comes);
    return counts.x + counts.y + counts.z + counts.w;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let member = (group.y * groups.x + group.x) * 64u + lane;
    if member >= run.members {
        return;
    }
    let key = keys[member];
    var rank = 0u;
    for (var first = 0u; first < run.members; first += 16u) {
        rank += before(member, first, key) + before(member, first + 4u, key);
        rank += before(member, first + 8u, key) + before(member, first + 12u, key);
    }
    ranks[member] = rank;
    ranks[run.members + rank] = member;
}
