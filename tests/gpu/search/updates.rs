//! What each method makes of a generation, against the same in f64 on the host.

use gradus::search::{
    DE, DECrossover, DEStrategy, DiagonalCMA, ElitistES, GA, LHSSearch, Method, OnePlusOne, OpenAIES, PSO,
    RankWeights, SNES, Search, SimulatedAnnealing, Space,
};
use gradus::{Gpu, GpuOptions};
use serde_json::Value;

use crate::common::{gpu, gpus_with};

const MEMBERS: usize = 70;
const DIMENSIONS: usize = 6;

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

#[test]
fn ranks_are_those_of_a_stable_sort() {
    for gpu in gpus_with(&GpuOptions::default()) {
        for members in [6, 15, 16, 17, 64, 65, 257] {
            let method = GA { elites: 2, ..Default::default() };
            let builder = Search::builder(Space::cube(1, 0.0, 1.0), method).members(members);
            let mut search = builder.build(&gpu).unwrap();
            search.ask().unwrap();
            // Every third is as good as the one before.
            let losses: Vec<f32> = (0..members).map(|m| ((m / 3 * 37) % 29) as f32 - 14.0).collect();
            search.tell(&losses).unwrap();
            let want = ranks(&losses.iter().copied().map(f64::from).collect::<Vec<_>>());
            assert_eq!(Held::of(&mut search).ranks[..members], want[..], "{members}");
        }
    }
}

#[test]
fn snes_moves_as_in_f64() {
    let Some(gpu) = gpu() else { return };
    let mut search = search(&gpu, SNES::default());
    for _ in 0..3 {
        let (before, losses, after) = generation(&mut search);
        let ranks = ranks(&losses);
        let half = (MEMBERS as f64 / 2.0 + 1.0).ln();
        let raw: Vec<f64> = (1..=MEMBERS).map(|rank| (half - (rank as f64).ln()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        let rate = (3.0 + (DIMENSIONS as f64).ln()) / (5.0 * (DIMENSIONS as f64).sqrt());
        for d in 0..DIMENSIONS {
            let (mean, sigma) = (before.number(d), before.number(DIMENSIONS + d));
            let z = before.numbers(2 * DIMENSIONS + MEMBERS + d * MEMBERS, MEMBERS);
            let (mut along, mut wider) = (0.0, 0.0);
            for (z, rank) in z.iter().zip(&ranks) {
                let utility = raw[*rank] / sum - 1.0 / MEMBERS as f64;
                along += utility * z;
                wider += utility * (z * z - 1.0);
            }
            near(after.number(d), mean + sigma * along, "mean");
            near(after.number(DIMENSIONS + d), sigma * (0.5 * rate * wider).exp(), "width");
            for (member, z) in z.iter().enumerate() {
                let u = mean + sigma * z;
                if u.abs() < 1.0 {
                    near(before.point(member, d), u, "point");
                }
                assert!(before.point(member, d).abs() <= 1.0);
            }
        }
    }
}

#[test]
fn the_strategy_of_open_ai_moves_as_in_f64() {
    let Some(gpu) = gpu() else { return };
    for weights in [RankWeights::Centered, RankWeights::Log] {
        let mut search = search(&gpu, OpenAIES { weights, weight_decay: 0.01, ..Default::default() });
        for step in 1..=3 {
            let (before, losses, after) = generation(&mut search);
            let ranks = ranks(&losses);
            let half = (MEMBERS as f64 / 2.0 + 1.0).ln();
            let raw = |rank: usize| (half - (rank as f64 + 1.0).ln()).max(0.0);
            let sum: f64 = (0..MEMBERS).map(raw).sum();
            for d in 0..DIMENSIONS {
                let z = before.numbers(3 * DIMENSIONS + MEMBERS + d * MEMBERS, MEMBERS);
                let weight = |rank: usize| match weights {
                    RankWeights::Centered => 0.5 - rank as f64 / (MEMBERS as f64 - 1.0),
                    _ => raw(rank) / sum,
                };
                let downhill: f64 = z.iter().zip(&ranks).map(|(z, rank)| weight(*rank) * z).sum();
                assert!((0..MEMBERS / 2).all(|pair| z[pair] == -z[pair + MEMBERS / 2]), "noise is mirrored");
                let g = 0.01 * before.number(d) - downhill;
                let m = 0.9 * before.number(DIMENSIONS + d) + 0.1 * g;
                let v = 0.999 * before.number(2 * DIMENSIONS + d) + 0.001 * g * g;
                let root = (v / (1.0 - 0.999_f64.powi(step))).sqrt();
                let want = before.number(d) - 0.05 * m / (1.0 - 0.9_f64.powi(step)) / (root + 1e-8);
                near(after.number(d), want, "mean");
            }
        }
    }
}

#[test]
fn separable_cma_moves_as_in_f64() {
    let Some(gpu) = gpu() else { return };
    let mut search = search(&gpu, DiagonalCMA::default());
    let d = DIMENSIONS as f64;
    let half = (MEMBERS as f64 / 2.0 + 1.0).ln();
    let raw: Vec<f64> = (1..=MEMBERS).map(|rank| (half - (rank as f64).ln()).max(0.0)).collect();
    let sum: f64 = raw.iter().sum();
    let w: Vec<f64> = raw.iter().map(|weight| weight / sum).collect();
    let mu_eff = 1.0 / w.iter().map(|w| w * w).sum::<f64>();
    let c_s = (mu_eff + 2.0) / (d + mu_eff + 5.0);
    let damp = 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_s;
    let c_c = (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d);
    let base_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
    let base_mu = (2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff)).min(1.0 - base_1);
    let c_1 = (base_1 * (d + 2.0) / 3.0).min(0.5);
    let c_mu = (base_mu * (d + 2.0) / 3.0).min(1.0 - c_1);
    let chi = d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d));
    for step in 1..=4 {
        let (before, losses, after) = generation(&mut search);
        let ranks = ranks(&losses);
        let at = |part: usize, i: usize| part * DIMENSIONS + i;
        let sigma = before.number(6 * DIMENSIONS);
        let first = 6 * DIMENSIONS + 2 + MEMBERS;
        let sums: Vec<[f64; 2]> = (0..DIMENSIONS)
            .map(|i| {
                let z = before.numbers(first + i * MEMBERS, MEMBERS);
                let moment = |power| z.iter().zip(&ranks).map(|(z, rank)| w[*rank] * z.powi(power)).sum();
                [moment(1), moment(2)]
            })
            .collect();
        let path = |i: usize| {
            (1.0 - c_s) * before.number(at(2, i)) + (c_s * (2.0 - c_s) * mu_eff).sqrt() * sums[i][0]
        };
        let norm = (0..DIMENSIONS).map(|i| path(i).powi(2)).sum::<f64>().sqrt();
        let goes = norm / (1.0 - (1.0 - c_s).powi(2 * step)).sqrt() < (1.4 + 2.0 / (d + 1.0)) * chi;
        let goes = if goes { 1.0 } else { 0.0 };
        near(after.number(6 * DIMENSIONS), sigma * (c_s / damp * (norm / chi - 1.0)).exp(), "step size");
        for (i, sum) in sums.iter().enumerate() {
            let variance = before.number(at(1, i));
            let y = variance.sqrt() * sum[0];
            let p_c = (1.0 - c_c) * before.number(at(3, i)) + goes * (c_c * (2.0 - c_c) * mu_eff).sqrt() * y;
            near(after.number(at(2, i)), path(i), "path");
            near(after.number(at(3, i)), p_c, "path of the variance");
            near(after.number(i), before.number(i) + sigma * y, "mean");
            let lost = (1.0 - goes) * c_c * (2.0 - c_c);
            let kept = 1.0 + c_1 * lost - c_1 - c_mu;
            let want = kept * variance + c_1 * p_c * p_c + c_mu * variance * sum[1];
            near(after.number(at(1, i)), want, "variance");
        }
    }
}

