//! Operations that move elements, in chains of any order, against an interpreter that says of each element of the result
//! where it comes from; the gradients follow from that.

use gradus::Gpu;
use gradus::graph::{Graph, Init, PlanOptions, Var};
use gradus::nn::AvgPool2d;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::common::noises;
use crate::network::{gpus, run, with_padding};

/// An element of the input, or a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Element(usize),
    Number(f32),
}

/// A dense value: where each of its elements comes from.
#[derive(Clone, Debug)]
struct Traced {
    shape: Vec<usize>,
    from: Vec<From>,
}

/// The index of each element of a shape, in order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product()).map(|at: usize| {
        let mut rest = at;
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = rest % shape[axis];
            rest /= shape[axis];
        }
        index
    })
}

impl Traced {
    fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), from: (0..shape.iter().product()).map(From::Element).collect() }
    }

    fn at(&self, index: &[usize]) -> From {
        self.from[index.iter().zip(&self.shape).fold(0, |at, (place, extent)| at * extent + place)]
    }

    /// A value whose element at an index is that of this one at another index, or a number.
    fn mapped(&self, shape: Vec<usize>, place: impl Fn(&[usize]) -> Result<Vec<usize>, f32>) -> Self {
        let from = indices(&shape).map(|index| match place(&index) {
            Ok(index) => self.at(&index),
            Err(number) => From::Number(number),
        });
        let from = from.collect();
        Self { shape, from }
    }

    fn reshaped(&self, shape: Vec<usize>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.from.len());
        Self { shape: if shape.is_empty() { vec![1] } else { shape }, from: self.from.clone() }
    }

    fn permuted(&self, axes: &[usize]) -> Self {
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        self.mapped(shape, |index| {
            let mut place = vec![0; axes.len()];
            axes.iter().zip(index).for_each(|(&axis, &at)| place[axis] = at);
            Ok(place)
        })
    }

    fn sliced(&self, axis: usize, start: usize, end: usize, step: usize) -> Self {
        let mut shape = self.shape.clone();
        shape[axis] = (start..end).step_by(step).count();
        self.mapped(shape, |index| {
            let mut place = index.to_vec();
            place[axis] = start + place[axis] * step;
            Ok(place)
        })
    }

    fn expanded(&self, shape: Vec<usize>) -> Self {
        let missing = shape.len() - self.shape.len();
        self.mapped(shape, |index| {
            let own = index[missing..].iter().zip(&self.shape);
            Ok(own.map(|(&at, &extent)| if extent == 1 { 0 } else { at }).collect())
        })
    }

    fn joined(parts: &[&Self], axis: usize) -> Self {
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let from = indices(&shape).map(|mut index| {
            let mut part = 0;
            while index[axis] >= parts[part].shape[axis] {
                index[axis] -= parts[part].shape[axis];
                part += 1;
            }
            parts[part].at(&index)
        });
        let from = from.collect();
        Self { shape, from }
    }

    fn padded(&self, pads: &[[isize; 2]], value: f32) -> Self {
        let signed = |n: usize| isize::try_from(n).unwrap();
        let extents = self.shape.iter().zip(pads);
        let shape = extents.map(|(&extent, [a, b])| usize::try_from(signed(extent) + a + b).unwrap());
        self.mapped(shape.collect(), |index| {
            let places = index.iter().zip(pads).map(|(&at, [before, _])| signed(at) - before);
            let places: Vec<isize> = places.collect();
            let inside = places.iter().zip(&self.shape).all(|(&at, &n)| (0..signed(n)).contains(&at));
            if inside { Ok(places.iter().map(|at| at.unsigned_abs()).collect()) } else { Err(value) }
        })
    }
}

/// Elements of axes that become one.
fn extent_of(axes: &[usize]) -> usize {
    axes.iter().product()
}

/// Both halves of a test: the graph, and what it should be.
struct Chain {
    var: Var,
    traced: Traced,
    steps: Vec<String>,
}

const MOST: usize = 1500;

type Build<'a> = &'a dyn Fn(&Var) -> Var;

impl Chain {
    fn extent(&self, axis: usize) -> usize {
        self.traced.shape[axis]
    }

    /// A dimension that is the axis, from the first or from the last.
    fn dim(&self, axis: usize, bits: u32) -> isize {
        let rank = self.traced.shape.len();
        let [axis, rank] = [axis, rank].map(|n| isize::try_from(n).unwrap());
        if bits & 1 == 0 { axis } else { axis - rank }
    }

