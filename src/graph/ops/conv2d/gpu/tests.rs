//! Convolutions in tiles of every size against plain kernels, to the bit, and against f64 loops.

mod cases;
mod phases;
mod run;

use self::cases::{Case, cases, split_cases};
use self::run::{Bound, Device};
use super::super::plain;
use super::super::weight_grad::{Adds, Partials, finish};
use super::products::PART;
use super::*;
use crate::gpu::{Checks, KernelKind};
use crate::graph::ops::tile::{LARGE, MEDIUM, MEDIUM_SHARED, SMALL, TALL, WIDE};

/// All tiles of these kernels.
const TILES: [Tile; 6] = [LARGE, MEDIUM, MEDIUM_SHARED, TALL, WIDE, SMALL];

/// Cores of an adapter that has many, so that sums are split, and of one that is kept busy by anything.
const MANY: u32 = 80;

fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: elements");
    let largest = want.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        let apart = (f64::from(*got) - want).abs();
        assert!(apart <= 2e-5 * largest, "{what}: element {at} is {got}, expected {want}");
    }
}

/// Both signs of zero are one number here: a plain kernel skips the taps outside of an image, and a tile adds zeros.
fn assert_same(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}: elements");
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want, "{what}: element {at} is {got}, elsewhere {want}");
    }
}

/// What a job leaves in the tiles of a size: all parts, added to what is there if asked.
fn in_tiles(device: &Device, job: &Job, tile: &Tile, cores: u32, adds: bool, bound: &Bound<'_>) -> Vec<f32> {
    let parts = parts_of(&job.products, job.steps, cores);
    let launch = job.launch(tile, parts, 0, adds);
    device.run(&launch, parts.count, bound)
}

/// Checks a job in all tiles against another kernel's numbers.
fn check_tiles(what: &str, device: &Device, job: &Job, cores: u32, bound: &Bound<'_>, want: &[f32]) {
    for tile in TILES {
        let what = format!("{what}, {tile:?}");
        let got = in_tiles(device, job, &tile, cores, false, bound);
        assert_same(&what, &got, want);
        let parts = parts_of(&job.products, job.steps, cores);
        let checked = AnyLaunch { checks: Checks::All, ..job.launch(&tile, parts, 0, false) };
        let again = device.run(&checked, parts.count, bound);
        assert!(got.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}: with checks");
        let added: Vec<f32> = got.iter().zip(bound.before).map(|(new, old)| new + old).collect();
        assert_same(&format!("{what}, added"), &in_tiles(device, job, &tile, cores, true, bound), &added);
    }
}

fn check_forward(device: &Device, case: &Case) {
    let Case { geometry, name } = case;
    let what = format!("{name}: forward");
    let (x, weight, bias, dy) = case.tensors();
    let [_, len] = geometry.lens();
    let padded = case.padded_input(&x);
    let before = case.padded_output(&dy);
    let mut sums = Vec::new();
    for has_bias in [false, true] {
        let packed = device.pack(&pack(geometry, has_bias), &weight, &bias);
        let bound = Bound { sources: [&padded, &packed], len, before: &before };
        let want = device.run(&plain::forward(geometry, 0, false), 1, &bound);
        let job = Job::forward(geometry);
        if has_bias {
            // The plain kernel begins with the bias, and a tile ends with it.
            let got = in_tiles(device, &job, &SMALL, 1, false, &bound);
            assert_close(&format!("{what}, with a bias"), &got, &case.forward(&x, &weight, &bias));
            let added: Vec<f32> =
                sums.iter().enumerate().map(|(at, sum)| sum + case.bias_at(&bias, at)).collect();
            check_tiles(&what, device, &job, 1, &bound, &added);
        } else {
            assert_close(&what, &want, &case.forward(&x, &weight, &vec![0.0; bias.len()]));
            check_tiles(&what, device, &job, 1, &bound, &want);
            sums = want;
        }
    }
}

