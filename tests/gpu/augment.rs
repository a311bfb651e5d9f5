//! Augmentation: each image is changed as its documentation promises, forward and backward, and not in evaluation.

use gradus::Gpu;
use gradus::graph::{Graph, HostData, Init, Plan, PlanOptions, Var, Workspace};
use gradus::nn::{Conv2d, RandomCrop, RandomErasing};
use gradus::optim::SGD;

use crate::common::{bits, noises};
use crate::joined::philox;
use crate::network::{gpus, run, submit};

/// The pixel that each pixel of an image is taken from; `None` for the fill.
type Places = Vec<Option<usize>>;

const KINDS: u32 = 1 << 30;

#[expect(clippy::cast_possible_truncation, reason = "words of 32 bits")]
fn words(image: usize, kind: u32, number: u32, seed: u64, step: u64) -> [u32; 4] {
    let halves = |x: u64| [x as u32, (x >> 32) as u32];
    let [low, high] = halves(step);
    philox([image as u32, KINDS | kind << 24 | number, low, high], halves(seed))
}

fn below(word: u32, end: usize) -> usize {
    usize::try_from((u64::from(word) * end as u64) >> 32).unwrap()
}

fn is_changed(word: u32, p: f64) -> bool {
    f64::from(word >> 8) < (p * 16_777_216.0).round()
}

/// Places by row and column of the result.
fn places(
    [h, w]: [usize; 2],
    [from_h, from_w]: [usize; 2],
    place: impl Fn(isize, isize) -> Option<[isize; 2]>,
) -> Places {
    let inside = |[row, column]: [isize; 2]| {
        let (row, column) = (usize::try_from(row).ok()?, usize::try_from(column).ok()?);
        (row < from_h && column < from_w).then_some(row * from_w + column)
    };
    let all = (0..h as isize).flat_map(|row| (0..w as isize).map(move |column| (row, column)));
    all.map(|(row, column)| place(row, column).and_then(inside)).collect()
}

fn flipped(words: [u32; 4], p: f64, rows: bool, [h, w]: [usize; 2]) -> Places {
    let flips = is_changed(words[0], p);
    places([h, w], [h, w], |row, column| {
        Some(match (flips, rows) {
            (false, _) => [row, column],
            (true, true) => [h as isize - 1 - row, column],
            (true, false) => [row, w as isize - 1 - column],
        })
    })
}

fn cropped(words: [u32; 4], [h, w]: [usize; 2], size: [usize; 2], padding: [usize; 2]) -> Places {
    let top = below(words[0], h + 2 * padding[0] - size[0] + 1) as isize - padding[0] as isize;
    let left = below(words[1], w + 2 * padding[1] - size[1] + 1) as isize - padding[1] as isize;
    places(size, [h, w], |row, column| Some([row + top, column + left]))
}

fn cut(words: [u32; 4], [h, w]: [usize; 2], length: usize) -> Places {
    let half = (length / 2) as isize;
    let (top, left) = (below(words[2], h) as isize - half, below(words[3], w) as isize - half);
    let square = |first: isize| first..first + length as isize;
    places([h, w], [h, w], |row, column| {
        (!square(top).contains(&row) || !square(left).contains(&column)).then_some([row, column])
    })
}

/// Runs one operation in a plan that trains: its result, and the gradient of its input for `dy`.
fn trained(gpu: &Gpu, x: &[f32], y: &Var, (seed, step): (u64, u64), dy: &[f32]) -> [Vec<f32>; 2] {
    let mut params = y.graph().store(gpu, 1).unwrap();
    params.write("x", x).unwrap();
    let options = PlanOptions::train(y).upstream("dy");
    let plan = y.graph().compile(&params, &options, &mut Workspace::new()).unwrap();
    plan.write("dy", &dy).unwrap();
    plan.set_step(seed, step);
    submit(gpu, &[&plan]);
    [plan.read("loss").unwrap(), params.read_grad("x").unwrap()]
}

/// The image as a parameter, with its channels or its columns in quads.
fn image(shape: [usize; 4], channels_last: bool) -> Var {
    let x = Graph::new().parameter("x", shape, Init::Constant(0.0));
    if channels_last { x.max_pool2d(1) } else { x }
}

