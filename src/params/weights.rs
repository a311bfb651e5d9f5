//! Named tensors of a model on the host.

mod format;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use super::flat::check_len;
use crate::error::Error;
use crate::files::{tensors, write_atomic};

/// A tensor on the host.
///
/// ```
/// use gradus::params::Weights;
///
/// let mut weights = Weights::new();
/// weights.insert("fc.bias", [2], vec![0.5, -0.5])?;
/// let bias = weights.get("fc.bias")?;
/// assert_eq!((&*bias.shape, &*bias.values), (&[2][..], &[0.5, -0.5][..]));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape, as in torch.
    pub shape: Vec<usize>,
    /// Its elements in row-major order.
    pub values: Vec<f32>,
}

/// The named tensors of a model, both parameters and buffers, on the host and in f32: torch's `state_dict`.
///
/// Obtain them from a file, [`ParamStore::read_weights`](super::ParamStore::read_weights) or
/// [`Weights::insert`]. Write them to a file, or load them with
/// [`ParamStore::load_state_dict`](super::ParamStore::load_state_dict). Names can be changed in between, to
/// load a part of a model under other names.
///
/// Files are safetensors, as written by `safetensors.torch.save_file(model.state_dict(), path)` and read by
/// `model.load_state_dict(safetensors.torch.load_file(path))`. Values may be NaN or infinite.
///
/// ```
/// use gradus::params::Weights;
///
/// let mut weights = Weights::new();
/// weights.insert("module.fc.weight", [2, 3], vec![0.5; 6])?;
/// weights.insert("module.fc.bias", [2], vec![0.0; 2])?;
/// // What `DistributedDataParallel` saved, for the network inside it.
/// let weights = Weights::from_bytes(&weights.to_bytes()?)?.part("module")?;
/// assert_eq!(weights.names().collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
/// assert_eq!(weights.get("fc.weight")?.shape, [2, 3]);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Sources: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.state_dict>,
/// <https://huggingface.co/docs/safetensors/api/torch>.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    /// The file they were read from, for messages.
    source: Option<String>,
}

/// Compares the tensors, not the source.
impl PartialEq for Weights {
    fn eq(&self, other: &Self) -> bool {
        self.tensors == other.tensors
    }
}

