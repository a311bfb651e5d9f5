//! Methods that keep members.

use gradus::search::{
    DE, DECrossover, DEStrategy, ElitistES, GA, Method, OnePlusOne, PSO, SimulatedAnnealing,
};

use super::{DIMENSIONS, Held, MEMBERS, generation, near, ranks, search};
use crate::common::gpu;

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
