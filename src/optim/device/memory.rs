//! The WGSL with which a kernel loads and stores the slots in use: the one place that knows what they are stored as.

use std::fmt::Write;

use crate::gpu::Binding;
use crate::optim::rule::{Precisions, StatePrecision};

/// A slot in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) name: &'a str,
    pub(crate) access: Binding,
    pub(crate) form: Form,
}

/// What a slot is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    F32,
    Bf16,
    Signed8,
    Unsigned8,
}

impl Form {
    pub(crate) fn new(precision: StatePrecision, precisions: Precisions) -> Self {
        match precision {
            StatePrecision::F32 => Self::F32,
            StatePrecision::Bf16 => Self::Bf16,
            StatePrecision::Int8 if precisions == Precisions::Unsigned => Self::Unsigned8,
            StatePrecision::Int8 => Self::Signed8,
        }
    }

    pub(crate) fn is_code(self) -> bool {
        matches!(self, Self::Signed8 | Self::Unsigned8)
    }

    /// What a slot's name has behind it in the name of a kernel.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::Bf16 => ":bf16",
            Self::Signed8 => ":8",
            Self::Unsigned8 => ":8u",
        }
    }

    fn element(self) -> &'static str {
        match self {
            Self::F32 => "vec4f",
            Self::Bf16 => "vec2u",
            Self::Signed8 | Self::Unsigned8 => "u32",
        }
    }
}

const BF16: &str = include_str!("../../../shaders/optim/frame/bf16.wgsl");
const BF16_RANDOM: &str = include_str!("../../../shaders/optim/frame/bf16_random.wgsl");
const BF16_NEAREST: &str = include_str!("../../../shaders/optim/frame/bf16_nearest.wgsl");
const RANDOM: &str = include_str!("../../../shaders/shared/random.wgsl");
const BLOCKS: &str = include_str!("../../../shaders/optim/frame/blocks.wgsl");
const CODES: &str = include_str!("../../../shaders/optim/frame/dynamic8.wgsl");
const MOST: &str = include_str!("../../../shaders/optim/frame/block_most.wgsl");
const MOST_SUBGROUP8: &str = include_str!("../../../shaders/optim/frame/block_most_subgroup8.wgsl");

/// Every text that is joined here, for those who look for names.
pub(crate) fn texts() -> Vec<String> {
    vec![
        BF16.into(),
        BF16_RANDOM.into(),
        BF16_NEAREST.into(),
        RANDOM.into(),
        BLOCKS.into(),
        CODES.into(),
        MOST.into(),
        most(&["x"], false),
        "var<storage, read> table: array<u32>;".into(),
    ]
}

/// What a kernel is beside its slots.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    /// Whether it goes by blocks, because one of the rule's slots may be in codes.
    pub(crate) in_blocks: bool,
    /// Whether some tensors are too small for codes.
    pub(crate) small: bool,
    /// Whether subgroups are of eight lanes that follow each other.
    pub(crate) subgroup8: bool,
    /// Whether it has random numbers already.
    pub(crate) has_random: bool,
    /// Whether it writes new parameters in bf16 too: the binding behind those of the slots.
    pub(crate) copies: bool,
}

