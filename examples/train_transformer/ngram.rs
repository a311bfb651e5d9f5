//! The baseline: n-grams of each order, smoothed with shorter ones.

use std::collections::HashMap;

/// The maximum order.
pub(crate) const ORDERS: usize = 6;

/// The characters that followed a context.
#[derive(Default)]
struct Followers {
    counts: HashMap<u32, u32>,
    total: u32,
}

/// Bits per character of `text` for n-grams trained on `train`, of orders 1 to [`ORDERS`], with a vocabulary of
/// `kinds` characters.
///
/// With the count `c` of a character after the `n - 1` characters before it, the count `t` of all characters there,
/// and `k` distinct ones, `p_n = (c + k * p_(n-1)) / (t + k)`, and `p_0` is uniform. For an unseen context, `p_n =
/// p_(n-1)`.
///
/// Source: Witten and Bell 1991, "The zero-frequency problem", method C, in its interpolated form.
pub(crate) fn bits_of_each_order(train: &[u32], text: &[u32], kinds: usize) -> [f64; ORDERS] {
    let mut contexts: HashMap<&[u32], Followers> = HashMap::new();
    for end in 0..train.len() {
        for first in end.saturating_sub(ORDERS - 1)..=end {
            let after = contexts.entry(&train[first..end]).or_default();
            *after.counts.entry(train[end]).or_default() += 1;
            after.total += 1;
        }
    }
    let mut bits = [0.0; ORDERS];
    for end in train.len()..text.len() {
        let mut probability = 1.0 / kinds as f64;
        for (length, bits) in bits.iter_mut().enumerate() {
            if let Some(after) = end.checked_sub(length).and_then(|first| contexts.get(&text[first..end])) {
                let count = after.counts.get(&text[end]).copied().unwrap_or(0);
                let kinds = after.counts.len() as f64;
                probability = (f64::from(count) + kinds * probability) / (f64::from(after.total) + kinds);
            }
            *bits -= probability.log2();
        }
    }
    bits.map(|bits| bits / (text.len() - train.len()) as f64)
}
