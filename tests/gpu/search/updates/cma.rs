//! CMA-ES.

use gradus::search::{CMA, DiagonalCMA, Objective, Search, Space};
use gradus::{Gpu, GpuOptions};

use super::{DIMENSIONS, Held, MEMBERS, generation, loss, near, ranks, search};
use crate::common::{gpu, gpus_with};

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
        let first = 6 * DIMENSIONS + 5 + MEMBERS;
        let sums: Vec<[f64; 2]> = (0..DIMENSIONS)
            .map(|i| {
                let z = before.numbers(first + i * MEMBERS, MEMBERS);
                let moment = |power| z.iter().zip(&ranks).map(|(z, rank)| w[*rank] * z.powi(power)).sum();
                [moment(1), moment(2)]
            })
            .collect();
        let path = |i: usize| {
            (1.0 - c_s) * before.number(at(1, i)) + (c_s * (2.0 - c_s) * mu_eff).sqrt() * sums[i][0]
        };
        let norm = (0..DIMENSIONS).map(|i| path(i).powi(2)).sum::<f64>().sqrt();
        let goes = norm / (1.0 - (1.0 - c_s).powi(2 * step)).sqrt() < (1.4 + 2.0 / (d + 1.0)) * chi;
        let goes = if goes { 1.0 } else { 0.0 };
        near(after.number(6 * DIMENSIONS), sigma * (c_s / damp * (norm / chi - 1.0)).exp(), "step size");
        for (i, sum) in sums.iter().enumerate() {
            let variance = before.number(at(4, i));
            let y = variance.sqrt() * sum[0];
            let p_c = (1.0 - c_c) * before.number(at(2, i)) + goes * (c_c * (2.0 - c_c) * mu_eff).sqrt() * y;
            near(after.number(at(1, i)), path(i), "path");
            near(after.number(at(2, i)), p_c, "path of the variance");
            near(after.number(i), before.number(i) + sigma * y, "mean");
            let lost = (1.0 - goes) * c_c * (2.0 - c_c);
            let kept = 1.0 + c_1 * lost - c_1 - c_mu;
            let want = kept * variance + c_1 * p_c * p_c + c_mu * variance * sum[1];
            near(after.number(at(4, i)), want, "variance");
        }
    }
}

/// Mean, paths and covariance in f64, in the coordinates of the members, where the device has them in those of the normal
/// numbers.
struct Full {
    d: usize,
    members: usize,
    mean: Vec<f64>,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    sigma: f64,
    covariance: Vec<f64>,
    elitist: bool,
    /// The best member so far and its loss, and what its distance in normal numbers is multiplied by where it counts.
    elite: Option<(Vec<f64>, f64)>,
    limit: f64,
    /// Generations in which it counted.
    counted: usize,
}

impl Full {
    /// Where parts begin in what the search holds: the step size, copies of the factor, what was learned, normal numbers.
    fn places(&self) -> [usize; 4] {
        let factor = 6 * self.d + 5 + self.members;
        [6 * self.d, factor, factor + 2 * self.d * self.d, factor + 3 * self.d * self.d]
    }

    /// A factor by columns, times a vector.
    fn times(&self, held: &Held, copy: usize, z: &[f64]) -> Vec<f64> {
        let first = self.places()[1] + copy * self.d * self.d;
        (0..self.d)
            .map(|row| (0..=row).map(|column| held.number(first + column * self.d + row) * z[column]).sum())
            .collect()
    }

    /// The normal numbers that a member at `u` would have.
    fn normals(&self, held: &Held, copy: usize, u: &[f64]) -> Vec<f64> {
        let first = self.places()[1] + copy * self.d * self.d;
        let factor = |row: usize, column: usize| held.number(first + column * self.d + row);
        let mut z: Vec<f64> = Vec::new();
        for (row, (u, mean)) in u.iter().zip(&self.mean).enumerate() {
            let known: f64 = z.iter().enumerate().map(|(column, z)| factor(row, column) * z).sum();
            z.push(((u - mean) / self.sigma - known) / factor(row, row));
        }
        z
    }