impl Weights {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a safetensors file. From a [`Checkpoint`](crate::train::Checkpoint) of this crate, reads the
    /// parameters and buffers under their names in the model.
    ///
    /// Accepts the types F32, F64, F16, BF16, BOOL and integers (torch's `num_batches_tracked` is I64). Each
    /// number becomes the nearest f32, as in torch's `copy_`. Other types, such as 8-bit floats and complex
    /// numbers, are refused.
    ///
    /// # Errors
    /// [`Error::File`] with the path and the reason: a file that cannot be read, is truncated or has an
    /// invalid header; a duplicate name; a tensor of another type; a finite number outside the range of f32,
    /// with its tensor and element; a checkpoint that was modified after it was written, or has a newer
    /// format.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let read = tensors::read(path, |_| Ok(())).and_then(|bytes| format::from_bytes(&bytes));
        let tensors = read.map_err(|reason| Error::File { path: name.clone(), reason })?;
        Ok(Self { tensors, source: Some(name) })
    }

    /// Like [`Weights::read`], from the bytes of a file.
    ///
    /// # Errors
    /// As [`Weights::read`], with `weights` as the path in [`Error::File`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let tensors = format::from_bytes(bytes).map_err(|reason| refused("weights", reason))?;
        Ok(Self { tensors, source: None })
    }

    /// Writes a safetensors file of f32 tensors. The file is replaced atomically: at any time it is either
    /// the old or the complete new one. Equal weights give equal files.
    ///
    /// # Errors
    /// [`Error::File`] with the path, if the file cannot be written or the header would exceed the format's
    /// limit of 100 MB.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = format::to_bytes(&self.tensors).map_err(|reason| refused(path.display(), reason))?;
        write_atomic(path, |file| file.write_all(&bytes))
    }

    /// As [`Weights::write`], with tensors of the type BF16: each number as the nearest of 16 bits, ties to even, as torch's
    /// `tensor.to(torch.bfloat16)`. Half as large, for those who serve what was trained; an optimizer goes on from f32.
    ///
    /// # Errors
    /// As [`Weights::write`].
    pub fn write_bf16(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let bytes = format::to_bf16_bytes(&self.tensors).map_err(|reason| refused(path.display(), reason))?;
        write_atomic(path, |file| file.write_all(&bytes))
    }

    /// The bytes of such a file in BF16.
    ///
    /// # Errors
    /// As [`Weights::to_bytes`].
    pub fn to_bf16_bytes(&self) -> Result<Vec<u8>, Error> {
        format::to_bf16_bytes(&self.tensors).map_err(|reason| refused("weights", reason))
    }

    /// The bytes of such a safetensors file.
    ///
    /// # Errors
    /// [`Error::File`] with `weights` as the path, if the header would exceed the format's limit of 100 MB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        format::to_bytes(&self.tensors).map_err(|reason| refused("weights", reason))
    }

    /// Adds a tensor with its elements in row-major order.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if there is a tensor with this name; [`Error::Config`] for an empty name, or
    /// `__metadata__`, which the format reserves; [`Error::Length`] if the values do not match the shape.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        values: impl Into<Vec<f32>>,
    ) -> Result<(), Error> {
        self.add(name.into(), Tensor { shape: shape.into(), values: values.into() })
    }

    fn add(&mut self, name: String, tensor: Tensor) -> Result<(), Error> {
        if name.is_empty() || name == format::METADATA {
            let reason = format!("{name:?} is not a valid tensor name");
            return Err(Error::Config { what: "tensor".into(), reason });
        }
        let elements = tensor.shape.iter().try_fold(1, |all: usize, extent| all.checked_mul(*extent));
        let what = || format!("{name} of shape {:?}", tensor.shape);
        check_len(&what(), elements.unwrap_or(usize::MAX), tensor.values.len())?;
        if self.tensors.contains_key(&name) {
            return Err(Error::Duplicate { kind: "tensor", name });
        }
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Tensor, Error> {
        self.tensors.get(name).ok_or_else(|| Error::unknown("tensor", name, self.names()))
    }

    pub(super) fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Removes and returns the tensor `name`.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn remove(&mut self, name: &str) -> Result<Tensor, Error> {
        match self.tensors.remove(name) {
            Some(tensor) => Ok(tensor),
            None => Err(Error::unknown("tensor", name, self.names())),
        }
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (&name[..], tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The source, for messages.
    pub(super) fn described(&self) -> &str {
        self.source.as_deref().unwrap_or("weights")
    }

    /// Renames each tensor to what `to` returns for its name, or removes it for `None`.
    ///
    /// ```
    /// use gradus::params::Weights;
    ///
    /// let mut weights = Weights::new();
    /// weights.insert("body.weight", [1], [0.5])?;
    /// weights.insert("head.weight", [1], [0.25])?;
    /// let of_head = weights.rename(|name| name.strip_prefix("head").map(|rest| format!("fc{rest}")))?;
    /// assert_eq!(of_head.names().collect::<Vec<_>>(), ["fc.weight"]);
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Duplicate`] if two tensors get the same name; [`Error::Config`] as for [`Weights::insert`].
    pub fn rename(self, mut to: impl FnMut(&str) -> Option<String>) -> Result<Self, Error> {
        let mut renamed = Self { tensors: BTreeMap::new(), source: self.source };
        for (name, tensor) in self.tensors {
            if let Some(name) = to(&name) {
                renamed.add(name, tensor)?;
            }
        }
        Ok(renamed)
    }

    /// The tensors of one module: keeps names that start with `module.` and removes that prefix. An empty
    /// name is the outermost module, which keeps all.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the known modules, if no name starts with `module.`.
    pub fn part(self, module: &str) -> Result<Self, Error> {
        let module = module.strip_suffix('.').unwrap_or(module);
        if module.is_empty() {
            return Ok(self);
        }
        let of_module = |name: &str| name.strip_prefix(module)?.strip_prefix('.').map(str::to_owned);
        if !self.names().any(|name| of_module(name).is_some()) {
            return Err(Error::unknown("module", module, self.modules()));
        }
        self.rename(of_module)
    }

    /// Moves all tensors into a module: adds the prefix `module.` to each name. An empty name adds nothing.
    #[must_use]
    pub fn within(self, module: &str) -> Self {
        let module = module.strip_suffix('.').unwrap_or(module);
        if module.is_empty() {
            return self;
        }
        let tensors = self.tensors.into_iter();
        let tensors = tensors.map(|(name, tensor)| (format!("{module}.{name}"), tensor)).collect();
        Self { tensors, source: self.source }
    }

    /// All module names: the parts of tensor names before a dot, without duplicates, in order.
    fn modules(&self) -> Vec<&str> {
        let dots = |name: &'_ str| name.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        let mut all: Vec<&str> =
            self.names().flat_map(|name| dots(name).into_iter().map(move |at| &name[..at])).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// For example, the `params` of a [`Checkpoint`](crate::train::Checkpoint).
impl TryFrom<BTreeMap<String, Tensor>> for Weights {
    type Error = Error;

    /// # Errors
    /// As [`Weights::insert`].
    fn try_from(tensors: BTreeMap<String, Tensor>) -> Result<Self, Error> {
        let mut weights = Self::new();
        tensors.into_iter().try_for_each(|(name, tensor)| weights.add(name, tensor))?;
        Ok(weights)
    }
}

fn refused(path: impl ToString, reason: String) -> Error {
    Error::File { path: path.to_string(), reason }
}
