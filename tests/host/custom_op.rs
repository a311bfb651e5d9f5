//! What an op of one's own refuses, and in which words.

use gradus::Error;
use gradus::graph::{CustomOp, CustomOpBuilder, Graph};

const GOOD: &str = "fn gate(v: f32) -> f32 { return 1.0 / (1.0 + exp(-scalars.beta * v)); }
fn forward_kept(i: u32) -> f32 { return gate(x(i)); }
fn forward_y(i: u32) -> f32 {
    return x(i) * kept(i);
}
fn backward_both(i: u32) -> f32 { return grad_y(i) * kept(i); }
fn backward_x(i: u32) -> f32 { return both(i) * (1.0 + scalars.beta * x(i) * (1.0 - kept(i))); }
";

fn builder(wgsl: &str) -> CustomOpBuilder {
    let same = |shapes: &[&[usize]]| Ok(shapes[0].to_vec());
    let builder = CustomOp::builder("swish", wgsl).input("x").scalar("beta", 1.0);
    builder.forward("kept", same).output("y", same).backward("both", same)
}

fn swapped(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// In `forward_y`, on line 4 from column 5.
fn inside(text: &str) -> String {
    swapped("    return x(i) * kept", &format!("    {text}\n    return x(i) * kept"))
}

/// Behind all, on line 8.
fn added(text: &str) -> String {
    format!("{GOOD}{text}\n")
}

#[test]
fn mistakes_in_wgsl_are_named_with_their_place() {
    builder(GOOD).build().unwrap();
    let shape = |name: &str| format!("`{name}` has another signature, expected `fn {name}(i: u32) -> f32`");
    let pure = "functions of an op compute of their index and of what they read, and nothing else";
    let rows: &[(String, usize, usize, String)] = &[
        (swapped("x(i) * kept(i);\n}", "x(i) * kept(i)\n}"), 5, 1, "expected `;`, found \"}\"".into()),
        (swapped("fn forward_y(i: u32)", "fn forward_y(i: i32)"), 3, 1, shape("forward_y")),
        (swapped("fn forward_y(i: u32)", "fn forward_y()"), 4, 14, "unknown name `i`".into()),
        (
            swapped("fn backward_x(i: u32) -> f32 {", "fn backward_x(i: u32) -> vec4f { let a = vec4f(); return a;"),
            7,
            1,
            shape("backward_x"),
        ),
        (inside("let a: f32 = i;"), 4, 9, "the type of `a` is expected to be `f32`, but got `u32`".into()),
        (inside("let a = beta;"), 4, 13, "unknown name `beta`, did you mean `scalars.beta`?".into()),
        (inside("let a = scalars.bet;"), 4, 21, "unknown scalar `bet`, did you mean `beta`?; declared: beta".into()),
        (inside("let a = kepd(i);"), 4, 13, "unknown name `kepd`, did you mean `kept`?".into()),
        (inside("let a = rsqrt(1.0);"), 4, 13, "unknown name `rsqrt`, did you mean `inverseSqrt`?".into()),
        (inside("let a = x(1.5);"), 4, 15, "automatic conversion".into()),
        (inside("let a = x(i, i);"), 4, 13, "".into()),
        (inside("let a = gradus_x[i];"), 4, 13, "unknown name `gradus_x`".into()),
        (inside("let a = grad_y(i);"), 3, 1, "`forward_y` reads `grad_y`, which only the backward pass has".into()),
        (
            inside("let a = both(i);"),
            3,
            1,
            "`forward_y` reads `both`, which is not computed before: declare it first".into(),
        ),
        (
            swapped("return gate(x(i))", "return y(i)"),
            2,
            1,
            "`forward_kept` reads `y`, which is not computed before: declare it first".into(),
        ),
        (
            added("fn backward_kept(i: u32) -> f32 { return 0.0; }"),
            8,
            1,
            "`backward_kept` is of no value, did you mean `backward_x` or `backward_both`?; declared: backward_x, \
             forward_kept, forward_y, backward_both"
                .into(),
        ),
        (added("fn main() {}"), 8, 4, "`main` is reserved: the surrounding kernel uses it, choose another name".into()),
        (added("const x_len = 3u;"), 8, 7, "`x_len` is reserved: the surrounding kernel uses it, choose another name".into()),
        (added("fn x(i: u32) -> f32 { return 0.0; }"), 8, 4, "`x` is reserved".into()),
        (added("fn gradus_element(i: u32) -> f32 { return 0.0; }"), 8, 4, "is reserved".into()),
        (
            added("var<private> a: f32;"),
            8,
            1,
            "no variable may stand outside functions: declare a value of the forward or the backward pass instead".into(),
        ),
        (added("@group(0) @binding(3) var<storage> b: array<f32>;"), 8, 1, "attributes are not allowed: an op".into()),
        (added("override n: u32;"), 8, 1, "expected `const` or a scalar instead of `override`".into()),
        (added("enable f16;"), 8, 1, "`enable` is not allowed: an op is plain WGSL".into()),
        (inside("workgroupBarrier();"), 4, 5, format!("`workgroupBarrier` cannot be used: {pure}")),
        (inside("var a: array<f32, 300>;"), 4, 12, "an array may have at most 256 elements, got 300".into()),
        (inside("var a: array<mat4x4f, 20>;"), 4, 5, "values of `a` take 1280 bytes, expected at most 1024".into()),
        (inside("let a = (x(i);"), 4, 13, "`(` is not closed before `}`".into()),
        (inside("if x(i) { }"), 4, 8, "The `if` condition is not a boolean scalar".into()),
        (inside("let größe = x(i);"), 4, 11, "unexpected 'ö' (U+00F6)".into()),
        (inside("let a = 1.0 / 0.0;"), 4, 13, "Divide operation overflowed".into()),
        (added("fn f(i: u32) -> f32 { return f(i); }"), 8, 4, "declaration of `f` is recursive".into()),
        ("(".repeat(200_000), 1, 65537, "the text has 200000 bytes, expected at most 65536".into()),
        (added(&format!("const a = {}1{};", "(".repeat(99), ")".repeat(99))), 8, 74, "nested deeper than 64".into()),
    ];
    let mut wrong = Vec::new();
    for (wgsl, line, column, reason) in rows {
        match builder(wgsl).build() {
            Err(Error::Wgsl { of, line: l, column: c, reason: r })
                if of == "op swish" && (l, c) == (*line, *column) && r.contains(reason) => {}
            other => {
                let text: String = wgsl.chars().take(300).collect();
                wrong.push(format!(
                    "{text}\nexpected {line}:{column} {reason}\n     got {:?}",
                    other.map(drop)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Whatever is cut off or left out, there is an op or a typed refusal.
#[test]
fn no_part_of_a_text_panics() {
    for cut in 0..=GOOD.len() {
        let _ = builder(&GOOD[..cut]).build();
        let _ = builder(&GOOD[cut..]).build();
    }
    let words: Vec<&str> = GOOD.split_inclusive([' ', '(', ')', ';']).collect();
    for out in 0..words.len() {
        let rest: String = (0..words.len()).filter(|at| *at != out).map(|at| words[at]).collect();
        let twice: String =
            (0..words.len()).flat_map(|at| vec![words[at]; 1 + usize::from(at == out)]).collect();
        let _ = (builder(&rest).build(), builder(&twice).build());
    }
}

#[test]
fn declarations_that_cannot_be_are_refused() {
    let same = |shapes: &[&[usize]]| Ok(shapes[0].to_vec());
    let y = "fn forward_y(i: u32) -> f32 { return x(i); }";
    let op = |name: &str| CustomOp::builder(name, y);
    let many = (0..8).fold(CustomOp::builder("sum", ""), |op, n| op.input(format!("a{n}")));
    let sum = format!(
        "fn forward_y(i: u32) -> f32 {{ return {}; }}",
        (0..8).map(|n| format!("a{n}(i)")).collect::<Vec<_>>().join(" + ")
    );
    let seven =
        (0..7).fold(CustomOp::builder("sum", sum.replace(" + a7(i)", "")), |op, n| op.input(format!("a{n}")));
    seven.build().unwrap();
    let eight = (0..8).fold(CustomOp::builder("sum", sum), |op, n| op.input(format!("a{n}")));
    let scalars = |count: usize| (0..count).fold(op("a").input("x"), |op, n| op.scalar(format!("s{n}"), 0.5));
    scalars(62).build().unwrap();
    let rows: Vec<(CustomOpBuilder, &str)> = vec![
        (op(""), "op : the name is empty"),
        (op("a"), "op a: it has no input: declare one with `input` or `labels`"),
        (op("a").input("x").input("x"), "duplicate name in an op \"x_len\""),
        (op("a").input("x").input("x_len"), "duplicate name in an op \"x_len\""),
        (op("a").input("y"), "duplicate name in an op \"y_len\""),
        (op("a").input("for"), "op a: value \"for\": expected a name of WGSL"),
        (op("a").input("größe"), "op a: value \"größe\": expected a name of WGSL"),
        (
            op("a").input("grad_x"),
            "op a: value \"grad_x\": names that begin with grad_ are reserved, choose another name",
        ),
        (op("a").input("main"), "op a: value \"main\": the surrounding kernel uses it, choose another name"),
        (op("a").input("exp"), "op a: value \"exp\": it is a built-in of WGSL, choose another name"),
        (op("a").input("x").scalar("s", 1.0).scalar("s", 1.0), "duplicate scalar \"s\""),
        (op("a").input("x").scalar("s", f64::NAN), "s must be finite, got NaN"),
        (op("a").input("x").scalar("s", 1e39), "s must be finite in 32 bits, got 1e39"),
        (scalars(63), "scalars must be at most 62, got 63"),
        (op("a").input("x").forward("v", same), "op a: there is no `fn forward_v(i: u32) -> f32`"),
        (op("a").input("x").backward("v", same), "op a: there is no `fn backward_v(i: u32) -> f32`"),
        (many, "op sum: there is no `fn forward_y(i: u32) -> f32`"),
        (eight, "op sum, line 1, column 1: `forward_y` reads 8 values, expected at most 7"),
    ];
    for (builder, message) in rows {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}, not {message}");
    }
    let mut swish = builder(GOOD).build().unwrap();
    assert_eq!(swish.set("beta", f64::INFINITY).unwrap_err().to_string(), "beta must be finite, got inf");
    let unknown = swish.set("bet", 1.0).unwrap_err().to_string();
    assert_eq!(unknown, "unknown scalar of op swish \"bet\", did you mean \"beta\"?; known: beta");
}

#[test]
fn uses_that_do_not_fit_are_refused_by_the_graph() {
    let halves =
        CustomOp::builder("halves", "fn forward_y(i: u32) -> f32 { return x(i * 2u) + f32(x_dim1); }")
            .input("x")
            .output("y", |shapes| match shapes[0] {
                [rows, columns] if columns % 2 == 0 => Ok(vec![*rows, columns / 2]),
                [rows] => Ok(vec![rows / 2]),
                other => Err(format!("expected rows of an even length, got {other:?}")),
            })
            .build()
            .unwrap();
    let labelled = CustomOp::builder("labelled", "fn forward_y(i: u32) -> f32 { return f32(x(i)); }");
    let labelled = labelled.labels("x").build().unwrap();
    type Use<'a> = &'a dyn Fn(&Graph);
    let rows: [(Use<'_>, &str); 8] = [
        (
            &|g| drop(g.custom(&halves, &[&g.input("x", [2, 5])])),
            "custom1: y of op halves: expected rows of an even length, got [2, 5]",
        ),
        (
            &|g| drop(g.custom(&halves, &[&g.input("x", [8])])),
            "op halves in custom1, line 1, column 54: unknown name `x_dim1`: x has 1 dimensions",
        ),
        (
            &|g| drop(g.custom(&halves, &[&g.input("x", [1])])),
            "custom1: y of op halves: expected at least one dimension, none of them 0, got [0]",
        ),
        (&|g| drop(g.custom(&halves, &[])), "inputs of op halves: expected 1 elements, got 0"),
        (
            &|g| {
                let x = g.input("x", [2, 4]);
                drop(g.custom_all(&halves, &[&x, &x]));
            },
            "inputs of op halves: expected 1 elements, got 2",
        ),
        (&|g| drop(g.custom(&halves, &[&g.labels("x", 4)])), "custom1: expected numbers, x are labels"),
        (&|g| drop(g.custom(&labelled, &[&g.input("x", [4])])), "custom1: expected labels, x are numbers"),
        (
            &|g| drop(g.custom(&halves, &[&Graph::new().input("x", [2, 4])])),
            "custom1: its inputs belong to different graphs",
        ),
    ];
    for (make, message) in rows {
        let graph = Graph::new();
        make(&graph);
        assert_eq!(graph.check().unwrap_err().to_string(), message);
    }
}
