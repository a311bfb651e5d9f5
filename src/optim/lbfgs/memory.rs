use std::collections::VecDeque;

use super::reading::Reading;

/// The inner products of all remembered steps `s` and changes of the gradient `y`, by the place of each pair on the
/// device.
///
/// With them the two-loop recursion runs on coefficients alone: Chen et al. 2014, NIPS, "Large-scale L-BFGS using
/// MapReduce", Alg. 3.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Places from the oldest pair to the newest.
    order: VecDeque<usize>,
    products: Vec<Vec<Products>>,
    ro: Vec<f64>,
}

/// Of a pair with another: `s·s`, `s·y`, `y·s`, `y·y`.
pub(super) type Products = [f64; 4];

/// A direction as a sum over the gradient and the remembered pairs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Direction {
    pub(super) of_grad: f64,
    /// Weights of `s` and `y`, by place.
    pub(super) of_pairs: Vec<[f64; 2]>,
    /// Its inner product with the gradient.
    pub(super) slope: f64,
}

impl Memory {
    /// Without pairs, with so many places.
    pub(super) fn with_places(count: usize) -> Self {
        let products = vec![vec![Products::default(); count]; count];
        Self { order: VecDeque::new(), products, ro: vec![0.0; count] }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Places that are in use: 0, 1, …
    pub(super) fn places(&self) -> usize {
        self.products.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Places from the oldest pair to the newest.
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied()
    }

    pub(super) fn ro(&self, place: usize) -> f64 {
        self.ro[place]
    }

    pub(super) fn products(&self, place: usize, other: usize) -> Products {
        self.products[place][other]
    }

    /// The place of the next pair where `most` are remembered: a free one, or that of the oldest.
    pub(super) fn next_place(&self, most: usize) -> usize {
        if self.len() < most { self.len() } else { self.order[0] }
    }

    /// Remembers the step of length `t` after which `reading` was taken, at its place.
    pub(super) fn push(&mut self, place: usize, reading: &Reading, t: f64, ro: f64) {
        let row = |other: usize| {
            let of = reading.pairs[other];
            [t * of.sd, t * of.yd, of.sy, of.yy]
        };
        let places: Vec<usize> = self.order().filter(|&other| other != place).collect();
        let with = places.into_iter().map(|other| (other, row(other))).collect();
        let own = [t * t * reading.dd, t * reading.yd, t * reading.yd, reading.yy];
        self.insert(place, with, own, ro);
    }

    /// Remembers a pair with its products with the others and with itself.
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
