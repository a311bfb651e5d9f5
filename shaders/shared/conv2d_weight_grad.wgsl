// A convolution's weight gradient as products: rows are the input channels of one group for each tap, columns its
// output channels, and steps the output pixels of all images. A part is a range of pixels.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    // Number of vec4s of channels in a group, read and written.
    group_vectors: u32,
    group_out_vectors: u32,
    out_height: u32,
    out_width: u32,
    out_vectors: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    // Number of output pixels in all images.
    pixels: u32,
    // Number of pixels per part, and the first part of this dispatch.
    run: u32,
    first_part: u32,
    column_tiles: u32,
    row_tiles: u32,
    groups: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> output_grad: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

struct Work {
    group: u32,
    // Offset of this part.
    at: u32,
}

// Number of vec4s of the rows of one group.
fn row_vectors() -> u32 {
    return shape.kernel_height * shape.kernel_width * shape.group_vectors;
}

// Four channels of a tap: the offset of the tap from the first pixel of a window, minus the padding, and the vec4 of
// channels.
struct LeftPlace {
    y: u32,
    x: u32,
    channel: u32,
}

fn left_place(work: Work, quad: u32) -> LeftPlace {
    // Rows past the end repeat the last one; their sums are not stored.
    let row = min(quad, row_vectors() - 1u);
    let tap = row / shape.group_vectors;
    return LeftPlace(
        tap / shape.kernel_width * shape.dilation_y - shape.pad_y,
        tap % shape.kernel_width * shape.dilation_x - shape.pad_x,
        work.group * shape.group_vectors + row % shape.group_vectors);
}

