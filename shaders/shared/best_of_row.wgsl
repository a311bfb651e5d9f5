// The class of the first largest of a row of `logits`.
fn best_class(row: u32) -> u32 {
    var best = Best(vec4u(0u), vec4u(0u));
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        best = better(best, best_of_quad(logits[row * shape.row_quads + quad], quad, shape.classes));
    }
    return best_lane(best).place.x;
}
