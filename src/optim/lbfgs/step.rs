use super::backtracking;
use super::backtracking::backtracking;
use super::device_objective::DeviceObjective;
use super::inner_products::InnerProducts;
use super::moves::Move;
use super::objective::{Objective, Point};
use super::optimizer::{Attempt, LbfgsOptimizer};
use super::wolfe::strong_wolfe;
use super::zoom::zoom;
use super::{LBFGS, LineSearch};
use crate::config::Variant;
use crate::error::Error;
use crate::params::ParamStore;

/// The result of a step.
///
/// ```
/// use gradus::optim::LbfgsStep;
///
/// fn report(step: &LbfgsStep) {
///     println!("{} to {} in {} iterations: {:?}", step.loss, step.last_loss, step.iterations, step.stop);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LbfgsStep {
    /// The first loss that the closure returned, which is what torch returns. Both losses include the penalties of
    /// [`LbfgsOptimizer::set_transforms`].
    pub loss: f64,
    /// The loss of the last evaluated point that was taken. Without a line search, the last move of a step is not
    /// evaluated.
    pub last_loss: f64,
    /// Number of calls of the closure.
    pub evaluations: u64,
    /// Number of iterations.
    pub iterations: u64,
    /// Why the step ended.
    pub stop: LbfgsStop,
}

/// Why a step ended.
///
/// ```
/// use gradus::optim::{LbfgsStep, LbfgsStop};
///
/// fn has_converged(step: &LbfgsStep) -> bool {
///     matches!(step.stop, LbfgsStop::Gradient | LbfgsStop::Change)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LbfgsStop {
    /// After `max_iter` iterations, or optax's one.
    Iterations,
    /// After `max_eval` calls of the closure.
    Evaluations,
    /// No gradient is above `tolerance_grad`.
    Gradient,
    /// The loss does not fall (with `maximize`: rise) along the direction by more than `tolerance_change`.
    Slope,
    /// No parameter changed by more than `tolerance_change`.
    Change,
    /// The loss changed by less than `tolerance_change`.
    Loss,
}

/// The point at which an iteration begins or ends.
#[derive(Clone, Debug)]
struct Now {
    loss: f64,
    inner_products: InnerProducts,
}

