// The part of a sum over rows and columns that a dispatch computes: start and end (exclusive) of `rows` and
// `columns`. With SPLIT, parts are workgroups along z.
struct Area {
    first: vec2u,
    end: vec2u,
}

fn part_of(rows: vec2u, columns: vec2u, z: u32) -> Area {
    var area = Area(vec2u(rows.x, columns.x), vec2u(rows.y, columns.y));
    if SPLIT == 1u {
        let part = shape.first_part + z;
        let place = vec2u(part / shape.column_parts, part % shape.column_parts);
        let size = vec2u(shape.rows_per_part, shape.columns_per_part);
        area.first += place * size;
        area.end = min(area.first + size, area.end);
    }
    return area;
}
