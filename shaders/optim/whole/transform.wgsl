// Transforms the gradients of a closure in place: scales them by the gate's clip factor, clips by value, and adds the
// gradients of penalties. Also writes partial sums of the penalties, with the same vectors per lane as the kernel that
// measures gradients.
struct Call { first: u32, len: u32, lanes: u32, out: u32, clip_value: f32, l1: f32, l2: f32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<uniform> gate: Gate;
@group(0) @binding(2) var<storage, read> params: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec4f>;

// Zero for zero. Keeps NaN, which `sign` need not.
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
            // Skipped without a penalty: the square of a large parameter is infinite.
            if call.l2 != 0.0 {
                part += 0.5 * call.l2 * p * p;
            }
        }
        penalty += part;
    }
    parts[call.out + lane] = penalty;
}
