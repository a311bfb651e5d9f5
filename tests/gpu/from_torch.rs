//! What torch saved goes on here as it does there; what does not fit is refused. `torch/README.md` says what the files
//! hold.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use gradus::optim::{self, AnyRule, Optimizer, StateDict};
use gradus::{Gpu, ParamStore};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::common::{bits, gpu, read_all};

const NAMES: [&str; 3] = ["w", "b", "s"];
const SHAPES: [&[usize]; 3] = [&[3, 4], &[5], &[]];
const CASES: [(&str, &str); 14] = [
    ("sgd", "SGD"),
    ("sgd_momentum", "SGD"),
    ("sgd_nesterov", "SGD"),
    ("adam", "Adam"),
    ("adamw", "AdamW"),
    ("adagrad", "Adagrad"),
    ("adadelta", "Adadelta"),
    ("rmsprop", "RMSprop"),
    ("adamax", "Adamax"),
    ("nadam", "NAdam"),
    ("radam", "RAdam"),
    ("rprop", "Rprop"),
    ("adafactor", "Adafactor"),
    ("asgd", "ASGD"),
];

fn bytes(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch");
    fs::read(folder.join(name).with_extension("safetensors")).unwrap()
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    match view.dtype() {
        Dtype::F64 => bytemuck::pod_collect_to_vec(view.data()),
        _ => bytemuck::pod_collect_to_vec::<u8, f32>(view.data()).into_iter().map(f64::from).collect(),
    }
}

fn singles(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
}

fn build(gpu: &Gpu, rule: &str, values: [&[f32]; 3]) -> (ParamStore, Optimizer<Box<dyn AnyRule>>) {
    let [w, b, s] = values;
    let params = ParamStore::builder()
        .group("decay", |g| g.tensor("w", SHAPES[0], w))
        .group("rest", |g| g.tensor("b", SHAPES[1], b).tensor("s", SHAPES[2], s))
        .build(gpu)
        .unwrap();
    let optimizer = optim::from_json(&json!({"name": rule})).unwrap().build(&params).unwrap();
    (params, optimizer)
}

#[test]
fn twenty_five_steps_go_on_as_in_torch() {
    let Some(gpu) = gpu() else { return };
    let expected = bytes("expected");
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let grads = NAMES.map(|name| singles(&expected, &format!("grad.{name}")));
    let mut report = String::new();
    for (case, rule) in CASES {
        let before = NAMES.map(|name| singles(&expected, &format!("{case}.before.{name}")));
        let (mut params, mut optimizer) = build(&gpu, rule, before.each_ref().map(|values| &values[..]));
        let dict = StateDict::from_torch(&bytes(case), params.layout()).unwrap();
        optimizer.load_state_dict(&dict).unwrap();
        for step in 0..25 {
            for (name, grads) in NAMES.iter().zip(&grads) {
                let len = grads.len() / 25;
                params.write_grad(name, &grads[step * len..][..len]).unwrap();
            }
            optimizer.step(&mut params).unwrap();
        }
        let (mut worst, mut far) = (0.0_f64, 0.0_f64);
        for (name, before) in NAMES.iter().zip(&before) {
            let want = numbers(&expected, &format!("{case}.after.{name}"));
            for ((got, want), before) in params.read(name).unwrap().into_iter().zip(want).zip(before) {
                let (off, moved) = ((f64::from(got) - want).abs(), (want - f64::from(*before)).abs());
                // Each step rounds the parameter once.
                let rounding = 25.0 * f64::from(f32::EPSILON) / 4.0 * want.abs().max(f64::from(before.abs()));
                worst = worst.max(off / (1e-6 * moved + rounding));
                far = far.max(moved);
            }
        }
        report += &format!("{case}: {worst:.3} of what is allowed, moved by up to {far:.3}\n");
        assert!(worst <= 1.0 && far > 0.01, "{report}");
    }
    println!("{report}");
}

