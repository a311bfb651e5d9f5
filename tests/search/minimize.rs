//! Classical minimizers against scipy's of the same name.

use anyhow::{Context, Result};
use gradus::search::{MinimizeOptions, Minimizer, minimize_scalar_function};

use super::table::{Reached, Table, median, reference};

const BUDGET: u64 = 2000;

#[test]
fn each_method_is_as_good_as_the_one_of_its_name_in_scipy() -> Result<()> {
    let mut table = Table::new("scipy");
    for (name, case) in &reference()?.problems {
        let problem = case.problem().with_context(|| name.clone())?;
        for (method, Reached { f, bounded }) in &case.scipy {
            let minimizer = Minimizer::from_name(method)?;
            let (mut inside, mut calls) = (Vec::new(), Vec::new());
            for x0 in &case.x0 {
                let mut options = MinimizeOptions::new().method(minimizer).max_evaluations(BUDGET);
                if *bounded {
                    options = options.bounds(&case.bounds());
                }
                let mut nfev = 0;
                let fun = |x: &[f64]| {
                    nfev += 1;
                    problem.value(x)
                };
                let found = minimize_scalar_function(fun, x0, options)?;
                assert_eq!(found.nfev, nfev, "{name}, {method}");
                assert!(nfev <= BUDGET, "{name}, {method}: {nfev} evaluations");
                assert_eq!(found.fun, problem.value(&found.x), "{name}, {method}");
                assert!(!bounded || case.holds(&found.x), "{name}, {method}: {:?}", found.x);
                calls.push(nfev as f64);
                if case.holds(&found.x) {
                    inside.push(found.fun);
                }
            }
            table.row((name, method), case, &inside, median(calls), f);
        }
    }
    table.finish();
    Ok(())
}
