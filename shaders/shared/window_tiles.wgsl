// The start of a tile of a large window: its first row or column inside the image.
fn first_inside(at: u32, padding: u32, dilation: u32) -> u32 {
    return (max(at, padding) - at + dilation - 1u) / dilation;
}
