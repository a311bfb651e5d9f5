//! Checkpoints: going on bit for bit, and every way in which a file can be wrong.

use std::fs;
use std::path::Path;

use gradus::Gpu;
use gradus::graph::{Graph, Var};
use gradus::nn::{Conv2d, Linear};
use gradus::optim::{self, Adafactor, AdamW, AnyRule, Lookahead, Novograd, SGD};
use gradus::schedule::{self, LambdaLR, OneCycleLR, Schedule, StepLR};
use gradus::train::{Checkpoint, Trainer};
use serde_json::json;

use crate::common::{bits, gpu, noises};
use crate::folder::Folder;

fn network(hidden: usize) -> (Graph, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 1, 6, 6]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(5, 3).name("conv")).relu().max_pool2d(2).flatten();
    let logits = h.linear(Linear::new(hidden).name("hidden")).relu().linear(Linear::new(3).name("head"));
    (graph, logits.cross_entropy(&y))
}

fn trainer_of<R: AnyRule + Clone>(
    gpu: &Gpu,
    hidden: usize,
    rule: R,
    schedule: impl Schedule + 'static,
) -> Trainer<R> {
    let (graph, loss) = network(hidden);
    graph.trainer(&loss, rule).schedule(schedule).seed(3).build(gpu).unwrap()
}

fn trainer(gpu: &Gpu) -> Trainer<AdamW> {
    trainer_of(gpu, 7, AdamW { amsgrad: true, ..Default::default() }, OneCycleLR::new(1e-2, 40))
}

fn train<R: AnyRule + Clone>(trainer: &mut Trainer<R>, steps: std::ops::Range<u64>) {
    for step in steps {
        let x = noises(step, 4 * 36);
        trainer.step(&[("x", &x), ("y", &vec![0, 1, 2, 1])]).unwrap();
    }
}

fn save<R: AnyRule + Clone>(trainer: &mut Trainer<R>, path: &Path) -> Vec<u8> {
    trainer.read_checkpoint().unwrap().write(path).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_run_that_was_stopped_anywhere_ends_in_the_same_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("resume");
    let path = folder.join("model.safetensors");
    let mut whole = trainer(&gpu);
    train(&mut whole, 0..40);
    let want = save(&mut whole, &path);
    for stop in [0, 1, 17, 39] {
        let mut first = trainer(&gpu);
        train(&mut first, 0..stop);
        let saved = save(&mut first, &path);
        // Another seed made other first values: all of them come from the file.
        let (graph, loss) = network(7);
        let rule = AdamW { amsgrad: true, lr: 5.0, ..Default::default() };
        let builder = graph.trainer(&loss, rule).schedule(OneCycleLR::new(1e-2, 40)).seed(99);
        let mut second = builder.build(&gpu).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        assert_eq!(checkpoint.step, stop);
        second.load_checkpoint(&checkpoint).unwrap();
        assert_eq!(second.steps(), stop);
        assert!(save(&mut second, &path) == saved, "loaded at {stop} and saved again");
        train(&mut second, stop..40);
        assert!(save(&mut second, &path) == want, "stopped at {stop}");
    }
}

#[test]
fn a_number_a_tensor_is_in_the_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("number");
    let path = folder.join("model.safetensors");
    let new = || trainer_of(&gpu, 7, Novograd::default(), OneCycleLR::new(1e-3, 8));
    let mut first = new();
    train(&mut first, 0..3);
    let saved = save(&mut first, &path);
    let file = safetensors::SafeTensors::deserialize(&saved).unwrap();
    for (slot, shape) in [("exp_avg", &[5, 1, 3, 3][..]), ("exp_avg_sq", &[1])] {
        assert_eq!(file.tensor(&format!("optim.{slot}.conv.weight")).unwrap().shape(), shape);
    }
    let mut second = new();
    second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
    assert!(save(&mut second, &path) == saved);
    train(&mut first, 3..8);
    train(&mut second, 3..8);
    assert!(save(&mut first, &path) == save(&mut second, &path));
}

#[test]
fn rules_that_keep_a_few_values_of_a_tensor_go_on_too() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("factored");
    let path = folder.join("model.safetensors");
    for rule in [json!({"name": "Adafactor"}), json!({"name": "SM3", "lr": 0.1})] {
        let build =
            || trainer_of(&gpu, 7, optim::from_json(&rule).unwrap(), StepLR { step_size: 2, gamma: 0.5 });
        let mut whole = build();
        train(&mut whole, 0..3);
        let saved = save(&mut whole, &path);
        let mut second = build();
        second.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap();
        assert!(save(&mut second, &path) == saved, "{rule}");
        train(&mut whole, 3..6);
        train(&mut second, 3..6);
        assert!(save(&mut whole, &path) == save(&mut second, &path), "{rule}");
    }
}

