//! Names of WGSL, and what one that nobody declares may have meant.

use naga::keywords::wgsl::{BUILTIN_IDENTIFIERS, RESERVED};

/// What other languages call what WGSL has by another name.
const ELSEWHERE: [(&str, &str); 12] = [
    ("lerp", "mix"),
    ("rsqrt", "inverseSqrt"),
    ("inversesqrt", "inverseSqrt"),
    ("frac", "fract"),
    ("fabs", "abs"),
    ("fmin", "min"),
    ("fmax", "max"),
    ("float", "f32"),
    ("int", "i32"),
    ("float4", "vec4f"),
    ("half", "f32"),
    ("mod", "%"),
];

/// What WGSL calls what other languages have by this name.
pub(crate) fn elsewhere(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, own)| *own)
}

/// Whether a member or a variable can have this name.
pub(crate) fn is_identifier(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first)
        && name.chars().all(part)
        && name != "_"
        && !name.starts_with("__")
        && !RESERVED.contains(&name)
}

/// A type or function of WGSL, which a declaration of that name would hide from the frame.
pub(crate) fn is_builtin(name: &str) -> bool {
    let short = |kind: &str, sizes: &[&str], ends: &str| {
        let rest = name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(|c| ends.contains(c)));
        rest.is_some_and(|size| sizes.contains(&size))
    };
    BUILTIN_IDENTIFIERS.contains(&name)
        || short("vec", &["2", "3", "4"], "fiuh")
        || short("mat", &["2x2", "2x3", "2x4", "3x2", "3x3", "3x4", "4x2", "4x3", "4x4"], "fh")
}

/// A function of WGSL that sees more than its arguments, or only some kernels may call.
pub(crate) fn impure(name: &str) -> bool {
    const BEGIN: [&str; 11] = [
        "dpdx",
        "dpdy",
        "fwidth",
        "texture",
        "atomic",
        "subgroup",
        "quad",
        "rayQuery",
        "coop",
        "trace",
        "workgroup",
    ];
    name.ends_with("Barrier") || name == "arrayLength" || BEGIN.iter().any(|begin| name.starts_with(begin))
}

/// The end of a sentence about a name that is not known.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [] => String::new(),
        [one] => format!(", did you mean {one}?"),
        [first @ .., last] => format!(", did you mean {} or {last}?", first.join(", ")),
    }
}
