//! Images and labels in the IDX format of [MNIST](https://yann.lecun.org/exdb/mnist/index.html) and of similar data
//! sets.
//!
//! A file is a magic number of four bytes (0, 0, 8 for bytes, the number of dimensions), each dimension as a big-endian
//! u32, and the bytes. A file whose name ends in `.gz` is the same, packed as a gzip stream.
//!
//! ```no_run
//! use gradus::train::data::{Normalization, idx};
//!
//! let (train, test) = idx::read_dir("mnist")?;
//! let normalization = Normalization::fit(&train)?;
//! let (train, test) = (train.normalized(&normalization)?, test.normalized(&normalization)?);
//! # Ok::<(), gradus::Error>(())
//! ```

use std::path::{Path, PathBuf};

use super::Dataset;
use super::file::{self, Reader, refuse};
use crate::error::Error;

/// The first bytes of a file of bytes. The number of dimensions follows.
const MAGIC: [u8; 3] = [0, 0, 8];
const IMAGES: [&[&str]; 2] = [
    &["number of images", "height", "width"],
    &["number of images", "number of channels", "height", "width"],
];
const LABELS: [&[&str]; 1] = [&["number of labels"]];

/// One of the two data sets of a folder.
///
/// ```no_run
/// // Reads files.
/// use gradus::train::data::idx::{self, Part};
///
/// let test = idx::read("mnist", Part::Test, 10)?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The files whose names begin with `train`.
    Train,
    /// The files whose names begin with `t10k`.
    Test,
}

/// Images of one shape.
///
/// ```
/// use gradus::train::data::idx::Images;
///
/// let images = Images { shape: [1, 28, 28], pixels: vec![0; 3 * 784] };
/// assert_eq!(images.count(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// `[channels, height, width]` of one image.
    pub shape: [usize; 3],
    /// The pixels of all images, one image after the other.
    pub pixels: Vec<u8>,
}

impl Images {
    /// The number of whole images.
    #[must_use]
    pub fn count(&self) -> usize {
        let size = self.shape.iter().try_fold(1, |size: usize, &extent| size.checked_mul(extent));
        size.and_then(|size| self.pixels.len().checked_div(size)).unwrap_or(0)
    }
}

/// Reads both data sets of a folder, [`Part::Train`] and [`Part::Test`].
///
/// The number of classes is one more than the largest label of both.
///
/// # Errors
/// As [`read`], and [`Error::File`] if the images differ in shape. The headers are compared before anything else is
/// read.
pub fn read_dir(dir: impl AsRef<Path>) -> Result<(Dataset, Dataset), Error> {
    let (train, test) = (Files::open(dir.as_ref(), Part::Train)?, Files::open(dir.as_ref(), Part::Test)?);
    let (expected, got) = (train.images.shape(), test.images.shape());
    if got != expected {
        let reason = format!("test images of shape {got:?}, but training images of {expected:?}");
        return Err(refuse(dir.as_ref(), reason));
    }
    let (train, test) = (train.read()?, test.read()?);
    let largest = train.labels.iter().chain(&test.labels).max();
    let n_classes = largest.map_or(0, |&label| u32::from(label) + 1);
    Ok((train.dataset(n_classes)?, test.dataset(n_classes)?))
}

/// Reads one data set of a folder, as samples of bytes with shape `[channels, height, width]`.
///
/// Looks for `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-...`. The first `-idx` may be `.idx`,
/// images of four dimensions may be named `idx4`, and `.gz` may follow. Unpacked files are preferred.
///
/// # Errors
/// [`Error::File`] with the reason if a file is missing or refused by [`read_images`] or [`read_labels`], if the
/// numbers of images and labels differ, or if a label is not below `n_classes`.
pub fn read(dir: impl AsRef<Path>, part: Part, n_classes: u32) -> Result<Dataset, Error> {
    Files::open(dir.as_ref(), part)?.read()?.dataset(n_classes)
}

/// Reads the images of a file of `[images, height, width]`, with one channel, or of `[images, channels, height,
/// width]`.
///
/// # Errors
/// [`Error::File`] if the file cannot be read, is of another kind, holds no pixels, or is shorter or longer than its
/// header says.
pub fn read_images(path: impl AsRef<Path>) -> Result<Images, Error> {
    let images = Opened::images(path.as_ref())?;
    let shape = images.shape();
    Ok(Images { shape, pixels: images.read()? })
}

/// Reads the labels of a file of one dimension.
///
/// # Errors
/// [`Error::File`] if the file cannot be read, is of another kind, holds no labels, or is shorter or longer than its
/// header says.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
    Opened::labels(path.as_ref())?.read()
}

/// Writes a file that [`read_images`] reads: of three dimensions with one channel, otherwise of four.
///
/// Written with [`write_atomic`](crate::train::files::write_atomic): the path always holds either the earlier file or
/// the complete new one.
///
/// # Errors
/// [`Error::Config`] unless the pixels are one or more whole images, [`Error::Constant`] for a dimension
/// over `u32::MAX`, and [`Error::File`] if it cannot be written.
pub fn write_images(path: impl AsRef<Path>, images: &Images) -> Result<(), Error> {
    let (count, shape) = (images.count(), images.shape);
    let pixels = images.pixels.len();
    if count == 0 || count * shape.iter().product::<usize>() != pixels {
        let reason = format!("{pixels} pixels are not one or more images of shape {shape:?}");
        return Err(Error::Config { what: "images".into(), reason });
    }
    match shape {
        [1, height, width] => write(path.as_ref(), IMAGES[0], &[count, height, width], &images.pixels),
        [channels, height, width] => {
            write(path.as_ref(), IMAGES[1], &[count, channels, height, width], &images.pixels)
        }
    }
}

