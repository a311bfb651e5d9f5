//! The rules in plain f64, element by element, as torch has them: what the kernels are tested against.

use serde_json::Value;

/// One element and its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    pub(crate) p: f64,
    pub(crate) slots: [f64; 3],
    /// The gradient before.
    previous: f64,
    step: i32,
}

/// The options of a rule; `options` holds all of them.
#[derive(Debug)]
pub(crate) struct Oracle {
    name: String,
    lr: f64,
    weight_decay: f64,
    sign: f64,
    options: Value,
    betas: [f64; 2],
    eps: f64,
}

impl Oracle {
    pub(crate) fn new(options: Value) -> Self {
        let number = |key: &str| options[key].as_f64().unwrap_or(0.0);
        let beta = |i: usize| options["betas"][i].as_f64().unwrap_or(0.0);
        Self {
            name: options["name"].as_str().unwrap().into(),
            lr: number("lr"),
            weight_decay: number("weight_decay"),
            sign: if options["maximize"] == true { -1.0 } else { 1.0 },
            betas: [beta(0), beta(1)],
            eps: number("eps"),
            options,
        }
    }

    pub(crate) fn element(p: f32) -> Element {
        Element { p: p.into(), slots: [0.0; 3], previous: 0.0, step: 0 }
    }

    pub(crate) fn step(&self, e: &mut Element, g: f32) {
        e.step += 1;
        if e.step == 1 {
            e.slots = self.first_slots();
        }
        let g = self.sign * f64::from(g);
        match self.name.as_str() {
            "SGD" => self.sgd(e, g),
            "Adam" => self.adam(e, g, self.options["decoupled_weight_decay"] == true),
            "AdamW" => self.adam(e, g, true),
            "RMSprop" => self.rmsprop(e, g),
            "Adagrad" => self.adagrad(e, g),
            "Adadelta" => self.adadelta(e, g),
            "ASGD" => self.asgd(e, g),
            "ScheduleFreeAdamW" => self.schedule_free(e, g),
            "Adan" => self.adan(e, g),
            "Adamax" => self.adamax(e, g),
            "NAdam" => self.nadam(e, g),
            "RAdam" => self.radam(e, g),
            "Yogi" => self.yogi(e, g),
            "AdaBelief" => self.adabelief(e, g),
            "Lion" => self.lion(e, g),
            "Rprop" => self.rprop(e, g),
            other => panic!("no oracle for {other}"),
        }
    }

    /// What the slots hold before the first step.
    fn first_slots(&self) -> [f64; 3] {
        let first = self.number("initial_accumulator_value");
        match self.name.as_str() {
            "Adagrad" => [first, 0.0, 0.0],
            "Yogi" => [first, first, 0.0],
            "RMSprop" => [self.number("initial_scale"), 0.0, 0.0],
            "NAdam" => [0.0, 0.0, 1.0],
            "Rprop" => [0.0, self.lr, 0.0],
            "ASGD" => [0.0, self.lr, 1.0],
            _ => [0.0; 3],
        }
    }

    /// An option, or 0 where the rule has none of that name.
    fn number(&self, key: &str) -> f64 {
        self.options[key].as_f64().unwrap_or(0.0)
    }

    /// The gradient with its penalty, after the parameter's own decay.
    fn decayed(&self, e: &mut Element, g: f64, decoupled: bool) -> f64 {
        if decoupled {
            e.p *= 1.0 - self.lr * self.weight_decay;
            return g;
        }
        g + self.weight_decay * e.p
    }

    /// Takes a gradient into the two moments and returns the corrections of their biases.
    fn moments(&self, e: &mut Element, g: f64) -> (f64, f64) {
        let [b1, b2] = self.betas;
        e.slots[0] = b1 * e.slots[0] + (1.0 - b1) * g;
        e.slots[1] = b2 * e.slots[1] + (1.0 - b2) * g * g;
        (1.0 - b1.powi(e.step), 1.0 - b2.powi(e.step))
    }

    /// The first moment with its bias corrected, or as optax looks one step ahead.
    fn corrected(&self, e: &Element, g: f64) -> f64 {
        let b1 = self.betas[0];
        let c1 = 1.0 - b1.powi(e.step);
        if self.options["nesterov"] == true {
            return b1 * e.slots[0] / (1.0 - b1.powi(e.step + 1)) + (1.0 - b1) * g / c1;
        }
        e.slots[0] / c1
    }

    fn sgd(&self, e: &mut Element, g: f64) {
        let (momentum, dampening) = (self.number("momentum"), self.number("dampening"));
        let g = g + self.weight_decay * e.p;
        let mut update = g;
        if momentum != 0.0 {
            let b = if e.step == 1 { g } else { momentum * e.slots[0] + (1.0 - dampening) * g };
            e.slots[0] = b;
            update = if self.options["nesterov"] == true { g + momentum * b } else { b };
        }
        e.p -= self.lr * update;
    }

