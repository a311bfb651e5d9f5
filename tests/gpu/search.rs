//! Searches without gradients: the same bits wherever they run, and what is refused.

mod losses;
mod refusals;
mod updates;
mod workgroups;

use gradus::search::{Method, Objective, PSO, SNES, SavedSearch, Search, Space};
use gradus::{Gpu, GpuOptions};

use crate::common::{bits, gpu, gpus_with};

pub(crate) const RASTRIGIN: &str = "fn objective() -> f32 {
    var sum = 10.0 * f32(DIMENSIONS);
    for (var i = 0u; i < DIMENSIONS; i++) {
        sum += x(i) * x(i) - 10.0 * cos(6.2831853 * x(i));
    }
    return sum;
}";

/// A search of 24 members, or as many as the method needs, for a few generations.
fn small(gpu: &Gpu, method: &Method) -> Search {
    let space = Space::cube(5, -5.12, 5.12);
    Search::builder(space, method.clone()).members(24).budget(24 * 12).seed(7).build(gpu).unwrap()
}

fn run(gpu: &Gpu, method: &Method) -> SavedSearch {
    let mut search = small(gpu, method);
    search.minimize(&mut Objective::wgsl(RASTRIGIN)).unwrap();
    search.save().unwrap()
}

#[test]
fn every_method_finds_the_same_bits_again_and_under_each_kind_of_kernels() {
    let gpus = gpus_with(&GpuOptions::default());
    for method in Method::all() {
        let all: Vec<SavedSearch> = gpus.iter().chain(gpus.first()).map(|gpu| run(gpu, &method)).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{}", method.name());
    }
}

#[test]
fn another_seed_is_another_search() {
    let Some(gpu) = gpu() else { return };
    for method in Method::all() {
        let found = |seed| {
            let builder = Search::builder(Space::cube(5, -5.12, 5.12), method.clone());
            let mut search = builder.members(24).budget(24 * 4).seed(seed).build(&gpu).unwrap();
            // Of a minimum that is not the middle, where some begin.
            let moved = RASTRIGIN.replace("x(i)", "(x(i) - 0.7)");
            search.minimize(&mut Objective::wgsl(moved)).unwrap().x
        };
        assert_ne!(found(1), found(2), "{}", method.name());
        // The high word of a seed counts as well.
        assert_ne!(found(1), found(1 | 1 << 32), "{}", method.name());
    }
}

/// Sum of squares around a point, with terms that do not hide each other.
fn host(x: &[f32]) -> f32 {
    x.iter().enumerate().map(|(i, x)| (x - 0.25 * i as f32).powi(2)).sum()
}

fn tell(search: &mut Search, rows: &[f32]) {
    let losses: Vec<f32> = rows.chunks(search.dimensions()).map(host).collect();
    search.tell(&losses).unwrap();
}

#[test]
fn asking_and_telling_is_what_minimize_does() {
    let Some(gpu) = gpu() else { return };
    for method in Method::all() {
        let mut driven = small(&gpu, &method);
        let found = driven.minimize(&mut Objective::each(host)).unwrap();
        let mut told = small(&gpu, &method);
        for _ in 0..12 {
            let rows = told.ask().unwrap();
            assert_eq!(bits(&rows), bits(&told.ask().unwrap()), "{}: asked again", method.name());
            tell(&mut told, &rows);
        }
        assert!(driven.save().unwrap() == told.save().unwrap(), "{}", method.name());
        assert_eq!((found.nfev, found.nit, found.history.len()), (24 * 12, 12, 12), "{}", method.name());
        assert!(found.history.windows(2).all(|pair| pair[1] <= pair[0]), "{:?}", found.history);
        assert_eq!(found.fun, *found.history.last().unwrap());
        // The best is one of the members, as they were given out.
        assert_eq!(host(&found.x).to_bits(), found.fun.to_bits(), "{}", method.name());
    }
}

#[test]
fn a_saved_search_goes_on_as_if_it_had_not_been_interrupted() {
    let Some(gpu) = gpu() else { return };
    for method in Method::all() {
        let mut whole = small(&gpu, &method);
        whole.minimize(&mut Objective::each(host)).unwrap();
        let mut half = small(&gpu, &method);
        for generation in 0..12 {
            let text = serde_json::to_string(&half.save().unwrap()).unwrap();
            half = Search::resume(&gpu, &serde_json::from_str(&text).unwrap()).unwrap();
            let rows = half.ask().unwrap();
            tell(&mut half, &rows);
            assert_eq!(half.generation(), generation + 1);
        }
        assert!(half.save().unwrap() == whole.save().unwrap(), "{}", method.name());
        // Between asking and telling, too.
        let mut straight = small(&gpu, &method);
        let mut broken = small(&gpu, &method);
        for _ in 0..3 {
            let rows = straight.ask().unwrap();
            tell(&mut straight, &rows);
            broken.ask().unwrap();
            let saved = broken.save().unwrap();
            broken = Search::resume(&gpu, &saved).unwrap();
            let rows = broken.ask().unwrap();
            tell(&mut broken, &rows);
        }
        assert!(straight.save().unwrap() == broken.save().unwrap(), "{}", method.name());
    }
}

#[test]
fn hundreds_of_generations_are_one_submit() {
    let Some(gpu) = gpu() else { return };
    let dispatches = [(Method::from(PSO::default()), 3), (Method::from(SNES::default()), 5)];
    for (method, a_generation) in dispatches {
        let builder = Search::builder(Space::cube(3, -5.0, 5.0), method).members(16).budget(16 * 200);
        let mut search = builder.build(&gpu).unwrap();
        search.minimize_with(&mut Objective::wgsl(RASTRIGIN), |_| true).unwrap();
        let builder = Search::builder(Space::cube(3, -5.0, 5.0), search_method(a_generation));
        let mut search = builder.members(16).budget(16 * 200).build(&gpu).unwrap();
        // Uploads of the first state are submitted with the first generations.
        let before = gpu.counters();
        search.minimize(&mut Objective::wgsl(RASTRIGIN)).unwrap();
        let after = gpu.counters();
        assert_eq!(after.dispatches - before.dispatches, 200 * a_generation);
        assert_eq!(after.pipelines, before.pipelines);
        // One for the generations, and one for each of two looks at the best.
        assert!(after.submits - before.submits <= 3, "{}", after.submits - before.submits);
        assert!(after.read_backs - before.read_backs <= 2);
    }
}

fn search_method(dispatches: u64) -> Method {
    if dispatches == 3 { PSO::default().into() } else { SNES::default().into() }
}
