//! Strategies that move a normal distribution, without covariances.

use gradus::search::{OpenAIES, RankWeights, SNES};

use super::{DIMENSIONS, MEMBERS, generation, near, ranks, search};
use crate::common::gpu;

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
