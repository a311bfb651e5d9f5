//! Whatever the configuration is, it builds or is refused.

use std::collections::BTreeMap;

use gradus::{Error, Gpu, GpuOptions, wgpu};

#[path = "../shared/configurations.rs"]
mod drawn;
use drawn::{Configuration, Range};

#[test]
fn any_configuration_steps_or_is_refused_by_name() {
    let gpu = Gpu::new(GpuOptions { backends: Some(wgpu::Backends::NOOP), ..Default::default() }).unwrap();
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..600 {
        let drawn = Configuration::draw(seed, Range::Any);
        let end = match drawn.run(&gpu, 1) {
            Ok(_) => "stepped",
            Err(
                error @ (Error::Kernel { .. }
                | Error::Device { .. }
                | Error::DeviceLost(_)
                | Error::Buffer { .. }),
            ) => {
                panic!("seed {seed}: {error}\n{drawn:?}")
            }
            Err(error) => {
                assert!(!error.to_string().is_empty(), "seed {seed}: {drawn:?}");
                "refused"
            }
        };
        *ends.entry(end).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(ends.len() == 2 && ends.values().all(|count| *count > 60), "{ends:?}");
}
