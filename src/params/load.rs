//! Loads named weights into a store, all or none of them, and reads them back.

use std::collections::BTreeMap;
use std::fmt;

use super::{Flat, ParamStore, Tensor, Weights};
use crate::error::{Error, ShapeMismatch, WeightsMismatch};
use crate::layout::Span;

/// Result of [`ParamStore::load_state_dict`], like torch's `missing_keys` and `unexpected_keys`.
///
/// ```
/// use gradus::params::Weights;
///
/// # fn load(params: &mut gradus::ParamStore, weights: &Weights) -> Result<(), gradus::Error> {
/// let report = params.load_state_dict(weights, false)?;
/// println!("{} loaded, {} missing", report.loaded.len(), report.missing_keys.len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Loaded tensors, in the order of [`ParamStore::tensors`].
    pub loaded: Vec<String>,
    /// Tensors of the store that the weights lack, in the same order. They keep their values.
    pub missing_keys: Vec<String>,
    /// Names in the weights that the store lacks, sorted.
    pub unexpected_keys: Vec<String>,
}

/// One line: the number of loaded tensors, and the missing and unexpected names with suggestions.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.loaded.len() + self.missing_keys.len();
        write!(f, "loaded {} of {all} tensors", self.loaded.len())?;
        let (missing, unexpected) = (&self.missing_keys, &self.unexpected_keys);
        WeightsMismatch::write_names(f, missing, unexpected)
    }
}

/// A tensor of the store, with all its names and the weights given for them.
struct Target<'s, 'w> {
    flat: &'s Flat,
    span: &'s Span,
    names: Vec<&'s str>,
    given: Vec<(&'s str, &'w Tensor)>,
}

impl ParamStore {
    /// Loads named weights into parameters, including frozen ones, and buffers, like torch's
    /// `Module.load_state_dict`.
    ///
    /// With `strict`, the names of the weights must equal those of the store. Without it, the names that both
    /// have are loaded, and the report lists the missing and the unexpected ones. A different shape is always
    /// refused. Either everything is loaded or nothing. The values take effect before the next submit.
    /// Gradients and optimizer state do not change.
    ///
    /// As in torch, a tensor of shape `[1]` can be loaded into one of shape `[]`, and `num_batches_tracked`
    /// of a batch normalization may be missing if its other statistics are given, as in old files of torch. A
    /// tied tensor (see [`Graph::tie`](crate::graph::Graph::tie)) needs only one of its names; if several are
    /// given, their values must agree.
    ///
    /// ```no_run
    /// // Needs a device and a file.
    /// use gradus::graph::Graph;
    /// use gradus::nn::Linear;
    /// use gradus::params::Weights;
    /// use gradus::{Gpu, GpuOptions};
    ///
    /// let graph = Graph::new();
    /// graph.input("x", [1, 784]).linear(Linear::new(10).name("fc"));
    /// let mut params = graph.store(&Gpu::new(GpuOptions::default())?, 0)?;
    /// let report = params.load_state_dict(&Weights::read("model.safetensors")?, false)?;
    /// println!("{report}");
    /// # Ok::<(), gradus::Error>(())
    /// ```
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict>.
    /// Differs for tied tensors: torch requires every name and uses the last value.
    ///
    /// # Errors
    /// [`Error::Weights`] with all missing and unexpected names (unless they are allowed) and all different
    /// shapes; nothing was written then. [`Error::DeviceLost`].
    pub fn load_state_dict(&mut self, weights: &Weights, strict: bool) -> Result<LoadReport, Error> {
        self.gpu.check()?;
        let (targets, report) = self.checked(weights, strict)?;
        for flat in self.flats() {
            let of_flat = || targets.iter().filter(|target| std::ptr::eq(target.flat, flat));
            if of_flat().all(|target| !target.given.is_empty()) {
                let values: Vec<&[f32]> = of_flat().map(|target| &target.given[0].1.values[..]).collect();
                flat.write_all(&self.gpu, |index| Some(values[index]))?;
                continue;
            }
            for target in of_flat() {
                if let Some((_, tensor)) = target.given.first() {
                    flat.write(&self.gpu, target.span, &tensor.values)?;
                }
            }
        }
        Ok(report)
    }

