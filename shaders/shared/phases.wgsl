// Orders the taps of a kernel by the phases of a stride that they serve: along each axis, taps with equal indices
// modulo the number of classes are a class, and the taps of a pair of classes are adjacent.

// Number of taps along an axis of `len` before those of a class.
fn taps_before(class_number: u32, len: u32, classes: u32) -> u32 {
    return class_number * (len / classes) + min(class_number, len % classes);
}

// Number of taps of a class along an axis of `len`.
fn taps_in(class_number: u32, len: u32, classes: u32) -> u32 {
    return (len - class_number + classes - 1u) / classes;
}

// The position of the tap in a row and a column.
fn place_of(tap: vec2u, len: vec2u, classes: vec2u) -> u32 {
    let class_of = tap % classes;
    let in_class = tap / classes;
    let rows = taps_in(class_of.x, len.x, classes.x);
    let columns = taps_in(class_of.y, len.y, classes.y);
    let before = taps_before(class_of.x, len.x, classes.x) * len.y + rows * taps_before(class_of.y, len.y, classes.y);
    return before + in_class.x * columns + in_class.y;
}
