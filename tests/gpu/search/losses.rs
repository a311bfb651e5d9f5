//! Losses that are not numbers, that have noise, or that come from a graph; and dimensions of all kinds.

use gradus::graph::Graph;
use gradus::search::{DE, GA, LHSSearch, Method, Objective, RandomSearch, SNES, Search, Space, TestFunction};
use gradus::train::GraphLoss;

use crate::common::{gpu, noises};

#[test]
fn members_without_a_number_are_counted_and_never_chosen() {
    let Some(gpu) = gpu() else { return };
    for method in Method::all() {
        let space = Space::cube(2, -1.0, 1.0);
        let mut search = Search::builder(space, method.clone()).members(20).budget(400).build(&gpu).unwrap();
        let mut nans = 0;
        // The better half is none.
        let mut objective = Objective::each(|x| {
            let loss = if x[0] < 0.0 { f32::NAN } else { x[0] + x[1].abs() };
            nans += u64::from(loss.is_nan());
            loss
        });
        let found = search.minimize(&mut objective).unwrap();
        drop(objective);
        assert_eq!(found.nan, nans, "{}", method.name());
        assert!(nans > 0 && found.x[0] >= 0.0 && found.fun >= 0.0, "{}: {found:?}", method.name());
        let error = Search::builder(Space::cube(2, -1.0, 1.0), method.clone())
            .members(20)
            .budget(40)
            .build(&gpu)
            .unwrap()
            .minimize(&mut Objective::each(|_| f32::NAN))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "search: none of 40 losses is a number: the objective must return one for some members"
        );
    }
}

#[test]
fn infinite_losses_rank_behind_finite_ones_and_before_none() {
    let Some(gpu) = gpu() else { return };
    let mut search = Search::builder(Space::cube(1, 0.0, 1.0), GA { elites: 1, ..Default::default() })
        .members(20)
        .build(&gpu)
        .unwrap();
    search.ask().unwrap();
    let special = [f32::NAN, f32::INFINITY, f32::MAX, 1e-40, 0.0, -0.0, -1e-40, f32::MIN, -f32::NAN, 3.0];
    let losses: Vec<f32> = special.into_iter().chain(special).collect();
    search.tell(&losses).unwrap();
    let saved = serde_json::to_value(search.save().unwrap()).unwrap();
    let ranks: Vec<u64> =
        saved["ranks"].as_array().unwrap().iter().map(|rank| rank.as_u64().unwrap()).collect();
    let order = [7, 17, 6, 16, 4, 5, 14, 15, 3, 13, 9, 19, 2, 12, 1, 11, 0, 8, 10, 18];
    assert_eq!(ranks[20..], order);
    assert_eq!(search.best().unwrap().fun, f32::MIN);
    assert_eq!(search.best().unwrap().nan, 4);
}

#[test]
fn dimensions_of_all_kinds_are_inside_and_cover_their_values() {
    let Some(gpu) = gpu() else { return };
    let space =
        || Space::new().real(-3.0, 5.0).log(1e-6, 1e3).integer(-2, 4).category(3).real(1e6, 1e6 + 1.0);
    let mut search = Search::builder(space(), LHSSearch::default()).members(210).build(&gpu).unwrap();
    let rows = search.ask().unwrap();
    let column = |at: usize| rows.iter().skip(at).step_by(5).copied().collect::<Vec<f32>>();
    assert!(column(0).iter().all(|x| (-3.0..=5.0).contains(x)));
    // Each of nine decades has a ninth of the members, but for those on the border of two.
    for decade in -6..3 {
        let low = 10.0_f32.powi(decade);
        let inside = column(1).iter().filter(|x| (low..10.0 * low).contains(*x)).count();
        assert!(inside.abs_diff(210 / 9) <= 2, "{decade}: {inside}");
    }
    for value in -2..=4 {
        let equal = column(2).iter().filter(|x| **x == value as f32).count();
        assert!(equal.abs_diff(30) <= 1, "{value}: {equal}");
    }
    for choice in 0..3 {
        let equal = column(3).iter().filter(|x| **x == choice as f32).count();
        assert!(equal.abs_diff(70) <= 1, "{choice}: {equal}");
    }
    assert!(column(4).iter().all(|x| (1e6..=1e6 + 1.0).contains(x)));
    // A choice among one, and whole numbers that are one.
    let one = Space::new().category(1).integer(3, 3);
    let mut search = Search::builder(one, RandomSearch::default()).members(8).build(&gpu).unwrap();
    assert_eq!(search.ask().unwrap(), [0.0, 3.0].repeat(8));
    let text = "fn objective() -> f32 {
        return abs(log(x(1)) + 2.0) + abs(x(2) - 3.0) + select(1.0, 0.0, x(3) == 2.0) + abs(x(0) - 1.0);
    }";
    let mut search = Search::builder(space(), DE::default()).budget(6000).build(&gpu).unwrap();
    let found = search.minimize(&mut Objective::wgsl(text)).unwrap();
    assert_eq!((found.x[2], found.x[3]), (3.0, 2.0));
    assert!((found.x[0] - 1.0).abs() < 0.05 && (found.x[1].ln() + 2.0).abs() < 0.05, "{found:?}");
}

