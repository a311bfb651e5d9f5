// Elements of the softmax or log-softmax of a line, from its maximum and the sum of the exponentials of all
// differences to it.
fn softmax_of(x: vec4f, largest: vec4f, sum: vec4f) -> vec4f {
    var value = x - largest;
    if LOG != 0u {
        value -= log(sum);
    } else {
        value = exp_of_negative(value) / sum;
    }
    return unless_infinite(largest, value);
}
