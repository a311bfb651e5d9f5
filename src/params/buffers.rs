//! Tensors that belong to a model and are not trained, as torch's `register_buffer` makes them. They lie in a flat space
//! of their own, so that nothing which goes over parameters, gradients or groups ever meets them.

use std::slice;
use std::sync::Arc;

use super::flat::check_len;
use super::{Flat, GroupBuilder, ParamStore};
use crate::Error;
use crate::gpu::Gpu;
use crate::layout::{GroupSpec, Layout, Limits, Span};

/// The layout of buffers; `None` where there are none.
pub(super) fn layout(gpu: &Gpu, mut buffers: GroupSpec) -> Result<Option<Layout>, Error> {
    if buffers.tensors.is_empty() {
        return Ok(None);
    }
    buffers.name = "buffers".into();
    Layout::new(slice::from_ref(&buffers), Limits::of(gpu)).map(Some)
}

/// The buffers beside parameters, with their values, none of which may go by the name of a parameter.
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

/// Refuses a name that stands for a tensor in both layouts.
pub(super) fn check_apart(params: &Layout, buffers: &Layout) -> Result<(), Error> {
    let both = buffers.names().map(|(name, _)| name).filter(|name| params.has(name)).min();
    both.map_or(Ok(()), |name| Err(Error::Duplicate { kind: "tensor", name: name.into() }))
}

impl ParamStore {
    /// The buffers, in torch's sense: tensors that belong to the model and are not trained, such as running statistics.
    /// They have a layout of their own; `None` where there are none.
    ///
    /// By name, [`ParamStore::read`] and [`ParamStore::write`] find them as they find parameters. They have no
    /// gradient, and no optimizer, decay, transform, norm or clip touches them.
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

    /// All tensors as torch's `state_dict` has them: the parameters in order of their layout, then the buffers.
    pub fn tensors(&self) -> impl Iterator<Item = &Span> {
        let buffers = self.buffers().map_or(&[][..], |buffers| buffers.layout().spans());
        self.layout().spans().iter().chain(buffers)
    }

    /// Gives a store without buffers some, such as one over adopted memory.
    ///
    /// # Errors
    /// [`Error::Config`] if it has buffers; [`Error::Duplicate`], [`Error::Shape`], [`Error::Length`] and
    /// [`Error::Limit`] as when a store is built; [`Error::DeviceLost`].
    pub fn with_buffers<'d>(
        mut self,
        tensors: impl FnOnce(GroupBuilder<'d>) -> GroupBuilder<'d>,
    ) -> Result<Self, Error> {
        self.gpu.check()?;
        if self.buffers.is_some() {
            let reason = "the parameter store has buffers: give it all of them at once".into();
            return Err(Error::Config { what: "buffers".into(), reason });
        }
        let GroupBuilder { group, data } = tensors(GroupBuilder::new("buffers"));
        let layout = layout(&self.gpu, group)?;
        self.buffers = flat(&self.gpu, self.layout(), layout, &data)?;
        Ok(self)
    }

    /// A tensor by its name: where its values lie, and its place there.
    pub(crate) fn find(&self, name: &str) -> Result<(&Flat, &Span), Error> {
        let flats = [Some(&self.params), self.buffers()];
        let found = flats.into_iter().flatten().find(|flat| flat.layout().has(name));
        let known = || Error::unknown("tensor", name, self.tensors().map(|span| span.name.as_str()));
        let flat = found.ok_or_else(known)?;
        Ok((flat, flat.layout().span(name)?))
    }

    /// The index of a parameter, or a refusal that says so of a buffer.
    pub(super) fn trained(&self, name: &str) -> Result<usize, Error> {
        if self.is_buffer(name) {
            return Err(Error::Mismatch(format!("{name}: it is a buffer, which is not trained")));
        }
        self.layout().index(name)
    }

    /// Whether a tensor of this name is a buffer.
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

    /// Writes all tensors; `values` has been seen to have those of each, as many as it has elements.
    pub(crate) fn write_tensors<'v>(&self, values: impl Fn(&str) -> Option<&'v [f32]>) -> Result<(), Error> {
        for flat in [Some(&self.params), self.buffers()].into_iter().flatten() {
            flat.write_all(&self.gpu, |index| values(&flat.layout().spans()[index].name))?;
        }
        Ok(())
    }
}
