//! Statistics of request times.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;

/// Number of times kept per batch size (the newest), so that a server can run indefinitely.
const KEPT: usize = 100_000;

/// Milliseconds of requests by their numbers of images.
#[derive(Default)]
pub(crate) struct Times {
    of: BTreeMap<usize, Size>,
}

struct Size {
    /// Includes compiling for this batch size.
    first: f64,
    later: VecDeque<f64>,
    requests: u64,
}

impl Times {
    /// Adds a request that began at `start` and is answered now; returns its milliseconds.
    pub(crate) fn add(&mut self, images: usize, start: Instant) -> f64 {
        let time = start.elapsed().as_secs_f64() * 1e3;
        match self.of.get_mut(&images) {
            None => {
                self.of.insert(images, Size { first: time, later: VecDeque::new(), requests: 1 });
            }
            Some(size) => {
                size.requests += 1;
                if size.later.len() == KEPT {
                    size.later.pop_front();
                }
                size.later.push_back(time);
            }
        }
        time
    }
}

/// The smallest time that at least this percentage of requests does not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

/// The first request of each size is listed separately. Median, percentile and rate are of the later ones.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "images  requests  first      median     99 %       requests/s")?;
        for (images, Size { first, later, requests }) in &self.of {
            write!(f, "{images:<6}  {requests:<8}  {:<9}", format!("{first:.2} ms"))?;
            if later.is_empty() {
                writeln!(f, "  -          -          -")?;
                continue;
            }
            let mut sorted: Vec<f64> = later.iter().copied().collect();
            sorted.sort_by(f64::total_cmp);
            let [median, last] = [50, 99].map(|percent| format!("{:.2} ms", percentile(&sorted, percent)));
            let rate = 1e3 * sorted.len() as f64 / sorted.iter().sum::<f64>();
            writeln!(f, "  {median:<9}  {last:<9}  {rate:.0}")?;
        }
        Ok(())
    }
}
