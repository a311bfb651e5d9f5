//! The files of recorded cases: the folder that they lie in, tensors, tolerances, what a case is called.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A folder of recorded cases.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(&self.bytes(path)?).with_context(|| path.to_owned())
    }

    pub(crate) fn tensors(&self, path: &str) -> Result<Tensors> {
        Tensors::read(&self.bytes(path)?).with_context(|| path.to_owned())
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let path = self.0.join(path);
        fs::read(&path).with_context(|| path.display().to_string())
    }
}

/// A safetensors file, widened to f64.
#[derive(Debug)]
pub(crate) struct Tensors {
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Tensors {
    fn read(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
            let data = widen(view.dtype(), view.data()).with_context(|| name.to_owned())?;
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self { tensors, metadata })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A metadata value, read from the JSON in its string.
    pub(crate) fn metadata<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let text = self.metadata.get(key).with_context(|| format!("no metadata {key}"))?;
        serde_json::from_str(text).with_context(|| format!("metadata {key}"))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

fn widen(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f64>> {
    let (words, rest) = bytes.as_chunks::<8>();
    let (halves, odd) = bytes.as_chunks::<4>();
    Ok(match dtype {
        Dtype::F64 if rest.is_empty() => words.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::I64 if rest.is_empty() => words.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        Dtype::F32 if odd.is_empty() => halves.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        other => bail!("{} bytes of {other:?} are not F64, F32 or I64", bytes.len()),
    })
}

/// Close where `abs(got - want) <= atol + rtol * abs(want)`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tolerance {
    pub(crate) rtol: f64,
    pub(crate) atol: f64,
}

impl Tolerance {
    pub(crate) fn times(self, width: f64) -> Self {
        Self { rtol: self.rtol * width, atol: self.atol * width }
    }

    /// The error as a part of what is allowed: close is 1 at most. NaN where there is one on either side.
    pub(crate) fn part(&self, got: f64, want: f64) -> f64 {
        match error(got, want) {
            0.0 => 0.0,
            error => error / (self.atol + self.rtol * want.abs()).max(0.0),
        }
    }
}

/// `abs(got - want)`, 0 for equal infinities.
pub(crate) fn error(got: f64, want: f64) -> f64 {
    if got == want { 0.0 } else { (got - want).abs() }
}

/// The part of a case that says which it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) id: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) problem: Option<String>,
    pub(crate) tol: Option<Tolerance>,
}

impl Envelope {
    const FIELDS: [&str; 6] = ["id", "file", "problem", "source", "note", "tol"];

    /// Takes the envelope out of a case and leaves what is strict.
    pub(crate) fn open(case: &Value) -> Result<(Self, Map<String, Value>)> {
        let mut body = case.as_object().context("a case is an object")?.clone();
        let envelope =
            Self::FIELDS.iter().filter_map(|field| body.remove_entry(*field)).collect::<Map<_, _>>();
        Ok((serde_json::from_value(Value::Object(envelope))?, body))
    }
}
