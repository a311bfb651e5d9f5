// Tiles of 32 rows of both sides in workgroup memory, for workgroups of 64. For products, lane 8 y + x has the own
// rows 4 y to 4 y + 3 and the other rows 4 x to 4 x + 3. For sums of weighted rows, it has the same own rows and the
// quads x, x + 8, ..
struct Place {
    plane: u32,
    // The first own row.
    row: u32,
    tile: u32,
}

const WORKGROUP: u32 = 64u;
const ROWS: u32 = 32u;
const GROUPS: u32 = (OWN + ROWS - 1u) / ROWS;

// Quads of eight columns of own rows and other rows, with one quad more than rows, so that neighbours are in
// different banks. Or quads of up to sixteen columns of the other rows, row by row.
const COLUMN: u32 = ROWS + 1u;
var<workgroup> staged: array<vec4f, 16u * COLUMN>;

// For each own row, one quad per four other rows, and one more that keeps rows in different banks.
const WEIGHTS: u32 = ROWS / 4u + 1u;
var<workgroup> weights: array<vec4f, ROWS * WEIGHTS>;

fn place_of(group: u32) -> Place {
    return Place(group / GROUPS % PLANES, group % GROUPS * ROWS, group / (GROUPS * PLANES));
}

// The position at which a row of a tile is staged: every fourth row is adjacent, as lanes read them.
fn staged_at(row: u32) -> u32 {
    return row % 4u * 8u + row / 4u;
}

fn put_weights(lane: u32, values: array<vec4f, 4>) {
    #for i in 0..4
    weights[(lane / 8u * 4u + $i) * WEIGHTS + lane % 8u] = values[$i];
    #end
}