#[test]
fn counts_groups_and_what_has_no_state_come_over() {
    let Some(gpu) = gpu() else { return };
    let values: [&[f32]; 3] = [&[0.0; 12], &[0.0; 5], &[0.0]];
    let (params, mut optimizer) = build(&gpu, "NAdam", values);
    let read = |case: &str| StateDict::from_torch(&bytes(case), params.layout()).unwrap();
    let steps = |case: &str| {
        let dict = read(case);
        (dict.attempted, NAMES.map(|name| dict.state.get(name).map(|tensor| tensor.step)))
    };
    assert_eq!(steps("nadam"), (5, [Some(5), Some(5), Some(2)]));
    assert_eq!(steps("adamw"), (5, [Some(5), Some(5), None]));
    // torch begins it before its first step, and says that it has none.
    assert_eq!(steps("adagrad"), (5, [Some(5), Some(5), None]));
    assert_eq!(steps("sgd"), (0, [None, None, None]));
    assert_eq!(steps("sgd_momentum"), (1, [Some(1), Some(1), None]));
    let dict = read("nadam");
    assert_eq!(dict.param_groups[1].name, "rest");
    assert_eq!(dict.param_groups[1].initial_lr, Some(0.005 / 25.0));
    optimizer.load_state_dict(&dict).unwrap();
    let back = optimizer.read_state_dict().unwrap();
    assert_eq!((&back.state, back.attempted), (&dict.state, 5));
    let product = back.state["w"].mu_product.unwrap();
    assert!((0.01..0.05).contains(&product), "{product}");
    // Without names, the parameters are the layout's in order.
    let unnamed = Parts::of("adam").groups(|groups| {
        for group in groups.as_array_mut().unwrap() {
            group.as_object_mut().unwrap().remove("param_names");
        }
    });
    assert_eq!(StateDict::from_torch(&unnamed.bytes(), params.layout()).unwrap(), read("adam"));
}

/// torch's Muon counts nothing, and its groups have the fields that ours have.
#[test]
fn a_run_of_muon_comes_over() {
    let Some(gpu) = gpu() else { return };
    let mut params = ParamStore::builder()
        .group("decay", |g| g.tensor("w", [3, 4], &[0.5; 12]))
        .group("rest", |g| g.tensor("v", [5, 2], &[0.5; 10]))
        .build(&gpu)
        .unwrap();
    let mut optimizer = optim::from_json(&json!({"name": "Muon"})).unwrap().build(&params).unwrap();
    let dict = StateDict::from_torch(&bytes("muon"), params.layout()).unwrap();
    optimizer.load_state_dict(&dict).unwrap();
    let back = optimizer.read_state_dict().unwrap();
    assert_eq!(back.state, dict.state);
    assert_eq!(back.state["v"].slots["momentum_buffer"].as_ref().unwrap().len(), 10);
    let rule = optimizer.group("rest").unwrap().to_json();
    assert_eq!((&rule["lr"], &rule["momentum"]), (&json!(5e-3), &json!(0.9)));
    assert_eq!((&rule["adjust_lr_fn"], &rule["ns_steps"]), (&json!("match_rms_adamw"), &json!(5)));
    params.write_grads(&[0.5; 22]).unwrap();
    optimizer.step(&mut params).unwrap();
}

/// A file of torch's, to be changed.
#[derive(Clone)]
struct Parts {
    metadata: HashMap<String, String>,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    fn of(case: &str) -> Self {
        let bytes = bytes(case);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let part = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        Self {
            metadata: header.metadata().clone().unwrap(),
            tensors: file.tensors().into_iter().map(|(name, view)| (name, part(view))).collect(),
        }
    }

    fn groups(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut groups = serde_json::from_str(&self.metadata["param_groups"]).unwrap();
        change(&mut groups);
        self.metadata.insert("param_groups".into(), groups.to_string());
        self
    }

    fn group(self, field: &str, value: Value) -> Self {
        self.groups(|groups| groups[1][field] = value)
    }

