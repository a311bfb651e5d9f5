//! Reads the WGSL of a rule of one's own, so that a mistake is named with its place in the text that was given, and so
//! that what passes is a pure function that ends.
//!
//! First the text itself is looked at (`bounds`, `outline`), because a parser recurses and folds constants: what it is
//! given must be small and flat. Then naga reads the text behind what a rule may use and nothing else (`names::PRELUDE`),
//! so that the rest of the frame is unknown to it. Then loops are counted (`loops`) and what was read is held to a list
//! (`pure`).

mod bounds;
mod loops;
mod message;
mod names;
mod outline;
mod pure;
mod tokens;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use naga::Span;
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::custom::Declared;
use super::shader::Text;
use super::stage::Stage;
use super::{Family, Shader};
use crate::error::Error;
use crate::grad::Riding;
use loops::Work;
pub(super) use names::{Names, is_identifier};

/// Refuses WGSL that the frame could not be joined with; the user's begins at `prefix`.
pub(super) fn inspect(declared: &Declared, prefix: usize, names: &Names) -> Result<(), Error> {
    let text = &declared.text[prefix..];
    let user = User { rule: &declared.name, text, before: 0, names };
    if text.len() > bounds::MOST_BYTES {
        let most = bounds::MOST_BYTES;
        return Err(user.refuse(most, format!("the text has {} bytes, expected at most {most}", text.len())));
    }
    let at = |(at, reason): bounds::Refusal| user.refuse(at, reason);
    let tokens = tokens::tokens(text).map_err(at)?;
    bounds::check_depth(&tokens).map_err(at)?;
    let outline = outline::outline(&tokens).map_err(at)?;

    let prelude = declared.text[..prefix].to_owned() + names::PRELUDE;
    let alone = User { before: prelude.len(), ..user };
    let source = prelude + text;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
        alone.index_error(&source, &tokens, &error).unwrap_or_else(|| alone.parse_error(&error))
    })?;
    pure::check_signature(&module).map_err(|(span, reason)| match span {
        Some(span) => alone.refuse_span(span, reason),
        None => Error::Config { what: format!("rule {}", declared.name), reason },
    })?;
    let spanned = |(span, reason): (Span, String)| alone.refuse_span(span, reason);
    pure::check_pure(&module).map_err(spanned)?;
    Work { tokens: &tokens, declared: &outline, known: BTreeMap::new() }.check().map_err(at)?;
    let info = validator().validate(&module).map_err(|error| alone.validation_error(&error, &module))?;
    pure::check_memory(&module, &info).map_err(spanned)?;

    let whole = whole(declared);
    let joined = User { before: prefix, ..alone };
    let module = naga::front::wgsl::parse_str(&whole).map_err(|error| joined.parse_error(&error))?;
    validator().validate(&module).map_err(|error| joined.validation_error(&error, &module))?;
    Ok(())
}

/// Of what every device can do.
fn validator() -> Validator {
    Validator::new(ValidationFlags::all(), Capabilities::empty())
}

/// The largest kernel that the rule stands in.
fn whole(declared: &Declared) -> String {
    let text = Text {
        family: Family::Element,
        shader: Shader { stem: &declared.name, text: &declared.text },
        hyper_bytes: 4 * declared.fields.len(),
        slots: &declared.slots,
        looks_ahead: false,
        masks: true,
        general: true,
    };
    let all = (1 << declared.slots.len()) - 1;
    text.source(Stage::Update, all, Riding::Noisy, &crate::gpu::Capabilities::PLAIN).wgsl.into_owned()
}

/// The text that was given, in one that was made of it.
#[derive(Clone, Copy)]
struct User<'a> {
    rule: &'a str,
    text: &'a str,
    /// Bytes that stand before it.
    before: usize,
    names: &'a Names,
}

impl User<'_> {
    /// Where a span begins, if that is in the text.
    fn place(&self, span: Span) -> Option<usize> {
        let range = span.to_range()?;
        range.start.checked_sub(self.before).filter(|at| *at <= self.text.len())
    }

    fn refuse(&self, at: usize, reason: impl Into<String>) -> Error {
        // What is missing is noticed behind the text.
        let at = self.text.floor_char_boundary(at.min(self.text.trim_end().len()));
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::Wgsl { rule: self.rule.into(), line, column, reason: reason.into() }
    }

    fn refuse_span(&self, span: Span, reason: String) -> Error {
        self.refuse(self.place(span).unwrap_or(0), reason)
    }
}
