use std::sync::Arc;

use super::inner_products::InnerProducts;
use super::memory::{Direction, Memory};
use super::transforms;
use super::vectors::Vectors;
use super::{LBFGS, LineSearch};
use crate::config::Variant;
use crate::error::{Error, at_least};
use crate::grad::Transforms;
use crate::layout::Layout;
use crate::params::{GateValues, ParamStore};

/// Runs [`LBFGS`] over all tensors of a store: vectors stay on the device, the host decides.
///
/// Frozen tensors do not change and do not take part. Freezing or thawing a tensor changes the problem: the history is
/// dropped, and the next iteration is like a first one. [`LbfgsOptimizer::set_transforms`] lists the gradient
/// transforms that have an effect.
///
/// ```no_run
/// // Needs a device.
/// use gradus::optim::LBFGS;
/// use gradus::{Error, Gpu, GpuOptions, ParamStore};
///
/// let mut params = ParamStore::builder().tensor("w", [2], &[3.0, -1.0]).build(&Gpu::new(GpuOptions::default())?)?;
/// let mut optimizer = LBFGS::default().build(&params)?;
/// let step = optimizer.step(&mut params, |params| -> Result<f64, Error> {
///     let w = params.read("w")?;
///     params.write_grads(&w)?;
///     Ok(w.iter().map(|w| f64::from(w * w) / 2.0).sum())
/// })?;
/// println!("{} after {} closures", step.last_loss, step.evaluations);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct LbfgsOptimizer {
    pub(super) options: LBFGS,
    pub(super) store: Arc<()>,
    pub(super) layout: Arc<Layout>,
    pub(super) vectors: Vectors,
    pub(super) memory: Memory,
    pub(super) func_evals: u64,
    pub(super) n_iter: u64,
    /// Length of the last step in multiples of the direction; `None` before the first iteration, 0 if it was rolled
    /// back.
    pub(super) t: Option<f64>,
    pub(super) h_diag: f64,
    pub(super) prev_loss: f64,
    pub(super) attempt: Option<Attempt>,
    pub(super) frozen: Vec<bool>,
    pub(super) transforms: Transforms,
}

/// A step from a good point to one that is not evaluated yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Whether it belongs to the first iteration.
    pub(super) first: bool,
    /// Whether the iteration is over, so that the next closure evaluates the point.
    pub(super) over: bool,
}

impl LbfgsOptimizer {
    pub(super) fn new(options: LBFGS, params: &ParamStore) -> Result<Self, Error> {
        options.check()?;
        let vectors = Self::vectors(&options, params, &Transforms::default())?;
        Ok(Self::with_vectors(options, params, vectors))
    }

    pub(super) fn with_vectors(options: LBFGS, params: &ParamStore, vectors: Vectors) -> Self {
        Self {
            vectors,
            transforms: Transforms::default(),
            store: params.id().clone(),
            layout: params.layout().clone(),
            memory: Memory::default(),
            func_evals: 0,
            n_iter: 0,
            t: None,
            h_diag: 1.0,
            prev_loss: 0.0,
            attempt: None,
            frozen: params.frozen().to_vec(),
            options,
        }
    }

    pub(super) fn vectors(
        options: &LBFGS,
        params: &ParamStore,
        transforms: &Transforms,
    ) -> Result<Vectors, Error> {
        let kept = match options.line_search_fn {
            Some(LineSearch::StrongWolfe) => 2,
            Some(LineSearch::Zoom) => 1,
            Some(LineSearch::Backtracking) | None => 0,
        };
        Vectors::new(params, kept, options.history_size, options.sign(), transforms)
    }

    /// Sets the transforms of the gradients that closures leave in the store. They are applied in place, before
    /// anything is computed from the gradients. Allowed are custom transforms such as
    /// [`Centralize`](crate::grad::Centralize), clips by norm and by value, and penalties. The value of penalties over
    /// tensors that are not frozen is also added to the loss, so that searches see the function whose gradients they
    /// are given. A search along clipped gradients sees slopes that are too small, and may end early.
    ///
    /// The history is dropped, as when a tensor is frozen: the next iteration is like a first one. Costs one more
    /// dispatch for each window and closure, plus those of the norm. A state dict does not hold transforms; loading one
    /// keeps them.
    ///
    /// ```no_run
    /// use gradus::grad::{Penalty, Transforms};
    /// use gradus::optim::LBFGS;
    /// use gradus::{Error, Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("w", [2], &[3.0, -1.0]).build(&gpu)?;
    /// let mut optimizer = LBFGS::default().build(&params)?;
    /// let ridge = Transforms { penalties: vec![Penalty { l2: 0.5, ..Penalty::default() }], ..Transforms::default() };
    /// optimizer.set_transforms(ridge, &params)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for transforms that cannot act on a closure: `accumulate`, `grad_scaler`, `skip` and `noise`,
    /// and for `error_if_nonfinite` of `clip_grad_norm`, because norms that are not finite are errors anyway;
    /// [`Error::Constant`] for an option out of range; [`Error::UnknownName`] for a group or tensor of a penalty;
    /// [`Error::Mismatch`] for another store; [`Error::Limit`], [`Error::Kernel`], [`Error::DeviceLost`]; errors of
    /// custom transforms. Then nothing was changed.
    pub fn set_transforms(&mut self, mut transforms: Transforms, params: &ParamStore) -> Result<(), Error> {
        self.check_store(params)?;
        params.gpu().check()?;
        transforms::check(&transforms)?;
        for custom in &mut transforms.custom {
            custom.prepare(params)?;
        }
        let vectors = Self::vectors(&self.options, params, &transforms)?;
        params.gate().write(params.gpu(), GateValues::OPEN)?;
        if self.attempt.is_some_and(|attempt| !attempt.over) {
            self.take_back(params)?;
        }
        (self.vectors, self.transforms) = (vectors, transforms);
        self.frozen = params.frozen().to_vec();
        self.forget();
        Ok(())
    }

