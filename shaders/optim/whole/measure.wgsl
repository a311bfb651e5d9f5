// Partial inner products of the gradient g, the previous gradient, their difference y and the direction d. Each lane
// reads every `lanes`-th vector, sixteen per sum, so that no sum is long and lanes read adjacent vectors.
struct Call { first: u32, len: u32, lanes: u32, out: u32, total: u32, stride: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read> before: array<vec4f>;
@group(0) @binding(3) var<storage, read> direction: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let lane = id.x;
    if lane >= call.lanes {
        return;
    }
    var gg = vec4f();
    var gd = vec4f();
    var bd = vec4f();
    var yy = vec4f();
    var yd = vec4f();
    var dd = vec4f();
    var gy = vec4f();
    var g_sum = vec4f();
    var g_most = vec4f();
    var d_most = vec4f();
    for (var start = lane; start < call.len; start += 16u * call.lanes) {
        var part_gg = vec4f();
        var part_gd = vec4f();
        var part_bd = vec4f();
        var part_yy = vec4f();
        var part_yd = vec4f();
        var part_dd = vec4f();
        var part_gy = vec4f();
        var part_g = vec4f();
        let end = min(call.len, start + 16u * call.lanes);
        for (var at = start; at < end; at += call.lanes) {
            let g = grads[call.first + at];
            let b = before[call.first + at];
            let d = direction[call.first + at];
            let y = g - b;
            part_gg += g * g;
            part_gd += g * d;
            part_bd += b * d;
            part_yy += y * y;
            part_yd += y * d;
            part_dd += d * d;
            part_gy += g * y;
            part_g += abs(g);
            g_most = larger(g_most, g);
            d_most = larger(d_most, d);
        }
        gg += part_gg;
        gd += part_gd;
        bd += part_bd;
        yy += part_yy;
        yd += part_yd;
        dd += part_dd;
        gy += part_gy;
        g_sum += part_g;
    }
    let out = call.out + lane;
    parts[out] = gg;
    parts[out + call.total] = gd;
    parts[out + 2u * call.total] = bd;
    parts[out + 3u * call.total] = yy;
    parts[out + 4u * call.total] = yd;
    parts[out + 5u * call.total] = dd;
    parts[out + 6u * call.total] = gy;
    parts[out + 7u * call.total] = g_sum;
    parts[out + 8u * call.total] = g_most;
    parts[out + 9u * call.total] = d_most;
}
