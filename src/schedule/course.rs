//! How a schedule continues in a chain, as far as that is known without computing each step.

/// What a [`ChainedScheduler`](super::ChainedScheduler) can rely on from a given step on.
///
/// Over a range of steps, a member multiplies the distance of the rate to `floor` by its
/// [`Schedule::ratio`](super::Schedule::ratio).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// The latest step, up to the given one, whose rate does not depend on that of the previous step.
    pub(super) reset: Option<u64>,
    /// The value from which the distance of the rate is measured.
    pub(super) floor: f64,
    /// The last step for which ratios describe the change.
    pub(super) until: u64,
    /// The last step for which the ratio is 1.
    pub(super) steady: u64,
    /// The last step for which ratios are a smooth function of the step.
    pub(super) smooth: u64,
}

impl Course {
    /// For a factor of the rate that is constant up to `steady` and smooth up to `smooth`.
    pub(super) fn product(steady: u64, smooth: u64) -> Self {
        Self { reset: None, floor: 0.0, until: u64::MAX, steady, smooth }
    }

    /// For a factor of the rate that is smooth before the step `end` and constant from then on.
    pub(super) fn until_end(step: u64, end: u64) -> Self {
        match step < end {
            true => Self::product(step, end),
            false => Self::product(u64::MAX, u64::MAX),
        }
    }

    /// The same course, smooth only before the step `end`, if that is still to come.
    pub(super) fn smooth_before(self, end: u64) -> Self {
        if self.smooth == end { Self { smooth: end.saturating_sub(1), ..self } } else { self }
    }

    /// For a schedule of which nothing is known beyond `step`.
    pub(super) fn unknown(step: u64) -> Self {
        Self { reset: None, floor: 0.0, until: step, steady: step, smooth: step }
    }

    /// For a schedule that sets the rate at each step.
    pub(super) fn sets(step: u64) -> Self {
        Self { reset: Some(step), ..Self::unknown(step) }
    }

    /// For several schedules that act one after the other at each step.
    pub(super) fn of_all(step: u64, courses: &[Self]) -> Self {
        let least = |field: fn(&Self) -> u64| courses.iter().map(field).min().unwrap_or(u64::MAX);
        let all = Self {
            reset: courses.iter().filter_map(|course| course.reset).max(),
            floor: 0.0,
            until: least(|course| course.until),
            steady: least(|course| course.steady),
            smooth: least(|course| course.smooth),
        };
        match mover(courses) {
            None => all,
            // The ratios of the others would also move its floor.
            Some(Ok(index)) => {
                let others = courses.iter().enumerate().filter(|(other, _)| *other != index);
                let steady = others.map(|(_, course)| course.steady).min().unwrap_or(u64::MAX);
                Self { floor: courses[index].floor, until: all.until.min(steady), smooth: step, ..all }
            }
            Some(Err(())) => Self { until: step, smooth: step, ..all },
        }
    }

    /// The same course for a schedule whose steps count from `start` and that ends before the step `end`.
    pub(super) fn within(self, start: u64, end: Option<u64>) -> Self {
        let last = end.map_or(u64::MAX, |end| end - 1);
        let shifted = |step: u64| start.saturating_add(step).min(last);
        Self {
            reset: self.reset.map(|step| start + step),
            until: shifted(self.until),
            steady: shifted(self.steady),
            smooth: shifted(self.smooth),
            ..self
        }
    }
}

/// The index of the course with a floor above 0; an error if there are several.
pub(super) fn mover(courses: &[Course]) -> Option<Result<usize, ()>> {
    let mut floors = courses.iter().enumerate().filter(|(_, course)| course.floor != 0.0);
    match (floors.next(), floors.next()) {
        (None, _) => None,
        (Some((index, _)), None) => Some(Ok(index)),
        _ => Some(Err(())),
    }
}
