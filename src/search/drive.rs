use super::method::narrow;
use super::objective::{Kind, Objective};
use super::population::{MOST_PER_SUBMIT, Search, SearchResult};
use crate::error::Error;

impl Search {
    /// Minimises until the budget is spent or the target reached, from where the search is.
    ///
    /// # Errors
    /// [`Error::Config`] without a budget and a target, and where no loss of the whole search was a number;
    /// [`Error::Wgsl`] for an objective in WGSL that is none, with line and reason, before anything ran; what a
    /// [`DeviceObjective`](super::DeviceObjective) refuses; [`Error::DeviceLost`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn minimize(&mut self, objective: &mut Objective<'_>) -> Result<SearchResult, Error> {
        self.minimize_with(objective, |_| true)
    }

    /// As [`Search::minimize`], and calls `goes_on` after each submit with what was found so far; where that is false it
    /// stops.
    ///
    /// # Errors
    /// As [`Search::minimize`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn minimize_with(
        &mut self,
        objective: &mut Objective<'_>,
        goes_on: impl FnMut(&SearchResult) -> bool,
    ) -> Result<SearchResult, Error> {
        self.gpu().clone().block_on(self.minimize_async(objective, goes_on))
    }

    /// As [`Search::minimize_with`], without blocking: between submits the caller's other tasks run.
    ///
    /// # Errors
    /// As [`Search::minimize`].
    pub async fn minimize_async(
        &mut self,
        objective: &mut Objective<'_>,
        mut goes_on: impl FnMut(&SearchResult) -> bool,
    ) -> Result<SearchResult, Error> {
        if self.options.budget.is_none() && self.options.target.is_none() {
            let reason = "minimize needs a budget or a target to know when to stop".into();
            return Err(Error::Config { what: "search".into(), reason });
        }
        if let Kind::Wgsl(text, form) = &objective.kind {
            self.device.prepare_objective(text, *form)?;
        }
        loop {
            let left = self.device.shape.generations.map(|all| all.saturating_sub(self.generation));
            if left == Some(0) {
                return self.result("the budget is spent").await;
            }
            self.advance(objective, left.unwrap_or(u64::MAX)).await?;
            let so_far = self.look().await?;
            if self.is_reached(&so_far) {
                return self.result("the target is reached").await;
            }
            if !goes_on(&so_far) {
                return self.result("it was told to stop").await;
            }
        }
    }

    fn is_reached(&self, found: &SearchResult) -> bool {
        self.options.target.is_some_and(|target| f64::from(found.fun) <= target)
    }

    /// Runs one generation, or as many as fit a submit.
    async fn advance(&mut self, objective: &mut Objective<'_>, most: u64) -> Result<(), Error> {
        self.make_room().await?;
        match &mut objective.kind {
            Kind::Host(closure) => return self.advance_on_host(closure).await,
            Kind::Wgsl(..) => {}
            Kind::Device(_) if self.options.samples > 1 => {
                let allowed = "1 for an objective that records its own work";
                return Err(Error::constant("samples", allowed, self.options.samples));
            }
            Kind::Device(_) => {}
        }
        let together = match &objective.kind {
            Kind::Device(own) => own.generations_per_submit() as u64,
            _ => MOST_PER_SUBMIT,
        };
        let count = together.clamp(1, self.room()).min(most);
        self.submit("search", |search, recorder| {
            for number in 0..count {
                if number > 0 || !search.asked {
                    search.device.record_proposal(recorder);
                }
                if let Kind::Device(own) = &mut objective.kind {
                    search.device.record_rows(recorder);
                    own.record(recorder, &search.population())?;
                    search.device.record_told(recorder);
                } else {
                    search.device.record_objective(recorder);
                }
                search.device.record_end(recorder, search.generation + number);
            }
            Ok(())
        })?;
        self.ended(count);
        Ok(())
    }

    async fn advance_on_host(&mut self, closure: &mut dyn FnMut(&[f32], &mut [f32])) -> Result<(), Error> {
        let rows = self.ask_async().await?;
        let mut losses = vec![f32::NAN; self.members()];
        closure(&rows, &mut losses);
        if self.options.samples > 1 {
            let mut sums: Vec<f64> = losses.iter().copied().map(f64::from).collect();
            for _ in 1..self.options.samples {
                losses.fill(f32::NAN);
                closure(&rows, &mut losses);
                sums.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += f64::from(*loss));
            }
            let samples = f64::from(self.options.samples);
            losses.iter_mut().zip(sums).for_each(|(loss, sum)| *loss = narrow(sum / samples));
        }
        self.tell_async(&losses).await
    }
}
