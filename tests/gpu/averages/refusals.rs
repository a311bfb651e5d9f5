//! What averages are refused, and that nothing has changed then.

use gradus::grad::{Noise, Skip, Transforms};
use gradus::optim::{self, Averages, CustomRule, Ema, Lookahead, Rule, SGD, StateDict, Swa};
use gradus::params::Weights;
use gradus::{Error, ParamStore};
use serde_json::json;

use super::{adamw, averages_of, build, step};
use crate::common::{bits, gpu, read_all, store};

#[test]
fn options_out_of_range_are_refused() {
    let Some(gpu) = gpu() else { return };
    let mut run = build(store(&gpu), adamw(), Some(&Ema::new(0.5).into()));
    step(&mut run, 0);
    let before = run.1.read_state_dict().unwrap();
    let rows: [(Averages, &str); 5] = [
        (Ema::new(1.0).into(), "decay must be in [0, 1), got 1"),
        (Ema::new(-0.5).into(), "decay must be in [0, 1), got -0.5"),
        (Ema::new(f64::NAN).into(), "decay must be in [0, 1), got NaN"),
        (Ema { every: 0, ..Ema::default() }.into(), "every must be at least 1, got 0"),
        (Swa { every: 0, ..Swa::default() }.into(), "every must be at least 1, got 0"),
    ];
    for (averages, message) in rows {
        assert_eq!(run.1.set_averages(averages, &run.0).unwrap_err().to_string(), message);
    }
    let other = store(&gpu);
    assert!(matches!(run.1.set_averages(Swa::default(), &other), Err(Error::Mismatch(_))));
    assert_eq!(run.1.read_state_dict().unwrap(), before);
    let (params, optimizer) = &mut run;
    let none: Result<(), Error> = {
        let mut plain = SGD::default().build(&other).unwrap();
        let mut other = other;
        assert!(matches!(plain.read_averages(&other), Err(Error::Config { .. })));
        plain.with_averages(&mut other, |_| Ok(()))
    };
    let expected = "averages: none is kept: set_averages first";
    assert_eq!(none.unwrap_err().to_string(), expected);
    optimizer.step(params).unwrap();
}

#[test]
fn a_rule_that_leaves_no_room_is_refused() {
    let Some(gpu) = gpu() else { return };
    let params = store(&gpu);
    let text = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - hyper.h0 * g; }";
    let of = |hypers: usize| {
        let builder = CustomRule::builder("Many", text);
        let builder = (0..hypers).fold(builder, |builder, h| builder.hyper(format!("h{h}"), 0.01, 0.0..));
        builder.build().unwrap()
    };
    let mut most = of(61).build(&params).unwrap();
    most.set_averages(Ema::default(), &params).unwrap();
    let mut many = of(62).build(&params).unwrap();
    let error = many.set_averages(Ema::default(), &params).unwrap_err().to_string();
    assert_eq!(error, "bytes of the constants of Many beside averages must be at most 244, got 248");
    assert!(CustomRule::builder("Own", text).hyper("h0", 0.1, 0.0..).slot("average_param").build().is_err());
    assert!(CustomRule::builder("Own", text).hyper("averaging", 0.1, 0.0..).build().is_err());
    // Nine buffers: two moments, slow weights, an average and what is real, beside those of the family.
    let rule = optim::from_json(&json!({"name": "Lamb"})).unwrap();
    let mut optimizer = Lookahead::new(rule).build(&params).unwrap();
    let noise = Some(Noise::default());
    optimizer.set_transforms(Transforms { noise, ..Transforms::default() }, &params).unwrap();
    let most = gpu.device().limits().max_storage_buffers_per_shader_stage;
    let set = optimizer.set_averages(Ema::default(), &params);
    assert_eq!(set.is_ok(), most > 8, "{set:?}");
    if let Err(error) = set {
        assert!(matches!(error, Error::DeviceLimit { .. }), "{error:?}");
        assert_eq!(optimizer.averages(), None);
        let mut params = params;
        optimizer.step(&mut params).unwrap();
    }
}

#[test]
fn nothing_takes_averages_for_the_weights() {
    let Some(gpu) = gpu() else { return };
    let mut run = build(store(&gpu), adamw(), Some(&Ema::new(0.5).into()));
    (0..3).for_each(|number| step(&mut run, number));
    let (params, optimizer) = &mut run;
    let mut encoder = gpu.encoder("a step");
    let ticket = optimizer.record(&mut encoder, params).unwrap();
    let read = |params: &mut ParamStore| Ok::<_, Error>(read_all(params));
    assert!(matches!(optimizer.with_averages(params, read), Err(Error::Config { .. })), "not submitted");
    assert!(matches!(optimizer.set_averages(Swa::default(), params), Err(Error::Config { .. })));
    drop(ticket);
    optimizer.with_averages(params, read).unwrap();
    let graph = gradus::graph::Graph::new();
    let loss = graph.input("x", [4, 3]).linear(2).mean();
    let mut trainer = graph.trainer(&loss, SGD::default()).averages(Ema::new(0.5)).build(&gpu).unwrap();
    let x = vec![0.5; 12];
    trainer.step(&[("x", &x)]).unwrap();
    let before = trainer.read_checkpoint().unwrap();
    let refused = trainer
        .with_averages(|trainer| {
            let config = |what: &str, result: Result<(), Error>| {
                let error = result.unwrap_err();
                assert!(matches!(error, Error::Config { .. }), "{what}: {error}");
            };
            config("step", trainer.step(&[("x", &x)]));
            config("checkpoint", trainer.read_checkpoint().map(|_| ()));
            config("load", trainer.load_checkpoint(&before));
            config("averages", trainer.read_averages().map(|_| ()));
            config("again", trainer.with_averages(|_| Ok(())));
            config("remove", trainer.optimizer_mut().remove_averages());
            Ok::<_, Error>(trainer.steps())
        })
        .unwrap();
    assert_eq!(refused, 1);
    assert_eq!(trainer.read_checkpoint().unwrap(), before);
}

