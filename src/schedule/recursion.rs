//! Computes late steps of a chain's recursion without computing all earlier steps.

use std::sync::{Mutex, PoisonError};

use super::course::mover;
use super::sum::smooth_sum;
use super::{ChainedScheduler, Course, Point, times};
use crate::error::Error;

/// Maximum number of steps and terms for one rate. Also the cost in steps of finding the end of a leg.
const MOST: usize = 1 << 20;
const OF_LEG: usize = 8;
/// Number of steps after the start of the recursion that are computed one by one, to match PyTorch to the last digit.
/// There, after a long wave turns, the distance to the floor has few significant digits, and later steps keep the
/// error.
const WALKED: u64 = 4096;
/// Number of base rates that are remembered.
const BASES: usize = 64;

/// Results for each base rate: the start of the latest leg, and the latest step of it that was reached from a landing
/// one by one. Both are on the path to later steps, so later results do not depend on what was remembered.
#[derive(Default)]
pub(super) struct Seen(Mutex<Vec<Known>>);

#[derive(Clone, Copy)]
struct Known {
    base: f64,
    leg: (u64, Point),
    landing: u64,
    walked: (u64, Point),
}

/// Step `step` of the recursion that starts at step `from` with the product of all factors.
pub(super) fn recursion(chain: &ChainedScheduler, from: u64, step: u64, base: f64) -> Result<Point, Error> {
    let origin = chain.reset(step).unwrap_or(0).max(from);
    let known = chain.seen.of(base).filter(|known| (origin..=step).contains(&known.leg.0));
    let leg = match known {
        Some(known) => known.leg,
        None if origin == 0 => (0, chain.fold(0, 0, base, Point::rate(base))?),
        None if chain.reset(step) == Some(origin) => {
            (origin, chain.fold(0, origin, base, Point::rate(base))?)
        }
        None => (origin, chain.fold(0, origin, base, chain.product(origin - 1, base)?)?),
    };
    let walked = known.map_or((leg.0, leg), |known| (known.landing, known.walked));
    let mut way = Way { chain, base, origin, leg, walked, left: MOST };
    let point = way.go(step)?;
    let (landing, walked) = way.walked;
    chain.seen.keep(Known { base, leg: way.leg, landing, walked });
    Ok(point)
}

/// A path through the steps, in legs whose starts do not depend on where the path ends.
struct Way<'a> {
    chain: &'a ChainedScheduler,
    base: f64,
    origin: u64,
    leg: (u64, Point),
    /// A step of the leg from which steps were computed one by one, and the latest of those with its rate.
    walked: (u64, (u64, Point)),
    left: usize,
}

impl Way<'_> {
    fn go(&mut self, step: u64) -> Result<Point, Error> {
        loop {
            let (start, point) = self.leg;
            if start == step {
                return Ok(point);
            }
            let free = self.origin.saturating_add(WALKED);
            let end = if start < free {
                start + 1
            } else {
                self.pay(OF_LEG)?;
                self.end_of_leg(start)
            };
            let last = end.min(step);
            let point = if start < free { self.walk(start, last)? } else { self.to(last)? };
            if end > step {
                return Ok(point);
            }
            self.leg = (end, point);
            self.walked = (end, self.leg);
        }
    }

    /// The last step of the leg that starts at step `start`.
    fn end_of_leg(&self, start: u64) -> u64 {
        let courses = self.chain.courses(start);
        let all = Course::of_all(start, &courses);
        let smooth = match mover(&courses) {
            Some(Ok(_)) => courses.iter().map(|course| course.smooth.min(course.until)).min(),
            _ => None,
        };
        let far = smooth.filter(|smooth| *smooth >= start.saturating_add(WALKED));
        if all.until > start + 1 { all.until } else { far.unwrap_or(start).max(start + 1) }
    }

    /// The rate at a step of the leg.
    fn to(&mut self, step: u64) -> Result<Point, Error> {
        let (start, from) = self.leg;
        let course = Course::of_all(start, &self.chain.courses(start));
        if course.until > start + 1 {
            // The last step is computed by itself, because it also gives the momentum.
            let before = step - 1;
            self.pay(2)?;
            let ratio = self.chain.ratio_over(start, before, self.base)?;
            let lr = course.floor + times(from.lr - course.floor, ratio);
            return self.chain.fold(0, step, self.base, Point { lr, ..from }.finite(before)?);
        }
        let landing = start + (step - start) / WALKED * WALKED;
        if landing != self.walked.0 || self.walked.1.0 > step {
            let point = if landing == start { from } else { self.land(landing)? };
            self.walked = (landing, (landing, point));
        }
        let (at, point) = self.walked.1;
        self.leg_walk(at, point, step)
    }

    fn walk(&mut self, start: u64, step: u64) -> Result<Point, Error> {
        let point = self.leg.1;
        self.leg_walk(start, point, step)
    }

    fn leg_walk(&mut self, mut at: u64, mut point: Point, step: u64) -> Result<Point, Error> {
        while at < step {
            self.pay(1)?;
            at += 1;
            point = self.chain.fold(0, at, self.base, point)?;
        }
        self.walked.1 = (at, point);
        Ok(point)
    }

    /// The rate at a step before which the other schedules change smoothly while one moves the rate to its floor `f`.
    ///
    /// One step is `lr <- A * (f + (1 - h) * (B * lr - f))`, where `B` and `A` are the ratios of the members before
    /// and after the mover, and `h` is the relative decrease of the distance. So the rate is the first rate times all
    /// ratios, plus `f` times the sum over all steps of `h` times the ratios of later steps.
    fn land(&mut self, step: u64) -> Result<Point, Error> {
        let (start, from) = self.leg;
        let courses = self.chain.courses(start);
        let Some(Ok(mover)) = mover(&courses) else { return Ok(from) };
        let (chain, base, count) = (self.chain, self.base, courses.len());
        let ratio = |index: usize, from| chain.member(index, |member| member.ratio(from, step, base));
        let ratios = |members: std::ops::Range<usize>, from| {
            members.into_iter().try_fold(1.0, |all, index| Ok(all * ratio(index, from)?))
        };
        let term = |at: u64| -> Result<f64, Error> {
            let fall = chain.schedulers[mover].fall(at);
            Ok(fall * ratios(0..mover + 1, at)? * ratios(mover + 1..count, at - 1)?)
        };
        let Some(sum) = smooth_sum(start + 1, step, self.left, term)? else { return Err(self.too_far()) };
        self.pay(1024)?;
        let lr = times(from.lr, ratios(0..count, start)?) + courses[mover].floor * sum;
        Point { lr, ..from }.finite(step)
    }

    fn pay(&mut self, steps: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(steps).ok_or_else(|| self.too_far())?;
        Ok(())
    }

    fn too_far(&self) -> Error {
        let what = "schedule ChainedScheduler".into();
        let reason = format!(
            "from step {} on its schedules move the rate in too many legs to compute: go there by steps, or chain with what \
             changes smoothly",
            self.origin
        );
        Error::Config { what, reason }
    }
}

impl ChainedScheduler {
    fn reset(&self, step: u64) -> Option<u64> {
        Course::of_all(step, &self.courses(step)).reset
    }

    fn ratio_over(&self, from: u64, to: u64, base: f64) -> Result<f64, Error> {
        super::Schedule::ratio(self, from, to, base)
    }
}

impl Seen {
    fn of(&self, base: f64) -> Option<Known> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|known| known.base.to_bits() == base.to_bits()).copied()
    }

    fn keep(&self, known: Known) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|other| other.base.to_bits() != known.base.to_bits());
        seen.insert(0, known);
        seen.truncate(BASES);
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}