    /// One more operation, which `bits` decide on.
    fn step(&mut self, bits: [u32; 4]) {
        let [op, a, b, c] = bits;
        let rank = self.traced.shape.len();
        let axis = a as usize % rank;
        let dim = self.dim(axis, b);
        let extent = self.extent(axis);
        let size = self.traced.from.len();
        let pick = |bits: u32, n: usize| bits as usize % n;
        let signed = |n: usize| isize::try_from(n).unwrap();
        let (var, traced, what) = match op % 14 {
            0 => {
                let mut axes: Vec<usize> = (0..rank).collect();
                (1..rank)
                    .zip(1_u32..)
                    .for_each(|(at, turn)| axes.swap(at, pick(b.rotate_right(turn * 5), at + 1)));
                let dims: Vec<isize> = axes.iter().map(|&axis| self.dim(axis, c)).collect();
                (self.var.permute(&dims), self.traced.permuted(&axes), format!("permute {axes:?}"))
            }
            1 => {
                let other = pick(c, rank);
                let mut axes: Vec<usize> = (0..rank).collect();
                axes.swap(axis, other);
                let var = self.var.transpose(dim, self.dim(other, a));
                (var, self.traced.permuted(&axes), format!("transpose {axis} {other}"))
            }
            2 => {
                // All in one, then split at divisors.
                let mut left = size;
                let mut shape = Vec::new();
                for (at, turn) in (0..pick(a, 4)).zip(0_u32..) {
                    let divisors: Vec<usize> = (1..=left).filter(|n| left.is_multiple_of(*n)).collect();
                    shape.push(divisors[pick(b.rotate_right(turn * 7), divisors.len())]);
                    left /= shape[at];
                }
                shape.push(left);
                let mut asked: Vec<isize> = shape.iter().map(|&n| signed(n)).collect();
                if c & 1 == 1 {
                    asked[pick(c >> 1, shape.len())] = -1;
                }
                (self.var.reshape(&asked), self.traced.reshaped(shape.clone()), format!("reshape {shape:?}"))
            }
            3 | 4 => {
                let start = pick(b >> 1, extent);
                let end = start + 1 + pick(c, extent - start);
                let step = 1 + pick(c >> 8, 3);
                let from = if b & 2 == 0 { signed(start) } else { signed(start) - signed(extent) };
                let to = if end == extent { isize::MAX } else { signed(end) };
                let what = format!("slice {axis} {start}..{end} by {step}");
                (self.var.slice(dim, from, to, step), self.traced.sliced(axis, start, end, step), what)
            }
            5 => {
                let index = pick(c, extent);
                let mut shape = self.traced.shape.clone();
                shape.remove(axis);
                let traced = self.traced.sliced(axis, index, index + 1, 1).reshaped(shape);
                (self.var.select(dim, signed(index)), traced, format!("select {axis} {index}"))
            }
            6 => {
                let mut shape = self.traced.shape.clone();
                let ones: Vec<usize> = (0..rank).filter(|&axis| shape[axis] == 1).collect();
                let Some(&one) = ones.get(pick(b, ones.len().max(1))) else { return };
                shape[one] = 1 + pick(c, 5);
                if c & 64 != 0 && rank < 6 {
                    shape.insert(0, 2);
                }
                if shape.iter().product::<usize>() > MOST {
                    return;
                }
                let size: Vec<isize> = shape.iter().map(|&n| signed(n)).collect();
                (self.var.expand(&size), self.traced.expanded(shape.clone()), format!("expand {shape:?}"))
            }
            7 => {
                let mut pads = vec![[0isize; 2]; rank];
                for (at, bits) in [(axis, b), (pick(c, rank), a)] {
                    let before = signed(pick(bits >> 4, 5)) - 2;
                    let after = signed(pick(bits >> 9, 5)) - 2;
                    if signed(self.extent(at)) + before.min(0) + after.min(0) > 0 {
                        pads[at] = [before, after];
                    }
                }
                let traced = self.traced.padded(&pads, 0.25);
                if traced.from.len() > MOST {
                    return;
                }
                let flat: Vec<isize> = pads.iter().rev().flatten().copied().collect();
                (self.var.pad(&flat, 0.25), traced, format!("pad {pads:?}"))
            }
            8 => {
                if 2 * size > MOST {
                    return;
                }
                let cut = 1 + pick(c, extent);
                let (part, traced) = (self.var.narrow(dim, 0, cut), self.traced.sliced(axis, 0, cut, 1));
                let what = format!("concat {axis} with {cut} before and after");
                let traced = Traced::joined(&[&traced, &self.traced], axis);
                (part.concat(&[&self.var], dim), traced, what)
            }
            9 => {
                let at = pick(a, rank + 1);
                if rank == 6 || 2 * size > MOST {
                    return;
                }
                let mut shape = self.traced.shape.clone();
                shape.insert(at, 1);
                let one = self.traced.reshaped(shape.clone());
                if c & 1 == 0 {
                    let dim = if b & 1 == 0 { signed(at) } else { signed(at) - signed(rank) - 1 };
                    (self.var.unsqueeze(dim), one, format!("unsqueeze {at}"))
                } else {
                    let traced = Traced::joined(&[&one, &one], at);
                    (self.var.stack(&[&self.var], signed(at)), traced, format!("stack {at}"))
                }
            }
            10 => {
                let mut shape = self.traced.shape.clone();
                if c & 1 == 0 {
                    let end = axis + pick(b, rank - axis);
                    let joined = shape[axis..=end].iter().product();
                    shape.splice(axis..=end, [joined]);
                    let var = self.var.flatten_dims(signed(axis), self.dim(end, a));
                    (var, self.traced.reshaped(shape), format!("flatten {axis} {end}"))
                } else if c & 2 == 0 {
                    shape.retain(|extent| *extent != 1);
                    (self.var.squeeze(None), self.traced.reshaped(shape), "squeeze".into())
                } else {
                    if extent == 1 {
                        shape.remove(axis);
                    }
                    (self.var.squeeze(dim), self.traced.reshaped(shape), format!("squeeze {axis}"))
                }
            }
            11 => {
                if rank == 1 {
                    return;
                }
                let shape = vec![extent_of(&self.traced.shape[..1]), extent_of(&self.traced.shape[1..])];
                (self.var.flatten(), self.traced.reshaped(shape), "flatten all but the first".into())
            }
            // What drops nothing is a view.
            12 => (self.var.dropout(0.0), self.traced.clone(), "dropout".into()),
            _ => {
                // Another order of axes: an image lies with channels last.
                if rank != 4 {
                    return;
                }
                (self.var.avg_pool2d(AvgPool2d::new(1)), self.traced.clone(), "image".into())
            }
        };
        self.steps.push(format!("{what} -> {:?}", traced.shape));
        (self.var, self.traced) = (var, traced);
    }
}