#[test]
fn averages_of_something_else_are_not_loaded() {
    let Some(gpu) = gpu() else { return };
    let mut run = build(store(&gpu), adamw(), Some(&Ema::new(0.5).into()));
    (0..3).for_each(|number| step(&mut run, number));
    let (good, before) = (run.1.read_state_dict().unwrap(), averages_of(&run));
    let model = run.1.read_averaged_model(&run.0).unwrap();
    let refused = |change: &dyn Fn(&mut StateDict)| {
        let mut dict = good.clone();
        change(&mut dict);
        dict
    };
    let rows: Vec<(StateDict, &str)> = vec![
        (refused(&|dict| dict.averages = None), "it has no averages"),
        (
            refused(&|dict| dict.averages.as_mut().unwrap().options = Swa::default().into()),
            "its averages are swa of parameters, those of this optimizer ema of parameters",
        ),
        (
            refused(&|dict| dict.averages.as_mut().unwrap().options = Ema::new(1.5).into()),
            "decay must be in [0, 1), got 1.5",
        ),
        (
            refused(&|dict| {
                dict.averages.as_mut().unwrap().averages.get_mut("t3").unwrap().pop();
            }),
            "averages: that of t3 has 63 elements, expected 64",
        ),
        (
            refused(&|dict| {
                dict.averages.as_mut().unwrap().averages.remove("t3");
            }),
            "averages: that of t3 is missing",
        ),
        (
            refused(&|dict| {
                dict.averages.as_mut().unwrap().averages.insert("t9".into(), vec![1.0]);
            }),
            "there is one of \"t9\"",
        ),
        (
            refused(&|dict| {
                dict.averages.as_mut().unwrap().updates.insert("t9".into(), 1);
            }),
            "updates of \"t9\"",
        ),
        (
            refused(&|dict| {
                dict.averages.as_mut().unwrap().updates.insert("t1".into(), u64::MAX);
            }),
            "updates of t1 must be at most 9223372036854775807",
        ),
    ];
    for (dict, message) in rows {
        let error = run.1.load_state_dict(&dict).unwrap_err();
        assert!(matches!(error, Error::StateDict(_)) && error.to_string().contains(message), "{error}");
    }
    let mut without = build(store(&gpu), adamw(), None);
    let error = without.1.load_state_dict(&good).unwrap_err().to_string();
    assert!(error.contains("it has averages (ema), and this optimizer keeps none"), "{error}");
    let changed = |change: &dyn Fn(&mut Weights)| {
        let mut weights = model.clone();
        change(&mut weights);
        weights
    };
    let rows = [
        changed(&|w| drop(w.remove("module.t3").unwrap())),
        changed(&|w| w.insert("module.t8", [1], [0.5]).unwrap()),
        changed(&|w| {
            w.remove("module.t3").unwrap();
            w.insert("module.t3", [8, 8], [0.5; 64]).unwrap();
        }),
        changed(&|w| drop(w.remove("n_averaged").unwrap())),
        changed(&|w| {
            w.remove("n_averaged").unwrap();
            w.insert("n_averaged", [], [1.5]).unwrap();
        }),
        changed(&|w| {
            w.remove("n_averaged").unwrap();
            w.insert("n_averaged", [2], [1.0, 2.0]).unwrap();
        }),
        run.0.read_weights().unwrap(),
    ];
    for (number, weights) in rows.iter().enumerate() {
        let error = run.1.load_averages(&run.0, weights).unwrap_err();
        let typed = matches!(error, Error::Weights(_) | Error::UnknownName { .. } | Error::Constant { .. });
        assert!(typed, "{number}: {error}");
    }
    assert_eq!(bits(&averages_of(&run)), bits(&before));
    assert_eq!(run.1.read_state_dict().unwrap(), good);
    // Where it is not known which steps are skipped.
    let skip = Transforms { skip: Some(Skip::default()), ..Transforms::default() };
    run.1.set_transforms(skip, &run.0).unwrap();
    step(&mut run, 3);
    run.1.read_step_results().unwrap();
    run.1.load_averages(&run.0, &model).unwrap();
    assert_eq!(run.1.averaged("t0").unwrap(), 3);
}
