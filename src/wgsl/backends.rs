//! What the WGSL of a kernel must look like for a backend whose compiler takes less than naga's front end.

use std::borrow::Cow;
use std::collections::HashMap;

use wgpu::Backend;

use super::tokens::{Token, tokens};

const SUBGROUPS: &str = "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n";

/// The text to compile for a backend.
///
/// - Direct3D 12: without aliases. naga 30 writes the zero of a type once for each of its names, all under one name, and
///   DXC refuses the second.
/// - Browsers: with `enable subgroups;` where a kernel needs it, which naga 30 does not know. They cannot see either that what
///   all lanes have shuffled from one lane is the same for all.
pub(crate) fn text_for(backend: Backend, text: &str) -> Cow<'_, str> {
    match backend {
        Backend::Dx12 if text.contains("alias") => without_aliases(text).map_or(text.into(), Cow::Owned),
        Backend::BrowserWebGpu if names_subgroups(text) => format!("{SUBGROUPS}{text}").into(),
        _ => text.into(),
    }
}

/// Whether the text has a built-in of subgroups, not only a comment on them.
fn names_subgroups(text: &str) -> bool {
    let names = |tokens: Vec<Token<'_>>| tokens.iter().any(|token| token.text.starts_with("subgroup"));
    text.contains("subgroup") && tokens(text).is_ok_and(names)
}

/// The text with the meaning of each alias in its place. An alias whose name is also that of something else stays.
/// `None` for a text that is no WGSL, which the compiler has to say.
fn without_aliases(text: &str) -> Option<String> {
    let tokens = tokens(text).ok()?;
    let word = |at: usize| tokens.get(at).map_or("", |token: &Token<'_>| token.text);
    let (mut meanings, mut declarations) = (HashMap::new(), Vec::new());
    for at in (0..tokens.len()).filter(|at| word(*at) == "alias" && word(at + 2) == "=") {
        let end = (at..tokens.len()).find(|end| word(*end) == ";")?;
        let name = word(at + 1);
        // `var<private> V` has its `var` four words before, `var<storage, read> V` six.
        let is_variable = |at: usize| word(at - 1) == ">" && (4..7).any(|n| at >= n && word(at - n) == "var");
        let is_other = |&at: &usize| {
            word(at) == name
                && (word(at + 1) == ":"
                    || (at > 0
                        && (matches!(word(at - 1), "." | "let" | "var" | "const" | "fn") || is_variable(at))))
        };
        if !(0..tokens.len()).any(|at| is_other(&at)) {
            meanings.insert(name, at + 3..end);
            declarations.push(at..end + 1);
        }
    }
    let mut written = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < tokens.len() {
        let token = &tokens[at];
        written.push_str(&text[copied..token.at]);
        copied = token.at + token.text.len();
        if let Some(range) = declarations.iter().find(|range| range.start == at) {
            copied = tokens[range.end - 1].at + 1;
            at = range.end;
            continue;
        }
        write(&mut written, &tokens, at, &meanings, 0);
        at += 1;
    }
    written.push_str(&text[copied..]);
    Some(written)
}

/// Appends a token, or what it stands for. An alias of an alias is at most as deep as there are aliases.
fn write(
    to: &mut String,
    tokens: &[Token<'_>],
    at: usize,
    meanings: &HashMap<&str, std::ops::Range<usize>>,
    depth: usize,
) {
    match meanings.get(tokens[at].text) {
        Some(range) if depth <= meanings.len() => {
            range.clone().for_each(|at| write(to, tokens, at, meanings, depth + 1));
        }
        _ => to.push_str(tokens[at].text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct3d_is_given_the_meanings_of_aliases() {
        let text = "alias V = vec4f; // four\nalias Rows = array<V, 2>;\nfn f(V4: V) -> Rows { return Rows(V4, V()); }\n";
        let meant = " // four\n\nfn f(V4: vec4f) -> array<vec4f,2> { return array<vec4f,2>(V4, vec4f()); }\n";
        assert_eq!(text_for(Backend::Dx12, text), meant);
        for backend in [Backend::Vulkan, Backend::Metal, Backend::Gl, Backend::BrowserWebGpu] {
            assert_eq!(text_for(backend, text), text);
        }
        naga::front::wgsl::parse_str(meant).unwrap();
    }

    #[test]
    fn a_comparison_with_an_alias_declares_nothing() {
        let text = "alias P = vec2u;\nfn f(a: P) -> bool { return all(a > P(1u)) || all(a == P()); }\n";
        let meant = "\nfn f(a: vec2u) -> bool { return all(a > vec2u(1u)) || all(a == vec2u()); }\n";
        assert_eq!(text_for(Backend::Dx12, text), meant);
    }

    #[test]
    fn a_name_that_is_not_only_an_alias_stays() {
        let text = "alias T = f32; alias U = u32; struct S { T: f32 } fn f(s: S) -> T { let U = 1.0; return s.T * U; }";
        assert_eq!(text_for(Backend::Dx12, text), text);
        naga::front::wgsl::parse_str(text).unwrap();
        // Neither a ring, which is no WGSL, nor bytes that are none end otherwise than in what the compiler says.
        for text in ["var<private> V: f32; alias V = f32;", "alias V = f32; var<private> V : f32;"] {
            assert_eq!(text_for(Backend::Dx12, text), text);
        }
        for text in ["alias A = B; alias B = A; fn f(a: A) {}", "alias A = f32; \u{e9}", "alias A = f32"] {
            assert!(
                naga::front::wgsl::parse_str(&text_for(Backend::Dx12, text)).is_err()
                    || text.ends_with("f32")
            );
        }
    }

    #[test]
    fn browsers_are_told_of_subgroups() {
        let text = "enable f16;\nfn f(x: f32) -> f32 { return subgroupAdd(x); }";
        assert_eq!(text_for(Backend::BrowserWebGpu, text), format!("{SUBGROUPS}{text}"));
        assert_eq!(text_for(Backend::Vulkan, text), text);
        for text in ["fn f() {}", "// as a subgroup would\nfn f() {}"] {
            assert_eq!(text_for(Backend::BrowserWebGpu, text), text);
        }
    }
}