/// Compares both passes with the places of each image.
fn check(
    gpu: &Gpu,
    what: &str,
    shape: [usize; 4],
    fill: f32,
    op: impl Fn(&Var) -> Var,
    of: impl Fn(usize, u64, u64) -> Places,
) {
    let [n, c, h, w] = shape;
    let x = noises(3, n * c * h * w);
    for channels_last in [false, true] {
        let y = op(&image(shape, channels_last));
        let size = y.shape()[2] * y.shape()[3];
        let dy = noises(4, n * c * size);
        for (seed, step) in [(0, 0), (5, 1), (7 << 40 | 3, 9 << 35 | 5)] {
            let [got, got_dx] = trained(gpu, &x, &y, (seed, step), &dy);
            let (mut expected, mut dx) = (Vec::new(), vec![0.0; x.len()]);
            for image in 0..n {
                let places = of(image, seed, step);
                for channel in 0..c {
                    let (first, first_dy) = ((image * c + channel) * h * w, (image * c + channel) * size);
                    expected.extend(places.iter().map(|place| place.map_or(fill, |place| x[first + place])));
                    for (at, place) in places.iter().enumerate() {
                        place.iter().for_each(|place| dx[first + place] = dy[first_dy + at]);
                    }
                }
            }
            let what =
                format!("{what} of {shape:?}, channels last: {channels_last}, seed {seed}, step {step}");
            assert_eq!(bits(&got), bits(&expected), "{what}");
            // A sum with a zero turns -0 into 0.
            assert_eq!(got_dx, dx, "{what}");
            // The same bits again.
            let [again, _] = trained(gpu, &x, &y, (seed, step), &dy);
            assert_eq!(bits(&got), bits(&again), "{what}");
        }
    }
}

#[test]
fn images_are_flipped_cropped_and_cut_where_philox_says_so() {
    for gpu in gpus() {
        for shape in [[5, 1, 4, 7], [3, 3, 5, 5], [9, 6, 1, 3], [2, 4, 8, 1]] {
            let size = [shape[2], shape[3]];
            for p in [0.5, 0.1, 1.0] {
                let flip = |x: &Var| x.random_horizontal_flip(p);
                check(&gpu, "horizontal flip", shape, 0.0, flip, |image, seed, step| {
                    flipped(words(image, 0, 0, seed, step), p, false, size)
                });
                let flip = |x: &Var| x.random_vertical_flip(p);
                check(&gpu, "vertical flip", shape, 0.0, flip, |image, seed, step| {
                    flipped(words(image, 1, 0, seed, step), p, true, size)
                });
            }
            for (to, padding) in [(size, [2, 1]), ([1, 1], [0, 0]), ([size[0] + 2, size[1]], [1, 3])] {
                let crop = |x: &Var| x.random_crop(RandomCrop::new(to).padding(padding).fill(-1.5));
                check(&gpu, "crop", shape, -1.5, crop, |image, seed, step| {
                    cropped(words(image, 2, 0, seed, step), size, to, padding)
                });
            }
            for length in [1, 2, 3, 8] {
                check(
                    &gpu,
                    "cutout",
                    shape,
                    0.0,
                    |x| x.cutout(length),
                    |image, seed, step| cut(words(image, 3, 0, seed, step), size, length),
                );
            }
        }
    }
}

/// What is drawn of a value is not known beforehand: sizes are in bounds, and places cover the image.
#[test]
fn erased_rectangles_have_the_sizes_that_were_asked_for() {
    let ([h, w], n) = ([12, 9], 600);
    for gpu in gpus() {
        let options = RandomErasing::new().p(0.5).scale([0.1, 0.3]).ratio([0.5, 2.0]).value(7.0);
        for channels_last in [false, true] {
            let y = image([n, 2, h, w], channels_last).random_erasing(options);
            let ones = vec![1.0; n * 2 * h * w];
            let [values, dx] = trained(&gpu, &ones, &y, (3, 4), &ones);
            let (mut changed, mut covered) = (0_u32, vec![0_u32; h * w]);
            for (image, (values, dx)) in values.chunks(2 * h * w).zip(dx.chunks(2 * h * w)).enumerate() {
                let (first, second) = values.split_at(h * w);
                assert!(first == second && values.iter().zip(dx).all(|(y, dx)| (*y == 7.0) == (*dx == 0.0)));
                let erased: Vec<usize> = (0..h * w).filter(|&at| first[at] == 7.0).collect();
                assert_eq!(!erased.is_empty(), is_changed(words(image, 3, 0, 3, 4)[0], 0.5), "{image}");
                erased.iter().for_each(|&at| covered[at] += 1);
                let (Some(first), Some(last)) = (erased.first(), erased.last()) else { continue };
                let [rows, columns] = [last / w - first / w + 1, last % w - first % w + 1];
                assert_eq!(rows * columns, erased.len(), "a rectangle");
                // Sides are rounded.
                let (rows, columns) = (rows as f64, columns as f64);
                let area = h as f64 * w as f64;
                assert!(
                    (rows + 0.5) * (columns + 0.5) >= 0.1 * area
                        && (rows - 0.5) * (columns - 0.5) <= 0.3 * area
                );
                assert!((rows + 0.5) / (columns - 0.5) >= 0.5 && (rows - 0.5) / (columns + 0.5) <= 2.0);
                changed += 1;
            }
            // 300 expected, with a standard deviation of 12.
            assert!((240..360).contains(&changed), "{changed}");
            assert!(covered.iter().all(|&times| times > 0), "{covered:?}");
        }
    }
}

