// Softmax times the sum of the targets, minus the targets, times the upstream gradient of the row's loss.
fn target_sum_of(label: u32) -> f32 {
    return shape.at_label * weight_of(label) + shape.all_targets;
}

// `scale` is the sum of the targets divided by the sum of the exponentials.
fn slope_of(x: vec4f, quad: u32, label: u32, dloss: f32, largest: f32, scale: f32) -> vec4f {
    let class_number = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    let one_hot = select(vec4f(0.0), vec4f(shape.at_label), class_number == vec4u(label));
    let wanted = weights[quad] * (one_hot + vec4f(shape.at_all));
    let softmax = exp_of_negative(x - vec4f(largest)) * scale;
    let value = unless_infinite(vec4f(largest), dloss * (softmax - wanted));
    return select(vec4f(0.0), value, class_number < vec4u(shape.classes));
}
