//! Ranks of members.

use gradus::GpuOptions;
use gradus::search::{GA, Search, Space};

use super::{Held, ranks};
use crate::common::gpus_with;

#[test]
fn ranks_are_those_of_a_stable_sort() {
    // Every third as good as the one before, from the best to the worst and back, some that are none, and all alike.
    let patterns: [fn(usize) -> f32; 5] = [
        |m| ((m / 3 * 37) % 29) as f32 - 14.0,
        |m| m as f32,
        |m| -(m as f32),
        |m| if m % 7 == 3 { f32::NAN } else { ((m * 40_503) % 65_536) as f32 },
        |_| 0.5,
    ];
    for gpu in gpus_with(&GpuOptions::default()) {
        // Counted against all, and in sorted blocks that are merged, at once or twice.
        for members in [6, 15, 16, 17, 64, 65, 257, 2048, 2049, 3072, 16_384, 16_385, 40_000] {
            let method = GA { elites: 2, ..Default::default() };
            let builder = Search::builder(Space::cube(1, 0.0, 1.0), method).members(members);
            let mut search = builder.build(&gpu).unwrap();
            for (number, pattern) in patterns.iter().enumerate().filter(|(n, _)| members < 2000 || n % 3 == 0)
            {
                search.ask().unwrap();
                let losses: Vec<f32> = (0..members).map(pattern).collect();
                search.tell(&losses).unwrap();
                let held = Held::of(&mut search).ranks;
                let want = ranks(&losses.iter().copied().map(f64::from).collect::<Vec<_>>());
                assert!(held[..members] == want[..], "{members}, pattern {number}");
                assert!((0..members).all(|rank| want[held[members + rank]] == rank), "{members}");
            }
        }
    }
}
