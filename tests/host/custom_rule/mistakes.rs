//! A mistake in a text is named with its place, and with what may have been meant.

use super::{GOOD, added, builder, check, inside, refusal, swapped};

#[test]
fn mistakes_in_wgsl_are_named_with_their_place() {
    builder(GOOD).build().unwrap();
    let signature = "`rule` has another signature, expected \
                     `fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f`";
    let returned = "`rule` returns a value of another type than it declares, expected vec4f";
    check(&[
        (inside("let d: f32 = g;"), 3, 9, "the type of `d` is expected to be `f32`, but got `vec4<f32>`"),
        (swapped("return p - call.lr * (*s).exp_avg", "return call.lr"), 3, 12, returned),
        (swapped("p - call", "p - g.x > call"), 3, 12, returned),
        (
            swapped("call.lr *", "vec3f(call.lr) *"),
            3,
            16,
            "Multiply: expected types that fit, got vec3<f32> and vec4<f32>",
        ),
        (swapped("fn rule(p: vec4f, g: vec4f,", "\nfn rule(p: vec4f, g: vec3f,"), 2, 1, signature),
        (swapped("g: vec4f, ", "g: vec4f, t: f32, "), 1, 1, signature),
        (swapped("-> vec4f", "-> vec3f"), 1, 1, signature),
        (swapped("(*s).exp_avg;", "(*s).exp_avg"), 4, 1, "expected `;`, found \"}\""),
        (GOOD.trim_end().trim_end_matches('}').to_owned(), 1, 63, "`{` is not closed"),
        (inside("let a = (p + g;"), 3, 13, "`(` is not closed before `}`"),
        (inside("let a = p + g);"), 3, 18, "`)` has no opening bracket"),
        (inside("let a = p[0;"), 3, 14, "`[` is not closed before `}`"),
        (added("}"), 5, 1, "`}` has no opening bracket"),
        (inside("/* /* */"), 3, 5, "`/*` is not closed"),
        (inside("let größe = g;"), 3, 11, "unexpected 'ö' (U+00F6): outside comments, only ASCII is allowed"),
        (
            inside("let a =\u{a0}g;"),
            3,
            12,
            "unexpected '\\u{a0}' (U+00A0): outside comments, only ASCII is allowed",
        ),
        (inside("/* größer */ let a = p[9];"), 3, 28, "the index 9 is out of range, expected 0 to 3"),
        (
            inside("let a = g[0]; let b = g[2 + 2];"),
            3,
            29,
            "the index 2 + 2 is out of range, expected 0 to 3",
        ),
        (inside("(*s).exp_avg[4] = 1.0;"), 3, 18, "the index 4 is out of range, expected 0 to 3"),
        (inside("var a: array<f32, 7>; let c = a[6]; let b = a[7];"), 3, 49, "the index 7 is out of range"),
        (inside("let a = p[0]; let b = p.x[0];"), 3, 30, "the value before this cannot be indexed"),
        (inside("if g.x { }"), 3, 8, "The `if` condition is not a boolean scalar"),
        (inside("let a: f64 = 1.0;"), 3, 18, "this needs what not every device has"),
        (inside("let a = 1.0 / 0.0;"), 3, 13, "Divide operation overflowed"),
        (added("fn rule() {}"), 5, 4, "redefinition of `rule`"),
        (added("fn f(x: f32) -> f32 { return f(x); }"), 5, 4, "declaration of `f` is recursive"),
    ]);
}

#[test]
fn a_name_that_is_not_known_is_met_with_what_it_may_have_meant() {
    let other_pointer = swapped("s: ptr", "state: ptr").replace("(*s)", "(*state)");
    check(&[
        (inside("let a = lr;"), 3, 13, "unknown name `lr`, did you mean `call.lr`?"),
        (inside("let a = beta1;"), 3, 13, "unknown name `beta1`, did you mean `hyper.beta1`?"),
        (inside("let a = exp_avg;"), 3, 13, "unknown name `exp_avg`, did you mean `(*s).exp_avg`?"),
        (
            other_pointer.replacen("(*state).exp_avg;", "exp_avg;", 1),
            3,
            26,
            "unknown name `exp_avg`, did you mean `(*state).exp_avg`?",
        ),
        (inside("let a = bata1;"), 3, 13, "unknown name `bata1`, did you mean `hyper.beta1`?"),
        (inside("let a = exp_agv;"), 3, 13, "unknown name `exp_agv`, did you mean `(*s).exp_avg`?"),
        (swapped(", g, hyper", ", grad, hyper"), 2, 43, "unknown name `grad`, did you mean `g`?"),
        (swapped("averaged", "averagd"), 2, 20, "unknown name `averagd`, did you mean `averaged`?"),
        (inside("let a = lerp(p, g, 0.5);"), 3, 13, "unknown name `lerp`, did you mean `mix`?"),
        (inside("let a = qqqq;"), 3, 13, "unknown name `qqqq`"),
        (
            inside("let near1 = g; let near2 = g; let a = near3;"),
            3,
            43,
            "unknown name `near3`, did you mean `near1` or `near2`?",
        ),
        (
            inside("let a = sqrt;"),
            3,
            13,
            "`sqrt` is a function or a type of WGSL: expected it to be called, or a value",
        ),
        (
            swapped("hyper.beta1", "hyper.bata1"),
            2,
            52,
            "unknown hyperparameter `bata1`, did you mean `beta1`?; declared: beta1",
        ),
        (
            swapped("call.lr", "call.lrr"),
            3,
            21,
            "unknown constant of the call `lrr`, did you mean `lr`?; declared: lr",
        ),
        (
            swapped("* (*s).exp_avg", "* (*s).exp_agv"),
            3,
            31,
            "unknown slot `exp_agv`, did you mean `exp_avg`?; declared: exp_avg",
        ),
        (
            inside("let a = hyper.lr;"),
            3,
            19,
            "unknown hyperparameter `lr`, did you mean `call.lr`?; declared: beta1",
        ),
        (
            inside("let a = call.beta1;"),
            3,
            18,
            "unknown constant of the call `beta1`, did you mean `hyper.beta1`?; declared: lr",
        ),
        (
            inside("let a = (*s).beta1;"),
            3,
            18,
            "unknown slot `beta1`, did you mean `hyper.beta1`?; declared: exp_avg",
        ),
        (
            inside("let a = hyper.exp_avg;"),
            3,
            19,
            "unknown hyperparameter `exp_avg`, did you mean `(*s).exp_avg`?; declared: beta1",
        ),
        (inside("let a = call.len;"), 3, 18, "unknown constant of the call `len`; declared: lr"),
    ]);
    let many = (0..50)
        .fold(builder(&inside("let a = hyper.x7y;")), |builder, i| builder.hyper(format!("x{i}"), 0.5, ..));
    let message = refusal(many).to_string();
    assert!(message.contains("did you mean `x7`") && message.ends_with(" and 43 more"), "{message}");
    assert!(message.len() < 200, "{message}");
}