/// The value and the gradient of a chain of operations, both exact, and zeros in the padding of the result.
fn check(gpu: &Gpu, shape: &[usize], steps: &[[u32; 4]]) {
    let graph = Graph::new();
    let x = graph.parameter("x", shape, Init::Constant(0.0));
    let mut chain = Chain { var: x, traced: Traced::new(shape), steps: Vec::new() };
    // The gradient of one value on the way is kept too.
    let (front, back) = steps.split_at(1 + steps[0][3] as usize % steps.len());
    front.iter().for_each(|bits| chain.step(*bits));
    let middle = (!chain.steps.is_empty()).then(|| chain.var.clone());
    let own = graph.parameter("middle", chain.traced.shape.clone(), Init::Constant(0.0));
    let mut rest = Chain { traced: Traced::new(&chain.traced.shape), var: own, steps: Vec::new() };
    back.iter().for_each(|bits| {
        chain.step(*bits);
        rest.step(*bits);
    });
    let Chain { var, traced, steps } = chain;
    let what = format!("{:?}: {shape:?}, {}", gpu.capabilities(), steps.join(", "));
    graph.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(var.shape(), traced.shape, "{what}");
    // Sums of eighths are exact.
    let eighths = |stream, len| -> Vec<f32> {
        noises(stream, len).iter().map(|noise| (noise * 64.0).round() / 8.0).collect()
    };
    let (values, dy) = (eighths(1, shape.iter().product()), eighths(2, traced.from.len()));
    let options = PlanOptions::train(&var).upstream("dy");
    let got = run(gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["loss"]);
    let gradient_of = |traced: &Traced, len: usize| {
        let mut gradient = vec![0.0; len];
        for (from, dy) in traced.from.iter().zip(&dy) {
            if let From::Element(at) = from {
                gradient[*at] += dy;
            }
        }
        gradient
    };
    let want: Vec<f32> = traced
        .from
        .iter()
        .map(|from| match *from {
            From::Element(at) => values[at],
            From::Number(number) => number,
        })
        .collect();
    assert_eq!(got.outputs["loss"], want, "{what}");
    let gradient = gradient_of(&traced, values.len());
    assert_eq!(got.gradients["x"], gradient, "{what}: the gradient");
    let Some(middle) = middle else { return };
    let options = options.gradient("dmiddle", &middle);
    let got = run(gpu, &graph, &options, &[("x", &values)], &[("dy", &dy)], &["dmiddle"]);
    let of_middle = gradient_of(&rest.traced, middle.shape().iter().product());
    assert_eq!(got.outputs["dmiddle"], of_middle, "{what}: the gradient of {:?}", middle.shape());
    assert_eq!(got.gradients["x"], gradient, "{what}: the gradient behind one that is kept");
}

