//! The rules that know their tensor in plain f64, as optax has them: what the kernels are tested against.

use serde_json::Value;

/// A tensor and its state.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) p: Vec<f64>,
    /// Of each element.
    pub(crate) slots: [Vec<f64>; 2],
    /// Of the tensor.
    pub(crate) norm: f64,
    /// By which the latest step was scaled.
    pub(crate) ratio: f64,
    pub(crate) step: i32,
}

impl Tensor {
    pub(crate) fn new(p: &[f32]) -> Self {
        let p: Vec<f64> = p.iter().map(|p| f64::from(*p)).collect();
        let zeros = vec![0.0; p.len()];
        Self { p, slots: [zeros.clone(), zeros], norm: 0.0, ratio: 1.0, step: 0 }
    }

    /// One step; `options` holds all of the rule's.
    pub(crate) fn step(&mut self, options: &Value, g: &[f64]) {
        self.step += 1;
        match options["name"].as_str().unwrap() {
            "Lamb" => self.lamb(options, g),
            "Lars" => self.lars(options, g),
            "Novograd" => self.novograd(options, g),
            "Fromage" => self.fromage(options, g),
            other => panic!("no oracle for {other}"),
        }
    }

    fn lamb(&mut self, options: &Value, g: &[f64]) {
        let [b1, b2] = betas(options);
        let (c1, c2) = (1.0 - b1.powi(self.step), 1.0 - b2.powi(self.step));
        let [m, v] = &mut self.slots;
        m.iter_mut().zip(g).for_each(|(m, g)| *m = b1 * *m + (1.0 - b1) * g);
        v.iter_mut().zip(g).for_each(|(v, g)| *v = b2 * *v + (1.0 - b2) * g * g);
        let (eps, decay) = (number(options, "eps"), number(options, "weight_decay"));
        let root = number(options, "eps_root");
        let u = m.iter().zip(v).map(|(m, v)| m / c1 / ((*v / c2 + root).sqrt() + eps));
        let u: Vec<f64> = u.zip(&self.p).map(|(u, p)| u + decay * p).collect();
        let norms = (length(&self.p), length(&u));
        self.ratio = if norms.0 == 0.0 || norms.1 == 0.0 { 1.0 } else { norms.0 / norms.1 };
        let rate = number(options, "lr") * self.ratio;
        self.p.iter_mut().zip(&u).for_each(|(p, u)| *p -= rate * u);
    }

    fn lars(&mut self, options: &Value, g: &[f64]) {
        let decay = number(options, "weight_decay");
        let g: Vec<f64> = g.iter().zip(&self.p).map(|(g, p)| g + decay * p).collect();
        let norms = (length(&self.p), length(&g));
        let trust = number(options, "trust_coefficient") * norms.0 / (norms.1 + number(options, "eps"));
        self.ratio = if norms.0 == 0.0 || norms.1 == 0.0 { 1.0 } else { trust };
        let (lr, momentum) = (number(options, "lr"), number(options, "momentum"));
        let (inside, outside) = if options["lr_in_buffer"] == true { (lr, 1.0) } else { (1.0, lr) };
        for ((p, buffer), g) in self.p.iter_mut().zip(&mut self.slots[0]).zip(g) {
            let u = inside * self.ratio * g;
            *buffer = momentum * *buffer + u;
            *p -= outside * if options["nesterov"] == true { u + momentum * *buffer } else { *buffer };
        }
    }

    fn novograd(&mut self, options: &Value, g: &[f64]) {
        let [b1, b2] = betas(options);
        let norm = length(g).powi(2);
        self.norm = if self.step == 1 { norm } else { b2 * self.norm + (1.0 - b2) * norm };
        self.ratio = 1.0 / ((self.norm + number(options, "eps_root")).sqrt() + number(options, "eps"));
        let (lr, decay) = (number(options, "lr"), number(options, "weight_decay"));
        for ((p, m), g) in self.p.iter_mut().zip(&mut self.slots[0]).zip(g) {
            let u = g * self.ratio + decay * *p;
            *m = if self.step == 1 { u } else { b1 * *m + u };
            *p -= lr * *m;
        }
    }

    fn fromage(&mut self, options: &Value, g: &[f64]) {
        let (lr, least) = (number(options, "lr"), number(options, "min_norm"));
        let norms = (length(&self.p).max(least), length(g).max(least));
        self.ratio = if norms.0 == 0.0 || norms.1 == 0.0 { 1.0 } else { norms.0 / norms.1 };
        let shrink = 1.0 / (1.0 + lr * lr).sqrt();
        self.p.iter_mut().zip(g).for_each(|(p, g)| *p = (*p - lr * self.ratio * g) * shrink);
    }
}

fn number(options: &Value, field: &str) -> f64 {
    options[field].as_f64().unwrap()
}

fn betas(options: &Value) -> [f64; 2] {
    [0, 1].map(|i| options["betas"][i].as_f64().unwrap())
}

pub(crate) fn length(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}
