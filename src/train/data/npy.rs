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

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Values;
use super::file::{self, Reader};
use crate::error::Error;

const MAGIC: [u8; 6] = *b"\x93NUMPY";
const TYPES: &str = "b1, u1, u2, u4, u8, i1, i2, i4, i8, f4, f8";
/// As many as numpy's arrays can have.
const MAX_RANK: usize = 64;
/// The most that a file of version 1 can have, and far more than the header of a plain array takes.
const MAX_HEADER: usize = 65_535;

/// An array, its last dimension running fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its dimensions; none for a single number.
    pub shape: Vec<usize>,
    /// Its elements.
    pub values: Values,
}

/// A type that [`write()`] takes: `f32`, `u8` or `u32`.
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

/// Reads an array of any of numpy's plain numbers, of either byte order, in C or in Fortran order.
///
/// Bytes (`u1`) and booleans, as 0 and 1, become [`Values::U8`], everything else [`Values::F32`]: `f4` as it
/// is, `f8` rounded once, and integers if f32 holds them exactly.
///
/// # Errors
/// [`Error::File`] if it cannot be read, is no such file, is of another type (`object`, structures,
/// complex numbers), is shorter or longer than its header says, or holds a finite number that f32
/// cannot hold.
pub fn read(path: impl AsRef<Path>) -> Result<Array, Error> {
    let mut reader = Reader::open(path.as_ref())?;
    let Header { descr, fortran_order, shape } = header(&mut reader)?;
    let refused = || reader.refuse(format!("descr: {descr} is not one of {TYPES}"));
    let (order, kind) = descr.as_str().and_then(|text| text.split_at_checked(1)).ok_or_else(refused)?;
    let width = TYPES.split(", ").find(|known| *known == kind).and_then(|known| known[1..].parse().ok());
    let width: usize = width.filter(|width| matches!(order, "<" | ">") || *width == 1).ok_or_else(refused)?;
    let count = shape.iter().try_fold(1, |count: usize, &extent| count.checked_mul(extent));
    let size = count.and_then(|count| count.checked_mul(width));
    let size = size.ok_or_else(|| reader.refuse(format!("shape: {shape:?} cannot be held")))?;

    let bytes = reader.bytes("values", size)?;
    reader.end("values")?;
    let values = match decode(kind, bytes, order == ">").map_err(|reason| reader.refuse(reason))? {
        values if !fortran_order => values,
        Values::F32(values) => Values::F32(c_order(&values, &shape)),
        Values::U8(values) => Values::U8(c_order(&values, &shape)),
    };
    Ok(Array { shape, values })
}

/// Writes an array of `shape`, its last dimension running fastest, as numpy does.
///
/// # Errors
/// [`Error::Length`] if `values` are not as many as `shape` says, [`Error::Constant`] for more than 64
/// dimensions, and [`Error::File`] if it cannot be written.
pub fn write<T: Element>(path: impl AsRef<Path>, shape: &[usize], values: &[T]) -> Result<(), Error> {
    if shape.len() > MAX_RANK {
        return Err(Error::constant("the number of dimensions", format!("at most {MAX_RANK}"), shape.len()));
    }
    let count = shape.iter().try_fold(1, |count: usize, &extent| count.checked_mul(extent));
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
    for &value in values {
        value.append(&mut bytes);
    }
    file::write(path.as_ref(), &bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    descr: Value,
    fortran_order: bool,
    shape: Vec<usize>,
}

fn header(reader: &mut Reader<'_>) -> Result<Header, Error> {
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

/// The dictionary of a header, a Python literal, as JSON.
///
/// No plain type has a space, a bracket or a quote in its name, and other types are refused.
fn to_json(literal: &str) -> String {
    let json: String = (literal.chars().filter(|c| !c.is_whitespace()))
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

/// The elements, least byte first.
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

/// Puts an array whose first dimension runs fastest into the order in which its last does.
fn c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut stride = 1;
    let mut places = vec![0];
    for extent in shape {
        places = places.iter().flat_map(|at| (0..*extent).map(move |i| at + i * stride)).collect();
        stride *= extent;
    }
    places.into_iter().map(|at: usize| values[at]).collect()
}
