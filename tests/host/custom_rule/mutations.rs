//! Texts that nobody would write.

use gradus::Error;

use super::{GOOD, builder, on_a_stack, refusal};

#[test]
fn text_that_is_cut_anywhere_is_refused_within_its_lines() {
    let text = format!("/* größer */ const HALF = 0.5; // ½\n{}", GOOD.trim_end());
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        match refusal(builder(&text[..end])) {
            Error::Wgsl { line, .. } => assert!((1..=5).contains(&line), "cut at {end}: line {line}"),
            Error::Config { .. } => assert!(!text[..end].contains("return"), "cut at {end}"),
            other => panic!("cut at {end}: {other}"),
        }
    }
    builder(&text).build().unwrap();
}

/// Texts that the mutations below start from.
const SEEDS: [&str; 3] = [
    GOOD,
    "const N = 4; struct Pair { a: vec4f, b: f32 } alias Four = vec4<f32>;
fn power(x: Four, n: u32) -> Four { var y = x; for (var i = 0u; i < 3u; i++) { y = y * x; } return y; }
fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    var a: array<f32, N>; let pair = Pair(p, 1.0); a[1] = pair.b;
    if all(g > vec4f(0.5)) { (*s).exp_avg = select(p, g, p < g); } else if g.x <= 1e-3 { return p; } else { a[2] = 0x1p3; }
    switch i32(g.x) { case 1, 2: { return g; } default: { } }
    return p - call.lr * power(pair.a * a[1], 3u) / at_least_tiny(sqrt((*s).exp_avg)) + hyper.beta1; // end
}",
    "fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f { return p - g; }",
];

const PIECES: [&str; 40] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ";",
    ",",
    ".",
    "+",
    "-",
    "*",
    "&",
    "=",
    "==",
    "fn ",
    "let ",
    "var ",
    "const ",
    "if ",
    "else ",
    "for ",
    "loop ",
    "array<",
    "vec4<f32>",
    "ptr<function, ",
    "State",
    "hyper.",
    "call.",
    "4000000000",
    "1e39",
    "0x",
    "/*",
    "*/",
    "//",
    "\n",
    "@",
    "é",
];

/// A text with some pieces cut, doubled, moved or put in.
fn mutated(seed: &str, changes: &[(u8, u16, u16)]) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for &(kind, from, len) in changes {
        let from = usize::from(from) % (text.len() + 1);
        let end = (from + usize::from(len) % 12).min(text.len());
        match kind % 4 {
            0 => drop(text.drain(from..end)),
            1 => {
                let piece = text[from..end].to_vec();
                let count = 1 + usize::from(len) % 300;
                text.splice(end..end, piece.iter().cycle().take(piece.len() * count).copied());
            }
            2 => {
                let piece: Vec<char> = text.drain(from..end).collect();
                let to = usize::from(len) * 31 % (text.len() + 1);
                text.splice(to..to, piece);
            }
            _ => {
                let piece = PIECES[usize::from(len) % PIECES.len()];
                text.splice(from..from, piece.chars());
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn whatever_the_text_is_it_is_read_or_refused() {
    use proptest::prelude::*;
    on_a_stack(2 << 20, || {
        let config = ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
        let changes = prop::collection::vec(any::<(u8, u16, u16)>(), 1..6);
        proptest!(config, |(seed in 0..SEEDS.len(), changes in changes)| {
            let text = mutated(SEEDS[seed], &changes);
            match builder(&text).build() {
                Ok(_) | Err(Error::Config { .. }) => {}
                Err(Error::Wgsl { line, column, reason, .. }) => {
                    let of_line = text.split('\n').nth(line - 1).expect("a line of the text").chars().count();
                    prop_assert!((1..=of_line + 1).contains(&column), "{line}:{column} {reason}");
                    prop_assert!(!reason.is_empty());
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        });
    });
}
