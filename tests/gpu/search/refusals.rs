//! What is refused, in which words.

use gradus::search::{
    DE, Dimension, GA, Method, Objective, OnePlusOne, RandomSearch, SNES, Search, SearchBuilder, SobolSearch,
    Space,
};

use crate::common::gpu;

fn de(space: Space) -> SearchBuilder {
    Search::builder(space, DE::default())
}

#[test]
fn options_and_spaces_outside_their_ranges_are_refused() {
    let Some(gpu) = gpu() else { return };
    let cube = || Space::cube(2, -1.0, 1.0);
    let infinite = f64::INFINITY;
    let open = Dimension { lower: 0.0, upper: infinite, integer: false, log: false };
    let half = Dimension { lower: 0.5, upper: 2.0, integer: true, log: false };
    let rows: Vec<(SearchBuilder, &str)> = vec![
        (de(Space::new()), "dimensions must be 1 to 1048576, got 0"),
        (de(Space::cube(2, 1.0, -1.0)), "upper[0] must be above lower[0], which is 1, got -1"),
        (
            de(Space::new().real(0.0, 1.0).real(3.0, 3.0)),
            "upper[1] must be above lower[1], which is 3, got 3",
        ),
        (de(Space::cube(1, f64::NAN, 1.0)), "upper[0] must be above lower[0], which is NaN, got 1"),
        (
            de(Space::new().with(open)),
            "upper[0] must be finite: only a real dimension may have infinite bounds, and then both, got inf",
        ),
        (
            de(Space::new().with(half)),
            "lower[0] must be a whole number between -16777216 and 16777216, got 0.5",
        ),
        (
            de(Space::new().log(0.0, 1.0)),
            "lower[0] must be above 0, because the dimension is logarithmic, got 0",
        ),
        (
            de(Space::cube(1, 1.0, 1.0 + 1e-12)),
            "upper[0] must be so far above lower[0] that f32 tells them apart, got 1.000000000001",
        ),
        (de(Space::new().category(0)), "upper[0] must be above lower[0], which is 0, got -1"),
        (
            Search::builder(Space::unbounded(3), RandomSearch::default()),
            "search method RandomSearch: it needs finite bounds in every dimension, and dimension 0 has none",
        ),
        (de(cube()).members(3), "members must be in 4 to 262144 for DE, got 3"),
        (de(cube()).members(1 << 20), "members must be in 4 to 262144 for DE, got 1048576"),
        (
            Search::builder(Space::cube(1025, 0.0, 1.0), SobolSearch::default()),
            "dimensions must be at most 1024 for SobolSearch, got 1025",
        ),
        (
            de(cube()).members(30).budget(29),
            "budget must be at least a generation, which is 30 members of 1 samples: 30 evaluations, got 29",
        ),
        (
            de(cube()).members(10).samples(4).budget(39),
            "budget must be at least a generation, which is 10 members of 4 samples: 40 evaluations, got 39",
        ),
        (de(cube()).samples(0), "samples must be in 1 to 1024, got 0"),
        (de(cube()).target(f64::NAN), "target must be finite, got NaN"),
        (de(cube()).start(&[0.0]), "start of a search: expected 2 elements, got 1"),
        (de(cube()).start(&[0.0, 2.0]), "start[1] must be finite and in [-1, 1], got 2"),
        (Search::builder(cube(), DE { f1: 3.0, ..Default::default() }), "f1 must be in [0, 2], got 3"),
        (
            Search::builder(cube(), GA { elites: 30, ..Default::default() }).members(30),
            "members must be in 31 to 262144 for GA, got 30",
        ),
        (
            Search::builder(cube(), OnePlusOne { sigma: 0.0, ..Default::default() }),
            "sigma must be in [1e-9, 1000000000], got 0",
        ),
        (
            Search::builder(Space::unbounded(2), SNES { sigma: 1e300, ..Default::default() }),
            "sigma must be in [1e-9, 1000000000], got 1e300",
        ),
        (
            Search::builder(cube(), SNES { width_rate: Some(-1.0), ..Default::default() }),
            "width_rate must be in [0, 1000000000], got -1",
        ),
    ];
    let before = gpu.counters();
    for (builder, message) in rows {
        assert_eq!(builder.build(&gpu).unwrap_err().to_string(), message);
    }
    assert_eq!(gpu.counters().allocations, before.allocations, "nothing was made for what is refused");
}

