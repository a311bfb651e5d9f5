//! How much a text may nest, compute and keep.

use super::{GOOD, added, builder, check, inside, on_a_stack, said};

#[test]
fn work_and_memory_are_bounded() {
    let doubled = |count: usize| {
        (1..count).fold("fn twice0(x: vec4f) -> vec4f { return x; }".to_owned(), |text, i| {
            let before = i - 1;
            text + &format!("fn twice{i}(x: vec4f) -> vec4f {{ return twice{before}(twice{before}(x)); }}\n")
        })
    };
    let calls = |count: usize| inside(&format!("let a = twice{}(p);", count - 1)) + &doubled(count);
    builder(&calls(11)).build().unwrap();
    let got = said(&calls(40)).unwrap();
    assert!(
        got.2.starts_with("`rule` takes too long: loops and calls make ") && (got.0, got.1) == (1, 4),
        "{got:?}"
    );
    let rounds = |outer: u64, inner: u64| {
        inside(&format!("for (var i = 0; i < {outer}; i++) {{ for (var j = 0; j < {inner}; j++) {{ }} }}"))
    };
    builder(&rounds(40, 50)).build().unwrap();
    check(&[(rounds(300, 300), 3, 37, "this loop runs 90000 rounds, expected at most 65536")]);
    assert!(said(&rounds(200, 200)).unwrap().2.starts_with("`rule` takes too long"));

    builder(&inside("var a: array<f32, 256>;")).build().unwrap();
    builder(&inside("var a: array<array<vec2<f32>, 8>, 16>; a[15][7] = g.xy;")).build().unwrap();
    builder(
        &(inside("var a: array<Two, 2>; a[N - 1].y = 1.0;") + "struct Two { x: f32, y: f32 } const N = 2;"),
    )
    .build()
    .unwrap();
    let plain = "expected `array<type, length>`, where the length is a number or a constant that is one";
    check(&[
        (inside("var a: array<f32, 257>;"), 3, 12, "an array may have at most 256 elements, got 257"),
        (inside("var a: array<f32, 100000>;"), 3, 12, "an array may have at most 256 elements, got 100000"),
        (
            inside("var a: array<array<f32, 20>, 20>;"),
            3,
            12,
            "an array may have at most 256 elements, got 400",
        ),
        (
            inside("let a = -array<f32, 4000000000>();"),
            3,
            14,
            "an array may have at most 256 elements, got 4000000000",
        ),
        (
            inside("var a: array<f32, N>;") + "const N = 300;",
            3,
            12,
            "an array may have at most 256 elements, got 300",
        ),
        (inside("var a: array<f32, 1 << 30>;"), 3, 12, plain),
        (inside("let a = array(1.0, 2.0);"), 3, 13, plain),
        (inside("var a: array<f32>;"), 3, 12, plain),
        (inside("var a: array<vec4f, 65>;"), 3, 5, "values of `a` take 1040 bytes, expected at most 1024"),
        (
            inside("var a: array<f32, 200>; let b = array<f32, 200>();"),
            1,
            1,
            "the variables of `rule` and what it calls take 1600 bytes, expected at most 1024",
        ),
        (
            inside("var a: array<f32, 200>; f();") + "fn f() { var b: array<f32, 200>; }",
            1,
            1,
            "the variables of `rule` and what it calls take 1600 bytes, expected at most 1024",
        ),
        (
            added("struct A { x: array<f32, 2> }"),
            5,
            15,
            "expected scalars, vectors or matrices in `struct`, got `array`",
        ),
        (
            added("struct A { x: f32 } struct B { x: A, y: A }"),
            5,
            35,
            "expected scalars, vectors or matrices in `struct`, got `A`",
        ),
        (
            added("alias A = array<f32, 2>;"),
            5,
            11,
            "expected scalars, vectors or matrices in `alias`, got `array`",
        ),
        (
            inside("*s = State();"),
            3,
            10,
            "`State` may only stand in `ptr<function, State>`: change its slots, one by one",
        ),
        (
            inside("var t: State; *s = t;"),
            3,
            12,
            "`State` may only stand in `ptr<function, State>`: change its slots, one by one",
        ),
        (inside("let h = Hyper(1.0);"), 3, 13, "`Hyper` cannot be named: read `hyper.<name>`"),
    ]);
    let long = format!("{GOOD}// {}", "x".repeat(64 << 10));
    assert!(said(&long).unwrap().2.ends_with("bytes, expected at most 65536"));
    // The bound is in the middle of a character.
    let wide = format!("{GOOD}// {}{}", "x".repeat((1 + GOOD.len()) % 2), "é".repeat(64 << 10));
    assert!(said(&wide).unwrap().2.ends_with("bytes, expected at most 65536"));
    assert!(said(&wide.replacen("//", "// ", 1)).unwrap().2.ends_with("bytes, expected at most 65536"));
    let many: String = (0..300).map(|i| format!("const c{i} = 1.0;\n")).collect();
    assert_eq!(said(&added(&many)).unwrap().2, "more than 256 declarations");
}

