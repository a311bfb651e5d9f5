//! Arrays in numpy's [NPY format](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
//!
//! ```no_run
//! use gradus::train::data::{Dataset, Values, npy};
//!
//! let x = npy::read("x.npy")?; // [samples, channels, height, width]
//! let y = vec![0; x.shape[0]];
//! let data = Dataset::from_values(x.values, &x.shape[1..], y, 10)?;
//! # Ok::<(), gradus::Error>(())
//! ```

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Values;
use super::file::{self, Reader};
use crate::error::Error;

const MAGIC: [u8; 6] = *b"\x93NUMPY";
const TYPES: &str = "b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8";
/// The maximum in numpy.
const MAX_RANK: usize = 64;
/// The maximum in version 1 of the format, and far more than the header of a plain array takes.
const MAX_HEADER: usize = 65_535;
/// Number of elements converted to bytes at a time.
const AT_A_TIME: usize = 1 << 14;

/// An array in C order: the last dimension is contiguous.
///
/// ```no_run
/// // Reads a file.
/// use gradus::train::data::npy;
///
/// let images = npy::read("images.npy")?;
/// println!("{} values of shape {:?}", images.values.len(), images.shape);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// Its elements.
    pub values: Values,
}

impl Array {
    /// Its elements as class labels, for [`Dataset::new`](super::Dataset::new).
    ///
    /// # Errors
    /// [`Error::Constant`] for an element that is not a whole number from 0 to `u32::MAX`.
    ///
    /// ```
    /// use gradus::train::data::npy::Array;
    ///
    /// let array = Array { shape: vec![3], values: vec![2.0, 0.0, 1.0].into() };
    /// assert_eq!(array.labels()?, [2, 0, 1]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn labels(&self) -> Result<Vec<u32>, Error> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number of 32 bits"
        )]
        let label = |at: usize| match self.values.at(at) {
            whole if whole.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&whole) => Ok(whole as u32),
            other => Err(Error::constant(format!("label {at}"), "a whole number from 0", other)),
        };
        (0..self.values.len()).map(label).collect()
    }
}

/// An element type of [`write()`]: `f32`, `u8` or `u32`.
///
/// ```no_run
/// // Writes a file.
/// use gradus::train::data::npy;
///
/// npy::write("zeros.npy", &[2, 2], &[0.0_f32; 4])?;
/// npy::write("labels.npy", &[3], &[1_u8, 2, 3])?;
/// # Ok::<(), gradus::Error>(())
/// ```
pub trait Element: Copy {
    #[doc(hidden)]
    const DESCR: &'static str;
    #[doc(hidden)]
    fn append(self, bytes: &mut Vec<u8>);
}

