use crate::error::Error;

/// Inner products of the gradient `g`, its change `y` over the last step and the direction `d`, read after a closure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct InnerProducts {
    pub(super) gg: f64,
    pub(super) gd: f64,
    /// Inner product of the gradient before the step with the direction.
    pub(super) bd: f64,
    pub(super) yy: f64,
    pub(super) yd: f64,
    pub(super) dd: f64,
    pub(super) gy: f64,
    /// Sum and maximum of the gradient's magnitudes.
    pub(super) g_sum: f64,
    pub(super) g_most: f64,
    pub(super) d_most: f64,
    /// Not an inner product: what penalties add to the loss.
    pub(super) penalty: f64,
    /// Inner products with each stored pair, by its index in the history.
    pub(super) pairs: Vec<PairProducts>,
}

/// Inner products of a stored step `s` and change `y` with the gradient, its latest change and the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PairProducts {
    pub(super) sg: f64,
    pub(super) sy: f64,
    pub(super) sd: f64,
    pub(super) yg: f64,
    pub(super) yy: f64,
    pub(super) yd: f64,
}

/// Number of products besides those of the pairs, and how many of them are sums.
pub(super) const PRODUCTS: usize = 10;
pub(super) const SUMS: usize = 8;
/// Number of products for each pair.
pub(super) const OF_PAIR: usize = 6;
/// Bytes of a product, which is read as four parts.
pub(super) const BYTES: usize = 16;

impl InnerProducts {
    /// From the parts of each product, in order.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let parts = |index: usize| -> [f64; 4] {
            let of: [f32; 4] = bytemuck::pod_read_unaligned(&bytes[index * BYTES..(index + 1) * BYTES]);
            of.map(f64::from)
        };
        let sum = |index: usize| parts(index).iter().sum::<f64>();
        // f64::max would ignore NaN.
        let most = |index: usize| {
            let parts = parts(index);
            if parts.iter().any(|part| part.is_nan()) {
                f64::NAN
            } else {
                parts.into_iter().fold(0.0, f64::max)
            }
        };
        let pairs = (PRODUCTS..bytes.len() / BYTES).step_by(OF_PAIR).map(|at| PairProducts {
            sg: sum(at),
            sy: sum(at + 1),
            sd: sum(at + 2),
            yg: sum(at + 3),
            yy: sum(at + 4),
            yd: sum(at + 5),
        });
        Self {
            gg: sum(0),
            gd: sum(1),
            bd: sum(2),
            yy: sum(3),
            yd: sum(4),
            dd: sum(5),
            gy: sum(6),
            g_sum: sum(7),
            g_most: most(8),
            d_most: most(9),
            pairs: pairs.collect(),
            penalty: 0.0,
        }
    }

    /// The sum of four parts.
    pub(super) fn sum_of(bytes: &[u8]) -> f64 {
        bytes.chunks_exact(4).map(|part| f64::from(bytemuck::pod_read_unaligned::<f32>(part))).sum()
    }

    /// The inner products after multiplying the gradient, and so its changes, by `sign`.
    pub(super) fn times(mut self, sign: f64) -> Self {
        [&mut self.gd, &mut self.bd, &mut self.yd].into_iter().for_each(|product| *product *= sign);
        for PairProducts { sg, sy, yd, .. } in &mut self.pairs {
            [sg, sy, yd].into_iter().for_each(|product| *product *= sign);
        }
        self
    }

    /// Refuses values from which no step can be taken. With `moved`, products with the direction are checked too.
    pub(super) fn check(&self, loss: f64, moved: bool) -> Result<(), Error> {
        if !loss.is_finite() {
            return Err(Error::NonFinite(format!("LBFGS: the loss is {loss}")));
        }
        let finite = |products: &[f64]| products.iter().all(|product| product.is_finite());
        let of_grad = [self.gg, self.gy, self.yy, self.g_sum, self.g_most];
        let of_pair = |with: &PairProducts| finite(&[with.sg, with.sy, with.yg, with.yy]);
        let of_step = |with: &PairProducts| finite(&[with.sd, with.yd]);
        let good = finite(&of_grad)
            && self.pairs.iter().all(of_pair)
            && (!moved || (finite(&[self.gd, self.yd, self.dd]) && self.pairs.iter().all(of_step)));
        if good {
            return Ok(());
        }
        Err(Error::NonFinite("LBFGS: a gradient or an inner product of gradients is not finite".into()))
    }
}
