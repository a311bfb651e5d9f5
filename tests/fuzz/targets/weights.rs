//! Files of tensors, as torch writes them: read or refused; loaded or refused.

#![no_main]

use std::cell::RefCell;

use gradus::ParamStore;
use gradus::params::Weights;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PARAMS: RefCell<ParamStore> = RefCell::new(gradus_fuzz::params(&gradus_fuzz::gpu()));
}

fuzz_target!(|bytes: &[u8]| {
    let path = gradus_fuzz::file(".safetensors", bytes);
    let Ok(weights) = gradus_fuzz::bounded(bytes.len(), 4, || Weights::read(&path)) else { return };
    PARAMS.with_borrow_mut(|params| {
        for strict in [false, true] {
            let _ = params.load_state_dict(&weights, strict);
        }
    });
});