/// Where the slots in use come from and go to, `first` being the first binding.
pub(crate) fn memory(first: usize, slots: &[Stored<'_>], around: Around) -> String {
    let Around { in_blocks, small, subgroup8, has_random, copies } = around;
    let coded: Vec<&str> = slots.iter().filter(|slot| slot.form.is_code()).map(|slot| slot.name).collect();
    let (parameter, at) = if in_blocks { ("block: Block", "block.at") } else { ("at: u32", "at") };
    let (mut text, mut load, mut store) = (String::new(), String::new(), String::new());
    let rounds = slots.iter().any(|slot| slot.form == Form::Bf16);
    text.push_str(if rounds || copies { BF16 } else { "" });
    if rounds {
        text.push_str(if has_random { "" } else { RANDOM });
        text.push_str(BF16_RANDOM);
    }
    text.push_str(if copies { BF16_NEAREST } else { "" });
    if in_blocks {
        writeln!(text, "const SMALL = {small};").expect(FITS);
        text.push_str(BLOCKS);
    }
    if !coded.is_empty() {
        text.push_str(&most(&coded, subgroup8));
        text.push_str(CODES);
        text.push_str(if subgroup8 { MOST_SUBGROUP8 } else { MOST });
        writeln!(store, "    let most = block_most(block.lane, {});", most_of(&coded)).expect(FITS);
    }
    if in_blocks {
        store.push_str("    if !block.is_mine {\n        return;\n    }\n");
    }
    let mut rounded = 0;
    for (binding, slot) in (first..).zip(slots) {
        let Stored { name, access, form } = *slot;
        let writes = access == Binding::ReadWrite;
        let mode = if writes { "read_write" } else { "read" };
        let element = form.element();
        writeln!(text, "@group(0) @binding({binding}) var<storage, {mode}> slot_{name}: array<{element}>;")
            .expect(FITS);
        if writes && form == Form::Bf16 && rounded % 2 == 0 {
            writeln!(store, "    let random{} = state_random({at}, {}u);", rounded / 2, rounded / 2)
                .expect(FITS);
        }
        let (loaded, stored) = match form {
            Form::F32 => (format!("slot_{name}[{at}]"), format!("slot_{name}[{at}] = state.{name}")),
            Form::Bf16 => {
                let half = if rounded % 2 == 0 { "xy" } else { "zw" };
                let random = format!("random{}.{half}", rounded / 2);
                (
                    format!("opened_bf16(slot_{name}[{at}])"),
                    format!("slot_{name}[{at}] = packed_bf16(state.{name}, {random})"),
                )
            }
            Form::Signed8 | Form::Unsigned8 => {
                let place = coded.iter().position(|own| *own == name).expect("it is one of them");
                text.push_str(&codes(name, form, &component(coded.len(), place)));
                (format!("load_{name}(block)"), format!("store_{name}(block, state.{name}, most)"))
            }
        };
        rounded += usize::from(form == Form::Bf16);
        writeln!(load, "    state.{name} = {loaded};").expect(FITS);
        if writes {
            writeln!(store, "    {stored};").expect(FITS);
        }
    }
    if copies {
        let binding = first + slots.len();
        let access = "var<storage, read_write>";
        writeln!(text, "@group(0) @binding({binding}) {access} bf16_params: array<vec2u>;").expect(FITS);
        writeln!(store, "    bf16_params[{at}] = nearest_bf16(params[{at}]);").expect(FITS);
    }
    write!(
        text,
        "\nfn load({parameter}) -> State {{\n    var state: State;\n{load}    return state;\n}}\n\n\
         fn store({parameter}, state: State) {{\n{store}}}\n"
    )
    .expect(FITS);
    if in_blocks {
        text.push_str(&inside_alone(slots));
    }
    text
}

const FITS: &str = "a string takes everything";

/// What lanes exchange: the largest magnitude of each slot in codes.
fn most(coded: &[&str], subgroup8: bool) -> String {
    let kind = match coded.len() {
        1 => "u32",
        2 => "vec2u",
        3 => "vec3u",
        _ => "vec4u",
    };
    // One for each lane where these do not exchange them otherwise.
    let lanes = if subgroup8 { "" } else { "var<workgroup> lanes: array<Most, 64>;\n" };
    format!("alias Most = {kind};\n{lanes}var<workgroup> eighths: array<Most, 8>;\n")
}

fn most_of(coded: &[&str]) -> String {
    let each: Vec<String> = coded.iter().map(|name| format!("code_most(state.{name})")).collect();
    format!("Most({})", each.join(", "))
}

fn component(of: usize, place: usize) -> String {
    if of == 1 { "most".into() } else { format!("most.{}", ["x", "y", "z", "w"][place]) }
}

/// Functions that load and store a slot in codes.
fn codes(name: &str, form: Form, most: &str) -> String {
    let kind = if form == Form::Signed8 { "signed" } else { "unsigned" };
    let words = ["x", "y", "z", "w"].iter().enumerate();
    let values: String = words
        .map(|(at, part)| format!("        slot_{name}[first + {at}u] = bitcast<u32>(value.{part});\n"))
        .collect();
    format!(
        "
fn load_{name}(block: Block) -> vec4f {{
    if SMALL && block.plain {{
        let first = block.word + 4u * block.lane;
        let bits = vec4u(slot_{name}[first], slot_{name}[first + 1u], slot_{name}[first + 2u], slot_{name}[first + 3u]);
        return bitcast<vec4f>(bits);
    }}
    let scale = bitcast<f32>(slot_{name}[block.word + 64u]);
    return opened_{kind}(slot_{name}[block.word + block.lane], scale);
}}

fn store_{name}(block: Block, value: vec4f, most: Most) {{
    if SMALL && block.plain {{
        let first = block.word + 4u * block.lane;
{values}        return;
    }}
    slot_{name}[block.word + block.lane] = packed_{kind}(value, {most});
    if block.lane == 0u {{
        slot_{name}[block.word + 64u] = code_scale({most});
    }}
}}
"
    )
}

/// Zeros in slots behind the end of a tensor: those of a mask, and those that would count in a block.
pub(crate) fn keep_inside(slots: &[Stored<'_>]) -> String {
    let mut text = "\nfn keep_inside(s: ptr<function, State>, inside: vec4<bool>) {\n".to_owned();
    for Stored { name, .. } in slots {
        writeln!(text, "    (*s).{name} = select(vec4f(), (*s).{name}, inside);").expect(FITS);
    }
    text + "}\n"
}

fn inside_alone(slots: &[Stored<'_>]) -> String {
    let mut text =
        "\nfn inside_alone(state: State, inside: vec4<bool>) -> State {\n    var kept = state;\n".to_owned();
    for Stored { name, .. } in slots.iter().filter(|slot| slot.form.is_code()) {
        writeln!(text, "    kept.{name} = select(vec4f(), state.{name}, inside);").expect(FITS);
    }
    text + "    return kept;\n}\n"
}