#[test]
fn chains_of_moves_are_what_an_interpreter_makes_of_them() {
    for gpu in gpus() {
        let config = Config {
            cases: 96,
            rng_seed: RngSeed::Fixed(11),
            failure_persistence: None,
            ..Config::default()
        };
        let extents = prop::sample::select(vec![1, 1, 2, 3, 4, 5, 7, 8, 12]);
        let shapes = prop::collection::vec(extents, 1..=5)
            .prop_filter("few elements", |shape: &Vec<usize>| shape.iter().product::<usize>() <= 600);
        let steps = prop::collection::vec(any::<[u32; 4]>(), 1..=7);
        TestRunner::new(config)
            .run(&(shapes, steps), |(shape, steps)| {
                check(&gpu, &shape, &steps);
                Ok(())
            })
            .unwrap();
    }
}

fn dispatches(gpu: &Gpu, build: impl Fn(&Var) -> Var) -> Vec<String> {
    let graph = Graph::new();
    let x = graph.parameter("x", [4, 6, 32], Init::Constant(0.0));
    let y = build(&x);
    graph.check().unwrap();
    let params = graph.store(gpu, 0).unwrap();
    let options = PlanOptions::train(&y.sum());
    let plan = graph.compile(&params, &options, &mut gradus::graph::Workspace::new()).unwrap();
    plan.labels().map(str::to_owned).collect()
}

