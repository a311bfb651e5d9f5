//! Finds the declarations of a text, and refuses names and words that are not allowed.

use std::ops::Range;

use super::Dialect;
use super::bounds::{Refusal, closing};
use super::names::{impure, is_builtin};
use super::tokens::{Kind, Token};

/// Maximum number of functions, constants, structs and aliases. Parsers follow references between them recursively.
const MOST_DECLARED: usize = 256;
/// Maximum number of elements of an array, including those of nested arrays.
pub(crate) const MOST_ELEMENTS: u32 = 256;

/// A function, constant, struct or alias.
#[derive(Clone, Debug)]
pub(crate) struct Declared<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: Token<'a>,
    /// Range of its tokens.
    pub(crate) tokens: Range<usize>,
}

/// The declarations of a text, in order. Refuses declarations and words that the dialect does not allow.
pub(crate) fn outline<'a>(tokens: &[Token<'a>], dialect: &dyn Dialect) -> Result<Vec<Declared<'a>>, Refusal> {
    let noun = dialect.noun();
    if let Some(at) = tokens.iter().find(|token| token.text == "@") {
        let reason = format!(
            "attributes are not allowed: {noun} consists of functions, and the entry point is part of the surrounding kernel"
        );
        return Err((at.at, reason));
    }
    let mut declared: Vec<Declared<'a>> = Vec::new();
    let mut index = 0;
    while let Some(first) = tokens.get(index) {
        let end = (index..tokens.len())
            .find_map(|at| match tokens[at].text {
                "{" => Some(closing(tokens, at)),
                ";" => Some(at),
                _ => None,
            })
            .unwrap_or(tokens.len() - 1);
        match (first.kind, first.text) {
            (Kind::Word, "fn" | "const" | "struct" | "alias") => {
                // The parser reports any other error in a name.
                if let Some(name) = tokens.get(index + 1).filter(|name| name.is_word()) {
                    check_name(name, dialect)?;
                    declared.push(Declared { kind: first.text, name: *name, tokens: index..end + 1 });
                }
            }
            (Kind::Word, "var") => {
                let kept = dialect.kept();
                return Err((
                    first.at,
                    format!("no variable may stand outside functions: declare {kept} instead"),
                ));
            }
            (Kind::Word, "override") => {
                let number = dialect.number();
                return Err((first.at, format!("expected `const` or {number} instead of `override`")));
            }
            (Kind::Word, directive @ ("enable" | "requires" | "diagnostic")) => {
                return Err((first.at, format!("`{directive}` is not allowed: {noun} is plain WGSL")));
            }
            _ => {}
        }
        if declared.len() > MOST_DECLARED {
            return Err((first.at, format!("more than {MOST_DECLARED} declarations")));
        }
        index = end + 1;
    }
    check_words(tokens, &declared, dialect)?;
    check_types(tokens, &declared)?;
    Ok(declared)
}

fn check_name(name: &Token<'_>, dialect: &dyn Dialect) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        Err((name.at, format!("`{name}` is reserved: {why}, choose another name", name = name.text)))
    };
    if dialect.has(name) {
        return refuse("the surrounding kernel uses it");
    }
    if is_builtin(name) {
        return refuse("it is a built-in of WGSL that the surrounding kernel uses");
    }
    Ok(())
}

