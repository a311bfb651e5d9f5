//! The example `replay` as its users run it.

use std::collections::HashMap;
use std::fs;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};

use crate::common::gpu;
use crate::example::{built, stderr, stdout};
use crate::folder::Folder;

type Tensor = (&'static str, &'static [usize], &'static [f32]);

const GRADS: Tensor = ("grad.0", &[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
const PROBLEM: [Tensor; 2] = [("param.0", &[2, 1], &[1.0, -1.0]), ("param.1", &[], &[8.0])];

fn write(folder: &Folder, name: &str, tensors: &[Tensor]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(.., data)| data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    let metadata = HashMap::from([("T".to_owned(), "2".to_owned())]);
    fs::write(folder.join(name), serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// Exit code and what was printed for cases of SGD at a rate of 0.5, changed by what a case says.
fn replay(folder: &Folder, cases: &[Value], args: &[&str]) -> (i32, String) {
    let all: Vec<Value> = cases
        .iter()
        .map(|case| {
            let mut whole = json!({"problem": "p", "optimizer": {"name": "SGD", "lr": 0.5}});
            whole.as_object_mut().unwrap().extend(case.as_object().unwrap().clone());
            whole
        })
        .collect();
    let path = folder.join("cases.json");
    fs::write(&path, json!({"cases": all}).to_string()).unwrap();
    let output = built("replay").arg(path).args(args).output().unwrap();
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

#[test]
fn errors_are_found_where_they_are_and_the_exit_code_says_so() {
    if gpu().is_none() {
        return;
    }
    let folder = Folder::new("replay");
    let other: Tensor = ("grad.1", &[2], &[4.0, 4.0]);
    write(&folder, "problem_p.safetensors", &[PROBLEM[0], PROBLEM[1], GRADS, other]);
    write(&folder, "problem_flat.safetensors", &[PROBLEM[0], PROBLEM[1], GRADS, ("grad.1", &[], &[4.0])]);
    let first: Tensor = ("param.0.step2", &[2, 1], &[-1.0, -4.0]);
    write(&folder, "right", &[first, ("param.1.step1", &[], &[6.0]), ("param.1.step2", &[], &[4.0])]);
    write(&folder, "off", &[first, ("param.1.step1", &[], &[6.0]), ("param.1.step2", &[], &[4.25])]);
    write(&folder, "nan", &[first, ("param.1.step1", &[], &[f32::NAN]), ("param.1.step2", &[], &[5.0])]);
    write(&folder, "late", &[first, ("param.1.step3", &[], &[4.0])]);
    write(&folder, "few", &[first]);
    let tol = json!({"rtol": 0, "atol": 0.125});
    let rows = [
        (0, json!({"file": "right", "tol": tol}), "0.000 of the tolerance (param.1.step1): ok"),
        (0, json!({"file": "off"}), "largest error 2.500e-1 (param.1.step2), no tolerance"),
        (
            0,
            json!({"file": "off", "tol": {"rtol": 0, "atol": 0.5}}),
            "0.500 of the tolerance (param.1.step2): ok",
        ),
        (1, json!({"file": "off", "tol": tol}), "2.000 of the tolerance (param.1.step2): EXCEEDED"),
        (1, json!({"file": "nan", "tol": tol}), "largest error NaN (param.1.step1)"),
        (1, json!({"file": "right", "tol": tol, "clip_grad_value": 0.5}), "EXCEEDED"),
        (2, json!({"file": "late", "tol": tol}), "cannot be run: param.1.step3 is recorded, but"),
        (2, json!({"file": "few", "tol": tol}), "cannot be run: param.1 is not recorded"),
        (2, json!({"file": "gone", "tol": tol}), "gone"),
        (2, json!({"file": "right", "problem": "flat"}), "grad.1 has the shape []"),
        (2, json!({"file": "right", "optimizer": {"name": "Sgd"}}), "did you mean \"SGD\"?"),
        (2, json!({"file": "right", "accumulate": {"steps": 0}}), "accumulate.steps must be in"),
        (2, json!({"file": "right", "momentum": 0.9}), "unknown field `momentum`"),
    ];
    for (code, case, text) in &rows {
        let (got, said) = replay(&folder, std::slice::from_ref(case), &[]);
        assert!(got == *code && said.contains(text), "{case}: {got} {said}");
    }
    let cases: Vec<Value> = rows.iter().map(|(_, case, _)| case.clone()).collect();
    let (code, said) = replay(&folder, &cases, &[]);
    assert_eq!((code, said.lines().filter(|line| line.starts_with("case ")).count()), (1, rows.len()));
    assert_eq!(replay(&folder, &cases, &["--case", "case 2"]).0, 0);
    let (code, said) = replay(&folder, &cases[..2], &["--case", "x"]);
    assert!(code == 2 && said.ends_with("there is no \"x\"; known: case 0, case 1\n"), "{said}");
}
