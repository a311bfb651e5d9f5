// Partial inner products of each stored pair of step and gradient change with the gradient g, its latest change y and
// the direction d. One row of workgroups for each pair; sums as in measure.wgsl.
struct Call { first: u32, len: u32, lanes: u32, out: u32, total: u32, stride: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read> before: array<vec4f>;
@group(0) @binding(3) var<storage, read> direction: array<vec4f>;
@group(0) @binding(4) var<storage, read> steps: array<vec4f>;
@group(0) @binding(5) var<storage, read> changes: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let lane = id.x;
    if lane >= call.lanes {
        return;
    }
    let pair = call.first + id.y * call.stride;
    var sg = vec4f();
    var sy = vec4f();
    var sd = vec4f();
    var cg = vec4f();
    var cy = vec4f();
    var cd = vec4f();
    for (var start = lane; start < call.len; start += 16u * call.lanes) {
        var part_sg = vec4f();
        var part_sy = vec4f();
        var part_sd = vec4f();
        var part_cg = vec4f();
        var part_cy = vec4f();
        var part_cd = vec4f();
        let end = min(call.len, start + 16u * call.lanes);
        for (var at = start; at < end; at += call.lanes) {
            let g = grads[call.first + at];
            let d = direction[call.first + at];
            let y = g - before[call.first + at];
            let s = steps[pair + at];
            let c = changes[pair + at];
            part_sg += s * g;
            part_sy += s * y;
            part_sd += s * d;
            part_cg += c * g;
            part_cy += c * y;
            part_cd += c * d;
        }
        sg += part_sg;
        sy += part_sy;
        sd += part_sd;
        cg += part_cg;
        cy += part_cy;
        cd += part_cd;
    }
    let out = 6u * id.y * call.total + call.out + lane;
    parts[out] = sg;
    parts[out + call.total] = sy;
    parts[out + 2u * call.total] = sd;
    parts[out + 3u * call.total] = cg;
    parts[out + 4u * call.total] = cy;
    parts[out + 5u * call.total] = cd;
}
