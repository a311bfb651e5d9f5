//! Checks of user-written WGSL that becomes part of a kernel; shared by custom rules and custom operations.
//!
//! Parsers recurse and evaluate constants, so the text is checked before it is parsed (`tokens`, `bounds`,
//! `outline`). The parsed module may contain only expressions and statements of an allow-list (`pure`). Messages of
//! the parser and validator are translated to positions in the user's text (`message`).

mod backends;
mod bounds;
pub(crate) mod loops;
mod message;
pub(crate) mod names;
mod outline;
pub(crate) mod pure;
mod tokens;

use naga::Span;
use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::Error;
pub(crate) use backends::text_for;
pub(crate) use bounds::{Refusal, closing};
pub(crate) use outline::{Declared, number};
pub(crate) use tokens::{Kind, Token, tokens};

/// A finite number as a WGSL literal, without a suffix. Rust's shortest digits of the largest f32 lie above it, and browsers
/// refuse such a literal, so it is written with fewer digits, which round to it too.
pub(crate) fn literal(number: f32) -> String {
    assert!(number.is_finite(), "{number} is no literal");
    if number.abs() == f32::MAX {
        return format!("{}3.4028234e38", if number < 0.0 { "-" } else { "" });
    }
    format!("{number:?}")
}

/// The rules and wording of one kind of user-written WGSL.
pub(crate) trait Dialect {
    /// What the text is, such as `a rule`.
    fn noun(&self) -> &str;

    /// What to use instead of module-scope variables.
    fn kept(&self) -> &str;

    /// What to use instead of pipeline-overridable constants.
    fn number(&self) -> &str;

    /// A sentence that says which functions are allowed.
    fn pure(&self) -> String;

    /// Whether the surrounding kernel uses `name`, so that the text cannot declare it.
    fn has(&self, name: &str) -> bool;

    /// Why `word` is not allowed after the four words `before`, if it is not.
    fn refuses(&self, word: &str, before: [&str; 4]) -> Option<String>;

    /// The type that the surrounding kernel expects `function` to return.
    fn returns(&self, function: &str) -> Option<&str>;

    /// The message for an undeclared name.
    fn unknown_name(&self, name: &str, text: &str) -> String;

    /// The message for an undeclared member; `of` is the text before its dot.
    fn unknown_member(&self, name: &str, of: &str, text: &str) -> Option<String>;
}

/// A validator for WGSL that every device supports.
pub(crate) fn validator() -> Validator {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
}

/// The user's text within a generated module.
#[derive(Clone, Copy)]
pub(crate) struct User<'a> {
    /// Kind and name of what the text defines, such as `rule Lion`.
    pub(crate) what: &'a str,
    pub(crate) text: &'a str,
    /// Number of bytes of generated text before it.
    pub(crate) before: usize,
    pub(crate) dialect: &'a dyn Dialect,
}

impl<'a> User<'a> {
    /// The tokens and declarations of a text that is safe to parse.
    pub(crate) fn outline(&self) -> Result<(Vec<Token<'a>>, Vec<Declared<'a>>), Error> {
        let most = bounds::MOST_BYTES;
        if self.text.len() > most {
            let reason = format!("the text has {} bytes, expected at most {most}", self.text.len());
            return Err(self.refuse(most, reason));
        }
        let at = |(at, reason): Refusal| self.refuse(at, reason);
        let tokens = tokens(self.text).map_err(at)?;
        bounds::check_depth(&tokens).map_err(at)?;
        let outline = outline::outline(&tokens, self.dialect).map_err(at)?;
        Ok((tokens, outline))
    }

    /// The position of a span in the user's text, if it is inside it.
    fn place(&self, span: Span) -> Option<usize> {
        let range = span.to_range()?;
        range.start.checked_sub(self.before).filter(|at| *at <= self.text.len())
    }

    pub(crate) fn refuse(&self, at: usize, reason: impl Into<String>) -> Error {
        // Errors about missing text are reported past the end.
        let mut at = at.min(self.text.trim_end().len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::Wgsl { of: self.what.into(), line, column, reason: reason.into() }
    }

    pub(crate) fn refuse_span(&self, span: Span, reason: String) -> Error {
        self.refuse(self.place(span).unwrap_or(0), reason)
    }
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn literals_are_read_back_as_they_were_and_lie_within_f32() {
        let largest = f32::MAX.to_bits();
        let around =
            [0, 1, 0x80_0000, 1.0_f32.to_bits(), 0.1_f32.to_bits(), largest - 2, largest - 1, largest];
        for number in around.map(f32::from_bits) {
            for number in [number, -number] {
                let text = literal(number);
                assert_eq!(text.parse::<f32>().unwrap().to_bits(), number.to_bits(), "{text}");
                assert!(text.parse::<f64>().unwrap().abs() <= f64::from(f32::MAX), "{text}");
            }
        }
    }
}
