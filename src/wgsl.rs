//! WGSL of the user's own, which becomes a part of a kernel: what is the same for all kinds of such texts.
//!
//! A parser recurses and folds constants, so that the text is looked at before it (`tokens`, `bounds`, `outline`); what it
//! made of the text is held to a list (`pure`), and what it says is told with the place in the user's text (`message`).

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
pub(crate) use bounds::{Refusal, closing};
pub(crate) use outline::{Declared, number};
pub(crate) use tokens::{Kind, Token, tokens};

/// What a kind of text may say, and in which words it is refused.
pub(crate) trait Dialect {
    /// As in `a rule`.
    fn noun(&self) -> &str;

    /// What it has in place of variables outside functions.
    fn kept(&self) -> &str;

    /// What it has in place of constants that are set from outside.
    fn number(&self) -> &str;

    /// A sentence on what its functions are.
    fn pure(&self) -> String;

    /// Whether the frame has a name, which the text cannot declare.
    fn has(&self, name: &str) -> bool;

    /// Why a word cannot stand behind these four.
    fn refuses(&self, word: &str, before: [&str; 4]) -> Option<String>;

    /// The type that the frame expects of a function.
    fn returns(&self, function: &str) -> Option<&str>;

    /// What is wrong with a name that nobody declares.
    fn unknown_name(&self, name: &str, text: &str) -> String;

    /// What is wrong with a member that nobody declares; `of` is what stands before its dot.
    fn unknown_member(&self, name: &str, of: &str, text: &str) -> Option<String>;
}

/// Of what every device can do.
pub(crate) fn validator() -> Validator {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
}

/// The text that was given, in one that was made of it.
#[derive(Clone, Copy)]
pub(crate) struct User<'a> {
    /// What it is and its name, as in `rule Lion`.
    pub(crate) what: &'a str,
    pub(crate) text: &'a str,
    /// Bytes that stand before it.
    pub(crate) before: usize,
    pub(crate) dialect: &'a dyn Dialect,
}

impl<'a> User<'a> {
    /// The words of a text that a parser may be given, and what it declares.
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

    /// Where a span begins, if that is in the text.
    fn place(&self, span: Span) -> Option<usize> {
        let range = span.to_range()?;
        range.start.checked_sub(self.before).filter(|at| *at <= self.text.len())
    }

    pub(crate) fn refuse(&self, at: usize, reason: impl Into<String>) -> Error {
        // What is missing is noticed behind the text.
        let at = self.text.floor_char_boundary(at.min(self.text.trim_end().len()));
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::Wgsl { of: self.what.into(), line, column, reason: reason.into() }
    }

    pub(crate) fn refuse_span(&self, span: Span, reason: String) -> Error {
        self.refuse(self.place(span).unwrap_or(0), reason)
    }
}
