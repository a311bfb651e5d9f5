//! Suggestions for unknown names.

/// The name of `known` that is most similar to `name`, if one is similar enough.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |k: &&str| likeness(name, k);
    known.into_iter().max_by(|a, b| near(a).total_cmp(&near(b))).filter(|k| near(k) > 0.7)
}

/// Up to three names of `known` that are similar to `name`, the most similar first.
pub(crate) fn nearest_few<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near = by_likeness(name, known);
    let best = near.first().map_or(0.0, |(likeness, _)| *likeness);
    near.retain(|(likeness, _)| *likeness > 0.75 && *likeness > best - 0.1);
    near.truncate(3);
    near.into_iter().map(|(_, known)| known).collect()
}

/// The names, separated by commas. Of a long list, only the most similar to `name`.
pub(crate) fn listed(name: &str, known: &[&str]) -> String {
    const ALL: usize = 32;
    const FEW: usize = 8;
    if known.len() <= ALL {
        return known.join(", ");
    }
    let near = by_likeness(name, known.iter().copied());
    let few: Vec<&str> = near.iter().take(FEW).map(|(_, known)| *known).collect();
    format!("{} and {} more", few.join(", "), known.len() - few.len())
}

/// Distinct names, the most similar first.
fn by_likeness<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(f64, &'a str)> {
    let mut all: Vec<(f64, &str)> = known.into_iter().map(|known| (likeness(name, known), known)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.dedup_by_key(|(_, known)| *known);
    all
}

/// Similarity from 0 (nothing in common) to 1 (equal), ignoring case.
fn likeness(one: &str, other: &str) -> f64 {
    strsim::jaro_winkler(&one.to_lowercase(), &other.to_lowercase())
}
