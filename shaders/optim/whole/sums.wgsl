// Adds up to 128 partial sums of each product, or takes the maximum for the last products. One row of workgroups for
// each product; the host joins the components.
struct Sum { len: u32, left: u32, maxima: u32 }

@group(0) @binding(0) var<uniform> call: Sum;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let product = id.y;
    if id.x >= call.left {
        return;
    }
    var total = vec4f();
    for (var start = id.x; start < call.len; start += 16u * call.left) {
        var part = vec4f();
        let end = min(call.len, start + 16u * call.left);
        for (var at = start; at < end; at += call.left) {
            let value = parts[product * call.len + at];
            if product >= call.maxima {
                part = larger(part, value);
            } else {
                part += value;
            }
        }
        if product >= call.maxima {
            total = larger(total, part);
        } else {
            total += part;
        }
    }
    sums[product * call.left + id.x] = total;
}
