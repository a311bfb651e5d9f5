//! Rules and operations in the user's WGSL, by the first byte. What is taken compiles on a device.

#![no_main]

use std::cell::RefCell;

use gradus::graph::{CustomOp, Graph, Init, PlanOptions, Workspace};
use gradus::optim::CustomRule;
use gradus::{Error, ParamStore};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PARAMS: RefCell<ParamStore> = RefCell::new(gradus_fuzz::params(&gradus_fuzz::gpu()));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    PARAMS.with_borrow(|params| match kind {
        b'0' => rule(text, params),
        _ => operation(text, params),
    });
});

/// What was taken must compile; a limit of the device may still refuse it.
fn compiled(result: Result<(), Error>, text: &str) {
    if let Err(error @ (Error::Kernel { .. } | Error::DeviceLost(_))) = result {
        panic!("{text}\nwas taken, and then: {error}");
    }
}

fn rule(text: &str, params: &ParamStore) {
    let builder = CustomRule::builder("Mine", text).slot("exp_avg").hyper("beta1", 0.9, 0.0..1.0);
    if let Ok(rule) = builder.build() {
        compiled(rule.build(params).map(drop), text);
    }
}

fn operation(text: &str, params: &ParamStore) {
    let like_x = |shapes: &[&[usize]]| Ok::<_, String>(shapes[0].to_vec());
    let builder = CustomOp::builder("swish", text).input("x").scalar("beta", 1.0);
    let Ok(made) = builder.forward("kept", like_x).output("y", like_x).backward("both", like_x).build()
    else {
        return;
    };
    let graph = Graph::new();
    let x = graph.parameter("x", [2, 3], Init::Constant(0.5));
    let loss = graph.custom(&made, &[&x]).sum();
    let compile = || {
        let store = graph.store(params.gpu(), 1)?;
        graph.compile(&store, &PlanOptions::train(&loss), &mut Workspace::new()).map(drop)
    };
    compiled(compile(), text);
}