macro_rules! elements {
    ($($element:ident $descr:literal)*) => {$(
        impl Element for $element {
            const DESCR: &'static str = $descr;
            fn append(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    )*};
}

elements! { f32 "<f4" u8 "|u1" u32 "<u4" }

/// An array whose header was read, but not its values.
///
/// ```no_run
/// // Reads a file.
/// use gradus::train::data::npy;
///
/// let opened = npy::open("images.npy")?; // the head alone
/// if opened.shape().len() == 4 {
///     println!("{} values", opened.read()?.values.len());
/// }
/// # Ok::<(), gradus::Error>(())
/// ```
pub struct Opened {
    reader: Reader,
    /// One of [`TYPES`].
    kind: &'static str,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
    /// Size of the values in bytes.
    size: usize,
}

impl Opened {
    /// Its dimensions; empty for a single number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads the values.
    ///
    /// # Errors
    /// [`Error::File`] if the file is shorter or longer than its header says, or holds a finite number that is too
    /// large for f32.
    pub fn read(mut self) -> Result<Array, Error> {
        let mut bytes = self.reader.last("values", self.size)?;
        // Elements of one byte are turned before they become larger.
        let is_narrow = self.kind.ends_with('1');
        if self.fortran_order && is_narrow {
            bytes = c_order(&bytes, &self.shape);
        }
        let values =
            decode(self.kind, bytes, self.big_endian).map_err(|reason| self.reader.refuse(reason))?;
        let values = match values {
            Values::F32(values) if self.fortran_order && !is_narrow => {
                Values::F32(c_order(&values, &self.shape))
            }
            values => values,
        };
        Ok(Array { shape: self.shape, values })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("kind", &self.kind).field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Reads the header of an array, so that an array of the wrong shape can be refused at once.
///
/// ```no_run
/// // Reads a file.
/// use gradus::train::data::npy;
///
/// let images = npy::open("x.npy")?;
/// assert_eq!(images.shape()[1..], [1, 28, 28]);
/// let images = images.read()?;
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] if the file cannot be read, is not an NPY file, or is of another type (`object`, structures, complex
/// numbers) or too large for any memory.
pub fn open(path: impl AsRef<Path>) -> Result<Opened, Error> {
    open_in(Reader::open(path.as_ref())?)
}

/// As [`open`], for an array in another file.
pub(super) fn open_in(mut reader: Reader) -> Result<Opened, Error> {
    let Header { descr, fortran_order, shape } = header(&mut reader)?;
    let refused = || reader.refuse(format!("descr: {descr} is not one of {TYPES}"));
    let (order, kind) = descr.as_str().and_then(|text| text.split_at_checked(1)).ok_or_else(refused)?;
    let kind = TYPES.split(", ").find(|known| *known == kind).ok_or_else(refused)?;
    let width: Option<usize> = kind[1..].parse().ok();
    let width = width.filter(|width| matches!(order, "<" | ">") || *width == 1).ok_or_else(refused)?;
    let big_endian = order == ">";
    let size = size_of_values(&shape, width)
        .ok_or_else(|| reader.refuse(format!("shape: {shape:?} cannot fit in memory")))?;
    Ok(Opened { reader, kind, big_endian, fortran_order, shape, size })
}

/// Size of an array's values in bytes; `None` if no memory could hold them.
fn size_of_values(shape: &[usize], width: usize) -> Option<usize> {
    // As in numpy, the product of the other dimensions must be possible even if one is 0, in any order.
    let mut extents = shape.iter().filter(|extent| **extent > 0);
    let size = extents.try_fold(width, |size: usize, &extent| size.checked_mul(extent))?;
    isize::try_from(size).ok()?;
    Some(if shape.contains(&0) { 0 } else { size })
}

/// Reads an array of any of numpy's real number types, of either byte order, in C or Fortran order.
///
/// Bytes (`u1`) and booleans (as 0 and 1) become [`Values::U8`]. All other types become [`Values::F32`]: `f4`
/// unchanged, `f8` rounded once, and integers if f32 represents them exactly.
///
/// # Errors
/// Those of [`open`] and of [`Opened::read`].
pub fn read(path: impl AsRef<Path>) -> Result<Array, Error> {
    open(path)?.read()
}

/// Writes an array of `shape` in C order, as numpy does.
///
/// Written with [`write_atomic`](crate::train::files::write_atomic): the path always holds either the earlier file or
/// the complete new one.
///
/// # Errors
/// [`Error::Length`] if the number of `values` is not that of `shape`, or no memory could hold them;
/// [`Error::Constant`] for more than 64 dimensions; [`Error::File`] if the file cannot be written.
pub fn write<T: Element>(path: impl AsRef<Path>, shape: &[usize], values: &[T]) -> Result<(), Error> {
    if shape.len() > MAX_RANK {
        return Err(Error::constant("the number of dimensions", format!("at most {MAX_RANK}"), shape.len()));
    }
    let count = size_of_values(shape, size_of::<T>()).map(|size| size / size_of::<T>());
    if count != Some(values.len()) {
        let (what, expected) = (format!("values of shape {shape:?}"), count.unwrap_or(usize::MAX));
        return Err(Error::Length { what, expected, got: values.len() });
    }
    let dimensions = match shape {
        [only] => format!("{only},"),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let descr = T::DESCR;
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dimensions}), }}");
    // The magic number, the version and the length take ten bytes, and the values begin at a multiple of 64.
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header = format!("{header:<0$}\n", padded - 1);
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(padded).expect("64 dimensions take far less").to_le_bytes());
    bytes.extend(header.into_bytes());
    file::write(path.as_ref(), |file| {
        for values in values.chunks(AT_A_TIME) {
            values.iter().for_each(|value| value.append(&mut bytes));
            file.write_all(&bytes)?;
            bytes.clear();
        }
        file.write_all(&bytes)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    descr: Value,
    fortran_order: bool,
    shape: Vec<usize>,
}

fn header(reader: &mut Reader) -> Result<Header, Error> {
    if reader.array("magic number")? != MAGIC {
        return Err(reader.refuse("magic number: not that of an NPY file"));
    }
    let [major, minor] = reader.array("version")?;
    let size = match major {
        1 => u16::from_le_bytes(reader.array("length of the header")?).into(),
        2 | 3 => u32::from_le_bytes(reader.array("length of the header")?) as usize,
        _ => return Err(reader.refuse(format!("version: must be 1, 2 or 3, got {major}.{minor}"))),
    };
    if size > MAX_HEADER {
        return Err(reader.refuse(format!("length of the header: must be at most {MAX_HEADER}, got {size}")));
    }
    let text = reader.bytes("header", size)?;
    let fields: Value = serde_json::from_str(&to_json(&String::from_utf8_lossy(&text)))
        .map_err(|_| reader.refuse("header: not a Python dictionary of plain values"))?;
    Header::deserialize(fields).map_err(|e| reader.refuse(format!("header: {e}")))
}

/// Converts the dictionary of a header, a Python literal, to JSON.
///
/// The names of plain types have no space, bracket or quote, and other types are refused. Python 2 wrote an `L` after
/// some dimensions; no plain type has an `L` after a digit.
fn to_json(literal: &str) -> String {
    let mut before = ' ';
    let mut is_long = |c: char| std::mem::replace(&mut before, c).is_ascii_digit() && c == 'L';
    let json: String = (literal.chars().filter(|c| !c.is_whitespace() && !is_long(*c)))
        .map(|c| match c {
            '\'' => '"',
            '(' => '[',
            ')' => ']',
            c => c,
        })
        .collect();
    let json = json.replace(":True", ":true").replace(":False", ":false");
    json.replace(",]", "]").replace(",}", "}")
}

fn decode(kind: &str, bytes: Vec<u8>, big_endian: bool) -> Result<Values, String> {
    macro_rules! integers {
        ($kind:ident) => {
            integers(elements(&bytes, big_endian).map($kind::from_le_bytes).map(i128::from))?
        };
    }
    Ok(Values::F32(match kind {
        "u1" => return Ok(Values::U8(bytes)),
        "b1" => return Ok(Values::U8(bytes.into_iter().map(|byte| u8::from(byte != 0)).collect())),
        "f4" => elements(&bytes, big_endian).map(f32::from_le_bytes).collect(),
        "f8" => rounded(elements(&bytes, big_endian).map(f64::from_le_bytes))?,
        "i1" => integers!(i8),
        "i2" => integers!(i16),
        "i4" => integers!(i32),
        "i8" => integers!(i64),
        "u2" => integers!(u16),
        "u4" => integers!(u32),
        "u8" => integers!(u64),
        _ => return Err(format!("descr: {kind} is not one of {TYPES}")),
    }))
}

/// The elements, as little-endian bytes.
fn elements<const N: usize>(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().map(move |&element| {
        let mut element: [u8; N] = element;
        if big_endian {
            element.reverse();
        }
        element
    })
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
fn rounded(values: impl Iterator<Item = f64>) -> Result<Vec<f32>, String> {
    let round = |(index, value): (usize, f64)| match value as f32 {
        rounded if rounded.is_infinite() && value.is_finite() => {
            Err(format!("value {index}: {value:e} is too large for f32"))
        }
        rounded => Ok(rounded),
    };
    values.enumerate().map(round).collect()
}

fn integers(values: impl Iterator<Item = i128>) -> Result<Vec<f32>, String> {
    let convert = |(index, value): (usize, i128)| {
        let size = value.unsigned_abs();
        let bits = u128::BITS - size.leading_zeros();
        if bits > f32::MANTISSA_DIGITS + size.trailing_zeros() {
            return Err(format!("value {index}: {value} is not exact in f32"));
        }
        Ok(value as f32)
    };
    values.enumerate().map(convert).collect()
}

/// Reorders an array from Fortran order (first dimension contiguous) to C order.
///
/// Counts indices like an odometer; allocates only the result.
fn c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut ordered = Vec::with_capacity(values.len());
    if values.is_empty() {
        return ordered;
    }
    let strides: Vec<usize> =
        shape.iter().scan(1, |next, extent| Some(std::mem::replace(next, *next * extent))).collect();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in values {
        ordered.push(values[at]);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            at += strides[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            at -= strides[dimension] * shape[dimension];
            index[dimension] = 0;
        }
    }
    ordered
}
