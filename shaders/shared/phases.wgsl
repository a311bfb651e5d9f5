// The order of a kernel's taps by the phases of a stride that they serve: along each axis, every so many taps are a class,
// and those of a pair of classes stand side by side.

// Taps along an axis of `len` that stand before those of a class.
fn taps_before(class_number: u32, len: u32, classes: u32) -> u32 {
    return class_number * (len / classes) + min(class_number, len % classes);
}

// Taps of a class along an axis of `len`.
fn taps_in(class_number: u32, len: u32, classes: u32) -> u32 {
    return (len - class_number + classes - 1u) / classes;
}

// The class of the tap that stands at a place.
fn class_at(place: u32, len: u32, classes: u32) -> u32 {
    let each = len / classes;
    let longer = len % classes;
    if place < longer * (each + 1u) {
        return place / (each + 1u);
    }
    return longer + (place - longer * (each + 1u)) / each;
}

// The row and the column of the tap that stands at a place.
fn tap_at(place: u32, len: vec2u, classes: vec2u) -> vec2u {
    let class_y = class_at(place / len.y, len.x, classes.x);
    let rows = taps_in(class_y, len.x, classes.x);
    let in_class = place - taps_before(class_y, len.x, classes.x) * len.y;
    let class_x = class_at(in_class / rows, len.y, classes.y);
    let columns = taps_in(class_x, len.y, classes.y);
    let in_phase = in_class - rows * taps_before(class_x, len.y, classes.y);
    return vec2u(class_y, class_x) + vec2u(in_phase / columns, in_phase % columns) * classes;
}
