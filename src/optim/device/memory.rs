//! The WGSL with which a kernel loads and stores the slots in use: the one place that knows what they are stored as.

mod coded;
mod pairs;
pub(crate) mod tensor;

use std::fmt::Write;

use super::block_kernel::BlockKernel;

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
}

const BF16: &str = include_str!("../../../shaders/optim/frame/bf16.wgsl");
const BF16_RANDOM: &str = include_str!("../../../shaders/optim/frame/bf16_random.wgsl");
const BF16_NEAREST: &str = include_str!("../../../shaders/optim/frame/bf16_nearest.wgsl");
const RANDOM: &str = include_str!("../../../shaders/shared/random.wgsl");

const FITS: &str = "a string takes everything";

/// Every text that is joined here, for those who look for names.
pub(crate) fn texts() -> Vec<String> {
    let mut texts = [BF16, BF16_RANDOM, BF16_NEAREST, RANDOM].map(str::to_owned).to_vec();
    texts.extend(coded::texts());
    texts.push(pairs::text());
    texts
}

/// What a kernel is beside its slots.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    /// How it goes over blocks, where one of the rule's slots may be in codes.
    pub(crate) blocks: Option<&'static BlockKernel>,
    /// Whether some tensors are too small for codes.
    pub(crate) small: bool,
    /// Whether it has random numbers already.
    pub(crate) has_random: bool,
    /// Whether it writes new parameters in bf16 too: the binding behind those of the slots.
    pub(crate) copies: bool,
    /// Whether it goes over pairs of vectors.
    pub(crate) pairs: bool,
}

/// Where the slots in use come from and go to, `first` being the first binding.
pub(crate) fn memory(first: usize, slots: &[Stored<'_>], around: Around) -> String {
    let mut text = String::new();
    let rounds = slots.iter().any(|slot| slot.form == Form::Bf16);
    text.push_str(if rounds || around.copies { BF16 } else { "" });
    if rounds {
        text.push_str(if around.has_random { "" } else { RANDOM });
        text.push_str(BF16_RANDOM);
    }
    text.push_str(if around.copies { BF16_NEAREST } else { "" });
    let halves = if around.pairs { "vec4u" } else { "vec2u" };
    for (binding, slot) in (first..).zip(slots) {
        let Stored { name, access, form } = *slot;
        let mode = if access == Binding::ReadWrite { "read_write" } else { "read" };
        let element = match (form, around.blocks) {
            (Form::F32, _) => "vec4f",
            (Form::Bf16, _) => halves,
            (Form::Signed8 | Form::Unsigned8, Some(kernel)) => kernel.element,
            (Form::Signed8 | Form::Unsigned8, None) => unreachable!("by blocks alone"),
        };
        writeln!(text, "@group(0) @binding({binding}) var<storage, {mode}> slot_{name}: array<{element}>;")
            .expect(FITS);
    }
    if around.copies {
        let binding = first + slots.len();
        let access = "var<storage, read_write>";
        writeln!(text, "@group(0) @binding({binding}) {access} bf16_params: array<{halves}>;").expect(FITS);
    }
    let (load, store) = lines(slots, around.copies);
    match around.blocks {
        Some(kernel) => coded::memory(&mut text, slots, (&load, &store), (kernel, around.small)),
        None if around.pairs => text.push_str(&pairs::memory(slots, around.copies)),
        None => write!(
            text,
            "\nfn load(at: u32) -> State {{\n    var state: State;\n{load}    return state;\n}}\n\n\
             fn store(at: u32, state: State) {{\n{store}}}\n"
        )
        .expect(FITS),
    }
    text
}

/// Random bits of four elements in another order for each of four slots: none meets the same element twice.
const ORDERS: [&str; 4] = ["xyzw", "yxwz", "zwxy", "wzyx"];

/// Loads and stores of what is not in codes, at a vector of the window.
fn lines(slots: &[Stored<'_>], copies: bool) -> (String, String) {
    let (mut load, mut store, mut rounded) = (String::new(), String::new(), 0);
    for Stored { name, access, form } in slots.iter().filter(|slot| !slot.form.is_code()) {
        let value = if *form == Form::Bf16 { "opened_bf16" } else { "" };
        writeln!(load, "    state.{name} = {value}(slot_{name}[at]);").expect(FITS);
        if *access != Binding::ReadWrite {
            continue;
        }
        if *form == Form::Bf16 {
            let (stream, order) = (rounded / ORDERS.len(), ORDERS[rounded % ORDERS.len()]);
            if rounded % ORDERS.len() == 0 {
                writeln!(store, "    let random{stream} = state_random(at, {stream}u);").expect(FITS);
            }
            rounded += 1;
            writeln!(store, "    slot_{name}[at] = packed_bf16(state.{name}, random{stream}.{order});")
        } else {
            writeln!(store, "    slot_{name}[at] = state.{name};")
        }
        .expect(FITS);
    }
    if copies {
        store.push_str("    bf16_params[at] = nearest_bf16(params[at]);\n");
    }
    (load, store)
}

/// Zeros in slots behind the end of a tensor, of a mask.
pub(crate) fn keep_inside(slots: &[Stored<'_>]) -> String {
    let mut text = "\nfn keep_inside(s: ptr<function, State>, inside: vec4<bool>) {\n".to_owned();
    for Stored { name, .. } in slots {
        writeln!(text, "    (*s).{name} = select(vec4f(), (*s).{name}, inside);").expect(FITS);
    }
    text + "}\n"
}
