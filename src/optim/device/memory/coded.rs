//! Slots in codes of 8 bits, which an update stores when it knows the largest magnitude of a block.

use std::fmt::Write;

use super::{FITS, Form, Stored};
use crate::gpu::Binding;
use crate::optim::device::block_kernel::BlockKernel;

const BLOCKS: &str = include_str!("../../../../shaders/optim/frame/blocks.wgsl");
const SCALE: &str = include_str!("../../../../shaders/optim/frame/code_scale.wgsl");
const MOST: &str = include_str!("../../../../shaders/optim/frame/block_most.wgsl");

/// Every text that is joined here, for those who look for names.
pub(super) fn texts() -> Vec<String> {
    let example = [Stored { name: "x", access: Binding::ReadWrite, form: Form::Signed8 }];
    let of = |kernel| {
        let mut text = String::new();
        memory(&mut text, &example, ("", ""), (kernel, true));
        text
    };
    let mut texts: Vec<String> = BlockKernel::all().map(of).collect();
    texts.extend(BlockKernel::all().map(|kernel| kernel.frame.to_owned()));
    texts.push("var<storage, read> table: array<vec4u>;".into());
    texts
}

/// A slot in codes: its name, and which code.
#[derive(Clone, Copy)]
struct Slot<'a> {
    name: &'a str,
    code: &'static str,
}

