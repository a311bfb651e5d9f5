// Long lines of COUNT quads, STRIDE apart, in PARTS parts, each shared by TEAM lanes. Lane p of all lanes of a line
// has the quads p, p + PARTS * TEAM, ..., so that adjacent lanes read adjacent quads. Part i is stored at index i:
// lines of PARTS, STRIDE apart.
const STEP: u32 = PARTS * TEAM * STRIDE;

fn line_of(i: u32) -> u32 {
    return i / (PARTS * STRIDE) * STRIDE + i % STRIDE;
}

fn lane_of(i: u32, member: u32) -> u32 {
    return i % (PARTS * STRIDE) / STRIDE * TEAM + member;
}

fn first_of(i: u32, member: u32) -> u32 {
    return i / (PARTS * STRIDE) * (COUNT * STRIDE) + lane_of(i, member) * STRIDE + i % STRIDE;
}

fn length_of(i: u32, member: u32) -> u32 {
    return (COUNT - lane_of(i, member) + PARTS * TEAM - 1u) / (PARTS * TEAM);
}
