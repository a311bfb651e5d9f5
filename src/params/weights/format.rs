//! Conversion between tensors and the bytes of a safetensors file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use half::{bf16, f16};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};

use super::Tensor;
use crate::error::short;
use crate::files::record;
use crate::files::tensors::{MOST_HEADER, TensorFile, Views};

/// The only name that a tensor cannot have.
pub(super) const METADATA: &str = "__metadata__";

/// Prefix of parameter names in a checkpoint.
const PARAMS: &str = "params.";

pub(super) fn from_bytes(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let file = TensorFile::parse(bytes)?;
    let of_checkpoint = file.metadata.contains_key(record::KEY);
    if of_checkpoint {
        record::parse(&record::unseal(&file)?)?;
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in &file.tensors {
        let own = if of_checkpoint { name.strip_prefix(PARAMS) } else { Some(&name[..]) };
        let Some(own) = own else { continue };
        if own.is_empty() {
            return Err("a tensor has no name".into());
        }
        let values = numbers(view).map_err(|reason| format!("{name} {reason}"))?;
        tensors.insert(own.to_owned(), Tensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

pub(super) fn to_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    file_of(tensors, Dtype::F32, |tensor| Cow::Borrowed(bytemuck::cast_slice(&tensor.values)))
}

pub(super) fn to_bf16_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    let halves =
        |tensor: &Tensor| tensor.values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect();
    file_of(tensors, Dtype::BF16, |tensor| Cow::Owned(halves(tensor)))
}

fn file_of(
    tensors: &BTreeMap<String, Tensor>,
    dtype: Dtype,
    bytes: impl Fn(&Tensor) -> Cow<'_, [u8]>,
) -> Result<Vec<u8>, String> {
    let all: Vec<Cow<'_, [u8]>> = tensors.values().map(bytes).collect();
    let mut views = Views::new();
    for ((name, Tensor { shape, .. }), bytes) in tensors.iter().zip(&all) {
        let view = TensorView::new(dtype, shape.clone(), bytes);
        views.insert(name.clone(), view.map_err(|e| format!("{name}: {e}"))?);
    }
    // torch writes this metadata, and some readers require it.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| match error {
        SafeTensorError::HeaderTooLarge => {
            format!("its names and shapes take more than the {MOST_HEADER} bytes that safetensors allows")
        }
        other => other.to_string(),
    })
}

/// The elements of a tensor, each as the nearest f32; or why one has none.
fn numbers(view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = view.data();
    macro_rules! each {
        ($of:ty) => {
            data.chunks_exact(size_of::<$of>())
                .map(|bytes| <$of>::from_le_bytes(bytes.try_into().expect("as many as it has")))
        };
    }
    Ok(match view.dtype() {
        Dtype::F32 => each!(f32).collect(),
        Dtype::F64 => {
            each!(f64).enumerate().map(|(at, value)| narrowed(at, value)).collect::<Result<_, _>>()?
        }
        Dtype::F16 => each!(f16).map(f16::to_f32).collect(),
        Dtype::BF16 => each!(bf16).map(bf16::to_f32).collect(),
        Dtype::I64 => each!(i64).map(|value| value as f32).collect(),
        Dtype::U64 => each!(u64).map(|value| value as f32).collect(),
        Dtype::I32 => each!(i32).map(|value| value as f32).collect(),
        Dtype::U32 => each!(u32).map(|value| value as f32).collect(),
        Dtype::I16 => each!(i16).map(f32::from).collect(),
        Dtype::U16 => each!(u16).map(f32::from).collect(),
        Dtype::I8 => each!(i8).map(f32::from).collect(),
        Dtype::U8 => each!(u8).map(f32::from).collect(),
        Dtype::BOOL => each!(u8).map(|byte| f32::from(u8::from(byte != 0))).collect(),
        other => {
            return Err(format!(
                "has the type {other:?}; F32, F64, F16, BF16, BOOL and integers of 8 to 64 bits can be read"
            ));
        }
    })
}

/// The nearest f32. Refuses a finite number that would become infinite.
fn narrowed(at: usize, value: f64) -> Result<f32, String> {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
    let nearest = value as f32;
    if nearest.is_infinite() && value.is_finite() {
        return Err(format!("holds {} at element {at}, which f32 cannot hold", short(value)));
    }
    Ok(nearest)
}