#[test]
fn an_objective_that_is_none_is_refused_with_its_place() {
    let Some(gpu) = gpu() else { return };
    let rows = [
        (
            "fn f() -> f32 { return 1.0; }",
            "objective: there is no function `objective`, expected `fn objective() -> f32`",
        ),
        (
            "fn objective(i: u32) -> f32 { return x(i); }",
            "objective, line 1, column 1: `objective` has another signature, expected `fn objective() -> f32`",
        ),
        ("fn objective() -> f32 {\n    return y(0);\n}", "objective, line 2, column 12: unknown name `y`"),
        (
            "fn objective() -> f32 {\n    return points[0];\n}",
            "objective, line 2, column 12: `points` cannot be used, because an objective is a function of its member: of \
             the surrounding kernel, only `x`, `noise` and `DIMENSIONS`",
        ),
        (
            "var<private> count: u32;\nfn objective() -> f32 { return 1.0; }",
            "objective, line 1, column 1: no variable may stand outside functions: declare a variable inside one instead",
        ),
        (
            "fn objective() -> f32 {\n    while true { }\n    return 1.0;\n}",
            "objective, line 2, column 5: `while` may never end: expected `for (var i = 0; i < 8; i++)`, with numbers or \
             constants that are numbers as bounds",
        ),
        (
            "fn objective() -> f32 {\n    workgroupBarrier();\n    return 1.0;\n}",
            "objective, line 2, column 5: `workgroupBarrier` cannot be used: an objective is a pure function of its member",
        ),
        (
            "fn objective() -> f32 {\n    var s = 0.0;\n    for (var i = 0u; i < 20000u; i++) { s += 1.0; }\n    return s;\n}",
            "objective, line 3, column 5: this loop runs 20000 rounds, expected at most 16384",
        ),
        (
            "fn f() -> f32 {\n    var s = 0.0;\n    for (var i = 0u; i < 10000u; i++) { s += 1.0; }\n    return s;\n}\n\
             fn objective() -> f32 {\n    return f() + f();\n}",
            "objective, line 6, column 4: the loops of `objective` make 20000 rounds, expected at most 16384",
        ),
        (
            "fn points() -> f32 { return 1.0; }\nfn objective() -> f32 { return points(); }",
            "objective, line 1, column 4: `points` is reserved: the surrounding kernel uses it, choose another name",
        ),
    ];
    let mut search = de(Space::cube(2, -1.0, 1.0)).members(30).budget(60).build(&gpu).unwrap();
    let before = gpu.counters();
    for (text, message) in rows {
        let error = search.minimize(&mut Objective::wgsl(text)).unwrap_err().to_string();
        assert_eq!(error, message);
    }
    assert_eq!(gpu.counters().submits, before.submits, "nothing ran");
    let mut sampled = de(Space::cube(2, -1.0, 1.0)).members(30).samples(5).budget(300).build(&gpu).unwrap();
    let text = "fn objective() -> f32 {\n    var s = 0.0;\n    for (var i = 0u; i < 4000u; i++) { s += noise(i); }\n    return s;\n}";
    let error = sampled.minimize(&mut Objective::wgsl(text)).unwrap_err().to_string();
    assert_eq!(error, "objective, line 3, column 5: this loop runs 4000 rounds, expected at most 3276");
    // With bounds made of the number of dimensions it goes on.
    let text = "const WIDTH = 2.0;\nfn objective() -> f32 {\n    var sum = 0.0;\n    for (var i = 0u; i < DIMENSIONS - 1u; i++) { \
                sum += WIDTH * abs(x(i + 1u) - x(i)); }\n    return sum;\n}";
    assert_eq!(search.minimize(&mut Objective::wgsl(text)).unwrap().nit, 2);
}

#[test]
fn telling_what_was_not_asked_is_refused() {
    let Some(gpu) = gpu() else { return };
    let mut search = de(Space::cube(2, -1.0, 1.0)).build(&gpu).unwrap();
    assert_eq!(
        search.tell(&[0.0; 30]).unwrap_err().to_string(),
        "search: there are no members to tell of: ask first"
    );
    search.ask().unwrap();
    assert_eq!(
        search.tell(&[0.0; 29]).unwrap_err().to_string(),
        "losses of a generation: expected 30 elements, got 29"
    );
    search.tell(&[0.0; 30]).unwrap();
    assert!(search.tell(&[0.0; 30]).is_err());
    assert_eq!(
        search.minimize(&mut Objective::each(|x| x[0])).unwrap_err().to_string(),
        "search: minimize needs a budget or a target to know when to stop"
    );
    let error = Method::named("TwoPointDE").unwrap_err().to_string();
    assert!(
        error.starts_with("unknown search method \"TwoPointDE\", did you mean \"TwoPointsDE\"?"),
        "{error}"
    );
}

#[test]
fn a_saved_search_that_contradicts_itself_is_refused() {
    let Some(gpu) = gpu() else { return };
    let mut search = de(Space::cube(2, -1.0, 1.0)).members(30).budget(300).build(&gpu).unwrap();
    search.minimize_with(&mut Objective::each(|x| x[0]), |found| found.nit < 3).unwrap();
    let saved = serde_json::to_value(search.save().unwrap()).unwrap();
    let with = |part: &str, value: serde_json::Value| {
        let mut broken = saved.clone();
        broken[part] = value;
        let broken = serde_json::from_value(broken).unwrap();
        Search::resume(&gpu, &broken).unwrap_err().to_string()
    };
    assert_eq!(with("generation", 4.into()), "saved search: its history is not of its generations");
    assert_eq!(with("points", vec![0; 59].into()), "saved search: points: expected 60 elements, got 59");
    assert_eq!(with("ranks", vec![30; 60].into()), "saved search: its ranks are beyond its members");
    assert_eq!(with("state", vec![0; 3].into()), "saved search: state: expected 122 elements, got 3");
}
