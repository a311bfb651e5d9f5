//! The least, mean and largest of the numbers in a tensor's bytes.

use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// The bytes of an element, and the number that they are.
type Reader = (usize, fn(&[u8]) -> f64);

/// What the numbers of a tensor are, as far as they were added.
pub(super) struct Summary {
    read: Option<Reader>,
    least: f64,
    most: f64,
    sum: f64,
    /// Numbers that are finite, and those that are not.
    finite: u64,
    other: u64,
}

/// How to read a type, if it is one of numbers.
#[expect(clippy::cast_precision_loss, reason = "64-bit numbers to the nearest f64")]
fn reader(dtype: Dtype) -> Option<Reader> {
    fn bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut all = [0; N];
        all.copy_from_slice(bytes);
        all
    }
    Some(match dtype {
        Dtype::BOOL | Dtype::U8 => (1, |b| b[0].into()),
        Dtype::I8 => (1, |b| i8::from_le_bytes(bytes(b)).into()),
        Dtype::I16 => (2, |b| i16::from_le_bytes(bytes(b)).into()),
        Dtype::U16 => (2, |b| u16::from_le_bytes(bytes(b)).into()),
        Dtype::F16 => (2, |b| f16::from_le_bytes(bytes(b)).into()),
        Dtype::BF16 => (2, |b| bf16::from_le_bytes(bytes(b)).into()),
        Dtype::I32 => (4, |b| i32::from_le_bytes(bytes(b)).into()),
        Dtype::U32 => (4, |b| u32::from_le_bytes(bytes(b)).into()),
        Dtype::F32 => (4, |b| f32::from_le_bytes(bytes(b)).into()),
        Dtype::F64 => (8, |b| f64::from_le_bytes(bytes(b))),
        Dtype::I64 => (8, |b| i64::from_le_bytes(bytes(b)) as f64),
        Dtype::U64 => (8, |b| u64::from_le_bytes(bytes(b)) as f64),
        _ => return None,
    })
}

impl Summary {
    pub(super) fn new(dtype: Dtype) -> Self {
        let read = reader(dtype);
        Self { read, least: f64::INFINITY, most: f64::NEG_INFINITY, sum: 0.0, finite: 0, other: 0 }
    }

    /// Whether the type is one of numbers.
    pub(super) fn is_known(&self) -> bool {
        self.read.is_some()
    }

    /// Adds whole elements.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let Some((size, read)) = self.read else { return };
        for number in bytes.chunks_exact(size).map(read) {
            if number.is_finite() {
                (self.least, self.most) = (self.least.min(number), self.most.max(number));
                self.sum += number;
                self.finite += 1;
            } else {
                self.other += 1;
            }
        }
    }

    /// Three columns, and how many numbers are not finite.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        if self.finite > 0 {
            for number in [self.least, self.sum / self.finite as f64, self.most] {
                line += &format!(" {:>12}", short(number));
            }
        }
        if self.other > 0 {
            line += &format!("  {} NaN or infinite", self.other);
        }
        line
    }
}

/// A number in at most twelve letters.
fn short(number: f64) -> String {
    let plain = number.to_string();
    if plain.len() <= 8 { plain } else { format!("{number:.4e}") }
}
