// Partial norms of a range of gradients, and the largest magnitudes. Each lane reads every LANES-th vector of its
// workgroup's 4,096, so that lanes read adjacent vectors. NORM is 0 (none), 1, 2 or 3 (infinity).
struct Call { first: u32, len: u32, groups: u32, out: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<Part>;

fn term(x: vec4f) -> vec4f {
    if NORM == 1u {
        return abs(x);
    }
    return x * x;
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
    let start = number * 4096u + lane;
    let end = min(call.len, (number + 1u) * 4096u);
    var total = vec4f();
    var most = vec4u();
    for (var at = start; at < end; at += LANES) {
        let g = grads[call.first + at];
        most = max(most, bitcast<vec4u>(g) & vec4u(0x7fffffffu));
        if NORM == 1u || NORM == 2u {
            total += term(g);
        }
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    var exponent = 0;
    if NORM == 1u || NORM == 2u {
        // Sums again in other units: this is rare, and the values are likely still cached.
        if largest - 1u < SMALL - 1u {
            total = vec4f();
            exponent = -99;
            for (var at = start; at < end; at += LANES) {
                total += term(magnified(grads[call.first + at]));
            }
        } else if largest >= LARGE {
            total = vec4f();
            exponent = 70;
            for (var at = start; at < end; at += LANES) {
                total += term(grads[call.first + at] * 8.470329472543003e-22);
            }
        }
    }
    let sum = (total.x + total.y) + (total.z + total.w);
    leave(number, lane, part_of(sum, exponent * i32(NORM), largest));
}
