//! Checkpoints: read or refused; what is read is written and read again as it was; loading refuses or loads.

#![no_main]

use std::cell::RefCell;

use gradus::Error;
use gradus::optim::AdamW;
use gradus::train::{Checkpoint, Trainer};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TRAINER: RefCell<Trainer<AdamW>> = RefCell::new(gradus_fuzz::trainer(&gradus_fuzz::gpu()));
}

fuzz_target!(|bytes: &[u8]| {
    let path = gradus_fuzz::file(".safetensors", bytes);
    let Ok(checkpoint) = gradus_fuzz::bounded(bytes.len(), 4, || Checkpoint::read(&path)) else { return };
    checkpoint.write(&path).expect("what was read can be written");
    let again = Checkpoint::read(&path).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{checkpoint:?}"));
    TRAINER.with_borrow_mut(|trainer| match trainer.load_checkpoint(&checkpoint) {
        Err(Error::DeviceLost(reason)) => panic!("{reason}"),
        _ => {}
    });
});
