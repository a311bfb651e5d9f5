//! The numbers of a file, and slots of state that are not stored as f32.

use std::collections::BTreeMap;

use half::bf16;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::check_finite;
use crate::files::tensors;
use crate::optim::SlotBits;
use crate::train::checkpoint::Tensor;

/// The tensors of a file by name.
pub(super) type Views<'a> = BTreeMap<String, (Vec<usize>, Numbers<'a>)>;

/// The numbers of a tensor.
#[derive(Clone, Debug)]
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    Bf16(Vec<u16>),
    U8(&'a [u8]),
}

impl<'a> Numbers<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    pub(super) fn bytes(&self) -> (Dtype, &[u8]) {
        match self {
            Self::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
            Self::Bf16(values) => (Dtype::BF16, bytemuck::cast_slice(values)),
            Self::U8(values) => (Dtype::U8, values),
        }
    }
    /// What the file holds of a slot, and the scales beside it, if there are some.
    pub(super) fn of_slot(values: &'a [f32], bits: Option<&'a SlotBits>) -> (Self, Option<&'a [f32]>) {
        match bits {
            None => (Self::F32(values), None),
            Some(SlotBits::Bf16) => {
                (Self::Bf16(values.iter().map(|value| bf16::from_f32(*value).to_bits()).collect()), None)
            }
            Some(SlotBits::Int8 { codes, scales, .. }) => (Self::U8(codes), Some(scales)),
        }
    }
}

/// A [`SlotBits`], whose numbers are tensors of the file: the values in bf16, or codes and scales.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum StoredRecord {
    #[serde(rename = "bf16")]
    Bf16,
    #[serde(rename = "8bit")]
    Int8 {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cuts: Vec<usize>,
        signed: bool,
    },
}

impl From<&SlotBits> for StoredRecord {
    fn from(bits: &SlotBits) -> Self {
        match bits {
            SlotBits::Bf16 => Self::Bf16,
            SlotBits::Int8 { signed, cuts, .. } => Self::Int8 { cuts: cuts.clone(), signed: *signed },
        }
    }
}

impl StoredRecord {
    /// Takes a slot's numbers out of those of the file: its values and exact bits, by their names and those of scales.
    pub(super) fn take(
        &self,
        (key, scales): (&str, &str),
        tensors: &mut BTreeMap<String, Tensor>,
        codes: &mut tensors::Views<'_>,
    ) -> Result<(Tensor, SlotBits), String> {
        let missing = |name: &str| format!("{name} is missing");
        match self {
            Self::Bf16 => Ok((tensors.remove(key).ok_or_else(|| missing(key))?, SlotBits::Bf16)),
            Self::Int8 { cuts, signed } => {
                let scales = tensors.remove(scales).ok_or_else(|| missing(scales))?.values;
                let codes = codes.remove(key).ok_or_else(|| missing(key))?;
                let (shape, codes) = (codes.shape().to_vec(), codes.data().to_vec());
                let bits = SlotBits::Int8 { signed: *signed, cuts: cuts.clone(), codes, scales };
                let values = bits.opened().ok_or_else(|| format!("{key} has other scales"))?;
                Ok((Tensor { shape, values }, bits))
            }
        }
    }
}

/// A tensor of the file as f32.
pub(super) fn tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor, String> {
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
        Dtype::BF16 if name.starts_with("optim.") => {
            let halves: Vec<u16> = bytemuck::pod_collect_to_vec(view.data());
            halves.into_iter().map(|bits| bf16::from_bits(bits).to_f32()).collect()
        }
        dtype => return Err(format!("{name} has the type {dtype:?}, expected F32")),
    };
    check_finite(name, &values)?;
    Ok(Tensor { shape: view.shape().to_vec(), values })
}
