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
    /// Set when the store's buffers have been replaced by others.
    pub(super) outgrown: Arc<AtomicBool>,
}

impl ParamStore {
    /// Starts building a store.
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

    /// Positions of the parameters; [buffers](ParamStore::buffers) have a layout of their own.
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

    /// The gate that optimizer kernels read.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Like [`ParamStore::gate`], to be kept longer than a borrow of the store.
    pub(crate) fn shared_gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Identifies this store.
    pub(crate) fn id(&self) -> &Arc<()> {
        &self.id
    }

    /// Refuses an optimizer that was built for another store, or for this one before it grew.
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

    /// Waits for the device and reads the tensor `name`, in row-major order.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.gpu.block_on(self.read_async(name))
    }

    /// Like [`ParamStore::read`], without blocking.
    ///
    /// # Errors
    /// As [`ParamStore::read`].
    pub async fn read_async(&self, name: &str) -> Result<Vec<f32>, Error> {
        let (flat, span) = self.find(name)?;
        flat.read_async(&self.gpu, span).await
    }

    /// Writes the tensor `name` from values in row-major order. The write takes effect before the next
    /// submit. Only the number of values is checked; [`ParamStore::write_shaped`] also checks the shape.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::Length`].
    pub fn write(&mut self, name: &str, data: &[f32]) -> Result<(), Error> {
        let (flat, span) = self.find(name)?;
        flat.write(&self.gpu, span, data)
    }

    /// Like [`ParamStore::write`], and refuses a shape other than the tensor's, for example that of a
    /// transposed weight.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Shape`] with both shapes; [`Error::Length`] if `data` does not match
    /// `shape`.
    pub fn write_shaped(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Result<(), Error> {
        let (flat, span) = self.find(name)?;
        if span.shape != shape {
            let expected = format!("{:?}", span.shape);
            return Err(Error::Shape { layer: name.into(), expected, got: shape.to_vec() });
        }
        flat.write(&self.gpu, span, data)
    }

    /// Waits for the device and reads the gradient of the parameter `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_grad(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.gpu.block_on(self.read_grad_async(name))
    }

    /// Like [`ParamStore::read_grad`], without blocking.
    ///
    /// # Errors
    /// As [`ParamStore::read_grad`].
    pub async fn read_grad_async(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.grads.read_async(&self.gpu, &self.layout().spans()[self.trained(name)?]).await
    }

    /// Writes the gradient of the parameter `name`. The write takes effect before the next submit.
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Mismatch`] for a buffer; [`Error::Length`].
    pub fn write_grad(&mut self, name: &str, data: &[f32]) -> Result<(), Error> {
        self.grads.write(&self.gpu, &self.layout().spans()[self.trained(name)?], data)
    }

    /// Writes all gradients from one slice that holds all tensors in the order of the layout, without
    /// padding. One upload per buffer.
    ///
    /// The layout orders tensors by group, as [`Layout::spans`] lists them. If groups alternate from tensor
    /// to tensor, this differs from the order in which a network declares its parameters.
    /// [`ParamStore::write_grad`] takes a name instead.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn write_grads(&mut self, grads: &[f32]) -> Result<(), Error> {
        check_len("gradients of all tensors", self.layout().parameters(), grads.len())?;
        self.write_dense(&self.grads, grads)
    }

    /// Writes all tensors of `flat` from one slice without padding.
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

    /// Records that all gradients are set to zero. The recorder must belong to the store's device.
    pub fn record_zero_grads(&mut self, recorder: &mut Recorder<'_>) {
        self.grads.record_zero(recorder);
    }

    /// Records that the gradient of the tensor at `index` in the layout is set to zero.
    pub(crate) fn record_zero_grad(&self, recorder: &mut Recorder<'_>, index: usize) {
        self.grads.record_zero_span(recorder, &self.layout().spans()[index]);
    }
}
