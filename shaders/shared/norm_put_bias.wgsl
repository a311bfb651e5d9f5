// Stores the gradient of the biases of quad `q`.
fn put_bias(q: u32, value: vec4f) {
    #for c in 0..4
    if q % ROW_QUADS * 4u + $c < COLUMNS {
        let at = dense_place(q, $c);
        let old = d_bias[at];
        d_bias[at] = value[$c] + select(0.0, old, shape.adds_bias != 0u);
    }
    #end
}