    fn adam(&self, e: &mut Element, g: f64, decoupled: bool) {
        let g = self.decayed(e, g, decoupled);
        let (_, c2) = self.moments(e, g);
        let m = self.corrected(e, g);
        let [_, v, largest] = &mut e.slots;
        let mut corrected = *v / c2;
        if self.options["amsgrad"] == true {
            if self.options["variant"] == "optax" {
                *largest = largest.max(corrected);
                corrected = *largest;
            } else {
                *largest = largest.max(*v);
                corrected = *largest / c2;
            }
        }
        e.p -= self.lr * m / ((corrected + self.number("eps_root")).sqrt() + self.eps);
    }

    fn rmsprop(&self, e: &mut Element, g: f64) {
        let (alpha, momentum) = (self.number("alpha"), self.number("momentum"));
        let g = g + self.weight_decay * e.p;
        let [v, buffer, mean] = &mut e.slots;
        *v = alpha * *v + (1.0 - alpha) * g * g;
        let c = if self.options["bias_correction"] == true { 1.0 - alpha.powi(e.step) } else { 1.0 };
        let mut second = *v / c;
        if self.options["centered"] == true {
            *mean = alpha * *mean + (1.0 - alpha) * g;
            second -= (*mean / c).powi(2);
        }
        let inside = self.options["eps_in_sqrt"] == true;
        let denominator = if inside { (second + self.eps).sqrt() } else { second.sqrt() + self.eps };
        let mut update = g / denominator;
        if momentum != 0.0 {
            *buffer = momentum * *buffer + update;
            update = if self.options["nesterov"] == true { update + momentum * *buffer } else { *buffer };
        }
        e.p -= self.lr * update;
    }

    fn adagrad(&self, e: &mut Element, g: f64) {
        let g = self.decayed(e, g, false);
        e.slots[0] += g * g;
        let rate = self.lr / (1.0 + f64::from(e.step - 1) * self.number("lr_decay"));
        if self.options["eps_in_sqrt"] == true {
            let scale = if e.slots[0] > 0.0 { 1.0 / (e.slots[0] + self.eps).sqrt() } else { 0.0 };
            e.p -= rate * g * scale;
        } else {
            e.p -= rate * g / (e.slots[0].sqrt() + self.eps);
        }
    }

    fn adadelta(&self, e: &mut Element, g: f64) {
        let rho = self.number("rho");
        let g = self.decayed(e, g, false);
        let [squares, updates, _] = &mut e.slots;
        *squares = rho * *squares + (1.0 - rho) * g * g;
        let update = (*updates + self.eps).sqrt() / (*squares + self.eps).sqrt() * g;
        *updates = rho * *updates + (1.0 - rho) * update * update;
        e.p -= self.lr * update;
    }

    /// The average, the rate and the weight of the step.
    fn asgd(&self, e: &mut Element, g: f64) {
        let g = self.decayed(e, g, false);
        let [ax, eta, mu] = &mut e.slots;
        e.p = e.p * (1.0 - self.number("lambd") * *eta) - *eta * g;
        *ax += *mu * (e.p - *ax);
        let step = f64::from(e.step);
        *eta = self.lr / (1.0 + self.number("lambd") * self.lr * step).powf(self.number("alpha"));
        *mu = 1.0 / (step - self.number("t0")).max(1.0);
    }

    /// `z`, the second moment, and the sum of weights.
    fn schedule_free(&self, e: &mut Element, g: f64) {
        let [b1, b2] = self.betas;
        let (warmup, power) = (self.number("warmup_steps"), self.number("weight_lr_power"));
        let rate =
            |step: i32| if warmup > 0.0 { self.lr * f64::from(step).min(warmup) / warmup } else { self.lr };
        let [z, v, sum] = &mut e.slots;
        if e.step == 1 {
            *z = e.p;
        }
        *v = b2 * *v + (1.0 - b2) * g * g;
        let direction = g / ((*v / (1.0 - b2.powi(e.step))).sqrt() + self.eps) + self.weight_decay * e.p;
        let x = (e.p - (1.0 - b1) * *z) / b1;
        *z -= rate(e.step - 1) * direction;
        // A constant rate is the largest so far.
        let weight = rate(e.step).powf(power);
        *sum += weight;
        let share = if *sum == 0.0 { 0.0 } else { weight / *sum };
        e.p = b1 * ((1.0 - share) * x + share * *z) + (1.0 - b1) * *z;
    }

    /// The averages of the gradient, of its change, and of squares.
    fn adan(&self, e: &mut Element, g: f64) {
        let ([b1, b2], b3) = (self.betas, self.options["betas"][2].as_f64().unwrap());
        let d = if e.step == 1 { 0.0 } else { g - e.previous };
        e.previous = g;
        let [m, v, n] = &mut e.slots;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * d;
        *n = b3 * *n + (1.0 - b3) * (g + (1.0 - b2) * d).powi(2);
        let c = |beta: f64| 1.0 - beta.powi(e.step);
        let direction = *m / c(b1) + (1.0 - b2) * *v / c(b2);
        let direction = direction / ((*n / c(b3) + self.number("eps_root")).sqrt() + self.eps);
        e.p -= self.lr * (direction + self.weight_decay * e.p);
    }

