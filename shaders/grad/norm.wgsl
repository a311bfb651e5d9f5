// Partial norms of a range of gradients, and whether one of them is not finite: each lane takes every LANES-th vector of
// its workgroup's 4,096, so that lanes read neighbours. NORM is 0 (none), 1, 2 or 3 (infinity).
struct Call { first: u32, len: u32, groups: u32, out: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec2u>;

// By its exponent, because compilers may take it for granted that all numbers are finite.
fn not_finite(g: vec4f) -> vec4u {
    return select(vec4u(), vec4u(1u), (bitcast<vec4u>(g) & vec4u(0x7f800000u)) == vec4u(0x7f800000u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if number >= call.groups {
        return;
    }
    var total = vec4f();
    var found = vec4u();
    for (var at = number * 4096u + lane; at < min(call.len, (number + 1u) * 4096u); at += LANES) {
        let g = grads[call.first + at];
        found |= not_finite(g);
        if NORM == 1u {
            total += abs(g);
        } else if NORM == 2u {
            total += g * g;
        } else if NORM == 3u {
            total = bitcast<vec4f>(max(bitcast<vec4u>(total), bitcast<vec4u>(g) & vec4u(0x7fffffffu)));
        }
    }
    leave(number, lane, vec2u(
        bitcast<u32>(norm_joined(norm_joined(total.x, total.y), norm_joined(total.z, total.w))),
        found.x | found.y | found.z | found.w,
    ));
}