/// Images next to each other, operations of one kind in a graph, and all steps get numbers of their own.
#[test]
fn every_image_operation_and_step_draws_anew() {
    for gpu in gpus() {
        let (n, size) = (64, 9);
        let graph = Graph::new();
        // The place of each pixel, so that the first one tells the shift.
        let x: Vec<f32> = (0..n).flat_map(|_| (0..size * size).map(|at| at as f32)).collect();
        let input = graph.input("x", [n, 1, size, size]);
        let crop = || RandomCrop::new(1);
        let (a, b) = (input.random_crop(crop()), input.random_crop(crop()));
        let loss = a.add(&b).mul(&graph.parameter("w", [1], Init::Constant(1.0))).mean();
        let params = graph.store(&gpu, 1).unwrap();
        let options = PlanOptions::train(&loss).output("a", &a).output("b", &b);
        let plan = graph.compile(&params, &options, &mut Workspace::new()).unwrap();
        plan.write("x", &x).unwrap();
        let at = |step| {
            plan.set_step(9, step);
            submit(&gpu, &[&plan]);
            [plan.read("a").unwrap(), plan.read("b").unwrap()]
        };
        let ([a, b], [later, _]) = (at(0), at(1));
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert!(same(&a, &b) < 8 && same(&a, &later) < 8 && same(&a[1..], &a[..n - 1]) < 8);
        assert_eq!(at(0), [a, b]);
    }
}

#[test]
fn evaluation_leaves_images_alone_and_takes_the_middle_of_larger_ones() {
    for gpu in gpus() {
        let shape = [2, 3, 6, 5];
        let values = noises(8, shape.iter().product());
        let graph = Graph::new();
        graph.parameter("unused", [1], Init::Constant(0.0));
        let x = graph.input("x", shape);
        let same = x
            .random_horizontal_flip(1.0)
            .random_vertical_flip(1.0)
            .random_crop(RandomCrop::new([6, 5]).padding(3))
            .random_erasing(RandomErasing::new().p(1.0))
            .cutout(4);
        let middle = x.random_crop([3, 2]);
        let wider = x.random_crop(RandomCrop::new([6, 8]).padding([0, 4]).fill(2.0));
        let options =
            PlanOptions::evaluate().output("same", &same).output("middle", &middle).output("wider", &wider);
        let inputs: [(&str, &dyn HostData); 1] = [("x", &values)];
        let got = run(&gpu, &graph, &options, &[], &inputs, &["same", "middle", "wider"]).outputs;
        assert_eq!(got["same"], values);
        let (mut middle, mut wider) = (Vec::new(), Vec::new());
        for plane in values.chunks(30) {
            // Rows 2 to 4 of 6: a half is rounded to even. Columns 2 and 3 of 5: 1.5 too.
            middle.extend((2..5).flat_map(|row| plane[row * 5 + 2..][..2].to_vec()));
            for row in plane.chunks(5) {
                wider.extend([&[2.0][..], row, &[2.0, 2.0]].concat());
            }
        }
        assert_eq!(got["middle"], middle);
        assert_eq!(got["wider"], wider);
    }
}

/// A small network on augmented images, with the plan's own order of axes.
fn network(gpu: &Gpu) -> gradus::train::Trainer<SGD> {
    let graph = Graph::new();
    let x = graph.input("x", [4, 1, 8, 8]);
    let x = x.random_horizontal_flip(0.5).random_crop(RandomCrop::new(8).padding(1)).cutout(3);
    let logits = x.conv2d(Conv2d::new(4, 3).padding(1)).relu().flatten().linear(3);
    let loss = logits.cross_entropy(&graph.labels("y", 4));
    graph.trainer(&loss, SGD { lr: 0.1, ..SGD::default() }).seed(6).build(gpu).unwrap()
}