/// Adds loads and stores, given those of what is not in codes.
pub(super) fn memory(
    text: &mut String,
    slots: &[Stored<'_>],
    (load, store): (&str, &str),
    (kernel, small): (&BlockKernel, bool),
) {
    let code = |form| if form == Form::Signed8 { "signed" } else { "unsigned" };
    let coded = slots.iter().filter(|slot| slot.form.is_code());
    let coded: Vec<Slot<'_>> = coded.map(|slot| Slot { name: slot.name, code: code(slot.form) }).collect();
    write!(text, "const SMALL = {small};\n{BLOCKS}{SCALE}{}", kernel.codes).expect(FITS);
    text.push_str(&structs(&coded));
    write!(text, "\nfn store(at: u32, state: State) {{\n{store}}}\n").expect(FITS);
    if kernel.vectors == 1 {
        text.push_str(MOST);
        text.push_str(&of_a_vector(&coded, load));
    } else {
        text.push_str(&of_a_lane(&coded, load, kernel.vectors));
    }
}

/// One line for each slot.
fn each(coded: &[Slot<'_>], line: impl Fn(&Slot<'_>) -> String) -> String {
    coded.iter().map(|slot| line(slot) + "\n").collect()
}

/// What each slot gives, with commas.
fn list(coded: &[Slot<'_>], of: impl Fn(&Slot<'_>) -> String) -> String {
    coded.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// A struct with a member for each slot: where none is in use with one of nothing, because structs have members.
fn declared(name: &str, coded: &[Slot<'_>], kind: &str) -> String {
    let members = match coded {
        [] => format!("    nothing: {kind},\n"),
        _ => each(coded, |slot| format!("    {}: {kind},", slot.name)),
    };
    format!("\nstruct {name} {{\n{members}}}\n")
}

/// New values of a vector, and the largest magnitudes of each slot as bits.
fn structs(coded: &[Slot<'_>]) -> String {
    let kept = list(coded, |slot| format!("select(vec4f(), state.{}, inside)", slot.name));
    let most = list(coded, |slot| format!("code_most(kept.{})", slot.name));
    let larger = list(coded, |slot| format!("max(a.{0}, b.{0})", slot.name));
    format!(
        "{}{}
// Of what lies behind the end of a tensor nothing may count.
fn coded(state: State, inside: vec4<bool>) -> Coded {{
    return Coded({kept});
}}

fn most_of(kept: Coded) -> Most {{
    return Most({most});
}}

fn larger(a: Most, b: Most) -> Most {{
    return Most({larger});
}}
",
        declared("Coded", coded, "vec4f"),
        declared("Most", coded, "u32")
    )
}

/// One vector for each of 64 lanes.
fn of_a_vector(coded: &[Slot<'_>], load: &str) -> String {
    let word = "64u * block.number";
    let values = each(coded, |Slot { name, .. }| {
        let words: Vec<String> = (0..4).map(|at| format!("slot_{name}[first + {at}u]")).collect();
        format!("        state.{name} = bitcast<vec4f>(vec4u({}));", words.join(", "))
    });
    let opened = each(coded, |Slot { name, code }| {
        let scale = format!("bitcast<f32>(slot_{name}[scale_word(block)])");
        format!("        state.{name} = opened_{code}(slot_{name}[{word} + lane], {scale});")
    });
    let stored_values = each(coded, |Slot { name, .. }| {
        let store = |(at, part)| {
            format!("            slot_{name}[first + {at}u] = bitcast<u32>(kept.{name}.{part});")
        };
        (0..4).zip(["x", "y", "z", "w"]).map(store).collect::<Vec<_>>().join("\n")
    });
    let codes = each(coded, |Slot { name, code }| {
        let encoder = format!("encoder_of(most.{name})");
        format!("    slot_{name}[{word} + lane] = packed_{code}(kept.{name}, {encoder});")
    });
    let scales = each(coded, |Slot { name, .. }| {
        format!("        slot_{name}[scale_word(block)] = code_scale(most.{name});")
    });
    format!(
        "
fn load(block: Block, lane: u32, at: u32) -> State {{
    var state: State;
{load}    let first = {word} + 4u * lane;
    if SMALL && block.plain {{
{values}    }} else {{
{opened}    }}
    return state;
}}

fn store_codes(block: Block, lane: u32, inside: vec4<bool>, kept: Coded) {{
    let most = block_most(lane, most_of(kept));
    if SMALL && block.plain {{
        let first = {word} + 4u * lane;
        if inside.x {{
{stored_values}        }}
        return;
    }}
{codes}    if lane == 0u {{
{scales}    }}
}}
"
    )
}

/// So many vectors for each of eight lanes, four of which have their codes in a vector of words.
fn of_a_lane(coded: &[Slot<'_>], load: &str, vectors: usize) -> String {
    let opened = each(coded, |Slot { name, code }| {
        format!("    state.{name} = opened_{code}(words.{name}, scales.{name});")
    });
    let values = each(coded, |Slot { name, .. }| {
        format!("        state.{name} = bitcast<vec4f>(slot_{name}[16u * block.number + vector]);")
    });
    let stored_values = each(coded, |Slot { name, .. }| {
        format!("        slot_{name}[16u * block.number + vector] = bitcast<vec4u>(kept.{name});")
    });
    format!(
        "{}{}
fn load(block: Block, k: u32, vector: u32, at: u32, words: Words, scales: Scales) -> State {{
    var state: State;
{load}{opened}    if SMALL && k < 2u && block.plain {{
{values}    }}
    return state;
}}

fn store_values(block: Block, k: u32, vector: u32, kept: Coded) {{
    if SMALL && k < 2u && block.plain {{
{stored_values}    }}
}}
{}",
        declared("Words", coded, "u32"),
        declared("Scales", coded, "f32"),
        update_block(coded, vectors)
    )
}

/// The update of a block of which the scales are known, and what a lane finds and leaves for the blocks that its subgroup
/// goes over: their scales.
fn update_block(coded: &[Slot<'_>], vectors: usize) -> String {
    let loads = each(coded, |Slot { name, .. }| {
        let load = |part: usize| format!("    let words_{name}_{part} = slot_{name}[first + {}u];", 8 * part);
        (0..vectors / 4).map(load).collect::<Vec<_>>().join("\n")
    });
    let parts = ["x", "y", "z", "w"];
    let updates: String = (0..vectors)
        .map(|k| {
            let words = list(coded, |slot| format!("words_{}_{}.{}", slot.name, k / 4, parts[k % 4]));
            format!("    let kept{k} = updated_vector(block, lane, {k}u, Words({words}), scales);\n")
        })
        .collect();
    let most: String =
        (1..vectors).map(|k| format!("    most = larger(most, most_of(kept{k}));\n")).collect();
    let joined = list(coded, |slot| format!("subgroupMax(most.{})", slot.name));
    let codes = each(coded, |Slot { name, code }| {
        let word = |k: usize| format!("packed_{code}(kept{k}.{name}, encoder_{name})");
        let store = |part: usize| {
            let words: Vec<String> = (4 * part..4 * part + 4).map(word).collect();
            format!("    slot_{name}[first + {}u] = vec4u({});", 8 * part, words.join(", "))
        };
        let stores = (0..vectors / 4).map(store).collect::<Vec<_>>().join("\n");
        format!("    let encoder_{name} = encoder_of(most.{name});\n{stores}")
    });
    format!(
        "
fn update_block(block: Block, lane: u32, scales: Scales) -> Most {{
    let first = 16u * block.number + lane;
{loads}{updates}    var most = most_of(kept0);
{most}    most = Most({joined});
    if SMALL && block.plain {{
        return most;
    }}
{codes}    return most;
}}
{}",
        scales_of_blocks(coded)
    )
}

/// Loads, exchanges and stores the scales of blocks.
fn scales_of_blocks(coded: &[Slot<'_>]) -> String {
    let scales = list(coded, |slot| format!("bitcast<f32>(slot_{}[scale / 4u][scale % 4u])", slot.name));
    let of_lane = list(coded, |slot| format!("subgroupShuffle(scales.{}, lane)", slot.name));
    let stored = each(coded, |Slot { name, .. }| {
        format!("    slot_{name}[scale / 4u][scale % 4u] = code_scale(most.{name});")
    });
    format!(
        "
fn scales_of(block: Block) -> Scales {{
    let scale = scale_word(block);
    return Scales({scales});
}}

fn scales_in(scales: Scales, lane: u32) -> Scales {{
    return Scales({of_lane});
}}

fn store_scales(block: Block, most: Most) {{
    let scale = scale_word(block);
{stored}}}
"
    )
}
