//! What a rule of one's own refuses, and in which words.

mod bounds;
mod mistakes;
mod mutations;
mod purity;

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

/// What a text is refused with: line, column and reason; none if it is not.
fn said(wgsl: &str) -> Option<(usize, usize, String)> {
    match builder(wgsl).build() {
        Ok(_) => None,
        Err(Error::Wgsl { of, line, column, reason }) if of == "rule Mine" => Some((line, column, reason)),
        Err(other) => panic!("{wgsl}\n{other}"),
    }
}

fn check(rows: &[(String, usize, usize, &str)]) {
    let mut wrong = Vec::new();
    for (wgsl, line, column, reason) in rows {
        let got = said(wgsl);
        if got != Some((*line, *column, (*reason).to_owned())) {
            wrong.push(format!("{wgsl}\nexpected {:?}\n     got {got:?}", (line, column, reason)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn swapped(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// Behind the rule, on line 5.
fn added(text: &str) -> String {
    format!("{GOOD}{text}\n")
}

/// In the rule, on line 3 from column 5.
fn inside(text: &str) -> String {
    swapped("    return p", &format!("    {text}\n    return p"))
}

/// Runs on the stack of a thread of the standard library, or a smaller one.
fn on_a_stack<T: Send + 'static>(bytes: usize, run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap()
}

#[test]
fn declarations_that_cannot_be_are_refused() {
    let good = || builder(GOOD);
    let identifier = "expected a name of WGSL: letters, digits and underscores, no digit first, no two \
                      underscores first, no keyword or reserved word";
    let missing = "rule Mine: there is no function `rule`, expected \
                   `fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f`";
    let taken = "reserved, as are lr, maximize, name, variant, params, initial_lr, lookahead, lookahead_alpha, \
                 averaging, averaging_beta, averaging_weight";
    let taken_slots =
        "reserved, as are step, shape, mu_product, inner_step, stored, slow_param, average_param";
    let rows = [
        (builder(&GOOD.replace("rule", "descend")), missing.to_owned()),
        (builder(""), missing.into()),
        (CustomRule::builder("", GOOD), "rule : the name is empty".into()),
        (good().slot("a").slot("b").slot("c").slot("d"), "slots must be at most 4, got 5".into()),
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
        (good().slot("step"), format!("rule Mine: slot \"step\": {taken_slots}")),
        (good().slot("mu_product"), format!("rule Mine: slot \"mu_product\": {taken_slots}")),
        (good().slot("slow_param"), format!("rule Mine: slot \"slow_param\": {taken_slots}")),
        (good().slot("a.b"), format!("rule Mine: slot \"a.b\": {identifier}")),
        (
            good().hyper("lookahead", 1.0, ..),
            format!("rule Mine: hyperparameter or constant \"lookahead\": {taken}"),
        ),
        (
            good().constant("averaging", |_, _| 1.0),
            format!("rule Mine: hyperparameter or constant \"averaging\": {taken}"),
        ),
        (good().slot("average_param"), format!("rule Mine: slot \"average_param\": {taken_slots}")),
        (good().hyper("eps", -1e-30, 0.0..), "eps must be in [0, inf), got -1e-30".into()),
        (good().hyper("eps", 0.0, 1e-12..), "eps must be in [1e-12, inf), got 0".into()),
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
    most.slot("a").slot_from("b", 0.5).slot("c").build().unwrap();
    assert_eq!(CustomRule::MOST_SLOTS, 4);
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
