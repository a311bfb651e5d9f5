//! Methods whose points depend on no loss.

use gradus::search::{LHSSearch, Search, Space};

use crate::common::gpu;

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
