//! A rule is a pure function that ends, under names of its own.

use super::{GOOD, added, builder, check, inside, said};

const LOOP: &str =
    "expected `for (var i = 0; i < 8; i++)`, with numbers or constants that are numbers as bounds";

#[test]
fn a_rule_is_pure_and_its_names_are_its_own() {
    let frame = "cannot be used: of the frame's, only `call.lr`, `hyper` and the functions of `CustomRule`";
    let pure = "cannot be used: a rule is a pure function of four elements";
    for (name, text) in [
        ("store", "store(0u, *s);"),
        ("load", "let a = load(0u);"),
        ("transformed", "let a = transformed(g, p, 0u);"),
        ("gradient", "let a = gradient(g, p, 0u);"),
        ("settled", "let a = settled(g, p, s);"),
        ("params", "let a = params[0];"),
        ("grads", "let a = grads[0];"),
        ("real", "let a = real[0];"),
        ("gate", "let a = gate.skip;"),
        ("slot_exp_avg", "let a = slot_exp_avg[0];"),
        ("MAXIMIZE", "let a = MAXIMIZE;"),
    ] {
        let column = 5 + text.find(name).unwrap();
        check(&[(inside(text), 3, column, &format!("`{name}` {frame}"))]);
    }
    for call in [
        "workgroupBarrier()",
        "storageBarrier()",
        "textureBarrier()",
        "subgroupBarrier()",
        "subgroupAdd(p)",
        "subgroupBallot(true)",
        "quadBroadcast(p, 0u)",
        "dpdx(p)",
        "fwidthFine(p)",
        "arrayLength(&p)",
        "atomicAdd(&p, 1u)",
        "textureLoad(p, 0, 0)",
        "workgroupUniformLoad(&p)",
    ] {
        let name = call.split('(').next().unwrap();
        check(&[(inside(&format!("{call};")), 3, 5, &format!("`{name}` {pure}"))]);
    }
    check(&[
        (inside("discard;"), 3, 5, "`discard` cannot be used: a rule is a pure function"),
        (inside("var a: atomic<u32>;"), 3, 12, &format!("`atomic` {pure}")),
        (
            added("var<private> kept: f32;"),
            5,
            1,
            "no variable may stand outside functions: declare a slot instead",
        ),
        (
            added("var<workgroup> kept: f32;"),
            5,
            1,
            "no variable may stand outside functions: declare a slot instead",
        ),
        (
            added("@group(0) @binding(9) var<storage> more: array<f32>;"),
            5,
            1,
            "attributes are not allowed: a rule consists of functions, and the entry point is part of the surrounding kernel",
        ),
        (
            added("\n@compute @workgroup_size(1) fn other() {}"),
            6,
            1,
            "attributes are not allowed: a rule consists of functions, and the entry point is part of the surrounding kernel",
        ),
        (added("override x: f32 = 1.0;"), 5, 1, "expected `const` or a hyperparameter instead of `override`"),
        (format!("enable f16;\n{GOOD}"), 1, 1, "`enable` is not allowed: a rule is plain WGSL"),
        (format!("\nrequires x;\n{GOOD}"), 2, 1, "`requires` is not allowed: a rule is plain WGSL"),
        (
            format!("diagnostic(off, derivative_uniformity);{GOOD}"),
            1,
            1,
            "`diagnostic` is not allowed: a rule is plain WGSL",
        ),
    ]);
    for name in [
        "averaged",
        "load",
        "store",
        "transformed",
        "main",
        "random_words",
        "settled",
        "keep_average",
        "call",
        "params",
        "real",
        "LOOKAHEAD_SYNCS",
        "Hyper",
        "State",
        "Call",
        "Gate",
        "slot_exp_avg",
        "slot_slow_param",
        "keep_inside",
    ] {
        check(&[(
            added(&format!("fn {name}(x: f32) -> f32 {{ return x; }}")),
            5,
            4,
            &format!("`{name}` is reserved: the surrounding kernel uses it, choose another name"),
        )]);
    }
    for name in
        ["min", "select", "vec4f", "vec4", "f32", "bool", "array", "sqrt", "mat2x2f", "ptr", "bitcast"]
    {
        let reason = format!(
            "`{name}` is reserved: it is a built-in of WGSL that the surrounding kernel uses, choose another name"
        );
        for (text, column) in [
            (format!("fn {name}(x: f32) -> f32 {{ return x; }}"), 4),
            (format!("const {name} = 1.0;"), 7),
            (format!("struct {name} {{ x: f32 }}"), 8),
            (format!("alias {name} = i32;"), 7),
        ] {
            check(&[(added(&text), 5, column, &reason)]);
        }
    }
    // Inside a function and as members they are nobody else's.
    let own = inside("let min = g; let load = min; let w = Own(1.0).real;");
    builder(&(own + "struct Own { real: f32 }")).build().unwrap();
}

