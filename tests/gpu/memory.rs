//! The example `memory` as its users run it.

use std::process::Command;

use gradus::optim::RULES;

use crate::common::gpu;
use crate::example::{built, done, stderr, stdout};

fn memory(shapes: &str) -> Command {
    let mut command = built("memory");
    command.args(["--shapes", shapes]);
    command
}

#[test]
fn each_optimizer_has_a_line_and_resnet_18_is_within_theory() {
    if gpu().is_none() {
        return;
    }
    let text = stdout(&done(&mut memory("resnet18")));
    assert!(text.starts_with("11689512 parameters in 62 tensors"), "{text}");
    assert!(text.contains("nothing is over 1.05 of theory"), "{text}");
    for entry in RULES {
        assert!(
            text.lines().any(|line| line.split(' ').next() == Some(entry.name)),
            "{}: {text}",
            entry.name
        );
    }
}

#[test]
fn shapes_are_read_or_the_wrong_part_is_named() {
    if gpu().is_none() {
        return;
    }
    let text = stdout(&done(&mut memory("256x784, 256,10x256,10")));
    assert!(text.starts_with("203530 parameters in 4 tensors"), "{text}");
    // Two slots of 203,530 f32, each tensor on a multiple of 64 and all on one of 256.
    let adamw = text.lines().find(|line| line.starts_with("AdamW ")).unwrap();
    let numbers: Vec<f64> = adamw.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    let [slots, bytes, each, theory] = numbers[..] else { panic!("{adamw}") };
    assert_eq!((slots, theory), (2.0, 8.0));
    assert!(bytes >= 203_776.0 * 8.0 && each == (bytes / 203_530.0 * 1e4).round() / 1e4, "{adamw}");
    for (shapes, part) in [
        ("256x,3", "cannot read \"256x\" in \"256x,3\""),
        ("3,,2", "cannot read \"\" in"),
        ("0", "cannot read \"0\" in"),
        ("3x-1", "cannot read \"3x-1\" in"),
        ("resnet50", "cannot read \"resnet50\" in"),
        ("2,100000x100000", "\"100000x100000\" makes it more than 2147483648 parameters"),
        ("99999999999x99999999999", "makes it more than 2147483648 parameters"),
    ] {
        let output = memory(shapes).output().unwrap();
        let said = stderr(&output);
        assert!(!output.status.success() && said.lines().count() == 1 && said.contains(part), "{said}");
    }
}