fn check_input_grad(device: &Device, case: &Case) {
    let Case { geometry, name } = case;
    let what = format!("{name}: input gradient");
    let (x, weight, _, dy) = case.tensors();
    let [len, _] = geometry.lens();
    let (padded, before) = (case.padded_output(&dy), case.padded_input(&x));
    let plain_weight = device.pack(&plain::pack_input_grad(geometry, false), &weight, &weight);
    let bound = Bound { sources: [&padded, &plain_weight], len, before: &before };
    let want = device.run(&plain::input_grad(geometry, false, 0, false), 1, &bound);
    assert_close(&what, &want, &case.input_grad(&weight, &dy));
    let packed = device.pack(&pack_input_grad(geometry, false), &weight, &weight);
    let bound = Bound { sources: [&padded, &packed], len, before: &before };
    check_tiles(&what, device, &Job::input_grad(geometry), 1, &bound, &want);
    // A transposed convolution has a bias, also where no tap meets a position.
    let bias: Vec<f32> = (0..geometry.in_channels).map(|channel| 0.5 + channel as f32).collect();
    let packed = device.pack(&pack_input_grad(geometry, true), &weight, &bias);
    let bound = Bound { sources: [&padded, &packed], len, before: &before };
    let got = in_tiles(device, &Job::input_grad(geometry), &MEDIUM, 1, false, &bound);
    let pitch = pitch(geometry.in_channels) as usize;
    let biased: Vec<f32> =
        want.iter().enumerate().map(|(at, x)| x + bias.get(at % pitch).unwrap_or(&0.0)).collect();
    assert_same(&format!("{what}, with a bias"), &got, &biased);
}

fn check_weight_grad(device: &Device, case: &Case, cores: u32) {
    let Case { geometry, name } = case;
    let what = format!("{name}: weight gradient on {cores} cores");
    let (x, weight, bias, dy) = case.tensors();
    let (x_padded, dy_padded) = (case.padded_input(&x), case.padded_output(&dy));
    let mut first: Option<(Vec<f32>, Partials)> = None;
    for tile in TILES {
        let (products, partials) = super::weight_grad::products_of(geometry, cores, 0);
        let launch = super::weight_grad::weight_grad_in(&tile, geometry, (&products, &partials), 0);
        assert_eq!(partials.at_once, partials.parts, "{what}: sums of one dispatch");
        let len = (partials.parts * partials.len) as usize;
        let before = vec![f32::NAN; len];
        let bound = Bound { sources: [&x_padded, &dy_padded], len, before: &before };
        let got = device.run(&launch, 1, &bound);
        let (want, _) = first.get_or_insert_with(|| (got.clone(), partials));
        let same = got.iter().zip(want.iter()).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{what}, {tile:?}: another sum than in other tiles");
    }
    let (sums, partials) = first.expect("there are tiles");
    let (dw, db) = case.weight_grad(&x, &dy);
    for (adds, lanes) in [(false, 8), (true, 64)] {
        let adds = Adds { weight: adds, bias: Some(!adds) };
        let fields = finish(geometry, &partials, 0, adds);
        let [got_w, got_b] = device.finish((&partials, fields), lanes, &sums, [&weight, &bias]);
        let want = |fresh: &[f64], old: &[f32], adds: bool| -> Vec<f64> {
            fresh.iter().zip(old).map(|(new, old)| new + if adds { f64::from(*old) } else { 0.0 }).collect()
        };
        assert_close(&what, &got_w, &want(&dw, &weight, adds.weight));
        assert_close(&format!("{what}: bias"), &got_b, &want(&db, &bias, adds.bias == Some(true)));
    }
}

#[test]
fn all_tiles_make_the_sums_of_the_plain_kernels() {
    for device in Device::all(KernelKind::Gpu) {
        for case in cases() {
            check_forward(&device, &case);
            check_input_grad(&device, &case);
            check_weight_grad(&device, &case, 1);
        }
    }
}