#[test]
fn what_keeps_quads_whole_costs_no_dispatch() {
    let Some(gpu) = gpus().into_iter().next() else { return };
    let bare = dispatches(&gpu, |x| x.relu()).len();
    let views: [(&str, Build<'_>); 9] = [
        ("permute", &|x| x.permute(&[1, 0, 2])),
        ("transpose", &|x| x.transpose(0, 1)),
        ("heads", &|x| x.reshape(&[-1, 6, 4, 8]).transpose(1, 2)),
        ("rows", &|x| x.flatten_dims(0, 1)),
        ("unsqueeze", &|x| x.unsqueeze(1)),
        ("steps along an outer axis", &|x| x.slice(1, 1, 6, 2)),
        ("the last axis in quads", &|x| x.slice(2, 8, 20, 1)),
        ("select", &|x| x.select(1, 3)),
        ("expand", &|x| x.unsqueeze(0).expand(&[3, 4, 6, 32]).select(0, 1)),
    ];
    for (name, build) in views {
        let labels = dispatches(&gpu, |x| build(x).relu());
        // Zeros where no gradient arrives, and the sum that an expansion needs backward.
        let more = labels.iter().filter(|l| !l.contains("fill") && !l.contains("reduce")).count();
        assert!(more <= bare, "{name}: {labels:?}, without it {bare}");
    }
    // A result lies with its last axis innermost, and so does its gradient: another axis there, and it is copied back.
    let turned = dispatches(&gpu, |x| x.permute(&[2, 0, 1]).relu()).len();
    assert_eq!(turned, bare + 1);
    let copies = dispatches(&gpu, |x| x.slice(2, 1, 30, 1).relu()).len();
    assert_eq!(copies, bare + 2, "a cut within a quad is copied, and its gradient placed");
    let joined = dispatches(&gpu, |x| x.concat(&[x, x], 2).relu()).len();
    assert_eq!(joined, bare + 6, "one copy for each part, and back");
}

#[test]
fn padding_behind_a_cut_is_zero() {
    for gpu in gpus() {
        let graph = Graph::new();
        let x = graph.parameter("x", [3, 7], Init::Constant(1.0));
        let parts = x.split([1, 5, 1], 1);
        let joined = parts[2].concat(&[&parts[1], &parts[0], &parts[1]], 1);
        let padded = x.pad(&[2, 0, 1, 0], 3.0);
        let options = PlanOptions::evaluate().output("joined", &joined).output("padded", &padded);
        let params = graph.store(&gpu, 0).unwrap();
        let plan = graph.compile(&params, &options, &mut gradus::graph::Workspace::new()).unwrap();
        crate::network::submit(&gpu, &[&plan]);
        let rows = with_padding(&gpu, &plan, "joined");
        assert!(rows.chunks(12).all(|row| row == [1.0; 12]), "{rows:?}");
        let rows = with_padding(&gpu, &plan, "padded");
        assert_eq!(rows[..12], [[3.0; 9].as_slice(), &[0.0; 3]].concat());
        assert_eq!(rows[12..24], [[3.0; 2].as_slice(), &[1.0; 7], &[0.0; 3]].concat());
    }
}

#[test]
fn moves_that_do_not_fit_are_refused_with_layer_axis_and_shape() {
    let refusals: [(Build<'_>, &str); 16] = [
        (&|x| x.permute(&[0, 1]), "permute1: expected 2 axes, as in dims [0, 1], got [2, 3, 8]"),
        (&|x| x.permute(&[0, 1, 1]), "permute1: dims must be an axis of [2, 3, 8] that is named once, got 1"),
        (&|x| x.transpose(0, 3), "transpose1: dim1 must be in [-3, 2] for [2, 3, 8], got 3"),
        (&|x| x.reshape(&[5, -1]), "reshape1: expected a shape with the elements of [5, -1], got [2, 3, 8]"),
        (
            &|x| x.reshape(&[-1, -1]),
            "reshape1: shape must be extents of which at most one is -1, got [-1, -1]",
        ),
        (
            &|x| x.reshape(&[0, 4]),
            "reshape1: shape must be extents of at least 1, or -1 for what is left, got 0",
        ),
        (&|x| x.flatten_dims(2, 1), "flatten1: end_dim must be not before start_dim 2 for [2, 3, 8], got 1"),
        (&|x| x.unsqueeze(-5), "unsqueeze1: dim must be in [-4, 3] for [2, 3, 8], got -5"),
        (
            &|x| x.slice(1, 2, 2, 1),
            "slice1: expected at least one element from 2 to 2 along dim 1, got [2, 3, 8]",
        ),
        (&|x| x.slice(1, 0, 2, 0), "slice1: step must be at least 1 for [2, 3, 8], got 0"),
        (&|x| x.narrow(2, -4, 5), "narrow1: length must be in [1, 4] from -4 on for [2, 3, 8], got 5"),
        (&|x| x.select(2, 8), "select1: index must be in [-8, 7] for [2, 3, 8], got 8"),
        (
            &|x| x.split([3, 4], -1)[0].clone(),
            "split1: expected pieces of at least 1 that are dim -1 together, as [3, 4], got [2, 3, 8]",
        ),
        (&|x| x.expand(&[2, 5, 8]), "expand1: expected axes of 1 or as in the size [2, 5, 8], got [2, 3, 8]"),
        (&|x| x.concat(&[&x.select(0, 0)], 1), "concat1: expected [2, 3, 8] except for axis 1, got [3, 8]"),
        (
            &|x| x.pad(&[-4, -4], 0.0),
            "pad1: expected an element that is left of each axis by pad [-4, -4], got [2, 3, 8]",
        ),
    ];
    for (build, want) in refusals {
        let graph = Graph::new();
        build(&graph.input("x", [2, 3, 8]));
        assert_eq!(graph.check().unwrap_err().to_string(), want);
    }
}

#[test]
fn indices_are_torchs() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 7]);
    // As torch slices: held to the axis, and counted from the end below zero.
    for (start, end, step, extent) in
        [(-100, 100, 1, 7), (-3, isize::MAX, 1, 3), (1, -1, 2, 3), (isize::MIN, 2, 1, 2), (0, 7, 10, 1)]
    {
        assert_eq!(x.slice(1, start, end, step).shape(), [2, extent], "{start}..{end} by {step}");
    }
    let extents = |parts: Vec<Var>| parts.iter().map(|part| part.shape()[1]).collect::<Vec<_>>();
    assert_eq!(extents(x.split(3, 1)), [3, 3, 1]);
    assert_eq!(extents(x.split(9, 1)), [7]);
    assert_eq!(extents(x.chunk(5, 1)), [2, 2, 2, 1]);
    assert_eq!(extents(x.chunk(100, 1)), [1; 7]);
    graph.check().unwrap();
}