#[test]
fn trials_take_the_place_of_parents_that_are_not_better() {
    let Some(gpu) = gpu() else { return };
    let crossovers = [DECrossover::Binomial(0.0), DECrossover::Binomial(1.0), DECrossover::TwoPoints];
    let strategies = [DEStrategy::CurrentToBest1, DEStrategy::Best1, DEStrategy::Rand1];
    for (crossover, strategy) in crossovers.into_iter().flat_map(|c| strategies.map(|s| (c, s))) {
        let mut search = search(&gpu, DE { crossover, strategy, ..Default::default() });
        let (_, mut best_losses, _) = generation(&mut search);
        for _ in 0..3 {
            let (before, losses, after) = generation(&mut search);
            for member in 0..MEMBERS {
                let takes = losses[member] <= best_losses[member];
                let mut changed = 0;
                for d in 0..DIMENSIONS {
                    let (parent, trial) = (before.number(d * MEMBERS + member), before.point(member, d));
                    // Both may be on the same wall.
                    changed += usize::from(parent != trial || trial.abs() == 1.0);
                    let want = if takes { trial } else { parent };
                    assert_eq!(after.number(d * MEMBERS + member), want);
                }
                match crossover {
                    // The one that is certain may be the same by chance where the others are its parents.
                    DECrossover::Binomial(0.0) => {
                        let walls = (0..DIMENSIONS).filter(|d| before.point(member, *d).abs() == 1.0).count();
                        assert!(changed <= 1 + walls);
                    }
                    DECrossover::Binomial(_) => assert_eq!(changed, DIMENSIONS),
                    // Some of each, but for those on walls.
                    _ => assert!(changed >= 1, "{changed}"),
                }
                best_losses[member] = best_losses[member].min(losses[member]);
            }
        }
    }
}

