//! Averages of the weights: what they are, and that nothing else changes with them.

mod buffers;
mod refusals;
mod runs;
mod state;

use gradus::optim::{self, AnyRule, Averages, CustomRule, Ema, Family, Lookahead, Optimizer, RULES, Swa};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::json;

use crate::common::{bits, default_of, gpu, gpu_with, gradients, padding, read_all, store};

type Run = (ParamStore, Optimizer<Box<dyn AnyRule>>);

/// An average in f64 on the host, of parameters that were read.
struct ByHand {
    averages: Averages,
    update: u64,
    n: u64,
    value: Vec<f64>,
    largest: f64,
}

impl ByHand {
    fn new(averages: &Averages, start: &[f32]) -> Self {
        let value: Vec<f64> = start.iter().map(|x| f64::from(*x)).collect();
        Self { averages: averages.clone(), update: 0, n: 0, value, largest: 0.0 }
    }

    fn update(&mut self, params: &[f32]) {
        let n = self.n as f64;
        let (start, every, weight) = match &self.averages {
            Averages::Ema(ema) => {
                let least = if ema.warmup { (1.0 + n) / (10.0 + n) } else { 1.0 };
                (ema.start, ema.every, 1.0 - ema.decay.min(least))
            }
            Averages::Swa(swa) => (swa.start, swa.every, 1.0 / (n + 1.0)),
        };
        self.update += 1;
        self.largest = params.iter().fold(self.largest, |most, x| most.max(f64::from(x.abs())));
        if self.update > start && (self.update - start - 1).is_multiple_of(every) {
            let weight = if self.n == 0 { 1.0 } else { weight };
            for (value, x) in self.value.iter_mut().zip(params) {
                *value += weight * (f64::from(*x) - *value);
            }
            self.n += 1;
        }
    }

    /// The largest distance, over the largest magnitude that there was.
    fn distance(&self, got: &[f32]) -> f64 {
        let apart = |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs();
        got.iter().zip(&self.value).map(apart).fold(0.0, f64::max) / self.largest.max(1e-30)
    }
}

/// The averages of all tensors, in the order of the layout.
fn averages_of((params, optimizer): &Run) -> Vec<f32> {
    let averages = optimizer.read_averages(params).unwrap();
    let spans = params.layout().spans();
    spans.iter().flat_map(|span| averages.get(&span.name).unwrap().values.clone()).collect()
}

fn step((params, optimizer): &mut Run, step: usize) {
    let grads = gradients(step, params.layout().parameters());
    params.write_grads(&grads).unwrap();
    optimizer.step(params).unwrap();
}

fn build(params: ParamStore, rule: Box<dyn AnyRule>, averages: Option<&Averages>) -> Run {
    let mut optimizer = rule.build(&params).unwrap();
    if let Some(averages) = averages {
        optimizer.set_averages(averages.clone(), &params).unwrap();
    }
    (params, optimizer)
}

/// Windows of 16,384 elements, three to a buffer.
fn small_windows() -> GpuOptions {
    GpuOptions { max_binding_bytes: Some(65_536), max_buffer_bytes: Some(3 * 65_536), ..Default::default() }
}

fn adamw() -> Box<dyn AnyRule> {
    optim::from_json(&json!({"name": "AdamW", "lr": 0.01, "weight_decay": 0.1})).unwrap()
}

/// Steps with and without an average, which is held against f64: the same bits, and no more dispatches.
fn holds(gpu: &Gpu, name: &str, rule: &dyn AnyRule, averages: &Averages) {
    let mut with = build(store(gpu), rule.boxed(), Some(averages));
    let mut without = build(store(gpu), rule.boxed(), None);
    let start = read_all(&with.0);
    assert_eq!(averages_of(&with), start, "{name}: before the first step");
    let mut hand = ByHand::new(averages, &start);
    for number in 0..9 {
        let dispatches = [&mut with, &mut without].map(|run| {
            let before = gpu.counters();
            step(run, number);
            gpu.counters().since(&before).dispatches
        });
        assert_eq!(dispatches[0], dispatches[1], "{name}: dispatches");
        let params = read_all(&with.0);
        assert_eq!(bits(&params), bits(&read_all(&without.0)), "{name}: with an average, step {number}");
        hand.update(&params);
        assert!(hand.distance(&averages_of(&with)) < 1e-6, "{name}, step {number}: {averages:?}");
        assert_eq!(with.1.averaged("t6").unwrap(), hand.n);
    }
    assert!(hand.n > 2 && hand.value.iter().zip(&start).any(|(a, b)| *a != f64::from(*b)));
    assert!(padding(&with.0).iter().all(|x| *x == 0.0), "{name}");
}