/// Writes a file that [`read_labels`] reads.
///
/// Written with [`write_atomic`](crate::train::files::write_atomic): the path always holds either the earlier file or
/// the complete new one.
///
/// # Errors
/// [`Error::Config`] if there is no label, [`Error::Constant`] for more than `u32::MAX`, and
/// [`Error::File`] if it cannot be written.
pub fn write_labels(path: impl AsRef<Path>, labels: &[u8]) -> Result<(), Error> {
    if labels.is_empty() {
        return Err(Error::Config { what: "labels".into(), reason: "needs at least one".into() });
    }
    write(path.as_ref(), LABELS[0], &[labels.len()], labels)
}

/// A file whose header was read, but not its elements.
struct Opened {
    reader: Reader,
    what: &'static str,
    sizes: Vec<usize>,
    total: usize,
}

impl Opened {
    fn new(path: &Path, what: &'static str, layouts: &[&[&str]]) -> Result<Self, Error> {
        let mut reader = Reader::open(path)?;
        let magic: [u8; 4] = reader.array("magic number")?;
        let Some(layout) =
            layouts.iter().find(|layout| magic[..3] == MAGIC && layout.len() == usize::from(magic[3]))
        else {
            let allowed: Vec<_> = layouts.iter().map(|layout| format!("0x0000080{}", layout.len())).collect();
            let (allowed, got) = (allowed.join(" or "), u32::from_be_bytes(magic));
            return Err(reader.refuse(format!("magic number: {what} have {allowed}, got 0x{got:08x}")));
        };
        let mut sizes = Vec::new();
        for field in *layout {
            let size = u32::from_be_bytes(reader.array(field)?);
            if size == 0 {
                return Err(reader.refuse(format!("{field}: must be at least 1, got 0")));
            }
            sizes.push(size as usize);
        }
        let total = sizes.iter().try_fold(1, |total: usize, &size| total.checked_mul(size));
        let total =
            total.ok_or_else(|| reader.refuse(format!("{what} of sizes {sizes:?} cannot fit in memory")))?;
        Ok(Self { reader, what, sizes, total })
    }

    fn images(path: &Path) -> Result<Self, Error> {
        Self::new(path, "images", &IMAGES)
    }

    fn labels(path: &Path) -> Result<Self, Error> {
        Self::new(path, "labels", &LABELS)
    }

    /// The number of images or labels.
    fn count(&self) -> usize {
        self.sizes[0]
    }

    /// `[channels, height, width]` of images.
    fn shape(&self) -> [usize; 3] {
        let mut shape = [1; 3];
        shape[4 - self.sizes.len()..].copy_from_slice(&self.sizes[1..]);
        shape
    }

    fn read(mut self) -> Result<Vec<u8>, Error> {
        self.reader.last(self.what, self.total)
    }
}

fn write(path: &Path, layout: &[&str], sizes: &[usize], elements: &[u8]) -> Result<(), Error> {
    let mut header = MAGIC.to_vec();
    header.extend(u8::try_from(sizes.len()));
    for (&field, &size) in layout.iter().zip(sizes) {
        let size =
            u32::try_from(size).map_err(|_| Error::constant(field, format!("at most {}", u32::MAX), size))?;
        header.extend(size.to_be_bytes());
    }
    file::write(path, |file| {
        file.write_all(&header)?;
        file.write_all(elements)
    })
}

/// The images and labels of one part, equal in number, whose headers were read.
struct Files {
    images: Opened,
    labels: Opened,
    labels_path: PathBuf,
}

impl Files {
    fn open(dir: &Path, part: Part) -> Result<Self, Error> {
        let stem = match part {
            Part::Train => "train",
            Part::Test => "t10k",
        };
        let images_path = find(dir, &format!("{stem}-images"), &[3, 4])?;
        let labels_path = find(dir, &format!("{stem}-labels"), &[1])?;
        let (images, labels) = (Opened::images(&images_path)?, Opened::labels(&labels_path)?);
        if images.count() != labels.count() {
            let images = format!("{} images in {}", images.count(), images_path.display());
            return Err(refuse(&labels_path, format!("{} labels, but {images}", labels.count())));
        }
        Ok(Self { images, labels, labels_path })
    }

    /// Reads the labels first: they are smaller.
    fn read(self) -> Result<Parts, Error> {
        let shape = self.images.shape();
        let labels = self.labels.read()?;
        Ok(Parts { pixels: self.images.read()?, shape, labels, labels_path: self.labels_path })
    }
}

/// Images and their labels.
struct Parts {
    pixels: Vec<u8>,
    shape: [usize; 3],
    labels: Vec<u8>,
    labels_path: PathBuf,
}

impl Parts {
    fn dataset(self, n_classes: u32) -> Result<Dataset, Error> {
        let labels: Vec<u32> = self.labels.into_iter().map(u32::from).collect();
        if let Some((index, label)) = labels.iter().enumerate().find(|&(_, &label)| label >= n_classes) {
            let reason = format!("label {index} must be below {n_classes}, got {label}");
            return Err(refuse(&self.labels_path, reason));
        }
        Dataset::from_u8(self.pixels, &self.shape, labels, n_classes)
    }
}

/// The first existing file of those that `stem` may name.
fn find(dir: &Path, stem: &str, ranks: &[u8]) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        return Err(refuse(dir, "there is no such folder"));
    }
    let mut names = Vec::new();
    for ending in ["", ".gz"] {
        for rank in ranks {
            names.extend(['-', '.'].map(|mark| format!("{stem}{mark}idx{rank}-ubyte{ending}")));
        }
    }
    let paths = names.iter().map(|name| dir.join(name));
    paths
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| refuse(dir, format!("holds none of {}", names.join(", "))))
}