    fn said(mut self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.metadata.insert(key.into(), value.into()),
            None => self.metadata.remove(key),
        };
        self
    }

    fn tensor(mut self, name: &str, shape: &[usize], data: &[f32]) -> Self {
        let bytes = bytemuck::cast_slice(data).to_vec();
        self.tensors.insert(name.into(), (Dtype::F32, shape.to_vec(), bytes));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.tensors.remove(name).unwrap();
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let views = self.tensors.iter();
        let views = views.map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let (w, b) = ([0.5; 12], [0.25; 5]);
    let (mut params, mut optimizer) = build(&gpu, "AdamW", [&w, &b, &[1.0]]);
    params.write_grads(&[0.5; 18]).unwrap();
    optimizer.step(&mut params).unwrap();
    let (dict, values) = (optimizer.read_state_dict().unwrap(), bits(&read_all(&params)));
    let good = || Parts::of("adamw");
    let f64s = |name: &str| {
        let mut parts = good();
        parts.tensors.insert(name.into(), (Dtype::F64, vec![5], vec![0; 40]));
        parts
    };
    let lr = "group \"rest\": unknown field of AdamW \"learning_rate\", did you mean \"lr\"?; known: lr, betas, eps, eps_root, weight_decay, nesterov, amsgrad, \
              maximize, variant";
    let rows: Vec<(Parts, &str)> = vec![
        (Parts::of("adam"), "it is of Adam, this optimizer is AdamW"),
        (good().said("optimizer", None), "there is no \"optimizer\" in the file's metadata"),
        (good().said("param_groups", None), "there is no \"param_groups\" in the file's metadata"),
        (
            good().groups(|groups| {
                groups.as_array_mut().unwrap().pop();
            }),
            "it has 1 groups, expected 2: [\"decay\", \"rest\"]",
        ),
        (good().group("params", json!([1])), "group \"rest\" has 1 parameters, expected 2"),
        (
            good().group("param_names", json!(["b", "t"])),
            "group \"rest\" has the parameters [\"b\", \"t\"], expected [\"b\", \"s\"]",
        ),
        (
            good().group("param_names", json!(["b", "b"])),
            "group \"rest\" has the parameters [\"b\", \"b\"], expected [\"b\", \"s\"]",
        ),
        (
            good().group("params", json!([7, 8])).group("param_names", json!(["b", "s"])),
            "it has state of a parameter 1, which is in no group",
        ),
        (good().group("learning_rate", json!(0.1)), lr),
        (
            good().group("decoupled_weight_decay", json!(false)),
            "group \"rest\": decoupled_weight_decay of AdamW must be true, got false",
        ),
        (good().group("eps", json!(-1)), "group \"rest\": eps must be finite and at least 0, got -1"),
        (
            good().group("initial_lr", json!("x")),
            "param_groups: invalid type: string \"x\", expected f64 at line 1 column",
        ),
        (
            good().tensor("state.1.exp_avg", &[1, 5], &[0.0; 5]),
            "exp_avg of b has the shape [1, 5], expected [5]",
        ),
        (f64s("state.1.exp_avg"), "exp_avg of b has the type F64, expected F32"),
        (good().without("state.1.exp_avg_sq"), "b lacks the slot \"exp_avg_sq\""),
        (
            good().tensor("state.1.sum", &[5], &[0.0; 5]),
            "b: unknown slot of AdamW \"sum\"; known: exp_avg, exp_avg_sq, max_exp_avg_sq",
        ),
        (good().tensor("state.1.step", &[], &[2.5]), "step of b must be a count of steps, got 2.5"),
        (good().tensor("state.1.step", &[], &[-1.0]), "step of b must be a count of steps, got -1"),
        (good().tensor("state.1.step", &[], &[f32::NAN]), "step of b must be a count of steps, got NaN"),
        (good().tensor("state.1.step", &[2], &[1.0; 2]), "step of b is F32 [2], expected one number"),
        (good().tensor("state.1.mu_product", &[], &[0.5]), "b has a mu_product, which AdamW has not"),
        (good().tensor("state.1.eta", &[], &[0.5]), "b has a number eta, which AdamW has not"),
        (
            good().tensor("param.1", &[], &[0.5]),
            "there is a tensor \"param.1\", expected state.<index>.<key>",
        ),
        (good().tensor("state.9.step", &[], &[1.0]), "it has state of a parameter 9, which is in no group"),
    ];
    for (parts, reason) in rows {
        let dict_of = StateDict::from_torch(&parts.bytes(), params.layout());
        let error = dict_of.and_then(|dict| optimizer.load_state_dict(&dict)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("state dict: {reason}")), "{error}\nexpected {reason}");
    }
    let bytes = good().bytes();
    let error = StateDict::from_torch(&bytes[..bytes.len() - 1], params.layout()).unwrap_err().to_string();
    assert!(error.starts_with("state dict: it is not a whole safetensors file: "), "{error}");
    let twice = br#"{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    let twice = [&(twice.len() as u64).to_le_bytes()[..], twice].concat();
    let error = StateDict::from_torch(&twice, params.layout()).unwrap_err().to_string();
    assert!(error.contains("two entries are called \"w\""), "{error}");
    assert_eq!(optimizer.read_state_dict().unwrap(), dict);
    assert_eq!(bits(&read_all(&params)), values);
    optimizer.load_state_dict(&StateDict::from_torch(&good().bytes(), params.layout()).unwrap()).unwrap();
}