/// Refuses words that are not allowed in this dialect.
fn check_words(
    tokens: &[Token<'_>],
    declared: &[Declared<'_>],
    dialect: &dyn Dialect,
) -> Result<(), Refusal> {
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.is_word()) {
        let before = |back: usize| index.checked_sub(back).map_or("", |at| tokens[at].text);
        let is_member = before(1) == ".";
        let is_own = || declared.iter().any(|own| own.name.text == token.text);
        if is_member {
            continue;
        }
        if let Some(reason) = dialect.refuses(token.text, [before(4), before(3), before(2), before(1)]) {
            return Err((token.at, reason));
        }
        match token.text {
            "discard" => {
                return Err((
                    token.at,
                    format!("`discard` cannot be used: {} is a pure function", dialect.noun()),
                ));
            }
            name if impure(name)
                && matches!(tokens.get(index + 1).map(|next| next.text), Some("(" | "<"))
                && !is_own() =>
            {
                return Err((token.at, format!("`{name}` cannot be used: {}", dialect.pure())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses arrays that are too long or whose length is not a plain constant, and nested user types, because the size
/// of a constant of such a type would be unbounded.
fn check_types(tokens: &[Token<'_>], declared: &[Declared<'_>]) -> Result<(), Refusal> {
    for own in declared.iter().filter(|own| matches!(own.kind, "struct" | "alias")) {
        for (index, token) in own.tokens.clone().zip(&tokens[own.tokens.clone()]).skip(2) {
            let is_member = tokens.get(index + 1).is_some_and(|next| next.text == ":");
            let is_own = declared.iter().any(|other| other.name.text == token.text);
            if token.is_word() && !is_member && (token.text == "array" || is_own) {
                let kind = own.kind;
                let reason =
                    format!("expected scalars, vectors or matrices in `{kind}`, got `{}`", token.text);
                return Err((token.at, reason));
            }
        }
    }
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let is_member = index > 0 && tokens[index - 1].text == ".";
        if token.text == "array" && !is_member {
            let (elements, end) = array(tokens, index, declared)?;
            if elements > MOST_ELEMENTS as usize {
                let reason = format!("an array may have at most {MOST_ELEMENTS} elements, got {elements}");
                return Err((token.at, reason));
            }
            index = end;
        }
        index += 1;
    }
    Ok(())
}

/// The number of elements of the array type at token `at`, including nested arrays, and the index of its closing `>`.
fn array(tokens: &[Token<'_>], at: usize, declared: &[Declared<'_>]) -> Result<(usize, usize), Refusal> {
    let plain = || {
        let reason = "expected `array<type, length>`, where the length is a number or a constant that is one";
        Err((tokens[at].at, reason.to_owned()))
    };
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    if text(at + 1) != "<" {
        return plain();
    }
    let (mut index, mut inner) = (at + 2, 1);
    if text(index) == "array" {
        let (elements, end) = array(tokens, index, declared)?;
        (inner, index) = (elements, end + 1);
    } else {
        // An element type: one word, optionally with type arguments.
        index += 1;
        if text(index) == "<" {
            while !matches!(text(index), ">" | "") {
                index += 1;
            }
            index += 1;
        }
    }
    let close = if text(index + 2) == "," { index + 3 } else { index + 2 };
    match tokens.get(index + 1) {
        Some(length) if text(index) == "," && text(close) == ">" => match number(length, tokens, declared) {
            Some((length, _)) if length >= 0 => {
                Ok((usize::try_from(length).unwrap_or(usize::MAX).saturating_mul(inner), close))
            }
            _ => plain(),
        },
        _ => plain(),
    }
}

/// The value of a number, or of a constant that is a number, and whether it is a `u32`.
pub(crate) fn number(
    token: &Token<'_>,
    tokens: &[Token<'_>],
    declared: &[Declared<'_>],
) -> Option<(i64, Option<bool>)> {
    if token.kind == Kind::Number {
        let (digits, unsigned) = match token.text.strip_suffix(['u', 'i']) {
            Some(digits) => (digits, Some(token.text.ends_with('u'))),
            None => (token.text, None),
        };
        let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        return Some((value.ok()?, unsigned));
    }
    let own = declared.iter().find(|own| own.kind == "const" && own.name.text == token.text)?;
    // The name must be declared only once, because a function could shadow it.
    let declares = |pair: &&[Token<'_>]| pair[0].text == token.text && matches!(pair[1].text, ":" | "=");
    if tokens.windows(2).filter(declares).count() > 1 {
        return None;
    }
    let own = &tokens[own.tokens.clone()];
    let texts: Vec<&str> = own.iter().map(|token| token.text).collect();
    let (typed, negative) = match texts[..] {
        ["const", _, "=", _, ";"] => (None, false),
        ["const", _, "=", "-", _, ";"] => (None, true),
        ["const", _, ":", kind @ ("i32" | "u32"), "=", _, ";"] => (Some(kind == "u32"), false),
        ["const", _, ":", "i32", "=", "-", _, ";"] => (Some(false), true),
        _ => return None,
    };
    let literal = own[own.len() - 2];
    let (value, unsigned) =
        if literal.kind == Kind::Number { number(&literal, tokens, &[])? } else { return None };
    Some((if negative { -value } else { value }, typed.or(unsigned)))
}
