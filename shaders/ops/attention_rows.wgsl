// For four queries at a time, what the gradients of attention need: the maximum score, the reciprocal of the sum of
// exponentials, and the dot product of the output and its gradient.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.quads {
        return;
    }
    let plane = i / QUERY_QUADS;
    var products = vec4f();
    #for j in 0..4
    let row_$j = min(i % QUERY_QUADS * 4u + $j, QUERIES - 1u);
    let output_$j = at(plane, row_$j, OUTPUT);
    let slope_$j = at(plane, row_$j, SLOPE);
    #end
    for (var e = 0u; e < VALUE_QUADS; e++) {
        #for j in 0..4
        products[$j] += dot(output[output_$j + e], slope[slope_$j + e]);
        #end
    }
    var largest = vec4f();
    var inverse = vec4f();
    #for j in 0..4
    let stats_$j = stats[plane * QUERIES + row_$j];
    largest[$j] = stats_$j.x;
    inverse[$j] = select(1.0 / stats_$j.y, 0.0, stats_$j.y == 0.0);
    #end
    rows[3u * i] = largest;
    rows[3u * i + 1u] = inverse;
    rows[3u * i + 2u] = products;
}
