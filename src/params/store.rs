use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::add::Added;
use super::flat::check_len;
use super::freeze::Frozen;
use super::{Flat, Gate, ParamStoreBuilder};
use crate::Error;
use crate::gpu::{Gpu, Recorder};
use crate::layout::Layout;

/// Parameters and gradients of named tensors, fused into flat buffers.
///
/// ```no_run
/// // Needs a device.
/// use gradus::{Gpu, GpuOptions, ParamStore};
///
/// let gpu = Gpu::new(GpuOptions::default())?;
/// let w = vec![0.5; 256 * 784];
/// let params = ParamStore::builder()
///     .group("decay", |g| g.tensor("w", [256, 784], &w))
///     .group("no_decay", |g| g.tensor("b", [256], &[0.0; 256]).tensor("scale", [], &[1.0]))
///     .build(&gpu)?;
/// assert_eq!(params.read("scale")?, [1.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug)]
pub struct ParamStore {
    pub(super) gpu: Gpu,
    pub(super) params: Flat,
    pub(super) grads: Flat,
    /// Tensors that are not trained.
    pub(super) buffers: Option<Arc<Flat>>,
    pub(super) gate: Arc<Gate>,
    pub(super) frozen: Frozen,
    pub(super) added: Option<Added>,
    pub(super) id: Arc<()>,
    /// Set once others have taken the place of its buffers.
    pub(super) outgrown: Arc<AtomicBool>,
}

impl ParamStore {
    /// A store in the making.
    pub fn builder<'d>() -> ParamStoreBuilder<'d> {
        ParamStoreBuilder::default()
    }

    pub(super) fn new(gpu: &Gpu, params: Flat, grads: Flat) -> Result<Self, Error> {
        let frozen = Frozen::new(vec![false; params.layout().spans().len()]);
        let gate = Arc::new(Gate::new(gpu, params.layout().groups().len())?);
        let (id, outgrown) = Default::default();
        let (gpu, buffers) = (gpu.clone(), None);
        Ok(Self { gpu, params, grads, buffers, gate, frozen, added: None, id, outgrown })
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Where each parameter lies; [buffers](ParamStore::buffers) have a layout of their own.
    pub fn layout(&self) -> &Arc<Layout> {
        self.params.layout()
    }

    /// The parameters.
    pub fn params(&self) -> &Flat {
        &self.params
    }

    /// The gradients.
    pub fn grads(&self) -> &Flat {
        &self.grads
    }

    /// The gate that the optimizer's frame reads.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The gate, for what lives longer than a borrow of the store.
    pub(crate) fn shared_gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// What tells this store from every other.
    pub(crate) fn id(&self) -> &Arc<()> {
        &self.id
    }

    /// Refuses an optimizer that was built for another store, or for this one before it has grown.
    pub(crate) fn check_optimizer(&self, store: &Arc<()>, layout: &Arc<Layout>) -> Result<(), Error> {
        let reason = if !Arc::ptr_eq(store, &self.id) {
            "this optimizer was built for another parameter store"
        } else if !Arc::ptr_eq(layout, self.layout()) {
            "another optimizer has added a group to the parameter store: build this one again"
        } else {
            return Ok(());
        };
        Err(Error::Mismatch(reason.into()))
    }

    /// Waits for the device and reads a tensor.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::DeviceLost`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.gpu.block_on(self.read_async(name))
    }

    /// As [`ParamStore::read`], without blocking.
    ///
    /// # Errors
    /// As [`ParamStore::read`].
    pub async fn read_async(&self, name: &str) -> Result<Vec<f32>, Error> {
        let (flat, span) = self.find(name)?;
        flat.read_async(&self.gpu, span).await
    }

    /// Writes a tensor, its elements in row-major order; it lands before the next submit. Their number is checked;
    /// [`ParamStore::write_shaped`] checks a shape too.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::Length`].
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), Error> {
        let (flat, span) = self.find(name)?;
        flat.write(&self.gpu, span, data)
    }

    /// As [`ParamStore::write`], for values whose shape is known: it must be the tensor's, so that a transposed
    /// weight is not taken for the weight.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Shape`] with both shapes; [`Error::Length`] if `data` does not fill `shape`.
    pub fn write_shaped(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Result<(), Error> {
        let (flat, span) = self.find(name)?;
        if span.shape != shape {
            let expected = format!("{:?}", span.shape);
            return Err(Error::Shape { layer: name.into(), expected, got: shape.to_vec() });
        }
        flat.write(&self.gpu, span, data)
    }

    /// Waits for the device and reads a tensor's gradient.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer; [`Error::DeviceLost`].
    pub fn read_grad(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.gpu.block_on(self.read_grad_async(name))
    }

    /// As [`ParamStore::read_grad`], without blocking.
    ///
    /// # Errors
    /// As [`ParamStore::read_grad`].
    pub async fn read_grad_async(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.grads.read_async(&self.gpu, &self.layout().spans()[self.trained(name)?]).await
    }

    /// Writes a tensor's gradient; it lands before the next submit.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer; [`Error::Length`].
    pub fn write_grad(&mut self, name: &str, data: &[f32]) -> Result<(), Error> {
        self.grads.write(&self.gpu, &self.layout().spans()[self.trained(name)?], data)
    }

    /// Writes all gradients from one slice: all tensors one after the other in order of the layout, without
    /// padding. One upload a buffer.
    ///
    /// The layout's order, as [`Layout::spans`] lists it, is that of the groups, and in each group that of its
    /// tensors. So where groups alternate from tensor to tensor it is another order than that in which a network
    /// declares its parameters; [`ParamStore::write_grad`] goes by the name.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn write_grads(&mut self, grads: &[f32]) -> Result<(), Error> {
        check_len("gradients of all tensors", self.layout().parameters(), grads.len())?;
        self.write_dense(&self.grads, grads)
    }

    /// Writes all tensors of a flat buffer from one slice without padding.
    pub(super) fn write_dense(&self, flat: &Flat, grads: &[f32]) -> Result<(), Error> {
        let layout = self.layout();
        let mut rest = grads;
        let parts: Vec<&[f32]> = layout
            .spans()
            .iter()
            .map(|span| {
                let (part, after) = rest.split_at(span.len);
                rest = after;
                part
            })
            .collect();
        flat.write_all(&self.gpu, |index| Some(parts[index]))
    }

    /// Records that all gradients become zero, with a recorder of the store's own device.
    pub fn record_zero_grads(&mut self, recorder: &mut Recorder<'_>) {
        self.grads.record_zero(recorder);
    }

    /// Records that the gradient of a tensor becomes zero, by its place in the layout.
    pub(crate) fn record_zero_grad(&self, recorder: &mut Recorder<'_>, index: usize) {
        self.grads.record_zero_span(recorder, &self.layout().spans()[index]);
    }
}