/// Sums in several parts, which are the same parts in all tiles.
#[test]
fn parts_do_not_depend_on_the_tile() {
    for device in Device::all(KernelKind::Gpu) {
        for case in split_cases() {
            let Case { geometry, name } = &case;
            let (x, weight, bias, dy) = case.tensors();
            check_weight_grad(&device, &case, MANY);
            let forward = (Job::forward(geometry), pack(geometry, true), case.padded_input(&x));
            let backward =
                (Job::input_grad(geometry), pack_input_grad(geometry, false), case.padded_output(&dy));
            let wants = [case.forward(&x, &weight, &bias), case.input_grad(&weight, &dy)];
            for ((job, packed, source), want) in [forward, backward].into_iter().zip(wants) {
                let parts = parts_of(&job.products, job.steps, MANY).count as usize;
                let packed = device.pack(&packed, &weight, &bias);
                let before = vec![f32::NAN; parts * want.len()];
                let bound = Bound { sources: [&source, &packed], len: before.len(), before: &before };
                let sums = TILES.map(|tile| in_tiles(&device, &job, &tile, MANY, false, &bound));
                for (tile, sums_of) in TILES.iter().zip(&sums) {
                    assert_same(&format!("{name}, {tile:?}: parts"), sums_of, &sums[0]);
                }
                let total = |at: usize| (0..parts).map(|part| sums[0][part * want.len() + at]).sum();
                let total: Vec<f32> = (0..want.len()).map(total).collect();
                assert_close(name, &total, &want);
                assert!(parts > 1, "{name}: it is one part");
            }
        }
    }
}

#[test]
fn tiles_go_by_shape_and_cores() {
    let tile = |count: u32, rows: u32, columns: u32, cores: u32| {
        let mut offered = Capabilities::of_each_kind()[0];
        offered.cores = cores;
        let tile = Products { count, rows, columns }.tile(&offered);
        [LARGE, MEDIUM, TALL, SMALL].iter().position(|of| *of == tile).map(|at| ["L", "M", "T", "S"][at])
    };
    // Images of 56x56 with 64 channels, of 14x14 with 256, of 224x224 with 32, of 7x7 with 512, one small image.
    let rows = [(16 * 56 * 56, 64), (16 * 14 * 14, 256), (16 * 224 * 224, 32), (16 * 49, 512), (49, 64)];
    let chosen = |cores: u32| rows.map(|(rows, columns)| tile(1, rows, columns, cores).unwrap());
    assert_eq!(chosen(32), ["M", "M", "T", "M", "S"]);
    assert_eq!(chosen(80), ["M", "M", "T", "M", "S"]);
    assert_eq!(tile(1, 1 << 20, 256, 80), Some("L"));
    // Of 96 columns, 64 by 64 would leave a fourth of its products outside.
    assert_eq!([96, 128, 129, 9].map(|columns| tile(1, 1 << 18, columns, 32).unwrap()), ["T", "L", "T", "T"]);
    assert_eq!(tile(9, 300, 64, 32), Some("M"));
}

#[test]
fn splits_go_by_shape_and_cores_and_end_at_whole_tiles() {
    let parts = |rows: u32, columns: u32, steps: u32, cores: u32| {
        let Parts { run, count } = parts_of(&Products { count: 1, rows, columns }, steps, cores);
        assert!(count == 1 || run.is_multiple_of(PART), "{steps} steps");
        assert!(run * count >= steps && run * (count - 1) < steps, "{steps} steps");
        count
    };
    // Few tiles, and a sum that is long enough.
    assert_eq!([1_023, 1_024, 4_608].map(|steps| parts(32, 32, steps, 80)), [1, 4, 6]);
    assert_eq!([1, 2, 40, 41, 80].map(|tiles| parts(32 * tiles, 32, 4_096, 80)), [8, 8, 2, 1, 1]);
    // No chain is longer than one invocation's loops may be, or than an f32 has digits for.
    assert_eq!([65_536, 65_540, 1 << 20].map(|steps| parts(1 << 20, 32, steps, 80)), [1, 17, 256]);
}