#[test]
fn loops_end() {
    let bound = format!("this loop may never end: {LOOP}");
    let way = format!("this loop may never end, because `i` does not go towards the bound: {LOOP}");
    let wraps = format!("this loop may never end, because `i` begins anew at the other end: {LOOP}");
    let kept = "this loop may never end: its variable `i` is changed, named again or pointed to";
    for text in ["loop { break; }", "while true { }"] {
        let word = text.split(' ').next().unwrap();
        check(&[(inside(text), 3, 5, &format!("`{word}` may never end: {LOOP}"))]);
    }
    for header in [
        ";;",
        "var i = 0; i < 8;",
        "var i = 0;; i++",
        "; true; ",
        "var i = 0.0; i < 1.0; i += 0.1",
        "var i = 0; i != 8; i++",
        "var i = 0; i < i32(g.x); i++",
        "var i = 0; i < 8; i *= 2",
        "var i = 0; i < 8 && true; i++",
        "var i: Index = 0; i < 8; i++",
        "var i = 0; i < EIGHT + 1; i++",
        "var i = 0; i < TWICE; i++",
        "var i = 0; i < LARGE; i++",
    ] {
        let text = inside(&format!("for ({header}) {{ }}"))
            + "alias Index = i32; const EIGHT = 8; const TWICE = 2 * EIGHT;";
        // Of those the types do not fit, which is said first.
        let got = said(&text).unwrap_or_else(|| panic!("{header}"));
        assert!(got.2 == bound || header.contains("LARGE"), "{header}: {got:?}");
    }
    for (header, reason) in [
        ("var i = 0; i < 8; i--", &way),
        ("var i = 8; i > 0; i++", &way),
        ("var i = 0; i < 8; i += 0", &way),
        ("var i = 0u; i <= 4294967295u; i++", &wraps),
        ("var i = 8u; i >= 0u; i--", &wraps),
        ("var i = 2147483640; i <= 2147483647; i++", &wraps),
        ("var i: u32 = 0; i < 4294967290; i += 4294967289", &wraps),
        ("var i = -2147483640; i > -2147483648; i -= 7", &wraps),
    ] {
        check(&[(inside(&format!("for ({header}) {{ }}")), 3, 5, reason)]);
    }
    for body in [
        "i = 0;",
        "i += 1;",
        "i--;",
        "i >>= 1u;",
        "i <<= 1u;",
        "(i) = 0;",
        "((i))++;",
        "let q = &i;",
        "let q = &(i);",
        "f(&i);",
        "{ let i = 3; }",
        "if g.x > 0.0 { i = 1; }",
    ] {
        let text = inside(&format!("for (var i = 0; i < 8; i++) {{ {body} }}"))
            + "fn f(x: ptr<function, i32>) { *x = 0; }";
        let column = 35 + body.rfind('i').unwrap();
        let column = if body.starts_with("{ let") { 35 + 6 } else { column };
        check(&[(text, 3, column, kept)]);
    }
    // A name that is a number outside the function and something else in it.
    let hidden = "let N = i32(g.x); for (var i = 0; i < N; i++) { }";
    check(&[(inside(hidden) + "const N = 8;", 3, 23, &bound)]);
    for header in [
        "var i = 0; i < 8; i++",
        "var i = -3; i <= N; i += 2",
        "var i = 10u; i > 0u; i -= 5u",
        "var i: u32 = 9; i >= 1; i--",
        "var i = 0xf; i > -1; i--",
        "var i = 3; i < 3; i++",
    ] {
        let mask = if header.contains('u') { "i & 1u" } else { "i & 1" };
        let body = format!("(*s).exp_avg += vec4f(f32({mask})); let q = i == 3; if q {{ continue; }}");
        let text = inside(&format!("for ({header}) {{ {body} }}")) + "const N: i32 = 8;";
        builder(&text).build().unwrap_or_else(|error| panic!("{header}: {error}"));
    }
    for (header, rounds) in [
        ("var i = 0; i <= 65536; i++", 65_537),
        ("var i = 1; i < 200000; i += 2", 100_000),
        ("var i = 0; i < 200001; i += 2", 100_001),
        ("var i = 70000u; i > 0u; i--", 70_000),
        ("var i = 70000; i >= -1; i--", 70_002),
    ] {
        let reason = format!("this loop runs {rounds} rounds, expected at most 65536");
        check(&[(inside(&format!("for ({header}) {{ }}")), 3, 5, &reason)]);
    }
}