#[test]
fn a_start_is_the_first_member_or_the_mean() {
    let Some(gpu) = gpu() else { return };
    for method in Method::all() {
        let space = Space::new().real(-1.0, 3.0).log(0.01, 100.0).integer(0, 9);
        let builder = Search::builder(space, method.clone()).members(400).start(&[2.5, 10.0, 7.0]);
        let mut search = builder.build(&gpu).unwrap();
        let rows = search.ask().unwrap();
        let near = |x: f32, to: f32| (x - to).abs() < 1e-4 * to;
        match method.name() {
            "RandomSearch" | "LHSSearch" | "HaltonSearch" | "SobolSearch" => {}
            "OpenAIES" | "SNES" | "CMA" | "DiagonalCMA" => {}
            name => assert!(
                near(rows[0], 2.5) && near(rows[1], 10.0) && rows[2] == 7.0,
                "{name} {:?}",
                &rows[..3]
            ),
        }
    }
    let space = Space::cube(2, -1.0, 1.0);
    let method = SNES { sigma: 0.01, ..Default::default() };
    let builder = Search::builder(space, method).members(400).start(&[0.5, -0.25]);
    let rows = builder.build(&gpu).unwrap().ask().unwrap();
    let mean = |at: usize| rows.iter().skip(at).step_by(2).sum::<f32>() / 400.0;
    assert!((mean(0) - 0.5).abs() < 2e-3 && (mean(1) + 0.25).abs() < 2e-3);
}

#[test]
fn a_noisy_objective_is_averaged() {
    let Some(gpu) = gpu() else { return };
    // Alone, noise is the whole loss: the mean of 64 has an eighth of its width.
    let spread = |samples: u32| {
        let builder = Search::builder(Space::cube(2, -1.0, 1.0), RandomSearch::default());
        let mut search =
            builder.members(512).samples(samples).budget(512 * u64::from(samples)).build(&gpu).unwrap();
        let found =
            search.minimize(&mut Objective::wgsl("fn objective() -> f32 { return noise(3u); }")).unwrap();
        assert_eq!(found.nfev, 512 * u64::from(samples));
        f64::from(found.fun)
    };
    let (one, many) = (spread(1), spread(64));
    // The least of 512 normal numbers is near -3.
    assert!((-4.5..-2.0).contains(&one), "{one}");
    assert!((-4.5..-2.0).contains(&(8.0 * many)), "{many}");
    let mut calls = 0;
    let mut search = Search::builder(Space::cube(1, 0.0, 1.0), RandomSearch::default())
        .members(4)
        .samples(3)
        .budget(12)
        .build(&gpu)
        .unwrap();
    let mut objective = Objective::host(|_, losses| {
        calls += 1;
        losses.copy_from_slice(&[4.0, 3.0, calls as f32, 5.0]);
    });
    assert_eq!(search.minimize(&mut objective).unwrap().fun, 2.0);
}

#[test]
fn the_loss_of_a_graph_is_an_objective() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let (input, target) = (graph.input("x", [16, 3]), graph.input("y", [16, 1]));
    let loss = input.linear(1).mse_loss(&target);
    let mut params = graph.store(&gpu, 1).unwrap();
    let x = noises(1, 48);
    let y: Vec<f32> = x.chunks(3).map(|x| 0.5 * x[0] - x[1] + 0.25 * x[2] + 0.125).collect();
    let mut own = GraphLoss::new(&graph, &loss, &mut params, &[("x", &x), ("y", &y)]).unwrap();
    assert_eq!(own.dimensions(), 4);
    let start = own.get().unwrap();
    let method = SNES { sigma: 0.3, ..Default::default() };
    let mut search =
        Search::builder(own.space(), method).members(16).budget(16 * 120).start(&start).build(&gpu).unwrap();
    let found = search.minimize(&mut Objective::device(&mut own)).unwrap();
    assert!(found.fun < 1e-4, "{found:?}");
    own.set(&found.x).unwrap();
    assert_eq!(own.get().unwrap(), found.x);
    // The same loss by hand, at the same point.
    let names: Vec<String> = params.layout().spans().iter().map(|span| span.name.clone()).collect();
    let read = |end: &str| params.read(names.iter().find(|name| name.ends_with(end)).unwrap()).unwrap();
    let (weight, bias) = (read("weight"), read("bias")[0]);
    let each = x.chunks(3).zip(&y).map(|(x, y)| {
        let out: f32 = x.iter().zip(&weight).map(|(x, w)| x * w).sum();
        f64::from(out + bias - y).powi(2)
    });
    let by_hand = each.sum::<f64>() / 16.0;
    assert!((by_hand - f64::from(found.fun)).abs() < 1e-6, "{by_hand} {}", found.fun);
}

#[test]
fn test_functions_are_the_same_on_the_device() {
    let Some(gpu) = gpu() else { return };
    for function in TestFunction::ALL {
        let problem = function.in_dimensions(2).unwrap().shifted(&[0.25, -0.5]).unwrap();
        let bounds = problem.bounds();
        let space = bounds.iter().fold(Space::new(), |space, (lower, upper)| space.real(*lower, *upper));
        let mut search = Search::builder(space, DE::default()).budget(600).build(&gpu).unwrap();
        let found = search.minimize(&mut Objective::wgsl(problem.wgsl())).unwrap();
        let x: Vec<f64> = found.x.iter().copied().map(f64::from).collect();
        let want = problem.value(&x);
        let gap = (f64::from(found.fun) - want).abs();
        assert!(gap <= 1e-4 * want.abs().max(1.0), "{function:?} at {x:?}: {} and {want}", found.fun);
    }
}
