//! Tensors of a model that are not trained, like those of torch's `register_buffer`. They have a flat space
//! of their own, so code that processes parameters, gradients or groups never sees them.

use std::slice;
use std::sync::Arc;

use super::flat::check_len;
use super::{Flat, GroupBuilder, ParamStore};
use crate::Error;
use crate::gpu::Gpu;
use crate::layout::{GroupSpec, Layout, Limits, Span};

/// The layout of the buffers; `None` if there are none.
pub(super) fn layout(gpu: &Gpu, mut buffers: GroupSpec) -> Result<Option<Layout>, Error> {
    if buffers.tensors.is_empty() {
        return Ok(None);
    }
    buffers.name = "buffers".into();
    Layout::new(slice::from_ref(&buffers), Limits::of(gpu)).map(Some)
}

/// The buffers with their values. None may have the name of a parameter.
pub(super) fn flat(
    gpu: &Gpu,
    params: &Layout,
    buffers: Option<Layout>,
    data: &[&[f32]],
) -> Result<Option<Arc<Flat>>, Error> {
    let Some(layout) = buffers else { return Ok(None) };
    check_apart(params, &layout)?;
    for (span, data) in layout.spans().iter().zip(data) {
        check_len(&span.name, span.len, data.len())?;
    }
    let flat = Flat::zeroed(gpu, "buffers", &Arc::new(layout))?;
    flat.write_all(gpu, |index| Some(data[index]))?;
    Ok(Some(Arc::new(flat)))
}

/// Refuses a name that is in both layouts.
pub(super) fn check_apart(params: &Layout, buffers: &Layout) -> Result<(), Error> {
    let both = buffers.names().map(|(name, _)| name).filter(|name| params.has(name)).min();
    both.map_or(Ok(()), |name| Err(Error::Duplicate { kind: "tensor", name: name.into() }))
}

impl ParamStore {
    /// The buffers in torch's sense: tensors of the model that are not trained, such as running statistics.
    /// They have their own layout. `None` if there are none.
    ///
    /// [`ParamStore::read`] and [`ParamStore::write`] accept their names like those of parameters. Buffers
    /// have no gradient. Optimizers, weight decay, gradient transforms, norms and clipping do not touch them.
    ///
    /// ```no_run
    /// // Needs a device.
    /// use gradus::{Gpu, GpuOptions, ParamStore};
    ///
    /// let params = ParamStore::builder()
    ///     .tensor("bn1.weight", [2], &[1.0, 1.0])
    ///     .buffer("bn1.running_mean", [2], &[0.0, 0.0])
    ///     .build(&Gpu::new(GpuOptions::default())?)?;
    /// assert_eq!(params.read("bn1.running_mean")?, [0.0, 0.0]);
    /// assert!(params.read_grad("bn1.running_mean").is_err());
    /// # Ok::<(), gradus::Error>(())
    /// ```
    pub fn buffers(&self) -> Option<&Flat> {
        self.buffers.as_deref()
    }

    /// All tensors in the order of torch's `state_dict`: the parameters in order of their layout, then the
    /// buffers.
    pub fn tensors(&self) -> impl Iterator<Item = &Span> {
        let buffers = self.buffers().map_or(&[][..], |buffers| buffers.layout().spans());
        self.layout().spans().iter().chain(buffers)
    }

    /// Adds buffers to a store that has none, for example one over adopted memory.
    ///
    /// # Errors
    /// [`Error::Config`] if the store already has buffers; [`Error::Duplicate`], [`Error::Shape`],
    /// [`Error::Length`] and [`Error::Limit`] as for
    /// [`ParamStoreBuilder::build`](crate::params::ParamStoreBuilder::build); [`Error::DeviceLost`].
    pub fn with_buffers<'d>(
        mut self,
        tensors: impl FnOnce(GroupBuilder<'d>) -> GroupBuilder<'d>,
    ) -> Result<Self, Error> {
        self.gpu.check()?;
        if self.buffers.is_some() {
            let reason = "the parameter store already has buffers: add all of them in one call".into();
            return Err(Error::Config { what: "buffers".into(), reason });
        }
        let GroupBuilder { group, data } = tensors(GroupBuilder::new("buffers"));
        let layout = layout(&self.gpu, group)?;
        self.buffers = flat(&self.gpu, self.layout(), layout, &data)?;
        Ok(self)
    }

    /// Finds a tensor by its name: the flat buffers that hold it, and its position there.
    pub(crate) fn find(&self, name: &str) -> Result<(&Flat, &Span), Error> {
        let flats = [Some(&self.params), self.buffers()];
        let found = flats.into_iter().flatten().find(|flat| flat.layout().has(name));
        let known = || Error::unknown("tensor", name, self.tensors().map(|span| span.name.as_str()));
        let flat = found.ok_or_else(known)?;
        Ok((flat, flat.layout().span(name)?))
    }

    /// The index of a parameter. Refuses the name of a buffer.
    pub(super) fn trained(&self, name: &str) -> Result<usize, Error> {
        if self.is_buffer(name) {
            return Err(Error::Mismatch(format!(
                "{name}: expected a parameter, got a buffer, which is not trained"
            )));
        }
        self.layout().index(name)
    }

    /// Whether `name` is a buffer.
    pub fn is_buffer(&self, name: &str) -> bool {
        self.buffers().is_some_and(|buffers| buffers.layout().has(name))
    }

    /// Waits for the device and reads all tensors, in the order of [`ParamStore::tensors`].
    pub(crate) async fn read_tensors(&self) -> Result<Vec<(&Span, Vec<f32>)>, Error> {
        let mut tensors = Vec::new();
        for flat in [Some(&self.params), self.buffers()].into_iter().flatten() {
            let all = flat.read_all_async(&self.gpu).await?;
            let spans = flat.layout().spans().iter();
            tensors.extend(spans.map(|span| (span, all[span.first..span.first + span.len].to_vec())));
        }
        Ok(tensors)
    }

    /// Writes all tensors. `values` must return as many elements for a tensor as it has.
    pub(crate) fn write_tensors<'v>(&self, values: impl Fn(&str) -> Option<&'v [f32]>) -> Result<(), Error> {
        for flat in [Some(&self.params), self.buffers()].into_iter().flatten() {
            flat.write_all(&self.gpu, |index| values(&flat.layout().spans()[index].name))?;
        }
        Ok(())
    }
}
