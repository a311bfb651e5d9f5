// The gradient of a normalisation of whole lines: an invocation sums over one and writes it. Columns that are normalised
// apart have the sums as the gradients of their biases and weights.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let line = index_of(workgroup, workgroups, lane, 64u);
    if line >= shape.work {
        return;
    }
    let first = first_of_line(line);
    let statistic = statistic_of(first);
    let sums = sums_of_line(line, 0u, shape.count, statistic);
    if JOINED == 0u {
        put_bias(line, sums.plain);
        put_weight(line, sums.product);
    }
    let mean = sums.plain * shape.scale;
    let mean_product = sums.product * shape.scale;
    for (var k = 0u; k < shape.count; k++) {
        let i = quad_of(first, k);
        var value = select(vec4f(0.0), slope_of(i, statistic, mean, mean_product), is_element(i));
        if shape.adds != 0u {
            value += dx[i];
        }
        dx[i] = value;
    }
}
