//! Names of WGSL, and suggestions for undeclared ones.

use naga::keywords::wgsl::{BUILTIN_IDENTIFIERS, RESERVED};

/// Names in other languages and their WGSL equivalents.
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

/// The WGSL equivalent of a name in another language.
pub(crate) fn elsewhere(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, own)| *own)
}

/// Whether this is a valid name for a member or variable.
pub(crate) fn is_identifier(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first)
        && name.chars().all(part)
        && name != "_"
        && !name.starts_with("__")
        && !RESERVED.contains(&name)
}

/// Whether this is a built-in type or function. Declaring it would hide the built-in from the surrounding kernel.
pub(crate) fn is_builtin(name: &str) -> bool {
    let short = |kind: &str, sizes: &[&str], ends: &str| {
        let rest = name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(|c| ends.contains(c)));
        rest.is_some_and(|size| sizes.contains(&size))
    };
    BUILTIN_IDENTIFIERS.contains(&name)
        || short("vec", &["2", "3", "4"], "fiuh")
        || short("mat", &["2x2", "2x3", "2x4", "3x2", "3x3", "3x4", "4x2", "4x3", "4x4"], "fh")
}

/// Whether this is a built-in function that depends on more than its arguments, or that only some kinds of shaders
/// can call.
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

/// The end of a message about an unknown name: suggestions.
pub(crate) fn did_you_mean(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [] => String::new(),
        [one] => format!(", did you mean {one}?"),
        [first @ .., last] => format!(", did you mean {} or {last}?", first.join(", ")),
    }
}