    /// The weights by index of parameters and of buffers, if their names and shapes are those of this store.
    pub(crate) fn by_place<'w>(&self, weights: &'w Weights) -> Result<[Vec<Option<&'w [f32]>>; 2], Error> {
        let (targets, _) = self.checked(weights, true)?;
        let given = |target: &Target<'_, 'w>| target.given.first().map(|(_, tensor)| &tensor.values[..]);
        let (params, buffers) = targets.split_at(self.layout().spans().len());
        Ok([params, buffers].map(|targets| targets.iter().map(given).collect()))
    }

    /// All tensors with the weights given for them, or all mismatches.
    fn checked<'s, 'w>(
        &'s self,
        weights: &'w Weights,
        strict: bool,
    ) -> Result<(Vec<Target<'s, 'w>>, LoadReport), Error> {
        let targets = self.targets(weights);
        let mut report = LoadReport::default();
        let mut mismatch = WeightsMismatch { weights: weights.described().into(), ..Default::default() };
        for target in &targets {
            match target.given[..] {
                [] if target.is_filled_in(weights) => {}
                [] => report.missing_keys.push(target.span.name.clone()),
                _ => report.loaded.push(target.span.name.clone()),
            }
            target.check(&mut mismatch);
        }
        let unexpected = weights.names().filter(|name| self.find(name).is_err());
        report.unexpected_keys = unexpected.map(str::to_owned).collect();
        if strict {
            mismatch.missing.clone_from(&report.missing_keys);
            mismatch.unexpected.clone_from(&report.unexpected_keys);
        }
        if !mismatch.is_empty() {
            return Err(Error::Weights(Box::new(mismatch)));
        }
        Ok((targets, report))
    }

    /// Waits for the device and reads all parameters and buffers, like torch's `Module.state_dict`. A tied
    /// tensor appears under each of its names.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_weights(&self) -> Result<Weights, Error> {
        self.gpu.block_on(self.read_weights_async())
    }

    /// Like [`ParamStore::read_weights`], without blocking.
    ///
    /// # Errors
    /// As [`ParamStore::read_weights`].
    pub async fn read_weights_async(&self) -> Result<Weights, Error> {
        let mut values = Vec::new();
        for flat in self.flats() {
            values.push(flat.read_all_async(&self.gpu).await?);
        }
        self.named(values)
    }

    /// Weights from the values of all tensors (including padding), under all their names.
    pub(crate) fn named(&self, values: Vec<Vec<f32>>) -> Result<Weights, Error> {
        let mut tensors = BTreeMap::new();
        for (flat, all) in self.flats().zip(values) {
            for (name, index) in flat.layout().names() {
                let span = &flat.layout().spans()[index];
                let values = all[span.first..span.first + span.len].to_vec();
                tensors.insert(name.to_owned(), Tensor { shape: span.shape.clone(), values });
            }
        }
        Weights::try_from(tensors)
    }

    pub(crate) fn flats(&self) -> impl Iterator<Item = &Flat> {
        [Some(&self.params), self.buffers()].into_iter().flatten()
    }

    /// All tensors, in the order of [`ParamStore::tensors`].
    fn targets<'s, 'w>(&'s self, weights: &'w Weights) -> Vec<Target<'s, 'w>> {
        let mut targets = Vec::new();
        for flat in self.flats() {
            let first = targets.len();
            let spans = flat.layout().spans().iter();
            targets.extend(spans.map(|span| Target { flat, span, names: Vec::new(), given: Vec::new() }));
            for (name, index) in flat.layout().names() {
                targets[first + index].names.push(name);
            }
        }
        for target in &mut targets {
            target.names.sort_unstable();
            let given = target.names.iter().filter_map(|name| Some((*name, weights.find(name)?)));
            target.given = given.collect();
        }
        targets
    }
}

impl Target<'_, '_> {
    /// Adds mismatches of this tensor to `mismatch`.
    fn check(&self, mismatch: &mut WeightsMismatch) {
        let expected = &self.span.shape;
        for (name, tensor) in &self.given {
            let got = &tensor.shape;
            if got != expected && !(expected.is_empty() && got[..] == [1]) {
                let (name, expected, got) = ((*name).to_owned(), expected.clone(), got.clone());
                mismatch.shapes.push(ShapeMismatch { name, expected, got });
            }
        }
        let bits = |tensor: &Tensor| tensor.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if let [(first, one), rest @ ..] = &self.given[..] {
            for (name, other) in rest.iter().filter(|(_, other)| other.shape == one.shape) {
                if bits(other) != bits(one) {
                    mismatch.tied.push(((*first).to_owned(), (*name).to_owned()));
                }
            }
        }
    }

    /// Whether torch accepts that this tensor is missing: see `_load_from_state_dict` of `_NormBase`, for
    /// files without a version.
    fn is_filled_in(&self, weights: &Weights) -> bool {
        let statistics = |name: &str| {
            let layer = name.strip_suffix("num_batches_tracked")?;
            weights.find(&format!("{layer}running_mean"))
        };
        self.names.iter().any(|name| statistics(name).is_some())
    }
}
