// The population as the user sees it: a row for each member, in the user's units.
struct Hyper { none: u32 }

fn rows_of(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    rows[member * run.dimensions + dimension] = decoded(points[element], dimension);
}
