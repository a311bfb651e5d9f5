//! What a rule of one's own refuses, and in which words.

use gradus::Error;
use gradus::optim::{AnyRule, CustomRule, CustomRuleBuilder};
use serde_json::json;

const GOOD: &str = "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    (*s).exp_avg = averaged((*s).exp_avg, g, hyper.beta1, 1.0 - hyper.beta1);
    return p - call.lr * (*s).exp_avg;
}
";

fn builder(wgsl: &str) -> CustomRuleBuilder {
    CustomRule::builder("Mine", wgsl).slot("exp_avg").hyper("beta1", 0.9, 0.0..1.0)
}

fn refusal(builder: CustomRuleBuilder) -> Error {
    builder.build().unwrap_err()
}

#[test]
fn mistakes_in_wgsl_are_named_with_the_line_of_the_text() {
    builder(GOOD).build().unwrap();
    let swapped = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replacen(from, to, 1)
    };
    let added = |text: &str| format!("{GOOD}{text}\n");
    let signature = "`rule` has another signature, expected \
                     `fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f`";
    let returned = "`rule` returns a value of another type than it declares, expected vec4f";
    let variable = "no variable may stand outside functions: declare a slot instead";
    let rows = [
        (swapped(", g, hyper", ", grad, hyper"), 2, "unknown name `grad`, did you mean `g`?"),
        (swapped("averaged", "averagd"), 2, "unknown name `averagd`, did you mean `averaged`?"),
        (swapped("return p -", "return sqr(p) -"), 3, "unknown name `sqr`, did you mean `sqrt`?"),
        (
            swapped("return p", "let d: f32 = g;\n    return p"),
            3,
            "the type of `d` is expected to be `f32`, but got `vec4<f32>`",
        ),
        (swapped("return p - call.lr * (*s).exp_avg", "return call.lr"), 3, returned),
        (swapped("p - call", "p - g.x > call"), 3, returned),
        (
            swapped("call.lr *", "vec3f(call.lr) *"),
            3,
            "Multiply: expected types that fit, got vec3<f32> and vec4<f32>",
        ),
        (
            swapped("hyper.beta1", "hyper.bata1"),
            2,
            "unknown hyperparameter `bata1`, did you mean `beta1`?; declared: beta1",
        ),
        (
            swapped("call.lr", "call.lrr"),
            3,
            "unknown constant of the call `lrr`, did you mean `lr`?; declared: lr",
        ),
        (
            swapped("* (*s).exp_avg", "* (*s).exp_agv"),
            3,
            "unknown slot `exp_agv`, did you mean `exp_avg`?; declared: exp_avg",
        ),
        (swapped("fn rule(p: vec4f, g: vec4f,", "\nfn rule(p: vec4f, g: vec3f,"), 2, signature),
        (swapped("g: vec4f, ", "g: vec4f, t: f32, "), 1, signature),
        (swapped("-> vec4f", "-> vec3f"), 1, signature),
        (
            swapped("call.lr", "params[0]"),
            3,
            "`params` cannot be used: of the frame's, only `call` and `hyper`",
        ),
        (swapped("(*s).exp_avg;", "(*s).exp_avg"), 4, "expected `;`, found \"}\""),
        (
            GOOD.trim_end().trim_end_matches('}').to_owned(),
            3,
            "not closed before the end of the text: expected assignment or increment/decrement, found \"Gate\"",
        ),
        (
            added("fn averaged(x: f32) -> f32 { return x; }"),
            5,
            "`averaged` is reserved: the frame has it, choose another name",
        ),
        (added("\nstruct Hyper { x: f32 }"), 6, "`Hyper` is reserved: the frame has it, choose another name"),
        (
            added("fn random_words(x: f32) -> f32 { return x; }"),
            5,
            "`random_words` is reserved: the frame has it, choose another name",
        ),
        (added("fn rule() {}"), 5, "redefinition of `rule`"),
        (added("var<private> kept: f32;"), 5, variable),
        (added("@group(0) @binding(9) var<storage> more: array<f32>;"), 5, variable),
        (added("override x: f32 = 1.0;"), 5, "expected `const` or a hyperparameter instead of `override`"),
    ];
    let mut wrong = Vec::new();
    for (wgsl, line, reason) in rows {
        let want = Error::Wgsl { rule: "Mine".into(), line, reason: reason.into() };
        let got = builder(&wgsl).build().map(drop);
        if got != Err(want.clone()) {
            wrong.push(format!("{want}\n{got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn declarations_that_cannot_be_are_refused() {
    let good = || builder(GOOD);
    let identifier = "expected a name of WGSL: letters, digits and underscores, no digit first, no two \
                      underscores first, no keyword or reserved word";
    let missing = "rule Mine: there is no function `rule`, expected \
                   `fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f`";
    let taken = "reserved, as are lr, maximize, name, variant, params, initial_lr";
    let rows = [
        (builder(&GOOD.replace("rule", "step")), missing.to_owned()),
        (builder(""), missing.into()),
        (
            builder(&format!("{GOOD}@compute @workgroup_size(1) fn other() {{}}")),
            "rule Mine: `other`: no entry points are allowed, the frame has one".into(),
        ),
        (CustomRule::builder("", GOOD), "rule : the name is empty".into()),
        (good().slot("a").slot("b").slot("c"), "slots must be at most 3, got 4".into()),
        (good().slot("exp_avg"), "duplicate slot \"exp_avg\"".into()),
        (good().hyper("beta1", 0.5, ..), "duplicate hyperparameter or constant \"beta1\"".into()),
        (good().constant("beta1", |_, _| 1.0), "duplicate hyperparameter or constant \"beta1\"".into()),
        (good().slot("2nd"), format!("rule Mine: slot \"2nd\": {identifier}")),
        (good().slot("é"), format!("rule Mine: slot \"é\": {identifier}")),
        (good().hyper("", 1.0, ..), format!("rule Mine: hyperparameter or constant \"\": {identifier}")),
        (good().hyper("while", 1.0, ..), format!("rule Mine: hyperparameter or constant \"while\": {identifier}")),
        (good().hyper("__x", 1.0, ..), format!("rule Mine: hyperparameter or constant \"__x\": {identifier}")),
        (good().hyper("lr", 1.0, ..), format!("rule Mine: hyperparameter or constant \"lr\": {taken}")),
        (good().constant("params", |_, _| 1.0), format!("rule Mine: hyperparameter or constant \"params\": {taken}")),
        (good().slot("step"), "rule Mine: slot \"step\": reserved, as are step, shape, mu_product".into()),
        (good().hyper("eps", -1.0, 0.0..), "eps must be in [0, inf), got -1".into()),
        (good().hyper("eps", f64::NAN, ..), "eps must be in (-inf, inf), got NaN".into()),
        (good().hyper("beta2", 1.0, 0.0..1.0), "beta2 must be in [0, 1), got 1".into()),
        (good().hyper("beta2", 1.5, 0.0..=1.0), "beta2 must be in [0, 1], got 1.5".into()),
        (good().lr(-1.0), "lr must be finite and at least 0, got -1".into()),
        (good().slot_from("x", f64::INFINITY), "the first value of x must be finite, got inf".into()),
        (
            good().constant("c", |step, h| step.correction(h.get("bata1"))),
            "unknown hyperparameter of Mine, in the constant c \"bata1\", did you mean \"beta1\"?; known: lr, beta1"
                .into(),
        ),
        (
            good().constant("c", |_, h| 1.0 / (h.get("beta1") - 0.9)),
            "constant c in the first step must be finite in 32 bits, got inf".into(),
        ),
        (
            (0..64).fold(good(), |builder, i| builder.hyper(format!("h{i}"), 0.0, ..)),
            "hyperparameters and constants must be at most 64, got 65".into(),
        ),
    ];
    for (builder, message) in rows {
        assert_eq!(refusal(builder).to_string(), message);
    }
}

#[test]
fn a_rule_may_declare_nothing_and_bring_functions() {
    let text = "const HALF = 0.5;
fn halved(x: vec4f) -> vec4f { return HALF * x; }
fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - call.lr * halved(g); }";
    let rule = CustomRule::builder("Halved", text).build().unwrap();
    assert_eq!(rule.to_json(), json!({"name": "Halved", "lr": 1e-3, "maximize": false}));
    let most = (0..63).fold(builder(GOOD), |builder, i| builder.hyper(format!("h{i}"), 0.0, ..));
    most.slot("a").slot_from("b", 0.5).build().unwrap();
}

#[test]
fn values_are_fields_of_json_and_keep_to_their_ranges() {
    let mut rule = builder(GOOD).lr(0.5).build().unwrap();
    assert_eq!(rule.to_json(), json!({"name": "Mine", "lr": 0.5, "beta1": 0.9, "maximize": false}));
    rule.set("beta1", 0.25).unwrap();
    rule.set("lr", 0.125).unwrap();
    assert_eq!((rule.get("beta1").unwrap(), rule.get("lr").unwrap()), (0.25, 0.125));
    let before = rule.to_json();
    let rows = [
        (rule.set("beta1", 1.0), "beta1 must be in [0, 1), got 1"),
        (rule.set("lr", -1.0), "lr must be finite and at least 0, got -1"),
        (
            rule.set("beta", 0.5),
            "unknown hyperparameter of Mine \"beta\", did you mean \"beta1\"?; known: lr, beta1",
        ),
    ];
    for (got, message) in rows {
        assert_eq!(got.unwrap_err().to_string(), message);
    }
    assert_eq!(rule.to_json(), before);
    let fields = |json: serde_json::Value| rule.with_fields(json.as_object().unwrap());
    let read = fields(json!({"beta1": 0, "maximize": true})).unwrap();
    assert_eq!(read.to_json(), json!({"name": "Mine", "lr": 0.5, "beta1": 0.0, "maximize": true}));
    let rows = [
        (json!({"beta1": "0.9"}), "optimizer Mine: beta1: expected a number, got \"0.9\""),
        (json!({"lr": null}), "optimizer Mine: lr: expected a number, got null"),
        (json!({"maximize": 1}), "optimizer Mine: maximize: expected a boolean, got 1"),
        (
            json!({"bata1": 0.9}),
            "unknown field of Mine \"bata1\", did you mean \"beta1\"?; known: lr, beta1, maximize",
        ),
    ];
    for (json, message) in rows {
        assert_eq!(fields(json).map(drop).unwrap_err().to_string(), message);
    }
}

#[test]
fn text_that_is_cut_anywhere_is_refused_within_its_lines() {
    let text = format!("/* größer */ const HALF = 0.5; // ½\n{}", GOOD.trim_end());
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        match refusal(builder(&text[..end])) {
            Error::Wgsl { line, .. } => assert!((1..=5).contains(&line), "cut at {end}: line {line}"),
            Error::Config { .. } => assert!(!text[..end].contains("return"), "cut at {end}"),
            other => panic!("cut at {end}: {other}"),
        }
    }
    builder(&text).build().unwrap();
}
