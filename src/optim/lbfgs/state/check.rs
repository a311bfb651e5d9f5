//! Checks of a state of L-BFGS.

use super::{LbfgsTensorState, refuse};
use crate::error::{Error, countable};

/// Refuses a state with wrong lengths or contradictions.
pub(super) fn check(state: &LbfgsTensorState, elements: usize, history_size: usize) -> Result<(), Error> {
    for (name, count) in [("func_evals", state.func_evals), ("n_iter", state.n_iter)] {
        countable(name, count).map_err(|error| Error::StateDict(error.to_string()))?;
    }
    let pairs = state.ro.len();
    if pairs > history_size {
        return refuse(format!("ro has {pairs} pairs, history_size is {history_size}"));
    }
    if [state.old_dirs.len(), state.old_stps.len()] != [pairs; 2] {
        let (dirs, steps) = (state.old_dirs.len(), state.old_stps.len());
        return refuse(format!("old_dirs has {dirs} vectors, old_stps {steps} and ro {pairs} numbers"));
    }
    let moved = state.t.is_some();
    let present = [
        state.d.is_some(),
        state.prev_flat_grad.is_some(),
        state.h_diag.is_some(),
        state.prev_loss.is_some(),
    ];
    if present != [moved; 4] || (!moved && pairs > 0) {
        return refuse(
            "d, t, H_diag, prev_flat_grad and prev_loss come together, and pairs with them".into(),
        );
    }
    let vectors = [("d", state.d.as_ref()), ("prev_flat_grad", state.prev_flat_grad.as_ref())];
    let vectors = vectors.into_iter().filter_map(|(name, vector)| Some((name, vector?)));
    let old = state.old_dirs.iter().map(|vector| ("old_dirs", vector));
    let old = old.chain(state.old_stps.iter().map(|vector| ("old_stps", vector)));
    for (name, vector) in vectors.chain(old) {
        if vector.len() != elements {
            return refuse(format!("{name} has {} elements, expected {elements}", vector.len()));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return refuse(format!("{name} is not finite"));
        }
    }
    let numbers = state.ro.iter().chain(&state.t).chain(&state.h_diag).chain(&state.prev_loss);
    let products = state.products.iter().flatten().flatten().flatten();
    if !numbers.chain(products).all(|number| number.is_finite()) {
        return refuse("t, ro, H_diag, prev_loss or products is not finite".into());
    }
    let square = |products: &Vec<Vec<[f64; 4]>>| {
        products.len() == pairs && products.iter().all(|row| row.len() == pairs)
    };
    if !state.products.as_ref().is_none_or(square) {
        return refuse(format!("products is not a table of {pairs} by {pairs}"));
    }
    if state.oldest > 0 && (pairs < history_size || state.oldest >= pairs) {
        return refuse(format!("oldest is {}, with {pairs} of {history_size} pairs", state.oldest));
    }
    Ok(())
}