    /// The transforms of the gradients that closures leave.
    pub fn transforms(&self) -> &Transforms {
        &self.transforms
    }

    /// The options.
    pub fn options(&self) -> &LBFGS {
        &self.options
    }

    /// Sets the learning rate, from the next iteration on.
    ///
    /// # Errors
    /// [`Error::Constant`] for one that is negative or not finite.
    pub fn set_lr(&mut self, lr: f64) -> Result<(), Error> {
        at_least("lr", lr, 0.0)?;
        self.options.lr = lr;
        Ok(())
    }

    /// Number of calls of closures so far, as torch counts them; failed calls are not counted.
    pub fn func_evals(&self) -> u64 {
        self.func_evals
    }

    /// Number of iterations so far, as torch counts them.
    pub fn n_iter(&self) -> u64 {
        self.n_iter
    }

    /// Number of pairs stored now.
    pub fn remembered(&self) -> usize {
        self.memory.len()
    }

    pub(super) fn check_store(&self, params: &ParamStore) -> Result<(), Error> {
        params.check_optimizer(&self.store, &self.layout)
    }

    /// Prepares a step: rolls back an interrupted one, and checks which tensors are frozen.
    pub(super) fn begin(&mut self, params: &ParamStore) -> Result<(), Error> {
        self.check_store(params)?;
        params.gpu().check()?;
        if self.attempt.is_some_and(|attempt| !attempt.over) {
            self.take_back(params)?;
        }
        if self.frozen != params.frozen() {
            self.vectors = Self::vectors(&self.options, params, &self.transforms)?;
            self.frozen = params.frozen().to_vec();
            self.forget();
        }
        Ok(())
    }

    /// Drops the history: the next iteration is like a first one.
    pub(super) fn forget(&mut self) {
        self.memory.clear();
        self.t = None;
        self.attempt = None;
    }

    /// Moves back to the last good point.
    pub(super) fn take_back(&mut self, params: &ParamStore) -> Result<(), Error> {
        let Some(attempt) = self.attempt.take() else { return Ok(()) };
        self.n_iter = self.n_iter.saturating_sub(1);
        self.t = if attempt.first { None } else { Some(0.0) };
        self.vectors.walk(params, 0.0, None, None)
    }

    /// Stores the last step if its pair is good enough, and computes the next direction. Returns the slot and length of
    /// the stored step first.
    pub(super) fn next_direction(
        &mut self,
        params: &ParamStore,
        inner_products: &InnerProducts,
    ) -> Result<(Option<(usize, f64)>, Direction), Error> {
        let torchs = self.options.variant == Variant::Torch;
        let mut grads: Vec<[f64; 2]> = inner_products.pairs.iter().map(|with| [with.sg, with.yg]).collect();
        let mut new = None;
        if let Some(t) = self.t {
            let (ys, yy) = (t * inner_products.yd, inner_products.yy);
            if if torchs { ys > 1e-10 } else { t != 0.0 } {
                let place = self.memory.next_place(self.options.history_size);
                self.vectors.reserve(params, place)?;
                let ro = if ys == 0.0 { 0.0 } else { 1.0 / ys };
                self.memory.push(place, inner_products, t, ro);
                grads.resize(self.memory.places(), [0.0; 2]);
                grads[place] = [t * inner_products.gd, inner_products.gy];
                self.h_diag = if yy > 0.0 { ys / yy } else { 1.0 };
                new = Some((place, t));
            }
        } else {
            self.memory.clear();
            grads.clear();
            self.h_diag = if torchs { 1.0 } else { (1.0 / inner_products.gg.sqrt()).min(1.0) };
        }
        let scale = if torchs { 1.0 } else { self.options.lr };
        Ok((new, self.memory.direction(inner_products.gg, &grads, self.h_diag, scale)))
    }
}
