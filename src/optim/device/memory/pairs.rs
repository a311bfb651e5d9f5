//! Slots of which two vectors are loaded and stored at once: those in bf16 by one access.

use std::fmt::Write;

use super::{FITS, Form, ORDERS, Stored};
use crate::gpu::Binding;

/// Every text that is joined here, for those who look for names.
pub(super) fn text() -> String {
    memory(&[Stored { name: "x", access: Binding::ReadWrite, form: Form::Bf16 }], false)
}

/// Loads and stores of the vectors `at` and `at + 1`.
pub(super) fn memory(slots: &[Stored<'_>], copies: bool) -> String {
    let (mut load, mut store, mut rounded) = (String::new(), String::new(), 0);
    for slot in slots {
        load.push_str(&loads(slot));
        if slot.access != Binding::ReadWrite {
            continue;
        }
        if slot.form == Form::Bf16 {
            let (stream, order) = (rounded / ORDERS.len(), ORDERS[rounded % ORDERS.len()]);
            if rounded % ORDERS.len() == 0 {
                store.push_str(&random(stream));
            }
            rounded += 1;
            store.push_str(&rounding_store(slot.name, stream, order));
        } else {
            let name = slot.name;
            writeln!(store, "    slot_{name}[at] = first.{name};\n    slot_{name}[at + 1u] = second.{name};")
                .expect(FITS);
        }
    }
    if copies {
        let both = "vec4u(nearest_bf16(params[at]), nearest_bf16(params[at + 1u]))";
        writeln!(store, "    bf16_params[at / 2u] = {both};").expect(FITS);
    }
    format!(
        "
fn load_pair(at: u32, first: ptr<function, State>, second: ptr<function, State>) {{
{load}}}

fn store_pair(at: u32, first: State, second: State) {{
{store}}}
"
    )
}

fn loads(Stored { name, form, .. }: &Stored<'_>) -> String {
    if *form == Form::Bf16 {
        format!(
            "    let words_{name} = slot_{name}[at / 2u];\n    (*first).{name} = opened_bf16(words_{name}.xy);\n    \
             (*second).{name} = opened_bf16(words_{name}.zw);\n"
        )
    } else {
        format!("    (*first).{name} = slot_{name}[at];\n    (*second).{name} = slot_{name}[at + 1u];\n")
    }
}

fn random(stream: usize) -> String {
    let of =
        |which: &str, at: &str| format!("    let {which}_random{stream} = state_random({at}, {stream}u);\n");
    of("first", "at") + &of("second", "at + 1u")
}

fn rounding_store(name: &str, stream: usize, order: &str) -> String {
    let packed = |which: &str| format!("packed_bf16({which}.{name}, {which}_random{stream}.{order})");
    format!("    slot_{name}[at / 2u] = vec4u({}, {});\n", packed("first"), packed("second"))
}
