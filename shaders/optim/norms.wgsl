// Partial norms of a step's gradients, of the parameters before it and of their changes, over tiles of tensors, one
// tile per workgroup.
struct Call { first: u32, count: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> before: array<vec4f>;
@group(0) @binding(2) var<storage, read> params: array<vec4f>;
@group(0) @binding(3) var<storage, read> grads: array<vec4f>;
// First vector of four in the window, and number of vectors.
@group(0) @binding(4) var<storage, read> tiles: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> parts: array<Part>;

const GRADIENT = 0u;
const PARAMETER = 1u;
const UPDATE = 2u;

const NO_SIGN = vec4u(0x7fffffffu);
const LARGEST_BITS = vec4u(0x7f7fffffu);
const NAN_BITS = vec4u(0x7fc00000u);

struct Sums { total: vec4f, most: vec4u }

fn with_square(sums: Sums, x: vec4f, magnitude: vec4u) -> Sums {
    return Sums(sums.total + x * x, max(sums.most, magnitude));
}

fn magnitude(x: vec4f) -> vec4u {
    return bitcast<vec4u>(x) & NO_SIGN;
}

// The magnitude of a change, as bits. A change above the largest f32 is not infinite, one that a device flushes to zero is not
// zero, and a change between infinities is NaN.
fn magnitude_of_change(was: vec4f, now: vec4f) -> vec4u {
    let same = bitcast<vec4u>(was) == bitcast<vec4u>(now);
    let most = max(magnitude(was), magnitude(now));
    let change = clamp(magnitude(now - was), select(vec4u(1u), vec4u(), same), LARGEST_BITS);
    let of_infinity = select(most, NAN_BITS, same);
    return select(change, of_infinity, most >= vec4u(EXPONENT));
}

// x times 2^99, with its sign.
fn signed_magnified(x: vec4f) -> vec4f {
    return bitcast<vec4f>(bitcast<vec4u>(magnified(x)) | (bitcast<vec4u>(x) & ~NO_SIGN));
}

// Terms of a norm in units of 2^-99, for magnitudes below 2^-40.
fn magnified_at(number: u32, at: u32) -> vec4f {
    if number == GRADIENT {
        return magnified(grads[at]);
    }
    if number == PARAMETER {
        return magnified(before[at]);
    }
    // Unchanged values may be too large for these units.
    let same = bitcast<vec4u>(before[at]) == bitcast<vec4u>(params[at]);
    return select(signed_magnified(params[at]) - signed_magnified(before[at]), vec4f(), same);
}

// Terms of a norm in units of 2^70.
fn reduced_at(number: u32, at: u32) -> vec4f {
    const UNIT = 8.470329472543003e-22;
    if number == GRADIENT {
        return grads[at] * UNIT;
    }
    if number == PARAMETER {
        return before[at] * UNIT;
    }
    return params[at] * UNIT - before[at] * UNIT;
}

// This lane's part of a norm. If f32 cannot hold the squares, sums again in other units, which is rare.
fn part_at(number: u32, sums: Sums, first: u32, end: u32) -> Part {
    let largest = max(max(sums.most.x, sums.most.y), max(sums.most.z, sums.most.w));
    var total = sums.total;
    var exponent = 0;
    if largest - 1u < SMALL - 1u {
        total = vec4f();
        exponent = -198;
        for (var at = first; at < end; at += LANES) {
            let x = magnified_at(number, at);
            total += x * x;
        }
    } else if largest >= LARGE {
        total = vec4f();
        exponent = 140;
        for (var at = first; at < end; at += LANES) {
            let x = reduced_at(number, at);
            total += x * x;
        }
    }
    return part_of((total.x + total.y) + (total.z + total.w), exponent, largest);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    if number >= call.count {
        return;
    }
    let tile = tiles[call.first + number];
    let first = tile.x + lane;
    let end = tile.x + tile.y;
    var gradient = Sums(vec4f(), vec4u());
    var parameter = gradient;
    var update = gradient;
    for (var at = first; at < end; at += LANES) {
        let was = before[at];
        let now = params[at];
        gradient = with_square(gradient, grads[at], magnitude(grads[at]));
        parameter = with_square(parameter, was, magnitude(was));
        update = with_square(update, now - was, magnitude_of_change(was, now));
    }
    let out = 3u * (call.first + number);
    let of_gradient = lanes_joined(lane, part_at(GRADIENT, gradient, first, end));
    if lane == 0u {
        parts[out + GRADIENT] = of_gradient;
    }
    let of_parameter = lanes_joined(lane, part_at(PARAMETER, parameter, first, end));
    if lane == 0u {
        parts[out + PARAMETER] = of_parameter;
    }
    let of_update = lanes_joined(lane, part_at(UPDATE, update, first, end));
    if lane == 0u {
        parts[out + UPDATE] = of_update;
    }
}