#[test]
fn a_resumed_run_augments_as_if_it_had_not_stopped() {
    for gpu in gpus() {
        let (x, y) = (noises(2, 4 * 64), vec![0_u32, 1, 2, 1]);
        let step = |trainer: &mut gradus::train::Trainer<SGD>| {
            trainer.step(&[("x", &x), ("y", &y)]).unwrap();
            trainer.read_loss().unwrap()
        };
        let mut whole = network(&gpu);
        let losses: Vec<f32> = (0..6).map(|_| step(&mut whole)).collect();
        let mut first = network(&gpu);
        (0..3).for_each(|_| {
            step(&mut first);
        });
        let checkpoint = first.read_checkpoint().unwrap();
        let mut second = network(&gpu);
        second.load_checkpoint(&checkpoint).unwrap();
        let rest: Vec<f32> = (0..3).map(|_| step(&mut second)).collect();
        assert_eq!(bits(&rest), bits(&losses[3..]));
        assert_eq!(second.read_checkpoint().unwrap(), whole.read_checkpoint().unwrap());
        // Evaluation changes no image, so it gives the same numbers twice.
        let evaluated = whole.evaluate(&[("x", &x), ("y", &y)], 4).unwrap();
        assert_eq!(evaluated, whole.evaluate(&[("x", &x), ("y", &y)], 4).unwrap());
        assert_eq!(evaluated.samples, 4);
    }
}

/// A flip that never happens is no dispatch, and each other operation is one.
#[test]
fn an_operation_is_one_dispatch() {
    let dispatches = |op: &dyn Fn(&Var) -> Var, options: fn(&Var) -> PlanOptions| {
        gpus().first().map(|gpu| {
            let graph = Graph::new();
            graph.parameter("unused", [1], Init::Constant(0.0));
            let y = op(&graph.input("x", [2, 3, 8, 8]));
            let params = graph.store(gpu, 1).unwrap();
            let plan: Plan = graph.compile(&params, &options(&y), &mut Workspace::new()).unwrap();
            plan.dispatches().len()
        })
    };
    let evaluate = |y: &Var| PlanOptions::evaluate().output("y", y);
    let train = |y: &Var| PlanOptions::train(y).upstream("dy").output("y", y);
    let plain: &dyn Fn(&Var) -> Var = &|x| x.max_pool2d(1);
    let ops: [&dyn Fn(&Var) -> Var; 4] = [
        &|x| x.max_pool2d(1).random_horizontal_flip(0.5),
        &|x| x.max_pool2d(1).random_crop(RandomCrop::new(8).padding(1)),
        &|x| x.max_pool2d(1).random_erasing(RandomErasing::new()),
        &|x| x.max_pool2d(1).cutout(2),
    ];
    for op in ops {
        assert_eq!(dispatches(op, evaluate), dispatches(plain, evaluate));
        assert_eq!(dispatches(op, train), dispatches(plain, train).map(|plain| plain + 1));
    }
    let never: &dyn Fn(&Var) -> Var = &|x| x.max_pool2d(1).random_vertical_flip(0.0);
    assert_eq!(dispatches(never, train), dispatches(plain, train));
}

#[test]
fn refusals_carry_the_numbers() {
    type Build = fn(&Graph) -> Var;
    let rows: [(Build, &str); 13] = [
        (
            |g| g.input("x", [2, 3]).random_horizontal_flip(0.5),
            "random_horizontal_flip1: expected an image [N, C, H, W], got [2, 3]",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_vertical_flip(1.5),
            "random_vertical_flip1: p must be in [0, 1], got 1.5",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_horizontal_flip(f64::NAN),
            "random_horizontal_flip1: p must be in [0, 1], got NaN",
        ),
        (|g| g.input("x", [2, 1, 4, 5]).random_crop(0), "random_crop1: size must be in [1, 65535], got 0"),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_crop(RandomCrop::new([6, 8]).padding([1, 1])),
            "random_crop1: size[1] must be at most [6, 7], the size of the padded image, got 8",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_crop(RandomCrop::new(4).padding(70_000)),
            "random_crop1: padding must be in [0, 65535], got 70000",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_crop(RandomCrop::new(4).fill(f32::INFINITY)),
            "random_crop1: fill must be finite, got inf",
        ),
        (|g| g.input("x", [2, 1, 4, 5]).cutout(0), "random_erasing1: length must be in [1, 65535], got 0"),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_erasing(RandomErasing::new().p(-0.5)),
            "random_erasing1: p must be in [0, 1], got -0.5",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_erasing(RandomErasing::new().scale([0.5, 0.2])),
            "random_erasing1: scale[1] must be in [0.5, 1], got 0.2",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_erasing(RandomErasing::new().ratio([0.0, 1.0])),
            "random_erasing1: ratio[0] must be finite and above 0, got 0",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_erasing(RandomErasing::new().scale([1.0, 1.0])),
            "random_erasing1: no rectangle of scale [1.0, 1.0] and ratio [0.3, 3.3] fits [4, 5]",
        ),
        (
            |g| g.input("x", [2, 1, 4, 5]).random_erasing(RandomErasing::new().value(f32::NAN)),
            "random_erasing1: value must be finite, got NaN",
        ),
    ];
    for (build, message) in rows {
        let graph = Graph::new();
        let _ = build(&graph);
        assert_eq!(graph.check().unwrap_err().to_string(), message);
    }
}