    /// The tutorial's step, by the normal numbers and losses of a generation.
    fn step(&mut self, before: &Held, copy: usize, losses: &[f64], generation: i32) {
        let (d, n) = (self.d as f64, self.members);
        let half = (n as f64 / 2.0 + 0.5).ln();
        let raw: Vec<f64> = (1..=n).map(|rank| (half - (rank as f64).ln()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        let ranks = ranks(losses);
        let best = ranks.iter().position(|rank| *rank == 0).unwrap();
        let elite = self.elite.clone().filter(|(_, loss)| self.elitist && *loss <= losses[best]);
        let shift = usize::from(elite.is_some());
        let mut w: Vec<f64> = ranks.iter().map(|rank| raw.get(rank + shift).unwrap_or(&0.0) / sum).collect();
        let mu_eff = sum * sum / raw.iter().map(|w| w * w).sum::<f64>();
        let c_s = (mu_eff + 2.0) / (d + mu_eff + 5.0);
        let damp = 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_s;
        let c_c = (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d);
        let c_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
        let c_mu = (2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff)).min(1.0 - c_1);
        let chi = d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d));
        let noise_at = self.places()[3];
        let noise = |m: usize| (0..self.d).map(|i| before.number(noise_at + i * n + m)).collect::<Vec<f64>>();
        let mut z: Vec<Vec<f64>> = (0..n).map(noise).collect();
        let improves = self.elite.as_ref().is_none_or(|(_, loss)| losses[best] < *loss);
        if improves {
            let y = self.times(before, copy, &z[best]);
            let u = self.mean.iter().zip(y).map(|(mean, y)| mean + self.sigma * y).collect();
            self.elite = Some((u, losses[best]));
        }
        if let Some((u, _)) = elite {
            z.push(self.normals(before, copy, &u).into_iter().map(|z| self.limit * z).collect());
            w.push(raw[0] / sum);
            self.counted += 1;
        }
        let z_mean: Vec<f64> = (0..self.d).map(|i| z.iter().zip(&w).map(|(z, w)| w * z[i]).sum()).collect();
        let y_mean = self.times(before, copy, &z_mean);
        self.mean.iter_mut().zip(&y_mean).for_each(|(mean, y)| *mean += self.sigma * y);
        let step = (c_s * (2.0 - c_s) * mu_eff).sqrt();
        self.path_sigma.iter_mut().zip(&z_mean).for_each(|(path, z)| *path = (1.0 - c_s) * *path + step * z);
        let norm = self.path_sigma.iter().map(|path| path * path).sum::<f64>().sqrt();
        let goes = norm / (1.0 - (1.0 - c_s).powi(2 * generation)).sqrt() < (1.4 + 2.0 / (d + 1.0)) * chi;
        let goes = f64::from(u8::from(goes));
        let step = goes * (c_c * (2.0 - c_c) * mu_eff).sqrt();
        self.path_c.iter_mut().zip(&y_mean).for_each(|(path, y)| *path = (1.0 - c_c) * *path + step * y);
        let kept = 1.0 + c_1 * (1.0 - goes) * c_c * (2.0 - c_c) - c_1 - c_mu;
        self.covariance.iter_mut().for_each(|value| *value *= kept);
        let steps = z.iter().zip(&w).filter(|(_, w)| **w > 0.0);
        let mut terms: Vec<(f64, Vec<f64>)> =
            steps.map(|(z, w)| (c_mu * w, self.times(before, copy, z))).collect();
        terms.push((c_1, self.path_c.clone()));
        for (weight, y) in terms {
            for (row, left) in self.covariance.chunks_mut(self.d).zip(&y) {
                row.iter_mut().zip(&y).for_each(|(value, right)| *value += weight * left * right);
            }
        }
        self.sigma *= (c_s / damp * (norm / chi - 1.0)).clamp(-1.0, 1.0).exp();
        let (u, _) = self.elite.as_ref().unwrap();
        let distance = self.normals(before, copy, u).iter().map(|z| z * z).sum::<f64>().sqrt();
        self.limit = (chi * (1.0 + 2.0 / (d + 2.0)) / distance).min(1.0);
    }

    /// Mean, step size and paths are those of the device; and the covariance, where that has just been taken over.
    fn check(&self, held: &Held, copy: usize, is_fresh: bool) {
        near(held.number(self.places()[0]), self.sigma, "step size");
        let path_c = self.times(held, copy, &held.numbers(2 * self.d, self.d));
        for (i, path) in path_c.iter().enumerate() {
            near(held.number(i), self.mean[i], "mean");
            near(held.number(self.d + i), self.path_sigma[i], "path of the step size");
            near(*path, self.path_c[i], "path of the covariance");
        }
        let first = self.places()[1] + copy * self.d * self.d;
        let factor = held.numbers(first, self.d * self.d);
        for row in (0..self.d).filter(|_| is_fresh) {
            for column in 0..=row {
                let product: f64 =
                    (0..=column).map(|k| factor[k * self.d + row] * factor[k * self.d + column]).sum();
                near(product, self.covariance[row * self.d + column], "covariance");
            }
        }
    }
}

