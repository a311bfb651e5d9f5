//! Reads the WGSL of a rule of one's own, so that a mistake is named with its place in the text that was given, and so
//! that what passes is a pure function that ends.
//!
//! First the text itself is looked at (`User::outline`), because a parser recurses and folds constants: what it is
//! given must be small and flat. Then naga reads the text behind what a rule may use and nothing else (`names::PRELUDE`),
//! so that the rest of the frame is unknown to it. Then loops are counted (`wgsl::loops`) and what was read is held to a list
//! (`wgsl::pure`).

mod names;
mod signature;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use naga::Span;

use super::declared::Declared;
use crate::error::Error;
use crate::grad::FusedKernel;
use crate::optim::device::kernels::RuleKernel;
use crate::optim::device::stage::Stage;
use crate::optim::rule::{Family, Shader};
use crate::wgsl::loops::Work;
use crate::wgsl::{User, pure, validator};
pub(crate) use names::Names;

/// The most words and marks that a call of `rule` may go through.
const MOST_WORK: u64 = 1 << 16;

/// Refuses WGSL that the frame could not be joined with; the user's begins at `prefix`.
pub(crate) fn inspect(declared: &Declared, prefix: usize, names: &Names) -> Result<(), Error> {
    let text = &declared.text[prefix..];
    let what = format!("rule {}", declared.name);
    let user = User { what: &what, text, before: 0, dialect: names };
    let (tokens, outline) = user.outline()?;
    let at = |(at, reason)| user.refuse(at, reason);

    let prelude = declared.text[..prefix].to_owned() + names::PRELUDE;
    let alone = User { before: prelude.len(), ..user };
    let source = prelude + text;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| {
        alone.index_error(&source, &tokens, &error).unwrap_or_else(|| alone.parse_error(&error))
    })?;
    signature::check_signature(&module).map_err(|(span, reason)| match span {
        Some(span) => alone.refuse_span(span, reason),
        None => Error::Config { what: what.clone(), reason },
    })?;
    let spanned = |(span, reason): (Span, String)| alone.refuse_span(span, reason);
    pure::check_pure(&module, names).map_err(spanned)?;
    let mut work = Work {
        tokens: &tokens,
        declared: &outline,
        entry: "rule",
        most_work: MOST_WORK,
        most_rounds: MOST_WORK,
        given: &[],
        start: None,
        known: BTreeMap::new(),
    };
    work.check().map_err(at)?;
    let info = validator().validate(&module).map_err(|error| alone.validation_error(&error, &module))?;
    pure::check_memory(&module, &info).map_err(spanned)?;

    let whole = whole(declared);
    let joined = User { before: prefix, ..alone };
    let module = naga::front::wgsl::parse_str(&whole).map_err(|error| joined.parse_error(&error))?;
    validator().validate(&module).map_err(|error| joined.validation_error(&error, &module))?;
    Ok(())
}

/// The largest kernel that the rule stands in.
fn whole(declared: &Declared) -> String {
    let text = RuleKernel {
        family: Family::Element,
        shader: Shader { stem: &declared.name, text: &declared.text },
        hyper_bytes: 4 * declared.fields.len(),
        slots: &declared.slots,
        state: &[],
        copies: false,
        small: true,
        looks_ahead: false,
        averages: false,
        masks: true,
        general: true,
    };
    let all = (1 << declared.slots.len()) - 1;
    text.source(Stage::Update, all, FusedKernel::Noisy, &crate::gpu::Capabilities::PLAIN).wgsl.into_owned()
}