#[test]
fn every_rule_has_the_averages_of_its_parameters_at_no_dispatch() {
    let Some(gpu) = gpu() else { return };
    let all: [Averages; 3] = [
        Ema::new(0.9).into(),
        Ema { warmup: true, start: 1, ..Ema::new(0.9) }.into(),
        Swa { start: 2, every: 2, ..Swa::default() }.into(),
    ];
    for (number, entry) in RULES.iter().enumerate() {
        let rule = optim::from_json(&default_of(entry)).unwrap();
        holds(&gpu, entry.name, &*rule, &all[number % 3]);
        // What that averages itself follows from parameters that Lookahead would move.
        if entry.family != Family::Around && entry.name != "ScheduleFreeAdamW" {
            let mut ahead = Lookahead::new(rule);
            (ahead.sync_period, ahead.reset_state) = (3, number % 2 == 0);
            holds(&gpu, &format!("Lookahead {}", entry.name), &ahead, &all[(number + 1) % 3]);
        }
    }
}

#[test]
fn a_rule_of_ones_own_has_averages_and_zeros_between_tensors() {
    let Some(gpu) = gpu() else { return };
    let text = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {\n\
                (*s).m = 0.5 * (*s).m + g + hyper.shift;\n    return p - hyper.lr_of * (*s).m;\n}";
    let custom = CustomRule::builder("Shifted", text).slot("m").hyper("shift", 0.25, 0.0..1.0);
    let custom = custom.constant("lr_of", |step, _| 0.01 / step.correction(0.9)).build().unwrap();
    holds(&gpu, "Shifted", &custom, &Ema::new(0.9).into());
    holds(&gpu, "Lookahead Shifted", &Lookahead::new(custom), &Swa { start: 2, ..Swa::default() }.into());
}

#[test]
fn a_thousand_steps_agree_with_f64() {
    let Some(gpu) = gpu() else { return };
    let rows: [(Averages, f64); 4] = [
        (Ema::default().into(), 1.0 / (1.0 - 0.999)),
        (Ema { warmup: true, ..Ema::new(0.99) }.into(), 1.0 / (1.0 - 0.99)),
        (Swa::default().into(), 500.0),
        (Swa { start: 700, every: 3, ..Swa::default() }.into(), 50.0),
    ];
    for (averages, roundings) in rows {
        let mut run = build(store(&gpu), adamw(), Some(&averages));
        let mut hand = ByHand::new(&averages, &read_all(&run.0));
        let before = gpu.counters();
        for number in 0..1000 {
            step(&mut run, number);
            hand.update(&read_all(&run.0));
        }
        assert_eq!(gpu.counters().since(&before).dispatches, 1000);
        // Half a unit in the last place in each update, of which later ones keep a part.
        let band = roundings * f64::from(f32::EPSILON) / 2.0;
        let distance = hand.distance(&averages_of(&run));
        println!("{averages:?}: {distance:.1e} from f64, of {band:.1e}");
        assert!(distance < band, "{averages:?}: {distance} of {band}");
    }
}

#[test]
fn to_have_looked_changes_no_bit() {
    let Some(gpu) = gpu_with(small_windows()) else { return };
    let big = || {
        let (w, b) = (crate::common::noises(5, 40_000), crate::common::noises(6, 33));
        let builder = ParamStore::builder().group("a", |g| g.tensor("w", [40_000], &w));
        builder.group("b", |g| g.tensor("b", [33], &b)).build(&gpu).unwrap()
    };
    for averages in [Ema::new(0.7).into(), Averages::from(Swa { every: 2, ..Swa::default() })] {
        let mut looked = build(big(), adamw(), Some(&averages));
        let mut never = build(big(), adamw(), Some(&averages));
        for number in 0..8 {
            step(&mut looked, number);
            step(&mut never, number);
            let weights = read_all(&looked.0);
            let expected = averages_of(&looked);
            let (params, optimizer) = &mut looked;
            let seen = optimizer.with_averages(params, |params| Ok::<_, gradus::Error>(read_all(params)));
            assert_eq!(bits(&seen.unwrap()), bits(&expected));
            if number > 2 {
                assert_ne!(weights, expected);
            }
            assert_eq!(bits(&read_all(params)), bits(&weights), "the weights are back");
            let failed: Result<(), anyhow::Error> =
                optimizer.with_averages(params, |_| Err(anyhow::anyhow!("no")));
            assert_eq!(failed.unwrap_err().to_string(), "no");
        }
        let (params, optimizer) = &mut looked;
        let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            optimizer.with_averages(params, |_| -> Result<(), gradus::Error> { panic!("within") })
        }));
        assert!(panics.is_err());
        step(&mut looked, 8);
        step(&mut never, 8);
        assert_eq!(bits(&read_all(&looked.0)), bits(&read_all(&never.0)));
        assert_eq!(looked.1.read_state_dict().unwrap(), never.1.read_state_dict().unwrap());
    }
}
