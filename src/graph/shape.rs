use super::view::Order;
use crate::Error;

/// The layout of a packed value in an activation buffer: a matrix of `rows` times `pitch`, with columns padded by
/// zeros.
///
/// The columns are the innermost axis of its order; the rows are all other axes. With channels last, an image `[N, C,
/// H, W]` has one row per pixel and one column per channel. `pitch` is the number of columns rounded up to a multiple
/// of 4, so that every load can be a `vec4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) pitch: usize,
}

impl Matrix {
    pub(crate) fn of(shape: &[usize], order: Order) -> Self {
        let columns = shape.get(order.lanes(shape.len())).copied().unwrap_or(1);
        let rows = shape.iter().product::<usize>() / columns;
        Self { rows, columns, pitch: columns.next_multiple_of(4) }
    }

    /// Number of elements, including padding.
    pub(crate) fn len(self) -> usize {
        self.rows * self.pitch
    }

    /// Number of `vec4`s, including padding.
    pub(crate) fn quads(self) -> usize {
        self.len() / 4
    }
}

/// Maps torch's dense layout to the rows of a [`Matrix`]: element `(image, channel, pixel)` is at `channel *
/// channel_stride + pixel * pixel_stride` of its image, and in row `image * pixels + pixel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planes {
    pub(crate) images: usize,
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    pub(crate) channel_stride: usize,
    pub(crate) pixel_stride: usize,
}

impl Planes {
    pub(crate) fn of(shape: &[usize], order: Order) -> Self {
        let (images, channels, pixels) = match (order, shape) {
            (Order::ChannelsLast, &[n, c, ref pixels @ ..]) if !pixels.is_empty() => {
                (n, c, pixels.iter().product())
            }
            _ => (Matrix::of(shape, order).rows, Matrix::of(shape, order).columns, 1),
        };
        Self { images, channels, pixels, channel_stride: pixels, pixel_stride: 1 }
    }

    /// Whether each padded row of the matrix is a padded image: one pixel, or contiguous pixels without padding.
    pub(crate) fn is_flat(self) -> bool {
        let in_order = (self.channel_stride, self.pixel_stride) == (1, self.channels);
        self.pixels == 1 || (in_order && self.channels.is_multiple_of(4))
    }

    /// Converts rows of pixels with padded channels to torch's layout.
    pub(crate) fn dense(self, data: &[f32]) -> Vec<f32> {
        let pitch = self.channels.next_multiple_of(4);
        let mut out = Vec::with_capacity(self.images * self.channels * self.pixels);
        for image in data.chunks_exact(self.pixels * pitch) {
            for channel in 0..self.channels {
                out.extend(image.iter().skip(channel).step_by(pitch));
            }
        }
        out
    }
}

/// Maximum number of elements of a tensor; no device binds more bytes.
const MOST: usize = (1 << 31) / size_of::<f32>();

/// Refuses a shape that is empty or too large for any device, so that sizes can be computed without overflow.
pub(crate) fn check(layer: &str, shape: &[usize]) -> Result<(), Error> {
    let refuse = |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
    if shape.is_empty() || shape.contains(&0) {
        return refuse("at least one dimension, none of them 0".into());
    }
    if shape.iter().fold(1, |len: usize, extent| len.saturating_mul(*extent)) > MOST {
        return refuse(format!("at most {MOST} elements"));
    }
    Ok(())
}

/// The four dimensions of an image, or an error that names the layer.
pub(crate) fn image(layer: &str, shape: &[usize]) -> Result<[usize; 4], Error> {
    shape.try_into().map_err(|_| Error::Shape {
        layer: layer.into(),
        expected: "an image [N, C, H, W]".into(),
        got: shape.to_vec(),
    })
}

/// Converts a size for a kernel; buffers are far smaller than 2^32 elements on every device.
pub(crate) fn u(n: usize) -> u32 {
    u32::try_from(n).expect("buffers hold fewer than 2^32 elements")
}

/// Number of columns rounded up to whole `vec4`s.
pub(crate) fn pitch(columns: u32) -> u32 {
    columns.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_rows_of_pixels_with_channels_padded_to_four() {
        let images = Matrix::of(&[2, 3, 4, 5], Order::ChannelsLast);
        assert_eq!(images, Matrix { rows: 40, columns: 3, pitch: 4 });
        let rows = |shape: &[usize]| Matrix::of(shape, Order::Natural);
        assert_eq!(rows(&[2, 3, 4, 5]), Matrix { rows: 24, columns: 5, pitch: 8 });
        assert_eq!(rows(&[6, 5]), Matrix { rows: 6, columns: 5, pitch: 8 });
        assert_eq!(rows(&[3, 20, 6]), Matrix { rows: 60, columns: 6, pitch: 8 });
        assert_eq!(rows(&[7]), Matrix { rows: 1, columns: 7, pitch: 8 });
    }

    #[test]
    fn reading_back_restores_torch_order() {
        // Two pixels of two channels, padded to four.
        let pixels = [1.0, 10.0, 0.0, 0.0, 2.0, 20.0, 0.0, 0.0];
        assert_eq!(Planes::of(&[1, 2, 1, 2], Order::ChannelsLast).dense(&pixels), [1.0, 2.0, 10.0, 20.0]);
    }
}
