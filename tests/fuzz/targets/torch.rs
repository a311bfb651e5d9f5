//! The state of torch's optimizers: converted or refused; loaded or refused.

#![no_main]

use std::cell::RefCell;

use gradus::ParamStore;
use gradus::optim::{self, StateDict};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PARAMS: RefCell<ParamStore> = RefCell::new(gradus_fuzz::params(&gradus_fuzz::gpu()));
}

fuzz_target!(|bytes: &[u8]| {
    PARAMS.with_borrow(|params| {
        let read = || StateDict::from_torch(bytes, params.layout());
        let Ok(dict) = gradus_fuzz::bounded(bytes.len(), 4, read) else { return };
        let rule = dict.param_groups.first().and_then(|group| {
            let mut fields = group.options.clone();
            fields.insert("name".into(), dict.optimizer.clone().into());
            optim::from_json(&fields.into()).ok()
        });
        if let Some(Ok(mut optimizer)) = rule.map(|rule| rule.build(params)) {
            let _ = optimizer.load_state_dict(&dict);
        }
    });
});
