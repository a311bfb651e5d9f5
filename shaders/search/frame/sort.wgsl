// Sorts each block of 1,024 keys, of equal ones the lower member first, into the first of two copies behind the ranks. A
// key's place is how many keys of its block come before it. Keys behind the last member are those of none.
struct Hyper { none: u32 }

const BLOCK = 1024u;

var<workgroup> block: array<vec4u, 256>;

fn before(quad: vec4u, key: u32, is_earlier: bool) -> u32 {
    let comes = select(quad < vec4u(key), quad <= vec4u(key), vec4<bool>(is_earlier));
    let counts = select(vec4u(0u), vec4u(1u), comes);
    return counts.x + counts.y + counts.z + counts.w;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.y * groups.x + group.x) * BLOCK;
    let items = (run.members + BLOCK - 1u) / BLOCK * BLOCK;
    let member = first + 4u * lane;
    var own = vec4u(NO_KEY);
    if first < items {
        own = vec4u(keys[member], keys[member + 1u], keys[member + 2u], keys[member + 3u]);
    }
    block[lane] = own;
    workgroupBarrier();
    var place = vec4u();
    for (var other = 0u; other < 256u; other++) {
        let quad = block[other];
        let is_earlier = other < lane;
        place += vec4u(
            before(quad, own.x, is_earlier),
            before(quad, own.y, is_earlier),
            before(quad, own.z, is_earlier),
            before(quad, own.w, is_earlier),
        );
    }
    // Equal ones of the same four.
    place.y += u32(own.x == own.y);
    place.z += u32(own.x == own.z) + u32(own.y == own.z);
    place.w += u32(own.x == own.w) + u32(own.y == own.w) + u32(own.z == own.w);
    if first < items {
        let to = 2u * run.members + first;
        for (var i = 0u; i < 4u; i++) {
            ranks[to + place[i]] = own[i];
            ranks[to + items + place[i]] = member + i;
        }
    }
}
