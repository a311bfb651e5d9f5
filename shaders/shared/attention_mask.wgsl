// The scores that a mask allows: those where it is not zero. `MASK` are its strides in elements, and `MASK_KEY` is
// the distance between keys.
fn takes_part(plane: u32, queries: vec4u, keys: vec4u) -> vec4<bool> {
    let first = at(plane, 0u, MASK);
    let places = vec4u(first) + min(queries, vec4u(QUERIES - 1u)) * MASK.w + min(keys, vec4u(KEYS - 1u)) * MASK_KEY;
    return vec4f(mask[places.x], mask[places.y], mask[places.z], mask[places.w]) != vec4f();
}
