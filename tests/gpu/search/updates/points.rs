//! Methods whose points depend on no loss.

use gradus::search::{LHSSearch, Search, SobolSearch, Space};

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

/// Rows of so many generations in the unit cube.
fn sobol(
    gpu: &gradus::Gpu,
    (members, dimensions): (usize, usize),
    generations: usize,
    scramble: bool,
) -> Vec<f32> {
    let builder = Search::builder(Space::cube(dimensions, 0.0, 1.0), SobolSearch { scramble });
    let mut search = builder.members(members).seed(5).build(gpu).unwrap();
    let mut rows = Vec::new();
    for _ in 0..generations {
        rows.extend(search.ask().unwrap());
        search.tell(&vec![0.0; members]).unwrap();
    }
    rows
}

#[test]
fn the_sequence_of_sobol_is_that_of_scipy() {
    let Some(gpu) = gpu() else { return };
    // `scipy.stats.qmc.Sobol(d, scramble=False).random(4096)[n, d - 1]`, exact, and in two generations.
    let numbers = [0, 1, 2, 3, 6, 100, 1023, 4095];
    let rows: [(usize, [f32; 8]); 5] = [
        (1, [0.0, 0.5, 0.75, 0.25, 0.625, 0.414_062_5, 0.000_976_562_5, 0.000_244_140_63]),
        (2, [0.0, 0.5, 0.25, 0.75, 0.125, 0.257_812_5, 0.752_929_7, 0.941_162_1]),
        (5, [0.0, 0.5, 0.75, 0.25, 0.625, 0.882_812_5, 0.186_523_44, 0.940_185_55]),
        (40, [0.0, 0.5, 0.25, 0.75, 0.625, 0.132_812_5, 0.698_242_2, 0.227_294_92]),
        (1024, [0.0, 0.5, 0.75, 0.25, 0.125, 0.945_312_5, 0.995_117_2, 0.354_736_33]),
    ];
    for (dimensions, want) in rows {
        let got = sobol(&gpu, (2048, dimensions), 2, false);
        for (number, want) in numbers.iter().zip(want) {
            assert_eq!(got[number * dimensions + dimensions - 1], want, "{dimensions}, {number}");
        }
    }
}

#[test]
fn scrambled_points_of_sobol_are_one_in_each_cell() {
    let Some(gpu) = gpu() else { return };
    let plain = sobol(&gpu, (64, 40), 1, false);
    let rows = sobol(&gpu, (64, 40), 1, true);
    assert_ne!(plain, rows);
    assert!(rows[..40].iter().all(|x| *x > 0.0), "the first is no corner");
    // The layer of a point among so many.
    let layer =
        |x: f32, layers: u8| (1..layers).take_while(|at| f32::from(*at) <= x * f32::from(layers)).count();
    for dimension in 0..40 {
        let mut layers: Vec<usize> = rows.iter().skip(dimension).step_by(40).map(|x| layer(*x, 64)).collect();
        layers.sort_unstable();
        assert!(layers.into_iter().eq(0..64), "{dimension}");
    }
    for (across, up) in [(2, 32), (4, 16), (8, 8), (16, 4), (32, 2)] {
        let cell = |row: &[f32]| layer(row[0], across) * usize::from(up) + layer(row[1], up);
        let mut cells: Vec<usize> = rows.chunks(40).map(cell).collect();
        cells.sort_unstable();
        assert!(cells.into_iter().eq(0..64), "{across} by {up}");
    }
}
