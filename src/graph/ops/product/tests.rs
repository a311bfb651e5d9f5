//! Each kernel of products is given the same matrices, whichever a device would choose, and leaves the same bits.

mod cases;

use self::cases::{ALL, Case, Data, Lies};
use super::{CANDIDATES, Kernel, Way};
use crate::gpu::{Candidate, Capabilities, Checks, Gpu, GpuOptions, KernelKind};
use crate::graph::ops::tile::{LARGE, MEDIUM, MEDIUM_SHARED, SMALL, TALL, Tile, WIDE};

/// A device that runs kernels of this kind; none, visibly, where there is no adapter and that is allowed.
fn device() -> Option<Gpu> {
    match Gpu::of_each_kind(&GpuOptions::default()) {
        Ok(mut gpus) => gpus.pop(),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

fn plain() -> &'static Way {
    let plain = CANDIDATES.iter().find(|candidate| candidate.kind == KernelKind::Plain);
    &plain.expect("there is a plain way").way
}

/// Holds what a kernel left to f64, for a sum of one part.
fn close(data: &Data, got: &[f32], what: &str) {
    let Case { sizes: [.., inner], repeats, .. } = data.case;
    // Rounding of that many products of numbers below 1, and of their sum.
    let tolerance = f64::from(f32::EPSILON) * f64::from(4 + 2 * inner * repeats);
    for (at, (got, want)) in got.iter().zip(data.expected()).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= tolerance, "{:?}, {what}, element {at}: {got}, expected {want}", data.case);
    }
}

/// Holds tiles to the bits of the plain kernel, and that one to f64.
fn check(gpu: &Gpu, tiles: &[Tile], checks: Checks, case: Case) {
    let data = Data::of(case);
    let want = data.run(gpu, plain(), Checks::All);
    if case.run.is_none() {
        close(&data, &want, "plain");
    }
    for tile in tiles {
        let got = data.run(gpu, &Way::tiled(*tile), checks);
        let differing = got.iter().zip(&want).position(|(got, want)| got.to_bits() != want.to_bits());
        if let Some(at) = differing {
            panic!("{case:?}, {tile:?}, element {at}: {} is not {}", got[at], want[at]);
        }
    }
}

/// Cases of everything but sizes: batches, repeats, and what is done to the sums.
fn variants(sizes: [u32; 3], lies: [Lies; 2]) -> Vec<Case> {
    let plain = Case::plain(sizes, lies);
    vec![
        Case { has_bias: true, ..plain },
        Case { accumulate: true, gap: Some(8), ..plain },
        Case { has_bias: true, accumulate: true, gap: None, ..plain },
        Case { gap: Some(3), has_bias: true, ..plain },
        Case { batch: 3, accumulate: true, ..plain },
        Case { repeats: 3, ..plain },
        Case { batch: 2, repeats: 2, has_bias: true, gap: Some(4), ..plain },
    ]
}

const TILES: [Tile; 6] = [LARGE, MEDIUM, MEDIUM_SHARED, SMALL, TALL, WIDE];

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_however_matrices_lie() {
    let Some(gpu) = device() else { return };
    for (at, left) in ALL.into_iter().enumerate() {
        for (other, right) in ALL.into_iter().enumerate() {
            // Each way of each factor in each tile, and all pairs in one.
            let case = Case::plain([37, 70, 41], [left, right]);
            if (at + other) % 4 == 1 {
                check(&gpu, &TILES, Checks::None, case);
                check(&gpu, &TILES, Checks::All, case);
            } else {
                check(&gpu, &[SMALL], Checks::None, case);
            }
        }
    }
}

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_around_their_borders() {
    let Some(gpu) = device() else { return };
    let lies = [Lies::Inner, Lies::Edge];
    for sizes in [
        [1, 1, 1],
        [3, 5, 2],
        [4, 4, 4],
        [31, 33, 7],
        [33, 31, 9],
        [63, 65, 15],
        [65, 1, 17],
        [1, 65, 31],
        [127, 129, 33],
        [129, 127, 3],
        [255, 31, 1],
        [257, 33, 10],
        [33, 257, 12],
        [130, 70, 200],
    ] {
        check(&gpu, &TILES, Checks::None, Case::plain(sizes, lies));
    }
    for tile in TILES {
        let Tile { rows, columns, steps, .. } = tile;
        // Whole tiles, one and several, along all dimensions or all but one.
        for sizes in [[rows, columns, steps], [2 * rows, columns, 3 * steps], [rows, 2 * columns, steps + 1]]
        {
            check(&gpu, &[tile], Checks::None, Case::plain(sizes, lies));
        }
        check(&gpu, &[tile], Checks::None, Case::plain([rows + 1, columns, 2 * steps], lies));
    }
}

