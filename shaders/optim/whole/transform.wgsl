// The gradients of a closure as directions are made of them, where they lie: times what clips by norm have left in the gate,
// within bounds, and with those of penalties. And partial sums of the penalties: lanes take vectors as where gradients are
// measured.
struct Call { first: u32, len: u32, lanes: u32, out: u32, clip_value: f32, l1: f32, l2: f32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<uniform> gate: Gate;
@group(0) @binding(2) var<storage, read> params: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec4f>;

// Of zero it is zero. Keeps a NaN, which `sign` need not.
fn sign_of(x: vec4f) -> vec4f {
    return select(select(x, vec4f(-1.0), x < vec4f()), vec4f(1.0), x > vec4f());
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let lane = id.x;
    if lane >= call.lanes {
        return;
    }
    var penalty = vec4f();
    for (var start = lane; start < call.len; start += 16u * call.lanes) {
        var part = vec4f();
        let end = min(call.len, start + 16u * call.lanes);
        for (var at = start; at < end; at += call.lanes) {
            let p = params[call.first + at];
            let g = bounds_clipped(grads[call.first + at] * gate.grad_scale * gate.grad_rescale);
            grads[call.first + at] = bounds_penalised(g, p);
            part += call.l1 * abs(p);
            // Not where there is none: the square of a large parameter is infinite.
            if call.l2 != 0.0 {
                part += 0.5 * call.l2 * p * p;
            }
        }
        penalty += part;
    }
    parts[call.out + lane] = penalty;
}
