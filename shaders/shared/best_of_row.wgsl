// The class of the first maximum in a row of `logits`.
fn best_class(team: Team, row: u32) -> u32 {
    var best = Best(vec4u(0u), vec4u(0u));
    for (var quad = team.member; quad < shape.row_quads; quad += TEAM) {
        best = better(best, best_of_quad(logits[row * shape.row_quads + quad], quad, shape.classes));
    }
    return best_lane(team_best(team, best)).place.x;
}
