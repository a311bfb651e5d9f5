//! What each method makes of a generation, against the same in f64 on the host.

mod cma;
mod distributions;
mod members;
mod points;
mod ranks;

use gradus::Gpu;
use gradus::search::{Method, Search, Space};
use serde_json::Value;

pub(crate) const MEMBERS: usize = 70;
pub(crate) const DIMENSIONS: usize = 6;

/// What a search holds, read from how it is saved.
struct Held {
    points: Vec<f64>,
    state: Vec<u32>,
    ranks: Vec<usize>,
}

impl Held {
    fn of(search: &mut Search) -> Self {
        let saved = serde_json::to_value(search.save().unwrap()).unwrap();
        let words = |part: &Value| -> Vec<u32> {
            part.as_array()
                .unwrap()
                .iter()
                .map(|word| u32::try_from(word.as_u64().unwrap()).unwrap())
                .collect()
        };
        Self {
            points: words(&saved["points"]).into_iter().map(|word| f32::from_bits(word).into()).collect(),
            state: words(&saved["state"]),
            ranks: words(&saved["ranks"]).into_iter().map(|rank| rank as usize).collect(),
        }
    }

    fn number(&self, at: usize) -> f64 {
        f32::from_bits(self.state[at]).into()
    }

    fn numbers(&self, first: usize, len: usize) -> Vec<f64> {
        (first..first + len).map(|at| self.number(at)).collect()
    }

    fn point(&self, member: usize, dimension: usize) -> f64 {
        self.points[dimension * MEMBERS + member]
    }
}

fn search(gpu: &Gpu, method: impl Into<Method>) -> Search {
    let space = Space::cube(DIMENSIONS, -2.0, 2.0);
    Search::builder(space, method).members(MEMBERS).seed(11).build(gpu).unwrap()
}

fn loss(x: &[f32]) -> f32 {
    x.iter().enumerate().map(|(i, x)| (i + 1) as f32 * (x - 0.3).powi(2)).sum()
}

/// A generation: what was held before it was told, its losses, and what is held then.
fn generation(search: &mut Search) -> (Held, Vec<f64>, Held) {
    let rows = search.ask().unwrap();
    let before = Held::of(search);
    let losses: Vec<f32> = rows.chunks(DIMENSIONS).map(loss).collect();
    search.tell(&losses).unwrap();
    (before, losses.into_iter().map(f64::from).collect(), Held::of(search))
}

fn ranks(losses: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    let mut ranks = vec![0; losses.len()];
    order.iter().enumerate().for_each(|(rank, member)| ranks[*member] = rank);
    ranks
}

#[track_caller]
fn near(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 2e-5 * want.abs().max(1.0), "{what}: {got}, expected {want}");
}
