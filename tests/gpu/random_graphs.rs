//! Graphs of ten drawn operations against an interpreter in f64: values directly, gradients by its differences.

use gradus::Gpu;
use gradus::graph::{Graph, Init, Var};
use gradus::nn::LayerNorm;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::common::noises;
use crate::network::gpus;
use crate::ops::{Case, check_all};

/// An operation with what was drawn for it.
#[derive(Clone, Debug)]
enum Step {
    Tanh,
    Sigmoid,
    Gelu,
    Softplus,
    /// Times the parameter `w<n>` of the last axis.
    Scale(usize),
    /// Plus the first value of the same shape, if there is one.
    Residual,
    Permute(Vec<usize>),
    /// The first and the last axis as one behind the others.
    Merge,
    Slice(usize, usize),
    /// Minus the mean along an axis, which is broadcast.
    Center(usize),
    Softmax(usize),
    LayerNorm,
    /// The product with the parameter `w<n>` of so many columns.
    Product(usize, usize),
    Concat(usize),
}

/// A value of the interpreter.
#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Tensor {
    fn index(&self, mut at: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape.len()];
        for axis in (0..self.shape.len()).rev() {
            index[axis] = at % self.shape[axis];
            at /= self.shape[axis];
        }
        index
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.data[index.iter().zip(&self.shape).fold(0, |at, (place, extent)| at * extent + place)]
    }

    /// Each element of a shape from its place.
    fn of(shape: Vec<usize>, value: impl Fn(&[usize]) -> f64) -> Self {
        let len = shape.iter().product();
        let empty = Self { shape, data: Vec::new() };
        let data = (0..len).map(|at| value(&empty.index(at))).collect();
        Self { data, ..empty }
    }

    fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), data: self.data.iter().map(|x| function(*x)).collect() }
    }

    /// A function of each element and of the line along an axis that it stands in.
    fn along(&self, axis: usize, function: impl Fn(f64, &[f64]) -> f64) -> Self {
        Self::of(self.shape.clone(), |index| {
            let mut other = index.to_vec();
            let line: Vec<f64> = (0..self.shape[axis])
                .map(|place| {
                    other[axis] = place;
                    self.at(&other)
                })
                .collect();
            function(self.at(index), &line)
        })
    }
}

fn mean(line: &[f64]) -> f64 {
    line.iter().sum::<f64>() / line.len() as f64
}

impl Step {
    /// Draws one that fits a value of this shape; `weights` are the shapes of the parameters so far.
    fn draw(random: &mut Pcg64, shape: &[usize], weights: &mut Vec<Vec<usize>>) -> Self {
        let rank = shape.len();
        let (last, axis) = (shape[rank - 1], random.random_range(0..rank));
        match random.random_range(0..14) {
            0 => Self::Tanh,
            1 => Self::Sigmoid,
            2 => Self::Gelu,
            3 => Self::Softplus,
            4 => {
                weights.push(vec![last]);
                Self::Scale(weights.len() - 1)
            }
            5 => Self::Residual,
            6 => {
                let mut dims: Vec<usize> = (0..rank).collect();
                (0..rank).for_each(|at| dims.swap(at, random.random_range(0..rank)));
                Self::Permute(dims)
            }
            7 if rank > 2 => Self::Merge,
            8 if shape[axis] > 1 => Self::Slice(axis, random.random_range(0..shape[axis] - 1)),
            9 => Self::Center(axis),
            10 => Self::Softmax(axis),
            11 if last > 2 => Self::LayerNorm,
            12 => {
                let columns = random.random_range(1..9);
                weights.push(vec![last, columns]);
                Self::Product(weights.len() - 1, columns)
            }
            13 if shape.iter().product::<usize>() < 100 => Self::Concat(axis),
            _ => Self::Tanh,
        }
    }

    fn build(&self, x: &Var, earlier: &[Var], weights: &[Var]) -> Var {
        let dim = |axis: usize| isize::try_from(axis).unwrap();
        match self {
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
            Self::Gelu => x.gelu_tanh(),
            Self::Softplus => x.softplus(1.0, 20.0),
            Self::Scale(number) => x.mul(&weights[*number]),
            Self::Residual => match earlier.iter().find(|other| other.shape() == x.shape()) {
                Some(other) => x + other,
                None => x.tanh(),
            },
            Self::Permute(dims) => x.permute(&dims.iter().map(|axis| dim(*axis)).collect::<Vec<_>>()),
            Self::Merge => {
                let (shape, rank) = (x.shape(), x.shape().len());
                let turned: Vec<isize> = (1..rank - 1).chain([0, rank - 1]).map(dim).collect();
                let merged: Vec<isize> =
                    shape[1..rank - 1].iter().map(|extent| dim(*extent)).chain([-1]).collect();
                x.permute(&turned).reshape(&merged)
            }
            Self::Slice(axis, first) => x.slice(dim(*axis), dim(*first), isize::MAX, 1),
            Self::Center(axis) => x - x.mean_dim(&[dim(*axis)], true),
            Self::Softmax(axis) => x.softmax(dim(*axis)),
            Self::LayerNorm => {
                x.layer_norm(LayerNorm::new(*x.shape().last().unwrap()).elementwise_affine(false))
            }
            Self::Product(number, _) => x.matmul(&weights[*number]),
            Self::Concat(axis) => x.concat(&[&x.tanh()], dim(*axis)),
        }
    }