#[test]
fn tiles_leave_the_bits_of_the_plain_kernel_in_batches_and_with_what_is_added() {
    let Some(gpu) = device() else { return };
    for lies in [[Lies::Inner, Lies::Inner], [Lies::OddInner, Lies::OddEdge]] {
        for case in variants([33, 38, 20], lies) {
            check(&gpu, &[SMALL], Checks::None, case);
        }
    }
    for case in variants([70, 66, 24], [Lies::Inner, Lies::Edge]) {
        check(&gpu, &[LARGE, MEDIUM], Checks::None, case);
    }
    // An inner dimension of an odd length that repeats.
    for case in variants([35, 18, 21], [Lies::Inner, Lies::Inner]).into_iter().filter(|case| case.repeats > 1)
    {
        check(&gpu, &[SMALL], Checks::None, case);
    }
}

#[test]
fn parts_of_a_sum_have_the_bits_of_the_plain_kernel() {
    let Some(gpu) = device() else { return };
    for lies in [[Lies::Inner, Lies::Inner], [Lies::Edge, Lies::OddEdge]] {
        let case = Case { run: Some(256), has_bias: true, ..Case::plain([33, 40, 700], lies) };
        check(&gpu, &TILES, Checks::None, case);
        check(&gpu, &[SMALL], Checks::None, Case { repeats: 2, ..case });
    }
}

#[test]
fn lanes_that_share_the_steps_are_close_to_f64_and_repeat_their_bits() {
    let Some(gpu) = device() else { return };
    let sizes =
        [[1, 1, 1_000], [1, 37, 300], [3, 5, 70], [37, 2, 130], [4, 130, 33], [9, 12, 1_030], [1, 3, 32]];
    for (at, left) in ALL.into_iter().enumerate() {
        for right in ALL {
            for sizes in if left == right { &sizes[..] } else { &sizes[at..=at] } {
                let data = Data::of(Case::plain(*sizes, [left, right]));
                let got = data.run(&gpu, &Way::LANES, Checks::None);
                close(&data, &got, "lanes");
                let again = data.run(&gpu, &Way::LANES, Checks::All);
                assert!(got.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "{sizes:?}");
            }
        }
    }
    let all = [
        ([3, 38, 40], [Lies::Inner, Lies::Inner]),
        ([3, 39, 40], [Lies::Edge, Lies::Edge]),
        ([38, 3, 41], [Lies::OddInner, Lies::OddEdge]),
    ];
    for (sizes, lies) in all {
        for case in variants(sizes, lies) {
            let data = Data::of(case);
            close(&data, &data.run(&gpu, &Way::LANES, Checks::None), "lanes");
        }
    }
}

/// The tile that a GPU of so many processors is given for packed matrices, if it is given one, and in how many parts.
fn chosen(cores: u32, sizes: [u32; 3]) -> (Option<Tile>, u32) {
    let of_gpus = KernelKind::ALL.iter().position(|kind| *kind == KernelKind::Gpu);
    let mut offered = Capabilities::of_each_kind()[of_gpus.expect("it is one of all")];
    offered.cores = cores;
    let product = Case::plain(sizes, [Lies::Inner, Lies::Edge]).product();
    let way = Candidate::choose(CANDIDATES, &product, &offered);
    let tile = if let Kernel::Tiled(tile) = way.kernel { Some(tile) } else { None };
    (tile, (way.parts)(&product, &offered).count)
}

#[test]
fn tiles_and_parts_follow_from_the_sizes_and_the_processors() {
    for (cores, sizes, expected) in [
        (32, [2_048, 2_048, 512], (Some(LARGE), 1)),
        (80, [1_024, 1_024, 512], (Some(MEDIUM), 1)),
        (32, [512, 512, 512], (Some(MEDIUM), 1)),
        (80, [512, 512, 512], (Some(SMALL), 1)),
        // Few tiles and a long inner dimension.
        (32, [256, 256, 4_096], (Some(MEDIUM), 2)),
        (80, [256, 256, 4_096], (Some(SMALL), 4)),
        (32, [64, 64, 1_024], (Some(SMALL), 4)),
        (32, [64, 64, 1_023], (Some(SMALL), 1)),
        (32, [40, 40, 8_192], (Some(SMALL), 8)),
        // As long as one chain may be, and longer.
        (32, [2_048, 2_048, 16_384], (Some(LARGE), 1)),
        (32, [2_048, 2_048, 16_385], (Some(LARGE), 5)),
        // Few columns, few rows, and very few.
        (32, [100_000, 32, 64], (Some(TALL), 1)),
        (32, [100_000, 33, 64], (Some(SMALL), 1)),
        (32, [5, 100_000, 64], (Some(WIDE), 1)),
        (32, [4, 100_000, 64], (None, 1)),
        (32, [4, 100_000, 31], (None, 1)),
        (32, [16, 16, 64], (None, 1)),
        (32, [16, 17, 64], (Some(SMALL), 1)),
        (32, [1, 1, 4_096], (None, 8)),
    ] {
        assert_eq!(chosen(cores, sizes), expected, "{sizes:?} on {cores} processors");
    }
}
