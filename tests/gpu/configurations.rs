//! Configurations in the usual range make finite numbers of finite ones.

#[path = "../shared/configurations.rs"]
mod drawn;
use drawn::{Configuration, Range};

use crate::common::gpu;

#[test]
fn configurations_in_the_usual_range_keep_finite_numbers_finite() {
    let Some(gpu) = gpu() else { return };
    let (mut stepped, mut refused) = (0, Vec::new());
    for seed in 0..40 {
        let drawn = Configuration::draw(seed, Range::Usual);
        match drawn.run(&gpu, 3) {
            Ok(numbers) => {
                let wrong = numbers.iter().position(|number| !number.is_finite());
                assert_eq!(wrong, None, "seed {seed}: {drawn:?}");
                stepped += 1;
            }
            Err(error) => refused.push(format!("seed {seed}: {error}")),
        }
        gpu.check().unwrap();
    }
    println!("{stepped} stepped; refused: {refused:#?}");
    assert!(stepped >= 25, "{stepped} stepped; refused: {refused:#?}");
}
