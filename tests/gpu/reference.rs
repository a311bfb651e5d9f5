//! The operations in plain f64 loops, in torch's order, so simple that they are unlikely to be wrong.

/// Sizes of a window that slides over an image: `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slide {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) ceil_mode: bool,
}

impl Slide {
    pub(crate) const fn new(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Self {
        Self { kernel, stride, padding, dilation: [1, 1], ceil_mode: false }
    }

    pub(crate) const fn dilated(self, dilation: [usize; 2]) -> Self {
        Self { dilation, ..self }
    }

    pub(crate) const fn ceil(self) -> Self {
        Self { ceil_mode: true, ..self }
    }

    pub(crate) fn output(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        let size = |axis: usize, len: usize| {
            let end = len + 2 * self.padding[axis];
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let fits = |first: &usize| match self.ceil_mode {
                false => first + reach <= end,
                // It ends beyond the padding by less than a stride, and begins before the padding at the end.
                true => first + reach < end + self.stride[axis] && *first < len + self.padding[axis],
            };
            (0..end).step_by(self.stride[axis]).take_while(fits).count()
        };
        [size(0, height), size(1, width)]
    }

    /// The element of the image under a place of the kernel, unless that is padding.
    fn at(&self, [oy, ox]: [usize; 2], [ky, kx]: [usize; 2], [h, w]: [usize; 2]) -> Option<[usize; 2]> {
        let y =
            (oy * self.stride[0] + ky * self.dilation[0]).checked_sub(self.padding[0]).filter(|&y| y < h)?;
        let x =
            (ox * self.stride[1] + kx * self.dilation[1]).checked_sub(self.padding[1]).filter(|&x| x < w)?;
        Some([y, x])
    }
}

/// The cross-correlation of `x` `[n, c, h, w]` with `weight` `[out, c, kernel]`.
pub(crate) fn conv2d(
    x: &[f64],
    [n, c, h, w]: [usize; 4],
    weight: &[f64],
    out: usize,
    bias: Option<&[f64]>,
    slide: &Slide,
) -> Vec<f64> {
    let [height, width] = slide.output([h, w]);
    let [kh, kw] = slide.kernel;
    let mut y = Vec::new();
    for (image, o) in (0..n).flat_map(|image| (0..out).map(move |o| (image, o))) {
        for (oy, ox) in (0..height).flat_map(|oy| (0..width).map(move |ox| (oy, ox))) {
            let mut sum = bias.map_or(0.0, |bias| bias[o]);
            for ky in 0..kh {
                for kx in 0..kw {
                    let Some([iy, ix]) = slide.at([oy, ox], [ky, kx], [h, w]) else { continue };
                    for channel in 0..c {
                        sum += x[((image * c + channel) * h + iy) * w + ix]
                            * weight[((o * c + channel) * kh + ky) * kw + kx];
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

/// The largest of each window, and where in `x` it stands: the first of equals in row-major order.
pub(crate) fn max_pool2d(x: &[f64], [n, c, h, w]: [usize; 4], slide: &Slide) -> (Vec<f64>, Vec<usize>) {
    let [height, width] = slide.output([h, w]);
    let [kh, kw] = slide.kernel;
    let (mut y, mut places) = (Vec::new(), Vec::new());
    for plane in 0..n * c {
        for (oy, ox) in (0..height).flat_map(|oy| (0..width).map(move |ox| (oy, ox))) {
            let mut best = None;
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                let Some([iy, ix]) = slide.at([oy, ox], [ky, kx], [h, w]) else { continue };
                let place = (plane * h + iy) * w + ix;
                if best.is_none_or(|best: usize| x[place] > x[best]) {
                    best = Some(place);
                }
            }
            let place = best.expect("every window holds an element");
            y.push(x[place]);
            places.push(place);
        }
    }
    (y, places)
}

/// The sum of each window over `divisor`, or else over its elements, with those of the padding if `count_padding`.
pub(crate) fn avg_pool2d(
    x: &[f64],
    [n, c, h, w]: [usize; 4],
    slide: &Slide,
    count_padding: bool,
    divisor: Option<usize>,
) -> Vec<f64> {
    let [height, width] = slide.output([h, w]);
    let [kh, kw] = slide.kernel;
    let mut y = Vec::new();
    for plane in 0..n * c {
        for (oy, ox) in (0..height).flat_map(|oy| (0..width).map(move |ox| (oy, ox))) {
            let (mut sum, mut inside, mut padded) = (0.0, 0, 0);
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                let (py, px) = (oy * slide.stride[0] + ky, ox * slide.stride[1] + kx);
                padded += usize::from(py < h + 2 * slide.padding[0] && px < w + 2 * slide.padding[1]);
                let Some([iy, ix]) = slide.at([oy, ox], [ky, kx], [h, w]) else { continue };
                sum += x[(plane * h + iy) * w + ix];
                inside += 1;
            }
            y.push(sum / divisor.unwrap_or(if count_padding { padded } else { inside }) as f64);
        }
    }
    y
}

/// `y = x W^T + b` over rows of `features`.
pub(crate) fn linear(x: &[f64], features: usize, weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let row = |x| {
        let weights = weight.chunks(features).enumerate();
        weights.map(move |(o, w)| dot(x, w) + bias.map_or(0.0, |bias| bias[o]))
    };
    x.chunks(features).flat_map(row).collect()
}

/// The loss of each row, and its weight in their mean, as torch's `CrossEntropyLoss` has them.
pub(crate) fn cross_entropies(
    logits: &[f64],
    weight: &[f64],
    labels: &[u32],
    smoothing: f64,
    ignored: Option<u32>,
) -> (Vec<f64>, Vec<f64>) {
    let classes = weight.len();
    let row = |(row, label): (&[f64], &u32)| {
        if Some(*label) == ignored {
            return (0.0, 0.0);
        }
        let at = *label as usize;
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        let minus_log = |class: usize| weight[class] * -(row[class].exp() / sum).ln();
        let all: f64 = (0..classes).map(minus_log).sum();
        ((1.0 - smoothing) * minus_log(at) + smoothing / classes as f64 * all, weight[at])
    };
    logits.chunks(classes).zip(labels).map(row).unzip()
}

/// The mean of minus the logarithms of the softmax at the labels.
pub(crate) fn cross_entropy(logits: &[f64], classes: usize, labels: &[u32]) -> f64 {
    let row = |(row, label): (&[f64], &u32)| {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
        sum.ln() + largest - row[*label as usize]
    };
    logits.chunks(classes).zip(labels).map(row).sum::<f64>() / labels.len() as f64
}

pub(crate) fn relu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.max(0.0)).collect()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

/// Panics, with the place and both numbers, where `got` is not `want` up to 2e-5 of the largest of `want` (at
/// least of 1): an f32 sum of the few hundred products of these tests is 20 times closer.
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: elements");
    let largest = want.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (f64::from(*got) - want).abs();
        assert!(apart <= 2e-5 * largest, "{what}: element {at} is {got}, expected {want}");
    }
}
