//! Splits user-written WGSL into words, numbers and punctuation, before it is parsed.

use std::ops::Deref;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Mark,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Offset of the first byte.
    pub(crate) at: usize,
}

impl Token<'_> {
    pub(crate) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

impl Deref for Token<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.text
    }
}

/// Punctuation of two characters. Tokens that begin with `>` are left out, because each `>` can close type arguments.
const PAIRS: [&str; 17] =
    ["==", "!=", "<=", "&&", "||", "->", "++", "--", "<<", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="];

/// All tokens except comments and white space; or the position of invalid text, and why it is invalid.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, (usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, len) = match c {
            _ if rest.starts_with("//") => {
                at += rest.find(ends_line).unwrap_or(rest.len());
                continue;
            }
            _ if rest.starts_with("/*") => {
                at += comment(rest).ok_or_else(|| (at, "`/*` is not closed".to_owned()))?;
                continue;
            }
            c if c.is_ascii_whitespace() || c == '\u{b}' => {
                at += 1;
                continue;
            }
            c if c.is_ascii_alphabetic() || c == '_' => (Kind::Word, run(rest, |_| false)),
            c if c.is_ascii_digit() => (Kind::Number, run(rest, |c| c == '.')),
            c if c.is_ascii_graphic() => {
                (Kind::Mark, if PAIRS.iter().any(|pair| rest.starts_with(pair)) { 2 } else { 1 })
            }
            c => {
                let code = u32::from(c);
                let reason =
                    format!("unexpected {c:?} (U+{code:04X}): outside comments, only ASCII is allowed");
                return Err((at, reason));
            }
        };
        found.push(Token { kind, text: &rest[..len], at });
        at += len;
    }
    Ok(found)
}

fn run(text: &str, also: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || also(c))).unwrap_or(text.len())
}

/// Whether this character ends a line in WGSL, and so a line comment.
fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The length of a comment that starts with `/*`. Comments nest.
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 {
        let next = at + text[at..].find(['/', '*'])?;
        let (more, len) = match &text.as_bytes()[next..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += more;
        at = next + len;
    }
    Some(at)
}