    fn adamax(&self, e: &mut Element, g: f64) {
        let [b1, b2] = self.betas;
        let g = self.decayed(e, g, false);
        let [m, largest, _] = &mut e.slots;
        *m = b1 * *m + (1.0 - b1) * g;
        *largest = (b2 * *largest).max(g.abs() + self.eps);
        e.p -= self.lr / (1.0 - b1.powi(e.step)) * *m / *largest;
    }

    fn nadam(&self, e: &mut Element, g: f64) {
        let b1 = self.betas[0];
        let g = self.decayed(e, g, self.options["decoupled_weight_decay"] == true);
        let (c1, c2) = self.moments(e, g);
        let [m, v, product] = &mut e.slots;
        let denominator = (*v / c2 + self.number("eps_root")).sqrt() + self.eps;
        if self.options["variant"] == "optax" {
            let next = 1.0 - b1.powi(e.step + 1);
            e.p -= self.lr * (b1 * *m / next + (1.0 - b1) * g / c1) / denominator;
            return;
        }
        let decay = self.number("momentum_decay");
        let momentum = |step: i32| b1 * (1.0 - 0.5 * 0.96f64.powf(f64::from(step) * decay));
        let (now, next) = (momentum(e.step), momentum(e.step + 1));
        *product *= now;
        e.p -= self.lr * (1.0 - now) / (1.0 - *product) * g / denominator;
        e.p -= self.lr * next / (1.0 - *product * next) * *m / denominator;
    }

    fn radam(&self, e: &mut Element, g: f64) {
        let b2 = self.betas[1];
        let g = self.decayed(e, g, self.options["decoupled_weight_decay"] == true);
        let (_, c2) = self.moments(e, g);
        let most = 2.0 / (1.0 - b2) - 1.0;
        let length = most - 2.0 * f64::from(e.step) * b2.powi(e.step) / c2;
        let is_optax = self.options["variant"] == "optax";
        let mut update = self.corrected(e, g);
        if if is_optax { length >= self.number("threshold") } else { length > 5.0 } {
            let second = e.slots[1];
            update /= if is_optax {
                (second / c2 + self.number("eps_root")).sqrt() + self.eps
            } else {
                (second.sqrt() + self.eps) / c2.sqrt()
            };
            update *=
                ((length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length)).sqrt();
        }
        e.p -= self.lr * update;
    }

    fn yogi(&self, e: &mut Element, g: f64) {
        let g = self.decayed(e, g, false);
        let v = e.slots[1];
        let (c1, c2) = self.moments(e, g);
        let toward = if v > g * g {
            1.0
        } else if v < g * g {
            -1.0
        } else {
            0.0
        };
        e.slots[1] = v - (1.0 - self.betas[1]) * toward * g * g;
        e.p -= self.lr * (e.slots[0] / c1) / ((e.slots[1] / c2 + self.number("eps_root")).sqrt() + self.eps);
    }

    fn adabelief(&self, e: &mut Element, g: f64) {
        let g = self.decayed(e, g, false);
        let (v, b2) = (e.slots[1], self.betas[1]);
        let (_, c2) = self.moments(e, g);
        e.slots[1] = b2 * v + (1.0 - b2) * (g - e.slots[0]).powi(2) + self.number("eps_root");
        e.p -= self.lr * self.corrected(e, g) / ((e.slots[1] / c2).sqrt() + self.eps);
    }

    fn lion(&self, e: &mut Element, g: f64) {
        let [b1, b2] = self.betas;
        let mixed = b1 * e.slots[0] + (1.0 - b1) * g;
        let sign = if mixed == 0.0 { 0.0 } else { mixed.signum() };
        e.slots[0] = b2 * e.slots[0] + (1.0 - b2) * g;
        e.p -= self.lr * (sign + self.weight_decay * e.p);
    }

    fn rprop(&self, e: &mut Element, g: f64) {
        let pair = |key: &str| [0, 1].map(|i| self.options[key][i].as_f64().unwrap());
        let ([less, more], [smallest, largest]) = (pair("etas"), pair("step_sizes"));
        let [previous, size, _] = &mut e.slots;
        let turned = g * *previous < 0.0;
        let factor = if turned {
            less
        } else if g * *previous > 0.0 {
            more
        } else {
            1.0
        };
        *size = (*size * factor).clamp(smallest, largest);
        *previous = if turned { 0.0 } else { g };
        e.p -= if *previous == 0.0 { 0.0 } else { *size * previous.signum() };
    }
}
