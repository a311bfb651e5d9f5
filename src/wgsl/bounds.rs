//! How deep a rule's text may nest. Parsers and the compilers behind them recurse, on a stack that is somebody else's: what
//! is too deep for a thread of 2 MiB must not reach them. Without optimisation naga 30 and its writers take up to 28 KiB for
//! a level of an expression, 42 for a block or an `else if` and 85 for a loop.

use super::tokens::{Kind, Token};

/// What is refused: the place, and why.
pub(crate) type Refusal = (usize, String);

/// The most bytes of a text.
pub(crate) const MOST_BYTES: usize = 64 << 10;
/// The deepest nesting. A sum of this many terms is as deep, because each term stands on all before it.
pub(crate) const MOST_DEEP: usize = 64;
/// What a block counts as, and an `else` or a `for` beside it.
const BLOCK: usize = 2;

/// What a bracket, or the whole text, has between it and the next separator.
#[derive(Default)]
struct Level {
    /// Its bracket, and where it stands.
    mark: char,
    at: usize,
    /// Operators in a row.
    operators: usize,
    /// Members and indices behind the latest operator, and the most behind one.
    members: usize,
    most_members: usize,
    /// The deepest bracket among them.
    inner: usize,
    /// Of `else` in a row, or of `for`.
    chained: usize,
    /// `<` that may begin a list of types: open ones, and the most that were.
    types: usize,
    most_types: usize,
    /// Of what was before the separator.
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
            // In a list of types the depth is that of all of it.
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

/// Refuses brackets that do not close each other and what nests too deep.
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
                    // It is a member already.
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

/// The index of the bracket that closes the one at `open`; the brackets have been checked.
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