#[test]
fn what_is_frozen_stays_frozen() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("frozen");
    let path = folder.join("model.safetensors");
    let mut first = trainer(&gpu);
    train(&mut first, 0..3);
    first.params_mut().freeze("hidden.bias").unwrap();
    train(&mut first, 3..5);
    let saved = save(&mut first, &path);
    let checkpoint = Checkpoint::read(&path).unwrap();
    assert_eq!(checkpoint.frozen, ["hidden.bias"]);
    let mut second = trainer(&gpu);
    second.params_mut().freeze("head.bias").unwrap();
    second.load_checkpoint(&checkpoint).unwrap();
    assert!(save(&mut second, &path) == saved);
    train(&mut first, 5..8);
    train(&mut second, 5..8);
    assert!(save(&mut first, &path) == save(&mut second, &path));
    assert_eq!(second.optimizer().applied("hidden.bias").unwrap(), 3);
}

#[test]
fn steps_on_their_way_are_in_the_file_and_their_reports_are_kept() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = trainer(&gpu);
    train(&mut trainer, 0..3);
    let checkpoint = trainer.read_checkpoint().unwrap();
    assert_eq!((checkpoint.step, checkpoint.optimizer.attempted), (3, 3));
    let mut steps = Vec::new();
    while let Some(report) = trainer.read_report().unwrap() {
        steps.push(report.step);
    }
    assert_eq!(steps, [0, 1, 2]);
}

#[test]
fn the_file_lists_torch_names_and_carries_what_the_run_adds() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("names");
    let path = folder.join("model.safetensors");
    let mut trainer = trainer(&gpu);
    train(&mut trainer, 0..2);
    let mut checkpoint = trainer.read_checkpoint().unwrap();
    checkpoint.run = json!({"epoch": 3, "rate": 0.1 + 0.2, "model": "cnn"}).as_object().unwrap().clone();
    checkpoint.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = file.names().into_iter().map(String::from).collect();
    names.sort();
    let tensors = ["conv.bias", "conv.weight", "head.bias", "head.weight", "hidden.bias", "hidden.weight"];
    let slots = ["optim.exp_avg", "optim.exp_avg_sq", "optim.max_exp_avg_sq", "params"];
    let mut want: Vec<String> =
        slots.iter().flat_map(|slot| tensors.map(|name| format!("{slot}.{name}"))).collect();
    want.sort();
    assert_eq!(names, want);
    let weight = file.tensor("params.conv.weight").unwrap();
    assert_eq!((weight.shape(), weight.dtype()), (&[5, 1, 3, 3][..], safetensors::Dtype::F32));
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(weight.data());
    assert_eq!(bits(&values), bits(&trainer.params().read("conv.weight").unwrap()));
    assert_eq!(Checkpoint::read(&path).unwrap().run, checkpoint.run);
}

