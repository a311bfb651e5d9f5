//! What a Lookahead makes of the rule in it: one more slot, and constants in front of the rule's own.

use std::borrow::Cow;

use crate::gpu::{Field, Uniform, uniform};
use crate::optim::rule::any::AnyRule;
use crate::optim::rule::{Granularity, Precisions, Slot};

/// The inner rule's text, slots and constants, with those of Lookahead added.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) inner: String,
    pub(super) text: String,
    pub(super) slots: Vec<Slot>,
    pub(super) fields: Vec<Field>,
}

uniform! {
    /// What stands in the block before the inner rule's constants.
    pub(crate) struct Ahead {
        lookahead: u32,
        lookahead_alpha: f32,
    }
}

impl Ahead {
    /// `flags` of a step, and the part of the way that slow weights go.
    pub(super) fn new(flags: u32, alpha: f32) -> Self {
        Self { lookahead: flags, lookahead_alpha: alpha }
    }
}

/// Slow weights: the last slot.
pub(super) const SLOW: Slot = Slot {
    name: Cow::Borrowed("slow_param"),
    granularity: Granularity::Element,
    precisions: Precisions::F32,
    late: true,
    apart: false,
};
/// As in `lookahead.wgsl`.
pub(super) const BEGINS: u32 = 1;
pub(super) const SYNCS: u32 = 2;
/// As in `reset.wgsl`: from this bit on, slots that begin anew.
pub(super) const RESETS: u32 = 8;
const HYPER: &str = "struct Hyper {";
const STATE: &str = "struct State {";

impl Around {
    pub(super) fn new(inner: &impl AnyRule) -> Self {
        let text = inner.shader().text;
        let members: String =
            Ahead::FIELDS.iter().map(|field| format!(" {}: {},", field.name, field.kind)).collect();
        let wrapped = text.replacen(HYPER, &format!("{HYPER}{members}"), 1).replacen(
            STATE,
            &format!("{STATE} {}: vec4f,", SLOW.name),
            1,
        );
        let shift = |field: &Field| Field { offset: field.offset + size_of::<Ahead>(), ..field.clone() };
        Self {
            inner: text.into(),
            text: wrapped,
            slots: inner.slots().iter().cloned().chain([SLOW]).collect(),
            fields: Ahead::FIELDS.iter().cloned().chain(inner.hyper_block().1.iter().map(shift)).collect(),
        }
    }
}
