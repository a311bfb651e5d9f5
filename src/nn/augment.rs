use super::Pair;
use crate::graph::{Var, ops};

/// A random part of an image, as torchvision's [`RandomCrop`]; see [`Var::random_crop`].
///
/// [`RandomCrop`]: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.RandomCrop.html
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::RandomCrop;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [32, 3, 32, 40]);
/// assert_eq!(x.random_crop([24, 32]).shape(), [32, 3, 24, 32]);
/// assert_eq!(x.random_crop(RandomCrop::new([32, 40]).padding(4).fill(-1.0)).shape(), x.shape());
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RandomCrop {
    size: [usize; 2],
    padding: [usize; 2],
    fill: f32,
}

impl RandomCrop {
    /// A part of this size: one number for a square, or `[height, width]`. At most that of the padded image.
    pub fn new(size: impl Into<Pair>) -> Self {
        Self { size: size.into().0, padding: [0, 0], fill: 0.0 }
    }

    /// Rows and columns added on each side first: one number for both, or `[rows, columns]`. Default 0.
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into().0, ..self }
    }

    /// The value of added pixels, in all channels. Default 0.
    pub fn fill(self, fill: f32) -> Self {
        Self { fill, ..self }
    }
}

impl<T: Into<Pair>> From<T> for RandomCrop {
    fn from(size: T) -> Self {
        Self::new(size)
    }
}

/// A random rectangle that is overwritten, as torchvision's [`RandomErasing`]; see [`Var::random_erasing`].
///
/// [`RandomErasing`]: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.RandomErasing.html
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::RandomErasing;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [32, 3, 32, 32]);
/// assert_eq!(x.random_erasing(RandomErasing::new().p(0.25).value(0.5)).shape(), x.shape());
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct RandomErasing {
    p: f64,
    scale: [f64; 2],
    ratio: [f64; 2],
    value: f32,
}

impl Default for RandomErasing {
    fn default() -> Self {
        Self { p: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 0.0 }
    }
}

impl RandomErasing {
    /// In every second image, 0.02 to 0.33 of its pixels become 0, with a ratio of height to width from 0.3 to 3.3.
    pub fn new() -> Self {
        Self::default()
    }

    /// The probability that an image is changed, in [0, 1]. Default 0.5.
    pub fn p(self, p: f64) -> Self {
        Self { p, ..self }
    }

    /// Bounds of the erased share of an image, in [0, 1]. Default `[0.02, 0.33]`.
    pub fn scale(self, scale: [f64; 2]) -> Self {
        Self { scale, ..self }
    }

    /// Bounds of the ratio of height to width, above 0. Default `[0.3, 3.3]`.
    pub fn ratio(self, ratio: [f64; 2]) -> Self {
        Self { ratio, ..self }
    }

    /// The value of erased pixels, in all channels. Default 0.
    pub fn value(self, value: f32) -> Self {
        Self { value, ..self }
    }
}

/// Augmentation of images on the device: each operation changes the images of a batch at random in plans that train,
/// and leaves them as they are in evaluation.
///
/// What happens to an image depends only on the seed and the step from
/// [`Plan::set_step`](crate::graph::Plan::set_step) (set by a trainer, otherwise 0), the number of this operation among
/// those of its kind in its graph (from 0), and the place of the image in the batch: on every device the same, in every
/// run, and after resuming. Its random words are a block of Philox 4x32-10 (Salmon et al. 2011) for the counter
/// `[image, stream, step, step >> 32]` and the key `[seed, seed >> 32]`; the stream is `2^30 + kind * 2^24 + number`,
/// with the kinds 0 and 1 for horizontal and vertical flips, 2 for crops and 3 for erasing, of which a cutout is one (errors call it `random_erasing` too). An image is changed with
/// probability `p` if the upper 24 bits of the first word are below `p * 2^24`; a random number below `n` is
/// `word * n >> 32`.
///
/// Shapes: images `[N, C, H, W]`, whose channels change together. Gradients go back to the pixels that were taken.
///
/// ```
/// use gradus::graph::Graph;
/// use gradus::nn::{RandomCrop, RandomErasing};
///
/// let graph = Graph::new();
/// let x = graph.input("x", [32, 3, 28, 28]);
/// let x = x.random_horizontal_flip(0.5).random_crop(RandomCrop::new(28).padding(2));
/// let x = x.random_erasing(RandomErasing::new().p(0.25)).cutout(8);
/// assert_eq!(x.shape(), [32, 3, 28, 28]);
/// graph.check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
impl Var {
    /// Mirrors the columns of an image with probability `p`, as torchvision's `RandomHorizontalFlip`.
    ///
    /// Refused if `p` is not in `[0, 1]`.
    #[must_use]
    pub fn random_horizontal_flip(&self, p: f64) -> Var {
        self.unary(ops::Augment::Flip { p, rows: false })
    }

    /// Mirrors the rows of an image with probability `p`, as torchvision's `RandomVerticalFlip`.
    ///
    /// Refused if `p` is not in `[0, 1]`.
    #[must_use]
    pub fn random_vertical_flip(&self, p: f64) -> Var {
        self.unary(ops::Augment::Flip { p, rows: true })
    }

    /// Takes a random part of each padded image, every part as likely, as torchvision's `RandomCrop`. With the size of
    /// the image and some padding, it shifts the image by up to that many rows and columns.
    ///
    /// The first row is the first word's number below `H + 2 * padding - size + 1`, the first column the second word's.
    /// In evaluation, the part in the middle is taken, as by torchvision's `CenterCrop`: the image as it is, if it has
    /// that size.
    ///
    /// Refused for a size of 0 or above that of the padded image.
    #[must_use]
    pub fn random_crop(&self, crop: impl Into<RandomCrop>) -> Var {
        let RandomCrop { size, padding, fill } = crop.into();
        self.unary(ops::Augment::Crop { size, padding, fill })
    }

    /// Overwrites a random rectangle of an image, as torchvision's `RandomErasing`.
    ///
    /// The second word chooses one of up to 4,096 sizes, which are spread over the areas and ratios as torchvision draws
    /// them; the third and fourth choose a place inside of the image.
    ///
    /// Refused unless bounds are in order and some such rectangle is smaller than the image.
    #[must_use]
    pub fn random_erasing(&self, erasing: RandomErasing) -> Var {
        let RandomErasing { p, scale, ratio, value } = erasing;
        let area = ops::EraseArea::Random { scale, ratio };
        self.unary(ops::Augment::Erase(ops::Erase { p, value, area }))
    }

    /// Zeroes a square of `length` pixels around a random pixel of each image, as far as it is in the image (DeVries and
    /// Taylor 2017, arXiv:1708.04552).
    ///
    /// The third word chooses the row in the middle and the fourth the column; the square begins `length / 2` before.
    ///
    /// Refused for a length of 0.
    #[must_use]
    pub fn cutout(&self, length: usize) -> Var {
        let area = ops::EraseArea::Square { length };
        self.unary(ops::Augment::Erase(ops::Erase { p: 1.0, value: 0.0, area }))
    }
}
