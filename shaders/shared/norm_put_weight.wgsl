// Stores the gradient of the weights of quad `q`.
fn put_weight(q: u32, value: vec4f) {
    #for c in 0..4
    if q % ROW_QUADS * 4u + $c < COLUMNS {
        let at = dense_place(q, $c);
        let old = d_weight[at];
        d_weight[at] = value[$c] + select(0.0, old, shape.adds_weight != 0u);
    }
    #end
}
