//! Objectives in WGSL that a workgroup evaluates.

use gradus::GpuOptions;
use gradus::search::{DE, Objective, RandomSearch, Search, Space};

use crate::common::{gpu, gpus_with};

const SUM: &str = "fn objective(lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < DIMENSIONS; i += LANES) {
        sum += 10.0 + x(i) * x(i) - 10.0 * cos(6.2831853 * x(i));
    }
    return sum;
}";

#[test]
fn the_parts_of_all_lanes_are_added_in_a_tree() {
    for gpu in gpus_with(&GpuOptions::default()) {
        // Members of one row of workgroups; and the parts of a lane as no other order of adding gives them.
        for members in [1, 3, 65] {
            let builder = Search::builder(Space::cube(2, 1.0, 2.0), RandomSearch::default());
            let mut search = builder.members(members).budget(members as u64).build(&gpu).unwrap();
            let text = "fn objective(lane: u32) -> f32 { return x(lane) * (0.3 + f32(lane)); }";
            let found = search.minimize(&mut Objective::wgsl_by_workgroup(text)).unwrap();
            let mut parts: Vec<f32> =
                (0..64_u8).map(|lane| found.x[usize::from(lane).min(1)] * (0.3 + f32::from(lane))).collect();
            while parts.len() > 1 {
                let half = parts.len() / 2;
                parts = (0..half).map(|lane| parts[lane] + parts[lane + half]).collect();
            }
            assert_eq!(found.fun, parts[0]);
        }
    }
}

#[test]
fn a_sum_by_lanes_is_that_in_f64_and_finds_the_same_bits_again() {
    let gpus = gpus_with(&GpuOptions::default());
    // Fewer dimensions than lanes, as many, and more.
    for dimensions in [1, 5, 64, 130] {
        let run = |gpu: &gradus::Gpu| {
            let space = Space::cube(dimensions, -5.12, 5.12);
            let mut search = Search::builder(space, DE::default()).budget(900).seed(3).build(gpu).unwrap();
            search.minimize(&mut Objective::wgsl_by_workgroup(SUM)).unwrap()
        };
        let all: Vec<_> = gpus.iter().chain(gpus.first()).map(run).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{dimensions}");
        for found in all {
            let term = |x: &f32| {
                let x = f64::from(*x);
                10.0 + x * x - 10.0 * (std::f64::consts::TAU * x).cos()
            };
            let want: f64 = found.x.iter().map(term).sum();
            let gap = (f64::from(found.fun) - want).abs();
            assert!(gap <= 1e-4 * want.max(1.0), "{dimensions}: {} {want}", found.fun);
        }
    }
}

#[test]
fn samples_and_what_is_not_a_number_are_as_with_one_lane() {
    let Some(gpu) = gpu() else { return };
    let found = |text: &str, samples| {
        let builder = Search::builder(Space::cube(1, 0.0, 1.0), RandomSearch::default()).members(256);
        let mut search = builder.samples(samples).budget(256 * u64::from(samples)).build(&gpu).unwrap();
        search.minimize(&mut Objective::wgsl_by_workgroup(text))
    };
    // One lane in two has none where the member is in the lower half.
    let half = "fn objective(lane: u32) -> f32 {
        return select(x(0u), sqrt(x(0u) - 0.5), lane % 2u == 1u);
    }";
    let kept = found(half, 1).unwrap();
    assert!(kept.nan > 64 && kept.nan < 192 && kept.x[0] >= 0.5, "{kept:?}");
    let noisy = "fn objective(lane: u32) -> f32 { return select(0.0, noise(7u), lane == 9u); }";
    let (one, many) = (found(noisy, 1).unwrap().fun, found(noisy, 64).unwrap().fun);
    assert!((-4.5..-2.0).contains(&one) && (-4.5..-2.0).contains(&(8.0 * many)), "{one} {many}");
    // Each lane has a number of its own.
    let many = "fn objective(lane: u32) -> f32 { return noise(lane); }";
    assert!(found(many, 1).unwrap().fun < -10.0);
}

#[test]
fn what_is_no_objective_for_a_workgroup_is_refused_with_its_place() {
    let Some(gpu) = gpu() else { return };
    let may = "this loop may never end: expected `for (var i = 0; i < 8; i++)`, with numbers or constants that are numbers as \
               bounds";
    let signature = "`objective` has another signature, expected `fn objective(lane: u32) -> f32`";
    let rows = [
        ("fn objective() -> f32 { return x(0u); }", format!("objective, line 1, column 1: {signature}")),
        ("fn objective(lane: i32) -> f32 { return x(0u); }", format!("objective, line 1, column 1: {signature}")),
        ("fn objective(i: u32) -> f32 { return x(i); }", format!("objective, line 1, column 1: {signature}")),
        (
            "fn objective(lane: u32) -> f32 {\n    var s = 0.0;\n    for (var i = 0u; i < lane; i++) { s += x(i); }\n    return s;\n}",
            format!("objective, line 3, column 5: {may}"),
        ),
        // An argument may be any number, also in a function that is called with another.
        (
            "fn objective(lane: u32) -> f32 {\n    var s = 0.0;\n    for (var i = lane; i > 0u; i--) { s += 1.0; }\n    return s;\n}",
            format!("objective, line 3, column 5: {may}"),
        ),
        (
            "fn objective(lane: u32) -> f32 {\n    var s = 0.0;\n    for (var i = lane; i < 4000000000u; i += 3999999999u) { s += 1.0; }\n    return s;\n}",
            format!("objective, line 3, column 5: {}", may.replace(": expected", ", because `i` begins anew at the other end: expected")),
        ),
        // A name that is another's as well may be anything.
        (
            "fn f(lane: i32) -> f32 {\n    var s = 0.0;\n    for (var i = lane; i < 8; i++) { s += 1.0; }\n    return s;\n}\n\
             fn objective(lane: u32) -> f32 { return f(-2000000000); }",
            format!("objective, line 3, column 5: {may}"),
        ),
        (
            "fn objective(lane: u32) -> f32 {\n    return parts[lane];\n}",
            "objective, line 2, column 12: `parts` cannot be used, because an objective is a function of its member: of the \
             surrounding kernel, only `x`, `noise`, `DIMENSIONS` and `LANES`"
                .into(),
        ),
        (
            "fn objective(lane: u32) -> f32 {\n    workgroupBarrier();\n    return 1.0;\n}",
            "objective, line 2, column 5: `workgroupBarrier` cannot be used: an objective is a pure function of its member"
                .into(),
        ),
        (
            "fn objective(lane: u32) -> f32 {\n    var s = 0.0;\n    for (var i = lane; i < 2000000u; i += LANES) { s += 1.0; }\n    \
             return s;\n}",
            "objective, line 3, column 5: this loop runs 31250 rounds, expected at most 16384".into(),
        ),
    ];
    let builder = Search::builder(Space::cube(2, -1.0, 1.0), DE::default());
    let mut search = builder.members(30).budget(60).build(&gpu).unwrap();
    let before = gpu.counters();
    for (text, message) in rows {
        let error = search.minimize(&mut Objective::wgsl_by_workgroup(text)).unwrap_err().to_string();
        assert_eq!(error, message);
    }
    // A lane of its own has no number.
    let text = "fn objective(lane: u32) -> f32 { return x(lane); }";
    let error = search.minimize(&mut Objective::wgsl(text)).unwrap_err().to_string();
    assert!(error.contains("expected `fn objective() -> f32`"), "{error}");
    assert_eq!(gpu.counters().submits, before.submits, "nothing ran");
    search.minimize(&mut Objective::wgsl_by_workgroup(SUM)).unwrap();
}
