//! Configurations in JSON; the first character says of what. Built or refused.

#![no_main]

use std::cell::RefCell;

use gradus::ParamStore;
use gradus::grad::Transforms;
use gradus::graph::Graph;
use gradus::nn::Sequential;
use gradus::optim::{self, LBFGS, StateDict};
use gradus::schedule::{self, Schedule as _};
use gradus::serde_json::{self, Value};
use gradus::train::{EarlyStopping, callbacks};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PARAMS: RefCell<ParamStore> = RefCell::new(gradus_fuzz::params(&gradus_fuzz::gpu()));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(json) = serde_json::from_slice::<Value>(text) else { return };
    // Values in memory are many times their text.
    gradus_fuzz::bounded(text.len(), 256, || read(*kind, &json));
});

fn read(kind: u8, json: &Value) {
    match kind {
        b'0' => {
            if let Ok(rule) = optim::from_json(json) {
                let told = optim::from_json(&rule.to_json()).expect("what a rule says of itself");
                assert_eq!(told.to_json(), rule.to_json());
            }
        }
        b'1' => {
            if let Ok((rule, options)) = optim::from_json_with_options(json) {
                let _ = (rule.to_json(), options);
            }
        }
        b'2' => {
            if let Ok(schedule) = schedule::from_json(json) {
                for step in [0, 1, 2, 10, 1_000_003, u64::MAX] {
                    let _ = schedule.at(step, 0.1);
                }
            }
        }
        b'3' => {
            if let Ok(network) = Sequential::from_json(json) {
                let graph = Graph::new();
                let y = graph.input("x", [2, 3, 8, 8]).apply("", &network);
                let store = |params: &ParamStore| graph.store(params.gpu(), 1).map(drop);
                if y.shape().iter().product::<usize>() < 1 << 20 {
                    let parameters = graph.parameters();
                    let len = |of: &gradus::graph::Parameter| {
                        of.shape.iter().try_fold(1_usize, |len, extent| len.checked_mul(*extent))
                    };
                    if parameters.iter().all(|of| len(of).is_some_and(|len| len < 1 << 12)) {
                        let _ = PARAMS.with_borrow(store);
                    }
                }
            }
        }
        b'4' => drop(callbacks::from_json(json)),
        b'5' => drop(Transforms::from_json(json)),
        b'6' => drop(EarlyStopping::from_json(json)),
        b'7' => drop(LBFGS::from_json(json)),
        b'8' => {
            if let Ok(dict) = serde_json::from_value::<StateDict>(json.clone()) {
                let text = serde_json::to_string(&dict).expect("what was read can be written");
                let _ = text;
            }
        }
        _ => drop(gradus::optim::Averages::from_json(json)),
    }
}