/// Follows a search in so many dimensions, whose covariance is taken over after so many generations each time; how many of
/// them the elite took part in.
fn follow(
    gpu: &Gpu,
    (d, members): (usize, usize),
    period: usize,
    generations: usize,
    elitist: bool,
) -> usize {
    let space = Space::cube(d, -2.0, 2.0);
    // Wide steps, of which many find nothing better.
    let sigma = elitist.then_some(0.6);
    let method = CMA { elitist: Some(elitist), sigma };
    let mut search = Search::builder(space, method).members(members).seed(11).build(gpu).unwrap();
    let mut full = Full {
        d,
        members,
        mean: vec![0.0; d],
        path_sigma: vec![0.0; d],
        path_c: vec![0.0; d],
        sigma: sigma.unwrap_or(0.55 * (d as f64).powf(-0.75)),
        covariance: (0..d * d).map(|at| f64::from(u8::from(at % (d + 1) == 0))).collect(),
        elitist,
        elite: None,
        limit: 1.0,
        counted: 0,
    };
    for generation in 0..generations {
        let rows = search.ask().unwrap();
        let before = Held::of(&mut search);
        let copy = generation / period % 2;
        let noise_at = full.places()[3];
        for member in 0..members {
            let z: Vec<f64> = (0..d).map(|i| before.number(noise_at + i * members + member)).collect();
            for (i, y) in full.times(&before, copy, &z).into_iter().enumerate() {
                let u = full.mean[i] + full.sigma * y;
                if u.abs() < 1.0 {
                    near(before.points[i * members + member], u, "point");
                }
            }
        }
        let losses: Vec<f32> = rows.chunks(d).map(loss).collect();
        search.tell(&losses).unwrap();
        let losses: Vec<f64> = losses.into_iter().map(f64::from).collect();
        full.step(&before, copy, &losses, i32::try_from(generation + 1).unwrap());
        let is_fresh = (generation + 1) % period == 0;
        full.check(&Held::of(&mut search), (generation + 1) / period % 2, is_fresh);
    }
    full.counted
}

#[test]
fn cma_moves_as_the_tutorial_in_f64() {
    for gpu in gpus_with(&GpuOptions::default()) {
        // Fewer dimensions than lanes in a row, as many, and more; members below and above a workgroup's lanes.
        for (sizes, period, generations) in
            [((1, 8), 1, 3), ((6, 70), 1, 5), ((16, 9), 1, 4), ((37, 130), 1, 3), ((100, 6), 3, 7)]
        {
            assert_eq!(follow(&gpu, sizes, period, generations, false), 0);
        }
    }
}

#[test]
fn the_best_of_former_generations_takes_part_as_in_f64() {
    for gpu in gpus_with(&GpuOptions::default()) {
        for (sizes, period, generations) in
            [((1, 4), 1, 6), ((6, 5), 1, 9), ((37, 4), 1, 12), ((100, 6), 3, 8)]
        {
            let counted = follow(&gpu, sizes, period, generations, true);
            assert!(counted > 0, "in {sizes:?} every generation was better than the one before");
        }
    }
}

#[test]
fn cma_moves_as_the_tutorial_in_as_many_dimensions_as_it_takes() {
    let Some(gpu) = gpu() else { return };
    follow(&gpu, (300, 40), 1, 2, false);
}

#[test]
fn cma_takes_a_submit_for_hundreds_of_generations() {
    let Some(gpu) = gpu() else { return };
    for (dimensions, dispatches) in [(3, 11 * 200), (100, 9 * 200 + 2 * 66)] {
        let builder = Search::builder(Space::cube(dimensions, -5.0, 5.0), CMA::default());
        let mut search = builder.members(6).budget(6 * 200).build(&gpu).unwrap();
        let before = gpu.counters();
        search.minimize(&mut Objective::wgsl("fn objective() -> f32 { return x(0u) * x(0u); }")).unwrap();
        let after = gpu.counters();
        assert_eq!(after.dispatches - before.dispatches, dispatches);
        assert!(after.submits - before.submits <= 3, "{}", after.submits - before.submits);
        assert!(after.read_backs - before.read_backs <= 2);
    }
}
