//! WGSL and constants that an average adds to a rule.

use std::borrow::Cow;

use super::options::Averages;
use crate::gpu::{Block, Field, Uniform, uniform};
use crate::optim::rule::f32_of;

uniform! {
    /// The constants of the average, after those of the rule.
    pub(crate) struct Averaging {
        /// Bits of [`BEGINS`] and [`COUNTS`].
        pub(crate) averaging: u32,
        /// Factor of the average.
        pub(crate) averaging_beta: f32,
        /// Factor of the weights; at 1 they are copied.
        pub(crate) averaging_weight: f32,
    }
}

/// As in `average.wgsl`.
const BEGINS: u32 = 1;
const COUNTS: u32 = 2;

/// The slot of the average in kernels and state dicts.
pub(crate) const SLOT: &str = "average_param";

/// Bytes of the constants after those of the rule.
pub(crate) const BYTES: usize = size_of::<Averaging>();

/// WGSL that follows the rule's update, with an average and without.
pub(crate) const AVERAGE: &str = include_str!("../../../shaders/optim/frame/average.wgsl");
pub(crate) const NO_AVERAGE: &str = include_str!("../../../shaders/optim/frame/no_average.wgsl");

const HYPER: &str = "struct Hyper {";
const STATE: &str = "struct State {";

/// The constants of update `update` of a tensor, counted from 1.
pub(crate) fn constants(averages: &Averages, update: u64) -> Averaging {
    let begins = if update <= 1 { BEGINS } else { 0 };
    let (stays, comes) = averages.parts(update).unwrap_or((1.0, 0.0));
    let counts = if comes > 0.0 { COUNTS } else { 0 };
    Averaging { averaging: begins | counts, averaging_beta: f32_of(stays), averaging_weight: f32_of(comes) }
}

/// A rule's text with the average added to its `State` and the average's constants to its `Hyper`.
pub(crate) fn averaging(rule: &str) -> String {
    let state = rule.replacen(STATE, &format!("{STATE} {SLOT}: vec4f,"), 1);
    let (before, hyper, after) = split(&state);
    let comma = if hyper.trim_end().ends_with([',', '{']) { "" } else { "," };
    let members: String =
        Averaging::FIELDS.iter().map(|field| format!("    {}: {},\n", field.name, field.kind)).collect();
    format!("{before}{}{comma}\n{members}{after}", hyper.trim_end())
}

/// The declaration of a rule's constants, with those of the average.
pub(crate) fn hyper_of(rule: &str) -> String {
    let text = averaging(rule);
    let (_, hyper, _) = split(&text);
    format!("{hyper}}}\n")
}

/// The text before `Hyper`, `Hyper` without its closing brace, and the text from that brace on.
fn split(text: &str) -> (&str, &str, &str) {
    let start = text.find(HYPER).expect("a rule declares its constants");
    let end = start + text[start..].find('}').expect("a struct ends");
    (&text[..start], &text[start..end], &text[end..])
}

/// A rule's block of constants followed by those of the average.
pub(crate) fn block(bytes: usize, fields: &[Field]) -> Block {
    let shift = |field: &Field| Field { offset: field.offset + bytes, ..field.clone() };
    let fields: Vec<Field> = fields.iter().cloned().chain(Averaging::FIELDS.iter().map(shift)).collect();
    Block { name: "Hyper", fields: Cow::Owned(fields), bytes: bytes + size_of::<Averaging>() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::averages::options::{Ema, Swa};

    #[test]
    fn members_go_behind_those_of_the_rule() {
        for hyper in ["struct Hyper { a: f32 }", "struct Hyper { a: f32, }", "struct Hyper {\n    a: f32,\n}"]
        {
            let rule = format!("// A rule.\n{hyper}\nstruct State {{ m: vec4f }}\nfn rule() {{}}\n");
            let text = averaging(&rule);
            assert!(text.contains("a: f32,\n    averaging: u32,\n"), "{text}");
            assert!(
                text.contains("struct State { average_param: vec4f, m: vec4f }\nfn rule() {}\n"),
                "{text}"
            );
            assert!(hyper_of(&rule).ends_with("averaging_weight: f32,\n}\n"), "{}", hyper_of(&rule));
        }
    }

    #[test]
    fn constants_say_when_an_average_begins_and_counts() {
        let ema = Ema { start: 1, ..Ema::new(0.75) }.into();
        let rows = [(1, (1, 1.0, 0.0)), (2, (2, 0.0, 1.0)), (3, (2, 0.75, 0.25))];
        for (update, expected) in rows {
            let Averaging { averaging, averaging_beta, averaging_weight } = constants(&ema, update);
            assert_eq!((averaging, averaging_beta, averaging_weight), expected);
        }
        assert_eq!(constants(&Swa::default().into(), 1).averaging, 3);
    }
}
