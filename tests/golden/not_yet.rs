//! What golden data may ask for and the library does not have yet. It shrinks to nothing.

/// Names that a case may use and be counted as "not yet" for. An entry that works fails the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotYet {
    pub(crate) ops: &'static [&'static str],
    /// `op.attribute` and its default, as JSON: the attribute may have no other value.
    pub(crate) attributes: &'static [(&'static str, &'static str)],
    pub(crate) optimizers: &'static [&'static str],
    pub(crate) schedules: &'static [&'static str],
    /// Top-level keys of optimizer cases.
    pub(crate) keys: &'static [&'static str],
}

pub(crate) const NOT_YET: NotYet =
    NotYet { ops: &[], attributes: &[], optimizers: &[], schedules: &[], keys: &[] };
