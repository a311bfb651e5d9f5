use std::sync::Arc;

use super::ParamStore;
use super::flat::{Flat, check_len};
use crate::Error;
use crate::gpu::Gpu;
use crate::layout::{GroupSpec, Layout, Limits};

impl Limits {
    /// The limits of a device.
    pub(crate) fn of(gpu: &Gpu) -> Self {
        let limits = gpu.device().limits();
        Self { binding_bytes: limits.max_storage_buffer_binding_size, buffer_bytes: limits.max_buffer_size }
    }
}

/// Collects tensors in parameter groups. Errors are reported by [`ParamStoreBuilder::build`].
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let params = ParamStore::builder()
///     .group("decay", |g| g.tensor("w", [2, 3], &[0.1; 6]))
///     .group("no_decay", |g| g.tensor("b", [2], &[0.0; 2]))
///     .build(&Gpu::new(GpuOptions::default())?)?;
/// assert_eq!(params.layout().groups(), ["decay", "no_decay"]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made before build"]
pub struct ParamStoreBuilder<'d> {
    groups: Vec<GroupSpec>,
    data: Vec<Vec<&'d [f32]>>,
    buffers: GroupSpec,
    buffer_data: Vec<&'d [f32]>,
    ties: Vec<(String, String)>,
}

/// Collects the tensors of one group.
///
/// ```
/// use gradus::ParamStore;
///
/// let builder = ParamStore::builder().group("head", |g| g.tensor("w", [2], &[0.1; 2]).tensor("b", [], &[0.0]));
/// ```
#[derive(Debug)]
#[must_use = "hand it back to the closure's caller"]
pub struct GroupBuilder<'d> {
    pub(super) group: GroupSpec,
    pub(super) data: Vec<&'d [f32]>,
}

impl<'d> GroupBuilder<'d> {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { group: GroupSpec::new(name), data: Vec::new() }
    }

    /// Adds a tensor with its initial values, in row-major order.
    pub fn tensor(
        mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: &'d (impl AsRef<[f32]> + ?Sized),
    ) -> Self {
        self.group = self.group.tensor(name, shape);
        self.data.push(data.as_ref());
        self
    }
}

impl<'d> ParamStoreBuilder<'d> {
    /// The group of tensors added without a group.
    pub const DEFAULT_GROUP: &'static str = "default";

    /// Adds a parameter group with the tensors that `tensors` adds.
    pub fn group(
        mut self,
        name: impl Into<String>,
        tensors: impl FnOnce(GroupBuilder<'d>) -> GroupBuilder<'d>,
    ) -> Self {
        let built = tensors(GroupBuilder::new(name));
        self.groups.push(built.group);
        self.data.push(built.data);
        self
    }

    /// Adds a tensor with its initial values to the group `default`.
    pub fn tensor(
        mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: &'d (impl AsRef<[f32]> + ?Sized),
    ) -> Self {
        let known = self.groups.iter().position(|g| g.name == Self::DEFAULT_GROUP);
        let index = known.unwrap_or_else(|| {
            self.groups.push(GroupSpec::new(Self::DEFAULT_GROUP));
            self.data.push(Vec::new());
            self.groups.len() - 1
        });
        self.groups[index].tensors.push((name.into(), shape.into()));
        self.data[index].push(data.as_ref());
        self
    }

    /// Adds a buffer in torch's sense: a tensor of the model that is not trained, such as a running mean. It
    /// has no group, gradient or optimizer state. It is read, written and saved by its name, like a
    /// parameter.
    pub fn buffer(
        mut self,
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: &'d (impl AsRef<[f32]> + ?Sized),
    ) -> Self {
        self.buffers = self.buffers.tensor(name, shape);
        self.buffer_data.push(data.as_ref());
        self
    }

    /// Gives a tensor a second name, `alias`. Both names share one storage, gradient and update.
    pub fn tie(mut self, alias: impl Into<String>, name: impl Into<String>) -> Self {
        self.ties.push((alias.into(), name.into()));
        self
    }

    /// Creates the store and uploads the values. The upload takes effect before the next submit.
    ///
    /// # Errors
    /// As [`Layout::new`] and [`Layout::tie`]; [`Error::Length`] with the tensor's name if its values do not
    /// match its shape.
    pub fn build(self, gpu: &Gpu) -> Result<ParamStore, Error> {
        gpu.check()?;
        let mut layout = Layout::new(&self.groups, Limits::of(gpu))?;
        let mut buffers = super::buffers::layout(gpu, self.buffers)?;
        for (alias, name) in &self.ties {
            match &mut buffers {
                Some(buffers) if buffers.has(name) => buffers.tie(alias, name)?,
                _ => layout.tie(alias, name)?,
            }
        }
        let layout = Arc::new(layout);
        let data: Vec<&[f32]> = self.data.into_iter().flatten().collect();
        for (span, data) in layout.spans().iter().zip(&data) {
            check_len(&span.name, span.len, data.len())?;
        }
        let buffers = super::buffers::flat(gpu, &layout, buffers, &self.buffer_data)?;
        let params = Flat::zeroed(gpu, "params", &layout)?;
        let grads = Flat::zeroed(gpu, "grads", &layout)?;
        params.write_all(gpu, |index| Some(data[index]))?;
        Ok(ParamStore { buffers, ..ParamStore::new(gpu, params, grads)? })
    }
}