#[test]
fn no_nesting_exhausts_a_stack() {
    type Nest = fn(usize) -> String;
    let nests: [(&str, Nest); 15] = [
        ("terms", |n| inside(&format!("let a = p{};", " + g".repeat(n)))),
        ("products", |n| inside(&format!("let a = p{};", " * g".repeat(n)))),
        ("conditions", |n| inside(&format!("let b = p.x > 0.0; let a = b{};", " && b".repeat(n)))),
        ("brackets", |n| inside(&format!("let a = {}p{};", "(".repeat(n), ")".repeat(n)))),
        ("brackets with terms", |n| inside(&format!("let a = {}p{};", "(g + ".repeat(n), ")".repeat(n)))),
        ("calls", |n| inside(&format!("let a = {}p{};", "abs(".repeat(n), ")".repeat(n)))),
        ("signs", |n| inside(&format!("let a = {}p;", "- ".repeat(n)))),
        ("members", |n| inside(&format!("let a = p{};", ".xyzw".repeat(n)))),
        ("indices in a row", |n| inside(&format!("var a: array<i32, 2>; let b = a{};", "[0]".repeat(n)))),
        ("indices", |n| {
            inside(&format!("var a: array<i32, 2>; let b = {}0{};", "a[".repeat(n), "]".repeat(n)))
        }),
        ("blocks", |n| inside(&format!("{}{}", "{".repeat(n), "}".repeat(n)))),
        ("ifs", |n| inside(&format!("{}{}", "if p.x > 0.0 {".repeat(n), "}".repeat(n)))),
        ("else ifs", |n| inside(&format!("if p.x > 0.0 {{ }} {}", "else if p.x > 1.0 { }".repeat(n)))),
        ("types", |n| inside(&format!("let a = {}f32{};", "vec2<".repeat(n), ">".repeat(n)))),
        ("comments", |n| inside(&format!("{}{}", "/*".repeat(n), "*/".repeat(n)))),
    ];
    for (name, nest) in nests {
        for n in [28, 60, 65, 200, 1000, 4000] {
            // A main thread on Windows has 1 MiB.
            let got = on_a_stack(1 << 20, move || said(&nest(n)));
            let deep =
                got.as_ref().is_some_and(|(_, _, reason)| reason.starts_with("nested deeper than 64: "));
            let long = got.as_ref().is_some_and(|(_, _, reason)| reason.starts_with("the text has "));
            // What nests in brackets can be said in other words by the parser below the bound.
            let fits = n < 64 && !deep;
            assert!(fits || deep || long || name == "comments", "{name}, {n}: {got:?}");
            // What is no rule anyway, and what counts twice.
            let none = ["types", "indices in a row"].contains(&name);
            let twice = ["blocks", "ifs", "else ifs", "brackets with terms"].contains(&name);
            if !none && n <= if twice { 28 } else { 60 } {
                assert_eq!(got, None, "{name}, {n}");
            }
        }
    }
    let chain = |n: usize| {
        let functions = (0..n).map(|i| format!("fn link{i}(x: f32) -> f32 {{ return link{}(x); }}\n", i + 1));
        inside("let a = link0(1.0);")
            + &functions.collect::<String>()
            + &format!("fn link{n}(x: f32) -> f32 {{ return x; }}")
    };
    assert_eq!(on_a_stack(1 << 20, move || said(&chain(250))), None);
}