impl LbfgsOptimizer {
    /// Takes a step. The closure computes the loss at the current parameters and leaves their gradients in the store,
    /// with [`ParamStore::write_grads`] or submitted kernels. It may be called many times.
    ///
    /// Waits for the device once after each call of the closure, to read back a few numbers from which the host
    /// decides.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another store; [`Error::NonFinite`] for a loss or gradients that are not finite (in a
    /// search of optax's, only if no point is finite); [`Error::DeviceLost`]; [`Error::Limit`] if there is no memory
    /// for another pair; errors of the closure. Then the parameters are those of the last good iteration, the history
    /// up to it is kept, and another step may be taken.
    ///
    /// ```no_run
    /// use gradus::optim::LBFGS;
    /// use gradus::{Error, Gpu, GpuOptions, ParamStore};
    ///
    /// let gpu = Gpu::new(GpuOptions::default())?;
    /// let mut params = ParamStore::builder().tensor("w", [2], &[3.0, -1.0]).build(&gpu)?;
    /// let mut optimizer = LBFGS::default().build(&params)?;
    /// let step = optimizer.step(&mut params, |params| -> Result<f64, Error> {
    ///     let w = params.read("w")?;
    ///     params.write_grads(&w)?;
    ///     Ok(0.5 * f64::from(w[0] * w[0] + w[1] * w[1]))
    /// })?;
    /// println!("{} after {} closures: {:?}", step.last_loss, step.evaluations, step.stop);
    /// # Ok::<(), Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step<E: From<Error>>(
        &mut self,
        params: &mut ParamStore,
        mut closure: impl FnMut(&mut ParamStore) -> Result<f64, E>,
    ) -> Result<LbfgsStep, E> {
        let gpu = params.gpu().clone();
        gpu.block_on(self.step_async(params, async |params: &mut ParamStore| closure(params)))
    }

    /// As [`LbfgsOptimizer::step`], without blocking. If the future is dropped before it is ready, the next step begins
    /// at the last good point.
    ///
    /// # Errors
    /// As [`LbfgsOptimizer::step`].
    pub async fn step_async<E: From<Error>>(
        &mut self,
        params: &mut ParamStore,
        mut closure: impl AsyncFnMut(&mut ParamStore) -> Result<f64, E>,
    ) -> Result<LbfgsStep, E> {
        self.run(params, &mut closure).await
    }

    async fn run<E, C>(&mut self, params: &mut ParamStore, closure: &mut C) -> Result<LbfgsStep, E>
    where
        E: From<Error>,
        C: AsyncFnMut(&mut ParamStore) -> Result<f64, E>,
    {
        self.begin(params)?;
        let mut now = self.evaluate(params, closure).await?;
        let sign = self.options.sign();
        let given = sign * now.loss;
        let torchs = self.options.variant == Variant::Torch;
        let done = |last_loss: f64, evaluations, iterations, stop| {
            Ok(LbfgsStep { loss: given, last_loss: sign * last_loss, evaluations, iterations, stop })
        };
        let (mut evaluations, mut iterations) = (1, 0);
        if torchs && now.inner_products.g_most <= self.options.tolerance_grad {
            return done(now.loss, evaluations, iterations, LbfgsStop::Gradient);
        }
        loop {
            iterations += 1;
            let last = !torchs || iterations == self.options.max_iter;
            let first = self.t.is_none();
            let (remember, direction) = self.next_direction(params, &now.inner_products)?;
            self.prev_loss = now.loss;
            self.n_iter += 1;
            let t = self.first_guess(&now.inner_products);
            if torchs && direction.slope > -self.options.tolerance_change {
                self.t = Some(t);
                self.vectors.turn(params, &Move { remember, direction: &direction, t: 0.0 })?;
                return done(now.loss, evaluations, iterations, LbfgsStop::Slope);
            }
            self.attempt = Some(Attempt { first, over: false });
            let next_move = Move { remember, direction: &direction, t };
            let moved = self.advance(params, closure, &next_move, &now, evaluations, last).await;
            let (next, counted) = match moved {
                Ok(moved) => moved,
                Err(error) => {
                    self.take_back(params)?;
                    return Err(error);
                }
            };
            self.func_evals += counted;
            evaluations += counted;
            let Some(next) = next else {
                self.attempt = Some(Attempt { first, over: true });
                return done(now.loss, evaluations, iterations, LbfgsStop::Iterations);
            };
            self.attempt = None;
            now = next;
            let change = now.inner_products.d_most * self.t.unwrap_or_default().abs();
            if let Some(stop) = self.stop(&now, change, evaluations, last) {
                return done(now.loss, evaluations, iterations, stop);
            }
        }
    }

    /// Evaluates the current point; rolls the last step back if the point is not good.
    async fn evaluate<E, C>(&mut self, params: &mut ParamStore, closure: &mut C) -> Result<Now, E>
    where
        E: From<Error>,
        C: AsyncFnMut(&mut ParamStore) -> Result<f64, E>,
    {
        let given = closure(params).await?;
        let places = self.memory.places();
        let inner_products = self.vectors.measure(params, &mut self.transforms, places).await?;
        let given = given + inner_products.penalty;
        let moved = self.t.is_some_and(|t| t != 0.0);
        if let Err(error) = inner_products.check(given, moved) {
            self.take_back(params)?;
            return Err(error.into());
        }
        self.attempt = None;
        self.func_evals += 1;
        Ok(Now { loss: self.options.sign() * given, inner_products })
    }

    /// The step length, or the first one to try.
    fn first_guess(&self, inner_products: &InnerProducts) -> f64 {
        let LBFGS { lr, variant, line_search_fn, .. } = self.options;
        match (variant, self.t) {
            (Variant::Torch, None) => (1.0 / inner_products.g_sum).min(1.0) * lr,
            (Variant::Torch, Some(_)) => lr,
            (Variant::Optax, before) if line_search_fn == Some(LineSearch::Backtracking) => {
                // A step that was rolled back says nothing about the next.
                backtracking::guess(before.filter(|t| *t != 0.0).unwrap_or(1.0))
            }
            (Variant::Optax, _) => 1.0,
        }
    }

    /// Moves, and returns the new point, unless it is not evaluated, with the number of calls of the closure.
    async fn advance<E, C>(
        &mut self,
        params: &mut ParamStore,
        closure: &mut C,
        next_move: &Move<'_>,
        now: &Now,
        evaluations: u64,
        last: bool,
    ) -> Result<(Option<Now>, u64), E>
    where
        E: From<Error>,
        C: AsyncFnMut(&mut ParamStore) -> Result<f64, E>,
    {
        self.vectors.turn(params, next_move)?;
        self.t = Some(next_move.t);
        if !next_move.direction.slope.is_finite() {
            self.take_back(params)?;
            self.forget();
            return Err(Error::NonFinite("LBFGS: the direction is not finite".into()).into());
        }
        let search = self.options.line_search_fn;
        if search.is_none() && last {
            return Ok((None, 0));
        }
        let mut walk = DeviceObjective {
            vectors: &mut self.vectors,
            params,
            closure,
            transforms: &mut self.transforms,
            strict: !matches!(search, Some(LineSearch::Zoom | LineSearch::Backtracking)),
            places: self.memory.places(),
            start: Point { id: 0, t: 0.0, loss: now.loss, slope: next_move.direction.slope },
            longest: 0.0,
            here: next_move.t,
            evaluations: 0,
            last: None,
            kept: [None, None],
        };
        let point = match search {
            None => walk.at(next_move.t, &[]).await?,
            Some(LineSearch::StrongWolfe) => {
                let most = self.options.evaluations().saturating_sub(evaluations);
                strong_wolfe(&mut walk, next_move.t, most).await?
            }
            Some(LineSearch::Zoom) => zoom(&mut walk).await?,
            Some(LineSearch::Backtracking) => backtracking(&mut walk, next_move.t).await?,
        };
        if point.id == 0 && !walk.strict {
            let reason = "LBFGS: no loss along the direction is finite";
            return Err(Error::NonFinite(reason.into()).into());
        }
        let taken = walk.take(&point)?;
        let (counted, longest) = (walk.evaluations, walk.longest);
        self.t = Some(point.t);
        // The start has no inner products with this direction, and needs none: nothing moved, so the step ends.
        let inner_products =
            taken.unwrap_or_else(|| InnerProducts { d_most: longest, ..now.inner_products.clone() });
        Ok((Some(Now { loss: point.loss, inner_products }), counted))
    }

    fn stop(&self, now: &Now, change: f64, evaluations: u64, last: bool) -> Option<LbfgsStop> {
        let LBFGS { tolerance_grad, tolerance_change, .. } = self.options;
        if last {
            Some(LbfgsStop::Iterations)
        } else if evaluations >= self.options.evaluations() {
            Some(LbfgsStop::Evaluations)
        } else if now.inner_products.g_most <= tolerance_grad {
            Some(LbfgsStop::Gradient)
        } else if change <= tolerance_change {
            Some(LbfgsStop::Change)
        } else if (now.loss - self.prev_loss).abs() < tolerance_change {
            Some(LbfgsStop::Loss)
        } else {
            None
        }
    }
}