    fn value(&self, x: &Tensor, earlier: &[Tensor], weights: &[Tensor]) -> Tensor {
        let last = x.shape.len() - 1;
        let gelu = |x: f64| {
            let inner = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        };
        match self {
            Self::Tanh => x.map(f64::tanh),
            Self::Sigmoid => x.map(|x| 1.0 / (1.0 + (-x).exp())),
            Self::Gelu => x.map(gelu),
            Self::Softplus => x.map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Self::Scale(number) => {
                Tensor::of(x.shape.clone(), |index| x.at(index) * weights[*number].data[index[last]])
            }
            Self::Residual => match earlier.iter().find(|other| other.shape == x.shape) {
                Some(other) => Tensor::of(x.shape.clone(), |index| x.at(index) + other.at(index)),
                None => x.map(f64::tanh),
            },
            Self::Permute(dims) => Tensor::of(dims.iter().map(|axis| x.shape[*axis]).collect(), |index| {
                let mut from = vec![0; index.len()];
                dims.iter().zip(index).for_each(|(axis, place)| from[*axis] = *place);
                x.at(&from)
            }),
            Self::Merge => {
                let shape = [&x.shape[1..last], &[x.shape[0] * x.shape[last]]].concat();
                Tensor::of(shape, |index| {
                    let (middle, both) = (&index[..last - 1], index[last - 1]);
                    x.at(&[&[both / x.shape[last]], middle, &[both % x.shape[last]]].concat())
                })
            }
            Self::Slice(axis, first) => {
                let mut shape = x.shape.clone();
                shape[*axis] -= first;
                Tensor::of(shape, |index| {
                    let mut from = index.to_vec();
                    from[*axis] += first;
                    x.at(&from)
                })
            }
            Self::Center(axis) => x.along(*axis, |x, line| x - mean(line)),
            Self::Softmax(axis) => {
                x.along(*axis, |x, line| x.exp() / line.iter().map(|x| x.exp()).sum::<f64>())
            }
            Self::LayerNorm => x.along(last, |x, line| {
                let variance = mean(&line.iter().map(|x| (x - mean(line)).powi(2)).collect::<Vec<_>>());
                (x - mean(line)) / (variance + 1e-5).sqrt()
            }),
            Self::Product(number, columns) => {
                let shape = [&x.shape[..last], &[*columns]].concat();
                Tensor::of(shape, |index| {
                    let term = |k: usize| {
                        x.at(&[&index[..last], &[k]].concat())
                            * weights[*number].data[k * columns + index[last]]
                    };
                    (0..x.shape[last]).map(term).sum()
                })
            }
            Self::Concat(axis) => {
                let mut shape = x.shape.clone();
                shape[*axis] *= 2;
                Tensor::of(shape, |index| {
                    let mut from = index.to_vec();
                    from[*axis] %= x.shape[*axis];
                    let value = x.at(&from);
                    if index[*axis] < x.shape[*axis] { value } else { value.tanh() }
                })
            }
        }
    }
}

#[test]
fn graphs_of_ten_operations_are_what_an_interpreter_makes_of_them() {
    let gpus = gpus();
    let config = Config {
        cases: 40,
        max_shrink_iters: 40,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..Config::default()
    };
    let drawn = (vec(1..7_usize, 1..5), vec(any::<u64>(), 10));
    TestRunner::new(config)
        .run(&drawn, |(first, seeds)| {
            check(&gpus, &first, &seeds);
            Ok(())
        })
        .unwrap();
}

/// A graph on a value of shape `first`, with an operation for each seed.
fn check(gpus: &[Gpu], first: &[usize], seeds: &[u64]) {
    const NAMES: [&str; 10] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];
    let mut shapes = Vec::new();
    let mut shape = first.to_vec();
    let mut steps = Vec::new();
    for seed in seeds {
        let step = Step::draw(&mut Pcg64::seed_from_u64(*seed), &shape, &mut shapes);
        let zeros = |shape: &[usize]| Tensor::of(shape.to_vec(), |_| 0.0);
        let weights: Vec<Tensor> = shapes.iter().map(|shape| zeros(shape)).collect();
        shape = step.value(&zeros(&shape), &[], &weights).shape;
        steps.push(step);
    }
    let mut parameters = vec![("x", noises(1, first.iter().product()))];
    for (number, shape) in shapes.iter().enumerate() {
        parameters.push((NAMES[number], noises(2 + number as u64, shape.iter().product())));
    }
    let case = Case {
        name: format!("graph of {first:?}: {steps:?}"),
        parameters,
        labels: None,
        build: &|graph: &Graph| {
            let tensor = |name: &str, shape: &[usize]| graph.parameter(name, shape, Init::Constant(0.0));
            let mut values = vec![tensor("x", first)];
            let weights: Vec<Var> =
                shapes.iter().zip(NAMES).map(|(shape, name)| tensor(name, shape)).collect();
            for step in &steps {
                let next = step.build(&values[values.len() - 1], &values[..values.len() - 1], &weights);
                values.push(next);
            }
            values.pop().unwrap()
        },
        value: &|tensors| {
            let tensor =
                |shape: &[usize], data: &[f64]| Tensor { shape: shape.to_vec(), data: data.to_vec() };
            let mut values = vec![tensor(first, &tensors[0])];
            let weights: Vec<Tensor> =
                shapes.iter().zip(&tensors[1..]).map(|(shape, data)| tensor(shape, data)).collect();
            for step in &steps {
                let next = step.value(&values[values.len() - 1], &values[..values.len() - 1], &weights);
                values.push(next);
            }
            values.pop().unwrap().data
        },
        half: 1e-5,
    };
    check_all(gpus, &case, 10_000);
}
