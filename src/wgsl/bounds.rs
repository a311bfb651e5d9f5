//! Limits the nesting of user-written WGSL. Parsers and shader compilers recurse, on a stack that belongs to the
//! caller; text that would overflow the stack of a 2 MiB thread must not reach them. Without optimizations, naga 30
//! and its backends need up to 28 KiB of stack per level of an expression, 42 KiB per block or `else if`, and 85 KiB
//! per loop.

use super::tokens::{Kind, Token};

/// A position in the text, and why it is refused.
pub(crate) type Refusal = (usize, String);

/// Maximum size of a text in bytes.
pub(crate) const MOST_BYTES: usize = 64 << 10;
/// Maximum nesting depth. A sum of this many terms is as deep, because its syntax tree nests once per term.
pub(crate) const MOST_DEEP: usize = 64;
/// Levels that a block counts for, as do `else` and `for`.
const BLOCK: usize = 2;

/// Nesting within a bracket, or within the whole text, since the last separator.
#[derive(Default)]
struct Level {
    /// The opening bracket and its position.
    mark: char,
    at: usize,
    /// Number of operators.
    operators: usize,
    /// Number of member accesses and indices after the last operator, and the maximum for any operator.
    members: usize,
    most_members: usize,
    /// Depth of the deepest inner bracket.
    inner: usize,
    /// Number of consecutive `else` or `for`.
    chained: usize,
    /// Number of open `<` that could start type arguments, and its maximum.
    types: usize,
    most_types: usize,
    /// Maximum depth before the separator.
    most: usize,
}

impl Level {
    fn separate(&mut self) {
        self.most = self.most.max(self.deep());
        (self.operators, self.members, self.most_members) = (0, 0, 0);
        (self.inner, self.types, self.most_types) = (0, 0, 0);
    }

    fn deep(&self) -> usize {
        self.chained + self.operators + self.most_members + self.inner + self.most_types
    }

    fn member(&mut self) {
        self.members += 1;
        self.most_members = self.most_members.max(self.members);
    }

    fn token(&mut self, token: &Token<'_>) {
        match (token.kind, token.text) {
            (Kind::Word, "else") => self.chained += 1,
            (Kind::Mark, "<") => {
                self.types += 1;
                self.most_types = self.most_types.max(self.types);
            }
            (Kind::Mark, ">") if self.types > 0 => self.types -= 1,
            (Kind::Mark, ";") => {
                self.separate();
                self.chained = 0;
            }
            // Type arguments are as deep as all of them together.
            (Kind::Mark, ",") if self.types == 0 => self.separate(),
            (Kind::Mark, "," | ":" | "@") | (Kind::Word | Kind::Number, _) => {}
            (Kind::Mark, ".") => self.member(),
            (Kind::Mark, _) => {
                self.operators += 1;
                self.members = 0;
            }
        }
    }
}

/// Refuses unbalanced brackets and nesting beyond the limit.
pub(crate) fn check_depth(tokens: &[Token<'_>]) -> Result<(), Refusal> {
    let too_deep = |at| {
        let what = "operators in a row count too, blocks and `else` twice; name parts of it with `let`";
        Err((at, format!("nested deeper than {MOST_DEEP}: {what}")))
    };
    let mut levels = vec![Level::default()];
    for (index, token) in tokens.iter().enumerate() {
        let mark = if token.kind == Kind::Mark { token.text } else { "" };
        let level = levels.last_mut().expect("the text's own is never closed");
        match mark {
            "(" | "[" | "{" => {
                if mark == "{" {
                    level.separate();
                }
                let mark = mark.chars().next().unwrap_or_default();
                levels.push(Level { mark, at: token.at, ..Level::default() });
                if levels.len() > MOST_DEEP {
                    return too_deep(token.at);
                }
            }
            ")" | "]" | "}" => {
                if !levels.iter().any(|level| closes(level.mark) == Some(mark)) {
                    return Err((token.at, format!("`{mark}` has no opening bracket")));
                }
                let mut closed = levels.pop().expect("the text's own is never closed");
                if closes(closed.mark) != Some(mark) {
                    let reason = format!("`{}` is not closed before `{mark}`", closed.mark);
                    return Err((closed.at, reason));
                }
                closed.separate();
                let level = levels.last_mut().expect("the text's own is never closed");
                let own = match mark {
                    "}" => BLOCK,
                    // An index is already counted as a member access.
                    "]" => 0,
                    _ => 1,
                };
                level.inner = level.inner.max(closed.most + own);
                let goes_on = tokens.get(index + 1).is_some_and(|next| next.text == "else");
                if mark == "]" {
                    level.member();
                }
                if mark == "}" {
                    level.separate();
                    level.chained *= usize::from(goes_on);
                }
                if level.inner.max(level.most) > MOST_DEEP {
                    return too_deep(closed.at);
                }
            }
            _ => level.token(token),
        }
        let level = levels.last_mut().expect("the text's own is never closed");
        if level.deep() > MOST_DEEP {
            return too_deep(token.at);
        }
    }
    match levels.pop() {
        Some(open) if !levels.is_empty() => Err((open.at, format!("`{}` is not closed", open.mark))),
        _ => Ok(()),
    }
}

fn closes(open: char) -> Option<&'static str> {
    match open {
        '(' => Some(")"),
        '[' => Some("]"),
        '{' => Some("}"),
        _ => None,
    }
}

/// The index of the bracket that closes the one at `open`. The brackets must be balanced.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}
