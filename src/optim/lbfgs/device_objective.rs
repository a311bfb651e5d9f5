use super::inner_products::InnerProducts;
use super::moves::Kept;
use super::objective::{Objective, Point};
use super::vectors::Vectors;
use crate::error::Error;
use crate::grad::Transforms;
use crate::params::ParamStore;

/// The line-search objective: the closure along the current direction.
#[derive(Debug)]
pub(super) struct DeviceObjective<'a, C> {
    pub(super) vectors: &'a mut Vectors,
    pub(super) params: &'a mut ParamStore,
    pub(super) closure: &'a mut C,
    pub(super) transforms: &'a mut Transforms,
    /// Whether a point that is not finite is an error; otherwise it counts as too far.
    pub(super) strict: bool,
    /// Number of history slots in use.
    pub(super) places: usize,
    pub(super) start: Point,
    pub(super) longest: f64,
    /// Distance of the parameters along the direction.
    pub(super) here: f64,
    pub(super) evaluations: u64,
    pub(super) last: Option<Seen>,
    pub(super) kept: [Option<Seen>; 2],
}

/// A point with everything that the next iteration needs except the gradient.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) point: Point,
    pub(super) inner_products: InnerProducts,
}

impl<E, C> Objective for DeviceObjective<'_, C>
where
    E: From<Error>,
    C: AsyncFnMut(&mut ParamStore) -> Result<f64, E>,
{
    type Error = E;

    async fn at(&mut self, t: f64, keep: &[Point]) -> Result<Point, E> {
        let wanted = |seen: &Seen| keep.iter().any(|point| point.id == seen.point.id);
        self.kept.iter_mut().for_each(|slot| *slot = slot.take().filter(wanted));
        let last = self.last.take().filter(wanted);
        let slot = last.is_some().then(|| self.kept.iter().position(Option::is_none)).flatten();
        if let Some(slot) = slot {
            self.kept[slot] = last;
        }
        if t != self.here || slot.is_some() {
            self.vectors.walk(self.params, t, slot, None)?;
            self.here = t;
        }
        let given = (self.closure)(self.params).await?;
        let measured = self.vectors.measure(self.params, self.transforms, self.places);
        let inner_products = measured.await?;
        let given = given + inner_products.penalty;
        let mut loss = self.vectors.sign * given;
        self.evaluations += 1;
        let mut slope = inner_products.gd;
        if let Err(error) = inner_products.check(given, true) {
            if self.strict {
                return Err(error.into());
            }
            (loss, slope) = (f64::NAN, f64::NAN);
        }
        self.start.slope = inner_products.bd;
        self.longest = inner_products.d_most;
        let id = usize::try_from(self.evaluations).expect("a search has few points");
        let point = Point { id, t, loss, slope };
        self.last = Some(Seen { point, inner_products });
        Ok(point)
    }

    fn start(&self) -> Point {
        self.start
    }

    fn longest(&self) -> f64 {
        self.longest
    }
}

impl<C> DeviceObjective<'_, C> {
    /// Moves to a point that was kept. `None` if it is the start.
    pub(super) fn take(&mut self, point: &Point) -> Result<Option<InnerProducts>, Error> {
        if let Some(last) = self.last.take_if(|last| last.point.id == point.id) {
            return Ok(Some(last.inner_products));
        }
        let is_it = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| seen.point.id == point.id);
        let Some(slot) = self.kept.iter().position(is_it) else {
            self.vectors.walk(self.params, 0.0, None, Some(Kept::Before))?;
            return Ok(None);
        };
        self.vectors.walk(self.params, point.t, None, Some(Kept::Slot(slot)))?;
        Ok(self.kept[slot].take().map(|seen| seen.inner_products))
    }
}
