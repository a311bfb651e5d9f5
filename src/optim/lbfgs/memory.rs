use std::collections::VecDeque;

use super::inner_products::InnerProducts;

/// The inner products of all stored steps `s` and gradient changes `y`, by the index of each pair in the device's
/// history.
///
/// With them the two-loop recursion runs on coefficients alone: Chen et al. 2014, NIPS, "Large-scale L-BFGS using
/// MapReduce", Alg. 3.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Indices from the oldest pair to the newest.
    order: VecDeque<usize>,
    products: Vec<Vec<Products>>,
    ro: Vec<f64>,
}

/// Products of one pair with another: `s·s`, `s·y`, `y·s`, `y·y`.
pub(super) type Products = [f64; 4];

/// A direction as a linear combination of the gradient and the stored pairs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Direction {
    pub(super) of_grad: f64,
    /// Weights of `s` and `y`, by index.
    pub(super) of_pairs: Vec<[f64; 2]>,
    /// Its inner product with the gradient.
    pub(super) slope: f64,
}

impl Memory {
    /// An empty history with this many slots.
    pub(super) fn with_places(count: usize) -> Self {
        let products = vec![vec![Products::default(); count]; count];
        Self { order: VecDeque::new(), products, ro: vec![0.0; count] }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Number of slots in use: 0, 1, ….
    pub(super) fn places(&self) -> usize {
        self.products.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Indices from the oldest pair to the newest.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied()
    }

    pub(super) fn ro(&self, place: usize) -> f64 {
        self.ro[place]
    }

    pub(super) fn products(&self, place: usize, other: usize) -> Products {
        self.products[place][other]
    }

    /// The slot of the next pair if at most `most` are stored: a free one, or that of the oldest pair.
    pub(super) fn next_place(&self, most: usize) -> usize {
        if self.len() < most { self.len() } else { self.order[0] }
    }

    /// Stores the step of length `t` after which `inner_products` was read, in its slot.
    pub(super) fn push(&mut self, place: usize, inner_products: &InnerProducts, t: f64, ro: f64) {
        let row = |other: usize| {
            let of = inner_products.pairs[other];
            [t * of.sd, t * of.yd, of.sy, of.yy]
        };
        let places: Vec<usize> = self.order().filter(|&other| other != place).collect();
        let with = places.into_iter().map(|other| (other, row(other))).collect();
        let own =
            [t * t * inner_products.dd, t * inner_products.yd, t * inner_products.yd, inner_products.yy];
        self.insert(place, with, own, ro);
    }

    /// Stores a pair with its products with the others and with itself.
    pub(super) fn insert(&mut self, place: usize, with: Vec<(usize, Products)>, own: Products, ro: f64) {
        if place == self.products.len() {
            self.products.iter_mut().for_each(|row| row.push(Products::default()));
            self.products.push(vec![Products::default(); place + 1]);
            self.ro.push(0.0);
        }
        self.order.retain(|&other| other != place);
        self.order.push_back(place);
        for (other, [ss, sy, ys, yy]) in with {
            self.products[place][other] = [ss, sy, ys, yy];
            self.products[other][place] = [ss, ys, sy, yy];
        }
        self.products[place][place] = own;
        self.ro[place] = ro;
    }

    /// `-scale` times the approximate inverse Hessian times the gradient, by the two-loop recursion that starts from
    /// `h_diag` times the identity. `grads` has the inner products of each pair with the gradient.
    pub(super) fn direction(&self, gg: f64, grads: &[[f64; 2]], h_diag: f64, scale: f64) -> Direction {
        let mut alphas = vec![0.0; self.ro.len()];
        let mut of_grad = -scale;
        let mut of_pairs = vec![[0.0; 2]; self.ro.len()];
        let with = |of_grad: f64, of_pairs: &[[f64; 2]], place: usize, which: usize| -> f64 {
            let pairs = self.order().map(|other| {
                let products = self.products[place][other];
                of_pairs[other][0] * products[2 * which] + of_pairs[other][1] * products[2 * which + 1]
            });
            of_grad * grads[place][which] + pairs.sum::<f64>()
        };
        for place in self.order.iter().rev().copied() {
            alphas[place] = self.ro[place] * with(of_grad, &of_pairs, place, 0);
            of_pairs[place][1] -= alphas[place];
        }
        of_grad *= h_diag;
        of_pairs.iter_mut().for_each(|pair| pair[1] *= h_diag);
        for place in self.order() {
            let beta = self.ro[place] * with(of_grad, &of_pairs, place, 1);
            of_pairs[place][0] += alphas[place] - beta;
        }
        let pairs = self
            .order()
            .map(|place| of_pairs[place][0] * grads[place][0] + of_pairs[place][1] * grads[place][1]);
        let slope = of_grad * gg + pairs.sum::<f64>();
        Direction { of_grad, of_pairs, slope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::lbfgs::inner_products::PairProducts;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Numbers that are not regular.
    fn vector(seed: usize, len: usize) -> Vec<f64> {
        (0..len).map(|i| ((seed * 37 + i * 101 + 7) as f64 * 0.7321).sin()).collect()
    }

    /// The two-loop recursion on vectors: Nocedal and Wright 2006, Alg. 7.4.
    fn two_loops(pairs: &[(Vec<f64>, Vec<f64>)], g: &[f64], h_diag: f64) -> Vec<f64> {
        let mut q: Vec<f64> = g.iter().map(|g| -g).collect();
        let add = |q: &mut [f64], by: f64, v: &[f64]| q.iter_mut().zip(v).for_each(|(q, v)| *q += by * v);
        let mut alphas = Vec::new();
        for (s, y) in pairs.iter().rev() {
            let alpha = dot(s, &q) / dot(s, y);
            add(&mut q, -alpha, y);
            alphas.push(alpha);
        }
        q.iter_mut().for_each(|q| *q *= h_diag);
        for ((s, y), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
            let beta = dot(y, &q) / dot(s, y);
            add(&mut q, alpha - beta, s);
        }
        q
    }

    #[test]
    fn coefficients_give_the_direction_of_the_recursion_on_vectors() {
        let (len, most, t) = (30, 4, 0.7);
        let (mut memory, mut kept) = (Memory::default(), Vec::<(Vec<f64>, Vec<f64>)>::new());
        let mut places = vec![None; most];
        for turn in 0..9 {
            let (d, y, g) = (vector(3 * turn, len), vector(3 * turn + 1, len), vector(3 * turn + 2, len));
            let s: Vec<f64> = d.iter().map(|d| t * d).collect();
            let with = |pair: &Option<(Vec<f64>, Vec<f64>)>| {
                let Some((s, c)) = pair else { return PairProducts::default() };
                PairProducts {
                    sg: dot(s, &g),
                    sy: dot(s, &y),
                    sd: dot(s, &d),
                    yg: dot(c, &g),
                    yy: dot(c, &y),
                    yd: dot(c, &d),
                }
            };
            let pairs: Vec<PairProducts> = places[..memory.places()].iter().map(with).collect();
            let mut grads: Vec<[f64; 2]> = pairs.iter().map(|with| [with.sg, with.yg]).collect();
            let inner_products = InnerProducts {
                yd: dot(&y, &d),
                dd: dot(&d, &d),
                yy: dot(&y, &y),
                pairs,
                ..InnerProducts::default()
            };
            let place = memory.next_place(most);
            memory.push(place, &inner_products, t, 1.0 / dot(&s, &y));
            grads.resize(memory.places(), [0.0; 2]);
            grads[place] = [dot(&s, &g), dot(&y, &g)];
            places[place] = Some((s.clone(), y.clone()));
            kept.push((s, y));
            let pairs = &kept[kept.len().saturating_sub(most)..];
            let want = two_loops(pairs, &g, 1.5);
            let got = memory.direction(dot(&g, &g), &grads, 1.5, 2.0);
            for index in 0..len {
                let of_pairs = memory.order().map(|place| {
                    let (s, y) = places[place].as_ref().unwrap();
                    got.of_pairs[place][0] * s[index] + got.of_pairs[place][1] * y[index]
                });
                let value = got.of_grad * g[index] + of_pairs.sum::<f64>();
                let scale = want.iter().fold(0.0_f64, |most, want| most.max(want.abs()));
                assert!((value - 2.0 * want[index]).abs() < 1e-9 * scale, "{turn}: {value} {}", want[index]);
            }
            let slope = 2.0 * dot(&want, &g);
            assert!((got.slope - slope).abs() < 1e-9 * slope.abs(), "{turn}: {} {slope}", got.slope);
        }
        assert_eq!(memory.order().collect::<Vec<_>>(), [1, 2, 3, 0]);
    }
}
