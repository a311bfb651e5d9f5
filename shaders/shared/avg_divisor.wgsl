// The divisor of an average pooling window, for kernels with the constants of windows.

// Number of elements of a window along an axis: those in the image, or also those in the padding, but none past it.
fn elements_of(window: u32, stride: u32, kernel: u32, padding: u32, len: u32) -> u32 {
    let first = window * stride;
    if COUNT_PADDING == 1u {
        return min(first + kernel, len + 2u * padding) - first;
    }
    return min(first + kernel, len + padding) - max(first, padding);
}

fn divisor_of(row: u32, column: u32) -> f32 {
    if DIVISOR != 0u {
        return f32(DIVISOR);
    }
    return f32(elements_of(row, STRIDE_Y, KERNEL_HEIGHT, PADDING_Y, IN_HEIGHT)
        * elements_of(column, STRIDE_X, KERNEL_WIDTH, PADDING_X, IN_WIDTH));
}