#[test]
fn particles_move_by_their_speeds_and_keep_their_best() {
    let Some(gpu) = gpu() else { return };
    let mut search = search(&gpu, PSO::default());
    let (first, losses, _) = generation(&mut search);
    let population = MEMBERS * DIMENSIONS;
    let mut own: Vec<f64> = first.points.clone();
    let mut own_losses = losses;
    for _ in 0..4 {
        search.ask().unwrap();
        let moved = Held::of(&mut search);
        for (element, own) in own.iter().enumerate() {
            assert_eq!(moved.number(population + element), *own, "a particle's own best");
            assert!(moved.points[element].abs() <= 1.0);
        }
        let (before, losses, _) = generation(&mut search);
        for member in 0..MEMBERS {
            if losses[member] <= own_losses[member] {
                own_losses[member] = losses[member];
                for d in 0..DIMENSIONS {
                    own[d * MEMBERS + member] = before.point(member, d);
                }
            }
        }
    }
}

#[test]
fn elites_stay_and_children_come_from_parents() {
    let Some(gpu) = gpu() else { return };
    let copies = GA { elites: 7, crossover: 0.0, mutation: 0.0, ..Default::default() };
    let methods: [(Method, bool); 2] = [(copies.into(), true), (ElitistES::default().into(), false)];
    for (method, is_copy) in methods {
        let elites = if is_copy { 7 } else { 5 };
        let mut search = search(&gpu, method);
        let (before, losses, _) = generation(&mut search);
        search.ask().unwrap();
        let next = Held::of(&mut search);
        let ranks = ranks(&losses);
        let member_of = |rank: usize| ranks.iter().position(|own| *own == rank).unwrap();
        let row =
            |held: &Held, member: usize| (0..DIMENSIONS).map(|d| held.point(member, d)).collect::<Vec<_>>();
        for rank in 0..elites {
            assert_eq!(row(&next, rank), row(&before, member_of(rank)));
        }
        let parents: Vec<Vec<f64>> = (0..MEMBERS).map(|member| row(&before, member)).collect();
        let mut sum = 0;
        for member in elites..MEMBERS {
            let parent = parents.iter().position(|parent| *parent == row(&next, member));
            assert_eq!(parent.is_some(), is_copy);
            sum += parent.map_or(0, |parent| ranks[parent]);
        }
        // The best of three has a rank of a quarter of all, on average.
        let mean = sum as f64 / (MEMBERS - elites) as f64;
        assert!(!is_copy || (10.0..25.0).contains(&mean), "{mean}");
    }
}

#[test]
fn chains_take_worse_steps_while_they_are_hot_and_better_ones_always() {
    let Some(gpu) = gpu() else { return };
    let taken = |temperature: f64| {
        let method = SimulatedAnnealing { temperature: Some(temperature), ..Default::default() };
        let mut search = search(&gpu, method);
        let (first, mut current, _) = generation(&mut search);
        let mut at = first.points;
        let mut worse = 0;
        for _ in 0..3 {
            let (before, losses, after) = generation(&mut search);
            for member in 0..MEMBERS {
                let is_taken = after.number(member) == before.point(member, 0);
                assert!(is_taken || losses[member] > current[member], "a better step is taken");
                for d in 0..DIMENSIONS {
                    let element = d * MEMBERS + member;
                    let want = if is_taken { before.points[element] } else { at[element] };
                    assert_eq!(after.number(element), want);
                    at[element] = want;
                }
                if is_taken {
                    worse += usize::from(losses[member] > current[member]);
                    current[member] = losses[member];
                }
            }
        }
        worse
    };
    let (cold, hot) = (taken(1e-9), taken(1e9));
    assert_eq!(cold, 0);
    assert!(hot > MEMBERS, "{hot}");
}

#[test]
fn the_width_of_mutations_follows_success() {
    let Some(gpu) = gpu() else { return };
    let mut search = search(&gpu, OnePlusOne::default());
    let mut best = f64::INFINITY;
    let mut sigma = 1.0;
    for generation_number in 0..12 {
        let (before, losses, after) = generation(&mut search);
        near(before.number(0), sigma, "before");
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        if generation_number > 0 {
            sigma *= if least < best { 1.5 } else { 0.9 };
        } else {
            assert!((0..DIMENSIONS).all(|d| before.point(0, d) == 0.0), "the middle is the first parent");
        }
        best = best.min(least);
        near(after.number(0), sigma, "after");
    }
}

#[test]
fn a_latin_hypercube_has_one_point_in_each_layer() {
    let Some(gpu) = gpu() else { return };
    // In one generation, and in four.
    for (members, budget) in [(97, 97), (24, 96_usize)] {
        let builder = Search::builder(Space::cube(3, 0.0, 1.0), LHSSearch::default());
        let mut search = builder.members(members).budget(budget as u64).seed(3).build(&gpu).unwrap();
        let mut rows = Vec::new();
        for _ in 0..budget / members {
            let asked = search.ask().unwrap();
            search.tell(&vec![0.0; members]).unwrap();
            rows.extend(asked);
        }
        let layer = |x: &f32| (1..budget).take_while(|layer| *layer as f32 <= x * budget as f32).count();
        for d in 0..3 {
            let mut layers: Vec<usize> = rows.iter().skip(d).step_by(3).map(layer).collect();
            let in_order = layers.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
            assert!(in_order < 10, "{in_order} layers follow each other");
            layers.sort_unstable();
            layers.dedup();
            // A point on the border of two layers may round into the other.
            assert!(layers.len() + 1 >= budget, "{}", layers.len());
        }
    }
}
