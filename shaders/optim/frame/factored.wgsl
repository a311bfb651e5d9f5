// Index maps of a tensor's statistics, and how an element finds its own.

// Divides by a constant without a division. Granlund and Montgomery 1994, figure 4.1.
struct Divisor { by: u32, magic: u32, shift: u32 }

// One set of statistics. Those of a tensor are adjacent, and each repeats what belongs to the tensor.
struct IndexMap {
    // The tensor: its first vector of four in the flat space, elements, first index map and number of index maps.
    first: u32,
    len: u32,
    first_map: u32,
    maps: u32,
    // Index of its ratio.
    ratio: u32,
    // First of the means of the first index map's values over the second index map's axis, or NONE; of maxima, first of the
    // next ones. Size of the axes within that axis.
    means: u32,
    mean_stride: Divisor,
    // First value; size of the axis, and of the axes within it.
    values: u32,
    size: Divisor,
    stride: Divisor,
    // A value is gathered of `terms` elements, in `pieces` for each window.
    outputs: u32,
    units: u32,
    terms: u32,
    pieces: u32,
    all_pieces: u32,
    four: u32,
    // Element of output or term x: x / by * outer + x % by * inner.
    output_by: u32,
    output_outer: u32,
    output_inner: u32,
    term: Divisor,
    term_outer: u32,
    term_inner: u32,
}

const NONE = 0xffffffffu;
// The contents of a vector of four.
const ONE = 0u;
const FOUR_OUTPUTS = 1u;
const FOUR_TERMS = 2u;

// The statistics of four neighbours; where the tensor has a value for each element, in `column`.
struct Statistics { row: vec4f, column: vec4f, mean: vec4f, whole: bool }

fn high(a: vec4u, b: u32) -> vec4u {
    let low = (a & vec4u(0xffffu)) * (b & 0xffffu);
    let middle = (a >> vec4u(16u)) * (b & 0xffffu) + (low >> vec4u(16u));
    let other = (a & vec4u(0xffffu)) * (b >> 16u) + (middle & vec4u(0xffffu));
    return (a >> vec4u(16u)) * (b >> 16u) + (middle >> vec4u(16u)) + (other >> vec4u(16u));
}

fn quotients(x: vec4u, d: Divisor) -> vec4u {
    let t = high(x, d.magic);
    return (t + ((x - t) >> vec4u(min(d.shift, 1u)))) >> vec4u(max(d.shift, 1u) - 1u);
}

fn quotient(x: u32, d: Divisor) -> u32 {
    return quotients(vec4u(x), d).x;
}