#[test]
fn a_file_with_any_bit_flipped_or_cut_anywhere_is_refused() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("flips");
    let (path, bad) = (folder.join("model.safetensors"), folder.join("bad.safetensors"));
    let mut trainer = trainer(&gpu);
    train(&mut trainer, 0..2);
    let bytes = save(&mut trainer, &path);
    let header = 8 + usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let said = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        Checkpoint::read(&bad).map(drop).unwrap_err().to_string()
    };
    // Every byte of the header, and every 97th of the tensors; each bit in its turn.
    let places = (0..header).chain((header..bytes.len()).step_by(97));
    for (turn, place) in places.enumerate() {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (turn % 8);
        assert!(said(&flipped).contains("bad.safetensors: "), "byte {place}");
    }
    for length in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        assert!(said(&bytes[..length]).contains("not a whole safetensors file"), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(said(&longer).contains("not a whole safetensors file"), "one byte more");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("foreign");
    let path = folder.join("model.safetensors");
    let rule = || AdamW { amsgrad: true, ..Default::default() };
    let cycle = || OneCycleLR::new(1e-2, 40);
    let mut ours = trainer(&gpu);
    train(&mut ours, 0..2);
    let good = ours.read_checkpoint().unwrap();
    let before = save(&mut ours, &path);

    let mut wider = trainer_of(&gpu, 8, rule(), cycle());
    let mut sgd = trainer_of(&gpu, 7, SGD { momentum: 0.9, ..Default::default() }, cycle());
    let mut steps = trainer_of(&gpu, 7, rule(), StepLR::new(5));
    let mut closure = trainer_of(&gpu, 7, rule(), schedule::from_fn(|_, base| base));
    train(&mut sgd, 0..1);
    let mut less = good.clone();
    less.params.remove("head.bias");
    let mut more = good.clone();
    more.params.insert("extra".into(), good.params["head.bias"].clone());
    let mut lacking = good.clone();
    lacking.optimizer.state.get_mut("conv.bias").unwrap().slots.remove("exp_avg");
    let mut stranger = good.clone();
    stranger.frozen.push("nobody".into());
    let one_cycle = serde_json::to_string(&cycle().to_json()).unwrap();
    let step_lr = r#"{"gamma":0.1,"name":"StepLR","step_size":5}"#;
    let rows = [
        (
            wider.read_checkpoint().unwrap(),
            "params.hidden.weight has the shape [8, 20], this model's has [7, 20]".to_owned(),
        ),
        (less, "it is of another model: params.head.bias is missing".into()),
        (more, "it is of another model: this one has no parameter extra".into()),
        (stranger, "it is of another model: this one has no parameter nobody".into()),
        (sgd.read_checkpoint().unwrap(), "optimizer: it is of SGD, this optimizer is AdamW".into()),
        (lacking, "optimizer: conv.bias lacks the slot \"exp_avg\"".into()),
        (
            steps.read_checkpoint().unwrap(),
            format!("its schedule is {step_lr}, this trainer's is {one_cycle}"),
        ),
        (
            closure.read_checkpoint().unwrap(),
            format!(
                "its schedule is {{\"closure\":null,\"name\":\"FromFn\"}}, this trainer's is {one_cycle}"
            ),
        ),
    ];
    for (checkpoint, reason) in rows {
        let error = ours.load_checkpoint(&checkpoint).unwrap_err().to_string();
        assert_eq!(error, format!("checkpoint: {reason}"));
        assert!(save(&mut ours, &path) == before, "{reason}");
    }
    // One that was read from a file names it.
    wider.read_checkpoint().unwrap().write(&path).unwrap();
    let error = ours.load_checkpoint(&Checkpoint::read(&path).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: params.hidden.weight has", path.display())), "{error}");
}

#[test]
fn a_closure_loads_into_one_of_its_name_and_nothing_else() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("closures");
    let path = folder.join("model.safetensors");
    let build = |schedule: Option<Box<dyn Schedule>>| {
        let (graph, loss) = network(7);
        let builder = graph.trainer(&loss, AdamW::default()).seed(3);
        match schedule {
            Some(schedule) => builder.schedule(schedule).build(&gpu).unwrap(),
            None => builder.build(&gpu).unwrap(),
        }
    };
    let falling = || schedule::from_fn(|step, base| base / (1.0 + step as f64));
    type Made<'a> = &'a dyn Fn() -> Option<Box<dyn Schedule>>;
    let schedules: [(&str, Made<'_>); 6] = [
        ("none", &|| None),
        (r#"{"closure":null,"name":"FromFn"}"#, &|| Some(Box::new(falling()))),
        (r#"{"closure":"falling","name":"FromFn"}"#, &|| Some(Box::new(falling().named("falling")))),
        (r#"{"closure":"half","name":"FromFn"}"#, &|| {
            Some(Box::new(schedule::from_fn(|_, base| base / 2.0).named("half")))
        }),
        (r#"{"closure":"falling","name":"LambdaLR"}"#, &|| {
            Some(Box::new(LambdaLR::new(|step| 1.0 / (1.0 + step as f64)).named("falling")))
        }),
        (r#"{"gamma":0.1,"name":"StepLR","step_size":5}"#, &|| Some(Box::new(StepLR::new(5)))),
    ];
    for (theirs, schedule) in schedules {
        let mut first = build(schedule());
        train(&mut first, 0..2);
        save(&mut first, &path);
        let checkpoint = Checkpoint::read(&path).unwrap();
        train(&mut first, 2..4);
        for (ours, other) in schedules {
            let mut second = build(other());
            let before = second.read_checkpoint().unwrap();
            let loaded = second.load_checkpoint(&checkpoint);
            if theirs == ours {
                loaded.unwrap();
                train(&mut second, 2..4);
                assert!(second.read_checkpoint().unwrap() == first.read_checkpoint().unwrap(), "{theirs}");
            } else {
                let message =
                    format!("{}: its schedule is {theirs}, this trainer's is {ours}", path.display());
                assert_eq!(loaded.unwrap_err().to_string(), message);
                assert!(second.read_checkpoint().unwrap() == before, "{message}");
            }
        }
    }
    // Without a name, closures cannot be told apart.
    let mut first = build(Some(Box::new(falling())));
    let checkpoint = first.read_checkpoint().unwrap();
    build(Some(Box::new(schedule::from_fn(|_, base| base)))).load_checkpoint(&checkpoint).unwrap();
    // A file of version 0.1 does not say whether there was a closure or no schedule at all.
    let mut old = checkpoint;
    old.schedule = Some(serde_json::Value::Null);
    old.write(&path).unwrap();
    let old = Checkpoint::read(&path).unwrap();
    for (ours, schedule) in schedules {
        let loaded = build(schedule()).load_checkpoint(&old).map_err(|error| error.to_string());
        let refused = format!(
            "{}: its schedule is none, or one without a JSON form, this trainer's is {ours}",
            path.display()
        );
        assert_eq!(loaded, if ours.contains("StepLR") { Err(refused) } else { Ok(()) }, "{ours}");
    }
}

#[test]
fn an_option_that_is_not_finite_is_refused_where_the_state_is_read() {
    let Some(gpu) = gpu() else { return };
    fn refused<R: AnyRule + Clone>(gpu: &Gpu, rule: R, change: impl Fn(&mut R), place: &str) {
        let mut trainer = trainer_of(gpu, 7, rule, StepLR::new(5));
        train(&mut trainer, 0..1);
        let good = trainer.read_checkpoint().unwrap();
        let rule = trainer.optimizer().group("default").unwrap().clone();
        change(trainer.optimizer_mut().group_mut("default").unwrap());
        let message = format!("state dict: group \"default\": {place}, and options must be finite");
        assert_eq!(trainer.read_checkpoint().unwrap_err().to_string(), message);
        let by_waiting = pollster::block_on(trainer.optimizer().read_state_dict_async());
        assert_eq!(by_waiting.unwrap_err().to_string(), message);
        *trainer.optimizer_mut().group_mut("default").unwrap() = rule;
        assert!(trainer.read_checkpoint().unwrap() == good);
    }
    refused(&gpu, AdamW::default(), |rule| rule.eps = f64::INFINITY, "eps is inf");
    refused(&gpu, AdamW::default(), |rule| rule.betas.1 = f64::NAN, "betas[1] is NaN");
    refused(&gpu, SGD::default(), |rule| rule.lr = f64::NAN, "lr is NaN");
    // As JSON it would be `null`, which is another option here and no error.
    let infinite = |rule: &mut Adafactor| rule.clipping_threshold = Some(f64::INFINITY);
    refused(&gpu, Adafactor::optax(), infinite, "clipping_threshold is inf");
    let ahead = || Lookahead::new(SGD::default());
    refused(&gpu, ahead(), |rule| rule.alpha = f64::NEG_INFINITY, "alpha is -inf");
    refused(&gpu, ahead(), |rule| rule.inner.weight_decay = f64::NAN, "inner.weight_decay is NaN");
    let named = optim::from_json(&json!({"name": "Adam"})).unwrap();
    refused(&gpu, named, |rule| *rule.lr_mut() = f64::INFINITY, "lr is inf");
}

#[test]
fn a_run_that_diverged_does_not_replace_its_last_good_file() {
    let Some(gpu) = gpu() else { return };
    let folder = Folder::new("diverged");
    let path = folder.join("model.safetensors");
    let mut trainer = trainer(&gpu);
    train(&mut trainer, 0..2);
    let good = save(&mut trainer, &path);
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        trainer.params_mut().write("head.bias", &[0.0, 0.0, value]).unwrap();
        let error = trainer.read_checkpoint().unwrap().write(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: params.head.bias holds {name} at element 2", path.display()));
        assert!(fs::read(&path).unwrap() == good);
    }
}

#[test]
fn files_that_are_no_checkpoints_say_why() {
    let folder = Folder::new("others");
    let one = [1.0_f32];
    let view = || {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], bytemuck::cast_slice(&one))
            .unwrap()
    };
    let with = |record: &str| {
        let metadata = [("gradus".to_owned(), record.to_owned())].into();
        safetensors::serialize([("params.w", view())], Some(metadata)).unwrap()
    };
    let plain = safetensors::serialize([("w", view())], None).unwrap();
    let changed = "it was changed since it was written: its checksum does not fit";
    let rows: [(&str, Option<Vec<u8>>, &str); 6] = [
        ("missing", None, "No such file or directory (os error 2)"),
        ("empty", Some(vec![]), "it is not a whole safetensors file: header too small"),
        (
            "text",
            Some(b"hello, this is no model".to_vec()),
            "it is not a whole safetensors file: header too large",
        ),
        ("plain", Some(plain), "it is not a checkpoint: there is no metadata key \"gradus\""),
        ("record", Some(with("{}")), changed),
        ("sum", Some(with(r#"{"checksum":"00000000","format":1}"#)), changed),
    ];
    for (name, bytes, reason) in rows {
        let path = folder.join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let error = Checkpoint::read(&path).map(drop).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
    }
    let folder_error = Checkpoint::read(&folder).map(drop).unwrap_err().to_string();
    assert!(folder_error.starts_with(&folder.display().to_string()), "{folder_error}");
}
