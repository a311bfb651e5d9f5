// A part of a tensor in the window, a column of vectors of four for each lane. Where GENERAL is false it lies in one
// matrix: `row`, `column` and `matrix` say where it begins.
struct Tile {
    first: u32,
    rows: u32,
    width: u32,
    stride: u32,
    map: u32,
    row: u32,
    column: u32,
    matrix: u32,
    // Where what it measures goes.
    part: u32,
}

@group(0) @binding(5) var<storage, read> maps: array<IndexMap>;
@group(0) @binding(7) var<storage, read> tiles: array<Tile>;
